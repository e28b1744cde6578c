//! Makes trouble: one fault about every second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dynamic_batcher_conformance::faults::{Network, Signal, signal};
use fastrand::Rng;

use crate::fleet::Fleet;

/// What can happen, and how often of so many times in all.
const FAULTS: [(Fault, u32); 10] = [
    (Fault::KillProcessor, 6),
    (Fault::StopProcessor, 5),
    (Fault::KillCaller, 3),
    (Fault::CutAll, 4),
    (Fault::CutSome, 3),
    (Fault::HalfClose, 2),
    (Fault::Slow, 2),
    (Fault::Stall, 2),
    (Fault::Freeze, 1),
    (Fault::StopServer, 2),
];

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillProcessor,
    StopProcessor,
    KillCaller,
    CutAll,
    CutSome,
    HalfClose,
    Slow,
    Stall,
    Freeze,
    StopServer,
}

/// What has to be undone.
#[derive(Clone, Copy, Debug)]
enum Undo {
    Network,
    Server,
    Processor(usize),
}

pub(crate) struct Trouble {
    rng: Rng,
    next: Instant,
    undo: Vec<(Instant, Undo)>,
    pub(crate) count: BTreeMap<String, u32>,
}

impl Trouble {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            rng,
            next: Instant::now() + Duration::from_secs(1),
            undo: Vec::new(),
            count: BTreeMap::new(),
        }
    }

    /// Does what is due, and undoes what has lasted long enough.
    pub(crate) fn make(&mut self, fleet: &mut Fleet) {
        let now = Instant::now();
        let is_due = |undo: &mut (Instant, Undo)| undo.0 <= now;
        for (_, undo) in self.undo.extract_if(.., is_due) {
            revert(undo, fleet);
        }
        if now >= self.next {
            self.next = now + self.millis(500, 1_500);
            let fault = self.choose();
            *self.count.entry(format!("{fault:?}")).or_default() += 1;
            self.happen(fault, fleet);
        }
    }

    /// Undoes everything.
    pub(crate) fn end(&mut self, fleet: &mut Fleet) {
        for (_, undo) in self.undo.drain(..) {
            revert(undo, fleet);
        }
    }

    fn choose(&mut self) -> Fault {
        let all = FAULTS.iter().map(|(_, times)| times).sum();
        let mut drawn = self.rng.u32(0..all);
        for (fault, times) in FAULTS {
            if drawn < times {
                return fault;
            }
            drawn -= times;
        }
        Fault::CutAll
    }

    fn happen(&mut self, fault: Fault, fleet: &mut Fleet) {
        let processor = self.rng.usize(0..fleet.processors.len());
        let caller = self.rng.usize(0..fleet.callers.len());
        match fault {
            Fault::KillProcessor => fleet.replace_processor(processor),
            Fault::StopProcessor => {
                fleet.processors[processor].signal(Signal::Stop);
                self.later(100, 3_000, Undo::Processor(processor));
            }
            Fault::KillCaller => fleet.replace_caller(caller),
            Fault::CutAll => fleet.proxy.cut(),
            Fault::CutSome => self.network(Network::Cutting(20_000), fleet),
            Fault::HalfClose => fleet.proxy.half_close(),
            Fault::Slow => {
                let pause = self.millis(1, 50);
                self.network(Network::Slow(pause), fleet);
            }
            Fault::Stall => self.network(Network::Stalled, fleet),
            Fault::Freeze => fleet.proxy.freeze(),
            Fault::StopServer => {
                signal(fleet.server.pid(), Signal::Stop);
                self.later(100, 2_000, Undo::Server);
            }
        }
    }

    fn network(&mut self, network: Network, fleet: &Fleet) {
        fleet.proxy.set(network);
        self.later(100, 1_000, Undo::Network);
    }

    fn later(&mut self, least: u64, most: u64, undo: Undo) {
        let at = Instant::now() + self.millis(least, most);
        self.undo.push((at, undo));
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.rng.u64(least..=most))
    }
}

fn revert(undo: Undo, fleet: &mut Fleet) {
    match undo {
        Undo::Network => fleet.proxy.set(Network::Fine),
        Undo::Server => signal(fleet.server.pid(), Signal::Continue),
        // Another may be in its place by now, and does not mind.
        Undo::Processor(place) => fleet.processors[place].signal(Signal::Continue),
    }
}
