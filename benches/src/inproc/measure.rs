//! Rounds of all subjects of a workload, and the medians over them.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::closed_loop::{Load, Spell, Tally};
use crate::inproc::allocations::{self, Allocations};
use crate::inproc::arrivals;
use crate::inproc::drive::{ClosedLoop, LongRun, OpenLoop, Part};
use crate::inproc::idle::{Idle, Idleness};
use crate::inproc::job::Costly;
use crate::inproc::subject::Subject;
use crate::inproc::workload::{BATCH_SIZE, Pattern, Task, Workload};
use crate::statistics::{median, quantile};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    rounds: usize,
    spell: Spell,
    idle: Duration,
}

impl Effort {
    /// Enough for figures to go by: some five minutes.
    pub const FULL: Self = Self {
        rounds: 7,
        spell: spell(100, 400),
        idle: Duration::from_secs(1),
    };
    /// Enough to see that everything runs: less than a minute.
    pub const QUICK: Self = Self {
        rounds: 3,
        spell: spell(20, 60),
        idle: Duration::from_millis(200),
    };
}

const fn spell(warm_up: u64, measured: u64) -> Spell {
    Spell {
        warm_up: Duration::from_millis(warm_up),
        measured: Duration::from_millis(measured),
    }
}

/// What one run of a subject gave; `None` stands for what a workload does not have, or the system does
/// not say. Times are in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// Requests answered in a second.
    pub requests_per_s: Option<f64>,
    /// The median latency.
    pub p50: Option<f64>,
    /// The latency that one request in a hundred exceeds.
    pub p99: Option<f64>,
    /// Requests in a second over those of full batches without a pause.
    pub share_of_ideal: Option<f64>,
    /// Allocations for each request; they are counted once for all rounds.
    pub allocations: Option<f64>,
    /// Bytes allocated for each request.
    pub bytes: Option<f64>,
    /// The rate at the end of a long run over that near its beginning.
    pub late_over_early: Option<f64>,
    /// Bytes that the process has grown by in a long run, for each request.
    pub grown: Option<f64>,
    /// How often the runtime's workers woke, in a second.
    pub wake_ups: Option<f64>,
    /// Processor time of all threads together, in a second.
    pub idle_cpu: Option<f64>,
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

    /// A subject's time per request over another's in the same round: the median over the rounds.
    #[must_use]
    pub fn time_ratio(&self, subject: Subject, other: Subject) -> Option<f64> {
        let pairs = self.rounds_of(subject)?.iter().zip(self.rounds_of(other)?);
        let ratios =
            pairs.map(|(round, other)| Some(other.requests_per_s? / round.requests_per_s?));
        ratios.collect::<Option<Vec<_>>>().map(median)
    }

    fn rounds_of(&self, subject: Subject) -> Option<&[Round]> {
        let found = self.rounds.iter().find(|(each, _)| *each == subject);
        found.map(|(_, rounds)| &**rounds)
    }
}

/// Measures all subjects of a workload, in turns, so that what the machine does meanwhile meets
/// all of them, of those whose names are `chosen`. `threads` are those of the runtime, `progress` is
/// told what comes next.
///
/// # Errors
///
/// When the threads for it cannot be started.
///
/// # Panics
///
/// When an answer is wrong.
pub fn measure(
    workload: Workload,
    effort: Effort,
    threads: NonZeroUsize,
    chosen: impl Fn(&str) -> bool,
    mut progress: impl FnMut(&str),
) -> io::Result<Results> {
    let subjects = workload.subjects().into_iter();
    let subjects = subjects.filter(|subject| chosen(subject.name()));
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
            // A fresh runtime, so that nobody inherits what another left of its workers' state.
            let runtime = Builder::new_multi_thread()
                .worker_threads(threads.get())
                .enable_time()
                .build()?;
            rounds.push(run(*subject, workload, effort, round, &runtime));
        }
    }
    for (subject, rounds) in &mut rounds {
        progress(&format!(
            "{}: allocations, {}",
            workload.name,
            subject.name()
        ));
        let counted = allocations::per_request(*subject, workload)?;
        for round in rounds {
            round.allocations = counted.map(|Allocations { count, .. }| count);
            round.bytes = counted.map(|Allocations { bytes, .. }| bytes);
        }
    }
    Ok(Results::new(workload, rounds))
}

/// Runs a subject that nobody has used before.
fn run(
    subject: Subject,
    workload: Workload,
    effort: Effort,
    round: usize,
    runtime: &Runtime,
) -> Round {
    let Workload { task, mode, .. } = workload;
    let spell = effort.spell;
    match workload.pattern {
        Pattern::Callers(callers) => {
            let sample_every = workload.sample_every();
            let load = Load::Timed {
                spell,
                sample_every,
            };
            let drive = ClosedLoop { callers, load };
            Round::of_tally(runtime.block_on(subject.run(task, mode, drive)), task)
        }
        Pattern::Bursts(rate) => {
            let length = spell.warm_up + spell.measured;
            let bursts = arrivals::bursts(f64::from(rate), length, round as u64);
            let warm_up = spell.warm_up;
            let drive = OpenLoop { bursts, warm_up };
            Round::of_tally(runtime.block_on(subject.run(task, mode, drive)), task)
        }
        Pattern::LongRun(callers) => {
            let drive = LongRun { callers };
            Round::of_long_run(&runtime.block_on(subject.run(task, mode, drive)))
        }
        Pattern::Idle => {
            let length = effort.idle;
            let idleness = runtime.block_on(subject.run(task, mode, Idle { length }));
            Round::of_idleness(idleness, length)
        }
    }
}

impl Round {
    fn of_tally(tally: Tally, task: Task) -> Self {
        let mut latencies = tally.latencies;
        latencies.sort_unstable();
        let requests_per_s = tally.requests as f64 / tally.elapsed.as_secs_f64();
        let ideal = (task == Task::Costly).then(|| Costly::ideal_rate(BATCH_SIZE.get()));
        Self {
            requests_per_s: Some(requests_per_s),
            p50: Some(micros(quantile(&latencies, 500))),
            p99: Some(micros(quantile(&latencies, 990))),
            share_of_ideal: ideal.map(|ideal| requests_per_s / ideal),
            ..Self::default()
        }
    }

    /// Of parts of equal size. The first is left out: it is the warm-up.
    fn of_long_run(parts: &[Part]) -> Self {
        let rate = |parts: &[Part]| {
            let requests: u64 = parts.iter().map(|part| part.requests).sum();
            let time: Duration = parts.iter().map(|part| part.time).sum();
            requests as f64 / time.as_secs_f64()
        };
        let [first, measured @ ..] = parts else {
            return Self::default();
        };
        let side = measured.len() / 3;
        let (early, late) = (&measured[..side], &measured[measured.len() - side..]);
        let memory = measured.last().and_then(|last| last.memory);
        let requests: u64 = measured.iter().map(|part| part.requests).sum();
        let middle = |latency: fn(&Part) -> Duration| {
            let latencies = measured.iter().map(|part| micros(latency(part)));
            Some(median(latencies.collect::<Vec<_>>()))
        };
        Self {
            requests_per_s: Some(rate(parts)),
            p50: middle(|part| part.p50),
            p99: middle(|part| part.p99),
            late_over_early: Some(rate(late) / rate(early)),
            grown: memory
                .zip(first.memory)
                .map(|(end, begin)| (end as f64 - begin as f64) / requests as f64),
            ..Self::default()
        }
    }

    fn of_idleness(idleness: Idleness, length: Duration) -> Self {
        let per_s = |figure: f64| figure / length.as_secs_f64();
        Self {
            wake_ups: Some(per_s(idleness.wake_ups as f64)),
            idle_cpu: idleness.processor_time.map(|time| per_s(micros(time))),
            ..Self::default()
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(millis: u64, memory: u64) -> Part {
        Part {
            requests: 1_000,
            time: Duration::from_millis(millis),
            p50: Duration::from_micros(millis),
            p99: Duration::from_micros(2 * millis),
            memory: Some(memory),
        }
    }

    #[test]
    fn a_long_run_is_compared_after_its_warm_up() {
        let mut parts = vec![part(90, 500), part(10, 1_000)];
        parts.extend([part(10, 1_000); 7]);
        parts.push(part(40, 10_000));
        let round = Round::of_long_run(&parts);
        // 3,000 requests in 30 ms, and in 60 ms.
        assert_eq!(round.late_over_early, Some(0.5));
        assert_eq!(round.grown, Some(9_500.0 / 9_000.0));
        assert_eq!((round.p50, round.p99), (Some(10.0), Some(20.0)));
    }

    #[test]
    fn the_ideal_is_that_of_the_costly_task() {
        let tally = Tally {
            requests: 19_512,
            elapsed: Duration::from_secs(1),
            ..Tally::default()
        };
        let share = Round::of_tally(tally.clone(), Task::Costly).share_of_ideal;
        assert!((share.unwrap() - 0.5).abs() < 1e-4);
        assert_eq!(Round::of_tally(tally, Task::Small).share_of_ideal, None);
    }
}
