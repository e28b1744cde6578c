//! Rounds of all subjects of a workload, and the medians over them.

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher_conformance::RedisServer;

use crate::closed_loop::{Spell, Tally};
use crate::statistics::{median, quantile};
use crate::wire::probe::{Cost, Probe};
use crate::wire::processors::Processors;
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
}

impl Effort {
    /// Enough for figures to go by: some five minutes.
    pub const FULL: Self = Self {
        rounds: 5,
        rust: spell(300, 1_000),
        python: spell(1_000, 3_000),
    };
    /// Enough to see that everything runs: less than a minute.
    pub const QUICK: Self = Self {
        rounds: 1,
        rust: spell(100, 300),
        python: spell(500, 1_000),
    };
}

const fn spell(warm_up: u64, measured: u64) -> Spell {
    Spell {
        warm_up: Duration::from_millis(warm_up),
        measured: Duration::from_millis(measured),
    }
}

/// What one run of a subject gave. Times are in microseconds; `None` stands for what the system
/// does not say.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Requests answered in a second.
    pub requests_per_s: f64,
    /// The median latency.
    pub p50: f64,
    /// The latency that one request in a hundred exceeds.
    pub p99: f64,
    /// The latency that one request in a thousand exceeds.
    pub p999: f64,
    /// Processor time for each request in the callers' process.
    pub callers_cpu: Option<f64>,
    /// Processor time for each request in the processors' processes together.
    pub processors_cpu: Option<f64>,
    /// Processor time for each request in the server.
    pub server_cpu: Option<f64>,
    /// Commands that the server ran for each request, each of a pipeline by itself.
    pub commands: f64,
    /// The most memory that the server took at any time, in bytes.
    pub peak_memory: f64,
}

/// One figure of a run.
pub type Figure = fn(&Round) -> Option<f64>;

/// What the subjects did under a workload.
#[derive(Debug)]
pub struct Results {
    /// The workload.
    pub workload: Workload,
    rounds: Vec<(Subject, Vec<Round>)>,
}

impl Results {
    pub(crate) fn new(workload: Workload, rounds: Vec<(Subject, Vec<Round>)>) -> Self {
        Self { workload, rounds }
    }

    /// Who was measured.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.rounds.iter().map(|(subject, _)| *subject)
    }

    /// A subject's figure: the median over the rounds.
    #[must_use]
    pub fn figure(&self, subject: Subject, figure: Figure) -> Option<f64> {
        let figures = self.rounds_of(subject)?.iter().map(figure);
        figures.collect::<Option<Vec<_>>>().map(median)
    }

    /// A subject's figure over another's in the same round: the median over the rounds.
    #[must_use]
    pub fn ratio(&self, subject: Subject, other: Subject, figure: Figure) -> Option<f64> {
        let pairs = self.rounds_of(subject)?.iter().zip(self.rounds_of(other)?);
        let ratios = pairs.map(|(round, other)| Some(figure(round)? / figure(other)?));
        ratios.collect::<Option<Vec<_>>>().map(median)
    }

    fn rounds_of(&self, subject: Subject) -> Option<&[Round]> {
        let found = self.rounds.iter().find(|(each, _)| *each == subject);
        found.map(|(_, rounds)| &**rounds)
    }
}

/// Whether the subjects that need Python can be measured.
#[must_use]
pub fn has_python() -> bool {
    python::interpreter().is_some()
}

/// Measures the subjects of a workload that can be, in turns, so that what the machine does
/// meanwhile meets all of them. `threads` are those of each tokio runtime, `progress` is told what
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
    workload: Workload,
    effort: Effort,
    threads: NonZeroUsize,
    mut progress: impl FnMut(&str),
) -> Result<Results, Box<dyn Error>> {
    let subjects = workload.subjects.iter().copied();
    let subjects = subjects.filter(|subject| has_python() || !subject.needs_python());
    let mut rounds: Vec<_> = subjects.map(|subject| (subject, Vec::new())).collect();
    for round in 0..effort.rounds {
        for turn in 0..rounds.len() {
            // Another one begins each round: nobody always comes after the same one.
            let at = (round + turn) % rounds.len();
            let (subject, rounds) = &mut rounds[at];
            let (name, subject_name) = (workload.name, subject.name());
            progress(&format!(
                "{name}: round {} of {}, {subject_name}",
                round + 1,
                effort.rounds
            ));
            let spell = match subject.needs_python() {
                true => effort.python,
                false => effort.rust,
            };
            let (tally, cost) = run(*subject, workload, spell, threads)?;
            rounds.push(Round::new(tally, &cost));
        }
    }
    Ok(Results::new(workload, rounds))
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
    let processors = Processors::start(subject, workload.processors, port, threads)?;
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
            let call = rust::call(client, port, callers, spell, || probe.look());
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

impl Round {
    fn new(tally: Tally, cost: &Cost) -> Self {
        let mut latencies = tally.latencies;
        latencies.sort_unstable();
        let latency = |of_1000| micros(quantile(&latencies, of_1000));
        let requests = tally.requests as f64;
        let [callers_cpu, processors_cpu, server_cpu] =
            cost.times.map(|time| Some(micros(time?) / requests));
        Self {
            requests_per_s: requests / tally.elapsed.as_secs_f64(),
            p50: latency(500),
            p99: latency(990),
            p999: latency(999),
            callers_cpu,
            processors_cpu,
            server_cpu,
            commands: cost.commands as f64 / requests,
            peak_memory: cost.peak_memory as f64,
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
