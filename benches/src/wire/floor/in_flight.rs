//! The requests of a floor's caller that are on their way, and the course of its run.

use std::time::Instant;

use crate::closed_loop::{MOST_SAMPLES, Spell, Tally};
use crate::wire::payload::{Sum, Values};

/// As many as there are to be, always: each one answered makes room for the next.
pub(super) struct InFlight<F> {
    callers: Vec<Caller>,
    /// Those whose next request is to be sent.
    idle: Vec<usize>,
    /// The clock is read once for all that is sent or received together.
    now: Instant,
    begin: Instant,
    end: Option<Instant>,
    spell: Spell,
    tally: Tally,
    at_edge: F,
}

struct Caller {
    count: u64,
    sent: Instant,
}

impl<F: FnMut()> InFlight<F> {
    pub(super) fn new(callers: u64, spell: Spell, at_edge: F) -> Self {
        let now = Instant::now();
        let caller = || Caller {
            count: 0,
            sent: now,
        };
        let callers: Vec<_> = (0..callers).map(|_| caller()).collect();
        let latencies = Vec::with_capacity(MOST_SAMPLES as usize);
        Self {
            idle: (0..callers.len()).collect(),
            callers,
            now,
            begin: now + spell.warm_up,
            end: None,
            spell,
            tally: Tally {
                latencies,
                ..Tally::default()
            },
            at_edge,
        }
    }

    /// Something has been received: answers follow.
    pub(super) fn received(&mut self) {
        self.now = Instant::now();
    }

    /// Before requests are sent. False when the run is over.
    pub(super) fn go_on(&mut self) -> bool {
        self.now = Instant::now();
        match self.end {
            None if self.now >= self.begin => {
                (self.at_edge)();
                self.begin = Instant::now();
                self.now = self.begin;
                self.end = Some(self.begin + self.spell.measured);
            }
            Some(end) if self.now >= end => {
                self.tally.elapsed = self.now - self.begin;
                (self.at_edge)();
                return false;
            }
            _ => {}
        }
        true
    }

    /// How many requests are to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.idle.len()
    }

    /// The next request that is to be sent: its number, which no other one has, and its body.
    pub(super) fn next(&mut self) -> Option<(u64, Values)> {
        let number = self.idle.pop()?;
        let caller = &mut self.callers[number];
        caller.sent = self.now;
        let number = number as u64;
        let request = caller.count * self.callers.len() as u64 + number;
        Some((
            request,
            Values::new(number, self.callers[number as usize].count),
        ))
    }

    /// The request of this number has an answer, which is checked.
    pub(super) fn answered(&mut self, request: u64, json: &[u8]) {
        let callers = self.callers.len() as u64;
        let number = (request % callers) as usize;
        let caller = &mut self.callers[number];
        assert_eq!(request / callers, caller.count, "the answer to another one");
        let sum: Sum = serde_json::from_slice(json).expect("an answer");
        assert_eq!(sum, Values::new(number as u64, caller.count).sum());
        caller.count += 1;
        let sent = caller.sent;
        self.idle.push(number);
        if self.end.is_some() {
            self.tally.requests += 1;
            if self.tally.latencies.len() < MOST_SAMPLES as usize {
                let latency = self.now.saturating_duration_since(sent);
                self.tally.latencies.push(latency);
            }
        }
    }

    pub(super) fn tally(self) -> Tally {
        self.tally
    }
}
