//! Callers that each send their next request when they have their answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The most latencies that are kept of one run, all callers together: a few hundred kilobytes, set
/// aside before the run.
pub(crate) const MOST_SAMPLES: u64 = 1 << 16;

/// One request in how many has its latency taken where requests are counted.
const COUNTED_SAMPLE_EVERY: u64 = 16;

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const END: u8 = 2;

/// What a caller holds of what is measured.
pub(crate) trait Client: Clone + Send + 'static {
    /// Gets one request answered, and checks the answer.
    fn call(&mut self, request: u64) -> impl Future<Output = ()> + Send;
}

/// The course of a run that is measured in time.
#[derive(Clone, Copy, Debug)]
pub struct Spell {
    /// Before the measurement: caches and pools fill. What is answered then does not count.
    pub warm_up: Duration,
    /// The measurement. All callers are at work all the time.
    pub measured: Duration,
}

/// How long a run takes.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// So long.
    Timed {
        /// The time.
        spell: Spell,
        /// One request in how many has its latency taken.
        sample_every: u64,
    },
    /// So many requests of each caller, from the first to the last one: the measurement has no
    /// beginning and end of its own, and callers that are done early wait for the others.
    Counted {
        /// The requests of one caller.
        each: u64,
    },
}

/// What a run gave.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were answered during the measurement.
    pub requests: u64,
    /// How long the measurement took.
    pub elapsed: Duration,
    /// The latencies of some of them.
    pub latencies: Vec<Duration>,
}

/// Runs so many callers. `at_edge` is called when a measurement begins and when it ends.
///
/// # Panics
///
/// When an answer is not that of its request.
pub(crate) async fn closed_loop<C: Client>(
    client: C,
    callers: u64,
    load: Load,
    mut at_edge: impl FnMut(),
) -> Tally {
    let (first_stage, limit, sample_every) = match load {
        Load::Timed { sample_every, .. } => (WARM_UP, u64::MAX, sample_every),
        Load::Counted { each } => (MEASURE, each, COUNTED_SAMPLE_EVERY),
    };
    let stage = Arc::new(AtomicU8::new(first_stage));
    let most_samples = (MOST_SAMPLES / callers) as usize;
    let start_caller = |number| {
        let caller = Caller {
            client: client.clone(),
            number,
            limit,
            sample_every,
            most_samples,
        };
        let stage = Arc::clone(&stage);
        tokio::spawn(async move { caller.run(&stage).await })
    };
    let start_all = || (0..callers).map(start_caller).collect();
    let mut tally = Tally::default();
    match load {
        Load::Timed { spell, .. } => {
            let callers = start_all();
            sleep(spell.warm_up).await;
            at_edge();
            stage.store(MEASURE, Ordering::Relaxed);
            let start = Instant::now();
            sleep(spell.measured).await;
            stage.store(END, Ordering::Relaxed);
            tally.elapsed = start.elapsed();
            at_edge();
            tally.add(callers).await;
        }
        Load::Counted { .. } => {
            at_edge();
            let start = Instant::now();
            tally.add(start_all()).await;
            tally.elapsed = start.elapsed();
            at_edge();
        }
    }
    tally
}

impl Tally {
    /// Waits for callers, and counts what they did.
    async fn add(&mut self, callers: Vec<JoinHandle<(u64, Vec<Duration>)>>) {
        for caller in callers {
            let (requests, latencies) = caller.await.expect("a caller ends by itself");
            self.requests += requests;
            self.latencies.extend(latencies);
        }
    }
}

struct Caller<C> {
    client: C,
    number: u64,
    limit: u64,
    sample_every: u64,
    most_samples: usize,
}

impl<C: Client> Caller<C> {
    /// How many requests were answered during the measurement, and latencies of some.
    async fn run(mut self, stage: &AtomicU8) -> (u64, Vec<Duration>) {
        let mut latencies = Vec::with_capacity(self.most_samples);
        let mut requests = 0;
        for count in 0..self.limit {
            // By their numbers the callers take turns, so that no one batch has all the samples.
            let is_sample = (count + self.number).is_multiple_of(self.sample_every)
                && latencies.len() < self.most_samples;
            let sent = is_sample.then(Instant::now);
            self.client.call((self.number << 48) | count).await;
            match stage.load(Ordering::Relaxed) {
                WARM_UP => {}
                MEASURE => {
                    requests += 1;
                    latencies.extend(sent.map(|sent| sent.elapsed()));
                }
                _ => break,
            }
        }
        (requests, latencies)
    }
}
