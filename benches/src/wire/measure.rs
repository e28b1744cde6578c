//! Runs of all subjects under all workloads, in turns.

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher_conformance::RedisServer;

use crate::closed_loop::{Spell, Tally};
use crate::wire::probe::{Cost, Probe};
use crate::wire::processors::Processors;
use crate::wire::results::{Results, Round};
use crate::wire::subject::{End, Subject};
use crate::wire::workload::Workload;
use crate::wire::{python, rust};

/// How many runs of each subject, and how long they are.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    rounds: usize,
    rust: Spell,
    /// Where Python takes part, which answers a hundredth as many requests in the same time.
    python: Spell,
    /// How many requests a long run has, and how many such runs there are.
    pub(crate) long: u64,
    pub(crate) long_rounds: usize,
    /// With nothing to do.
    pub(crate) idle: Spell,
}

impl Effort {
    /// Enough for figures to go by: some ten minutes.
    pub const FULL: Self = Self {
        rounds: 5,
        rust: spell(300, 1_000),
        python: spell(1_000, 3_000),
        long: 1_000_000,
        long_rounds: 3,
        idle: spell(1_000, 10_000),
    };
    /// Enough to see that everything runs: less than a minute.
    pub const QUICK: Self = Self {
        rounds: 1,
        rust: spell(100, 300),
        python: spell(500, 1_000),
        long: 50_000,
        long_rounds: 1,
        idle: spell(300, 1_000),
    };
}

const fn spell(warm_up: u64, measured: u64) -> Spell {
    Spell {
        warm_up: Duration::from_millis(warm_up),
        measured: Duration::from_millis(measured),
    }
}

/// Whether the subjects that need Python can be measured.
#[must_use]
pub fn has_python() -> bool {
    python::interpreter().is_some()
}

/// Measures all subjects that can be, of those whose names are `chosen`, under all workloads. A
/// round has one run of each, so that what the machine does meanwhile meets all that is compared:
/// subjects, and workloads. `threads` are those of each tokio runtime, `progress` is told what
/// comes next.
///
/// # Errors
///
/// When a process cannot be started or ends by itself, or the server cannot be reached.
///
/// # Panics
///
/// When an answer is wrong or missing, or there is no redis-server.
pub fn measure(
    workloads: &[Workload],
    effort: Effort,
    threads: NonZeroUsize,
    chosen: impl Fn(&str) -> bool,
    mut progress: impl FnMut(&str),
) -> Result<Vec<Results>, Box<dyn Error>> {
    let mut all: Vec<_> = workloads.iter().copied().map(Results::new).collect();
    for round in 0..effort.rounds {
        for results in &mut all {
            let workload = results.workload;
            let subjects = workload.chosen(&chosen);
            let subjects = subjects.filter(|subject| has_python() || !subject.needs_python());
            let mut subjects: Vec<_> = subjects.collect();
            // Another one begins each round: nobody always comes after the same one.
            let first = round % subjects.len().max(1);
            subjects.rotate_left(first);
            for subject in subjects {
                let (number, of) = (round + 1, effort.rounds);
                let (name, subject_name) = (workload.name, subject.name());
                progress(&format!("round {number} of {of}: {name}, {subject_name}"));
                let spell = match subject.needs_python() {
                    true => effort.python,
                    false => effort.rust,
                };
                let (tally, cost) = run(subject, workload, spell, threads)?;
                results.add(subject, Round::new(tally, &cost, workload.processors));
            }
        }
    }
    Ok(all)
}

/// Runs a subject, with a server, processors and callers that nobody has used before.
fn run(
    subject: Subject,
    workload: Workload,
    spell: Spell,
    threads: NonZeroUsize,
) -> Result<(Tally, Cost), Box<dyn Error>> {
    let server = RedisServer::start(None);
    let port = server.port();
    let callers = workload.callers;
    let processors = Processors::start(subject, workload, port, threads)?;
    let probe = |process| Probe::new(port, process, processors.ids());
    let this_process = std::process::id();
    match subject.caller() {
        End::Floor(layout) => {
            let mut probe = probe(this_process);
            let tally = layout.call(port, callers, spell, || probe.look());
            Ok((tally, probe.cost()))
        }
        End::Ours(client) => {
            let mut probe = probe(this_process);
            let call = rust::call(client, port, workload, spell, || probe.look());
            let tally = rust::runtime(threads)?.block_on(call)?;
            Ok((tally, probe.cost()))
        }
        End::Python => {
            let callers = python::Callers::start(port, callers, spell)?;
            let mut probe = probe(callers.id());
            let tally = callers.finish(|| probe.look())?;
            Ok((tally, probe.cost()))
        }
    }
}
