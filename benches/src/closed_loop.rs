//! Callers that each send their next request when they have their answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::subject::{Client, answer};
use crate::workload::Workload;

/// The most latencies that are kept of one run, all callers together: a few hundred kilobytes, set
/// aside before the run.
const MOST_SAMPLES: u64 = 1 << 16;

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const END: u8 = 2;

/// How long a run takes.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// So long; requests that are sent during the warm-up do not count.
    Timed {
        /// Before the measurement: caches and pools fill.
        warm_up: Duration,
        /// The measurement. All callers are at work all the time.
        measured: Duration,
    },
    /// So many requests of each caller, without a measure of time.
    Counted {
        /// The requests of one caller.
        each: u64,
    },
}

/// What a timed run gave.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were sent during the measurement and answered.
    pub requests: u64,
    /// How long the measurement took.
    pub elapsed: Duration,
    /// The latencies of some of them.
    pub latencies: Vec<Duration>,
}

/// Runs the callers. Every answer is checked.
///
/// # Panics
///
/// When an answer is not that of its request.
pub(crate) async fn closed_loop<C: Client>(client: C, workload: Workload, load: Load) -> Tally {
    let stage = Arc::new(AtomicU8::new(WARM_UP));
    let limit = match load {
        Load::Timed { .. } => u64::MAX,
        Load::Counted { each } => each,
    };
    let start_caller = |number| {
        let client = client.clone();
        let stage = Arc::clone(&stage);
        tokio::spawn(async move { caller(&client, workload, number, limit, &stage).await })
    };
    let callers: Vec<_> = (0..workload.callers).map(start_caller).collect();

    let mut tally = Tally::default();
    if let Load::Timed { warm_up, measured } = load {
        sleep(warm_up).await;
        stage.store(MEASURE, Ordering::Relaxed);
        let start = Instant::now();
        sleep(measured).await;
        stage.store(END, Ordering::Relaxed);
        tally.elapsed = start.elapsed();
    }
    for caller in callers {
        let (requests, latencies) = caller.await.expect("a caller ends by itself");
        tally.requests += requests;
        tally.latencies.extend(latencies);
    }
    tally
}

async fn caller<C: Client>(
    client: &C,
    workload: Workload,
    number: u64,
    limit: u64,
    stage: &AtomicU8,
) -> (u64, Vec<Duration>) {
    let most_samples = (MOST_SAMPLES / workload.callers) as usize;
    let mut latencies = Vec::with_capacity(most_samples);
    let mut requests = 0;
    for count in 0..limit {
        let stage = stage.load(Ordering::Relaxed);
        if stage == END {
            break;
        }
        // By their numbers the callers take turns, so that no one batch has all the samples.
        let is_sample = stage == MEASURE
            && (count + number).is_multiple_of(workload.sample_every())
            && latencies.len() < most_samples;
        let sent = is_sample.then(Instant::now);
        let request = (number << 48) | count;
        assert_eq!(client.call(request).await, answer(request));
        latencies.extend(sent.map(|sent| sent.elapsed()));
        requests += u64::from(stage == MEASURE);
    }
    (requests, latencies)
}
