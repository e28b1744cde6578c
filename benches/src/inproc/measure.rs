//! Rounds of all subjects of a workload, and the medians over them.

use std::num::NonZeroUsize;
use std::time::Duration;

use allocation_counter::AllocationInfo;
use tokio::runtime::{Builder, Runtime};

use crate::closed_loop::{Load, Spell, Tally};
use crate::inproc::subject::Subject;
use crate::inproc::workload::Workload;
use crate::statistics::{median, quantile};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    rounds: usize,
    spell: Spell,
}

impl Effort {
    /// Enough for figures to go by: about a minute.
    pub const FULL: Self = Self {
        rounds: 7,
        spell: Spell {
            warm_up: Duration::from_millis(100),
            measured: Duration::from_millis(400),
        },
    };
    /// Enough to see that everything runs: a few seconds.
    pub const QUICK: Self = Self {
        rounds: 3,
        spell: Spell {
            warm_up: Duration::from_millis(20),
            measured: Duration::from_millis(60),
        },
    };
}

/// What a subject did under a workload: medians over the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The subject.
    pub subject: Subject,
    /// Requests answered in a second.
    pub requests_per_s: f64,
    /// The median latency.
    pub p50: Duration,
    /// The latency that one request in a hundred exceeds.
    pub p99: Duration,
    /// Time per request over `floor-mpsc`'s in the same round; `None` where that does not run.
    pub ratio_to_floor: Option<f64>,
    /// Allocations for each request.
    pub allocations_per_request: f64,
    /// Bytes allocated for each request.
    pub bytes_per_request: f64,
}

/// Measures all subjects of a workload, in turns, so that what the machine does meanwhile meets
/// all of them.
///
/// # Errors
///
/// When the threads for it cannot be started.
pub fn measure(
    workload: Workload,
    effort: Effort,
    threads: NonZeroUsize,
) -> std::io::Result<Vec<Figures>> {
    let subjects = workload.subjects();
    let load = Load::Timed {
        spell: effort.spell,
        sample_every: workload.sample_every(),
    };
    let mut rounds = vec![Vec::new(); subjects.len()];
    for round in 0..effort.rounds {
        for turn in 0..subjects.len() {
            // Another one begins each round: nobody always comes after the same one.
            let at = (round + turn) % subjects.len();
            // A fresh runtime, so that nobody inherits what another left of its workers' state.
            let runtime = Builder::new_multi_thread()
                .worker_threads(threads.get())
                .enable_time()
                .build()?;
            let tally = runtime.block_on(subjects[at].run(workload, load));
            rounds[at].push(Round::new(tally));
        }
    }
    let floor = subjects.iter().position(|it| *it == Subject::FloorMpsc);
    let floor = floor.map(|at| rounds[at].clone());
    let figures = subjects.into_iter().zip(rounds).map(|(subject, rounds)| {
        let (allocations_per_request, bytes_per_request) = allocations(subject, workload)?;
        let ratios = floor.as_ref().map(|floor| {
            let pairs = floor.iter().zip(&rounds);
            pairs.map(|(floor, ours)| floor.requests_per_s / ours.requests_per_s)
        });
        Ok(Figures {
            subject,
            requests_per_s: median(rounds.iter().map(|round| round.requests_per_s)),
            p50: median(rounds.iter().map(|round| round.p50)),
            p99: median(rounds.iter().map(|round| round.p99)),
            ratio_to_floor: ratios.map(median),
            allocations_per_request,
            bytes_per_request,
        })
    });
    figures.collect()
}

#[derive(Clone, Copy)]
struct Round {
    requests_per_s: f64,
    p50: Duration,
    p99: Duration,
}

impl Round {
    fn new(tally: Tally) -> Self {
        let mut latencies = tally.latencies;
        latencies.sort_unstable();
        Self {
            requests_per_s: tally.requests as f64 / tally.elapsed.as_secs_f64(),
            p50: quantile(&latencies, 500),
            p99: quantile(&latencies, 990),
        }
    }
}

/// Allocations and bytes for each request, counted apart from the time and on one thread, where
/// the count is exact. The difference between two runs leaves out what starting takes.
///
/// The counter is in every allocation of the timed runs too, of all subjects alike: it adds a few
/// nanoseconds to each, so that time is never flattered by it.
fn allocations(subject: Subject, workload: Workload) -> std::io::Result<(f64, f64)> {
    let each = match workload.window {
        None => 20_000_u64.div_ceil(workload.callers),
        Some(_) => 100,
    };
    let runtime = Builder::new_current_thread().enable_time().build()?;
    // Once beforehand, for what is allocated once in a program.
    count(&runtime, subject, workload, 1);
    let once = count(&runtime, subject, workload, each);
    let twice = count(&runtime, subject, workload, each * 2);
    let requests = (each * workload.callers) as f64;
    let per_request = |once: u64, twice: u64| (twice as f64 - once as f64) / requests;
    Ok((
        per_request(once.count_total, twice.count_total),
        per_request(once.bytes_total, twice.bytes_total),
    ))
}

fn count(runtime: &Runtime, subject: Subject, workload: Workload, each: u64) -> AllocationInfo {
    allocation_counter::measure(|| {
        runtime.block_on(subject.run(workload, Load::Counted { each }));
    })
}
