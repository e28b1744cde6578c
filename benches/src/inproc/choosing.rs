//! What `batch_size` and `batch_time` come to: the costly job under several loads, in tables.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;
use tokio::runtime::Builder;

use crate::closed_loop::{self, Spell, Tally};
use crate::inproc::arrivals;
use crate::inproc::drive::{ClosedLoop, Drive as _, OpenLoop};
use crate::inproc::job::{Costly, Job as _};
use crate::inproc::workload::Mode;
use crate::statistics::{median, quantile};

/// The values of `batch_size`.
const SIZES: [NonZeroUsize; 5] = [
    NonZeroUsize::MIN,
    NonZeroUsize::new(4).unwrap(),
    NonZeroUsize::new(16).unwrap(),
    NonZeroUsize::new(64).unwrap(),
    NonZeroUsize::new(256).unwrap(),
];

/// What an idle processor does with a batch that is not full.
const MODES: [Mode; 4] = [
    Mode::AtOnce,
    Mode::Window(Duration::from_millis(1)),
    Mode::Window(Duration::from_millis(5)),
    Mode::Window(Duration::from_millis(20)),
];

/// How requests come.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// So many callers each send their next request when they have their answer.
    Callers(u64),
    /// So many in a second, one by one, as independent users send them.
    Rate(u32),
}

impl Load {
    /// All loads. For each size there is a rate that only it and the larger ones bear.
    pub const ALL: [Self; 7] = [
        Self::Callers(16),
        Self::Callers(64),
        Self::Callers(256),
        Self::Rate(500),
        Self::Rate(3_000),
        Self::Rate(12_000),
        Self::Rate(35_000),
    ];

    /// Whether full batches of this size, one after the other, are as many as come. If not, the
    /// queue grows for as long as the load lasts, and there is no latency to speak of.
    fn is_borne_by(self, size: NonZeroUsize) -> bool {
        match self {
            Self::Callers(_) => true,
            Self::Rate(rate) => f64::from(rate) < Costly::ideal_rate(size.get()),
        }
    }

    fn title(self) -> String {
        match self {
            Self::Callers(callers) => format!(
                "{callers} callers, each with one request at a time: \
                 requests/s, p50 / p99 in ms, mean batch"
            ),
            Self::Rate(rate) => format!("{rate} requests/s: p50 / p99 in ms, mean batch"),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    rounds: u64,
    spell: Spell,
}

impl Effort {
    /// Enough for figures to go by: some five minutes.
    pub const FULL: Self = Self {
        rounds: 3,
        spell: Spell {
            warm_up: Duration::from_millis(100),
            measured: Duration::from_millis(700),
        },
    };
    /// Enough to see that everything runs.
    pub const QUICK: Self = Self {
        rounds: 1,
        spell: Spell {
            warm_up: Duration::from_millis(20),
            measured: Duration::from_millis(60),
        },
    };
}

/// What one run gave. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Run {
    requests_per_s: f64,
    p50: f64,
    p99: f64,
    mean_batch: f64,
}

/// Measures all policies under a load, in turns, and gives a table of medians in Markdown. `threads`
/// are those of the runtime, `progress` is told what comes next.
///
/// # Errors
///
/// When the threads for it cannot be started.
///
/// # Panics
///
/// When an answer is wrong.
pub fn table(
    load: Load,
    effort: Effort,
    threads: NonZeroUsize,
    mut progress: impl FnMut(&str),
) -> io::Result<String> {
    let policies = SIZES.map(|size| MODES.map(|mode| (size, mode)));
    let mut runs = policies.map(|row| row.map(|_| Vec::new()));
    for round in 0..effort.rounds {
        for (row, policies) in runs.iter_mut().zip(policies) {
            for (runs, (size, mode)) in row.iter_mut().zip(policies) {
                if load.is_borne_by(size) && makes_a_difference(size, mode) {
                    progress(&format!("{load:?}: round {round}, {size}, {mode:?}"));
                    runs.push(run(load, effort.spell, round, (size, mode), threads)?);
                }
            }
        }
    }

    let heads = MODES.map(|mode| match mode {
        Mode::AtOnce => "`WhenIdle::Run`".to_owned(),
        Mode::Window(window) => format!("{} ms", window.as_millis()),
    });
    let mut lines = vec![
        format!("{}\n", load.title()),
        format!("| `batch_size` | {} |", heads.join(" | ")),
        format!("|{}", "---|".repeat(1 + heads.len())),
    ];
    for (size, row) in SIZES.into_iter().zip(runs) {
        let cells = row.map(|runs| match &runs[..] {
            [] if load.is_borne_by(size) => "the same".to_owned(),
            [] => "too many".to_owned(),
            runs => cell(load, runs),
        });
        lines.push(format!("| {size} | {} |", cells.join(" | ")));
    }
    Ok(lines.join("\n"))
}

/// A batch of one is full when it opens.
fn makes_a_difference(size: NonZeroUsize, mode: Mode) -> bool {
    size > NonZeroUsize::MIN || mode == Mode::AtOnce
}

fn cell(load: Load, runs: &[Run]) -> String {
    let figure = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
    let rate = match load {
        Load::Callers(_) => format!("{:.0}, ", figure(|run| run.requests_per_s)),
        Load::Rate(_) => String::new(),
    };
    let (p50, p99) = (figure(|run| run.p50), figure(|run| run.p99));
    let mean_batch = figure(|run| run.mean_batch);
    format!("{rate}{p50:.1} / {p99:.1}, {mean_batch:.1}")
}

/// Runs a processor that nobody has used before, on a runtime of its own.
fn run(
    load: Load,
    spell: Spell,
    seed: u64,
    (size, mode): (NonZeroUsize, Mode),
    threads: NonZeroUsize,
) -> io::Result<Run> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads.get())
        .enable_time()
        .build()?;
    let policy = BatchPolicy::default().batch_size(size);
    let policy = match mode {
        Mode::AtOnce => policy.when_idle(WhenIdle::Run),
        Mode::Window(window) => policy.batch_time(window),
    };
    Ok(runtime.block_on(async {
        let transport = MemoryTransport::default();
        let batcher: Batcher<u64, u64> = Batcher::new(transport.clone());
        let processor = BatchProcessor::spawn_blocking(transport, policy, Costly::handle);
        let tally = drive(load, spell, seed, batcher).await;
        let status = processor.status();
        Run::of(tally, status.answered as f64 / status.totals.batches as f64)
    }))
}

async fn drive(load: Load, spell: Spell, seed: u64, batcher: Batcher<u64, u64>) -> Tally {
    match load {
        Load::Callers(callers) => {
            let load = closed_loop::Load::Timed {
                spell,
                sample_every: 1,
            };
            let drive = ClosedLoop { callers, load };
            drive.drive::<Costly, _>(batcher).await
        }
        Load::Rate(rate) => {
            let length = spell.warm_up + spell.measured;
            let drive = OpenLoop {
                bursts: arrivals::singles(f64::from(rate), length, seed),
                warm_up: spell.warm_up,
            };
            drive.drive::<Costly, _>(batcher).await
        }
    }
}

impl Run {
    fn of(tally: Tally, mean_batch: f64) -> Self {
        let mut latencies = tally.latencies;
        latencies.sort_unstable();
        let millis = |of_1000| quantile(&latencies, of_1000).as_secs_f64() * 1e3;
        Self {
            requests_per_s: tally.requests as f64 / tally.elapsed.as_secs_f64(),
            p50: millis(500),
            p99: millis(990),
            mean_batch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rate_is_borne_by_one_size_less_than_the_one_before() {
        let rates = Load::ALL.into_iter().skip(3);
        let borne = rates.map(|load| SIZES.iter().filter(|size| load.is_borne_by(**size)).count());
        assert_eq!(borne.collect::<Vec<_>>(), [5, 4, 3, 2]);
    }

    #[test]
    fn a_cell_has_the_medians_and_the_rate_where_it_is_a_result() {
        let run = |requests_per_s, p99| Run {
            requests_per_s,
            p50: 1.0,
            p99,
            mean_batch: 2.5,
        };
        let runs = [run(10.0, 9.0), run(30.0, 7.0), run(20.0, 8.0)];
        assert_eq!(cell(Load::Callers(1), &runs), "20, 1.0 / 8.0, 2.5");
        assert_eq!(cell(Load::Rate(20), &runs), "1.0 / 8.0, 2.5");
    }
}
