//! The figures of all runs of a workload's subjects, and how one compares with another.

use std::time::Duration;

use crate::closed_loop::Tally;
use crate::statistics::{median, quantile};
use crate::wire::probe::Cost;
use crate::wire::subject::Subject;
use crate::wire::workload::Workload;

/// What one run of a subject gave. Times are in microseconds; `None` stands for what the system
/// does not say.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Processes that answered.
    pub processors: f64,
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
    /// Without any yet.
    pub(crate) fn new(workload: Workload) -> Self {
        Self {
            workload,
            rounds: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, subject: Subject, round: Round) {
        let found = self.rounds.iter_mut().find(|(each, _)| *each == subject);
        match found {
            Some((_, rounds)) => rounds.push(round),
            None => self.rounds.push((subject, vec![round])),
        }
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
        ratio(self.rounds_of(subject)?, self.rounds_of(other)?, figure)
    }

    /// A subject's figure over its own under another workload in the same round: the median over the
    /// rounds.
    #[must_use]
    pub fn growth(&self, subject: Subject, base: &Self, figure: Figure) -> Option<f64> {
        ratio(self.rounds_of(subject)?, base.rounds_of(subject)?, figure)
    }

    fn rounds_of(&self, subject: Subject) -> Option<&[Round]> {
        let found = self.rounds.iter().find(|(each, _)| *each == subject);
        found.map(|(_, rounds)| &**rounds)
    }
}

fn ratio(rounds: &[Round], others: &[Round], figure: Figure) -> Option<f64> {
    let pairs = rounds.iter().zip(others);
    let ratios = pairs.map(|(round, other)| Some(figure(round)? / figure(other)?));
    ratios.collect::<Option<Vec<_>>>().map(median)
}

impl Round {
    pub(crate) fn new(tally: Tally, cost: &Cost, processors: usize) -> Self {
        let mut latencies = tally.latencies;
        latencies.sort_unstable();
        let latency = |of_1000| micros(quantile(&latencies, of_1000));
        let requests = tally.requests as f64;
        let [callers_cpu, processors_cpu, server_cpu] =
            cost.times.map(|time| Some(micros(time?) / requests));
        Self {
            processors: processors as f64,
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

    /// Processor time for each request in all processes together.
    pub(crate) fn cost(&self) -> Option<f64> {
        Some(self.callers_cpu? + self.processors_cpu? + self.server_cpu?)
    }

    /// How much of a processor one that needs so many microseconds for a request was busy.
    pub(crate) fn share(&self, cpu: Option<f64>) -> Option<f64> {
        Some(cpu? * self.requests_per_s / 1e6)
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
