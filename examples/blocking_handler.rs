//! Work that computes for long: on threads of its own, so that the runtime stays free for the
//! callers; and a model for each thread that is not `Send`.
//!
//! `cargo run --release --example blocking_handler`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, Result, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;

/// How many primes there are up to `limit`, the slow way.
fn count_primes(limit: u32) -> u32 {
    let is_prime = |n: u32| {
        (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
    };
    (2..=limit).map(|n| u32::from(is_prime(n))).sum()
}

/// As the models of many libraries, it may not leave the thread that made it.
struct Model {
    weights: Rc<[u32]>,
    calls: Cell<usize>,
}

impl Model {
    fn load() -> Self {
        Self {
            weights: Rc::new([1, 5, 2]),
            calls: Cell::new(0),
        }
    }

    fn predict(&self, inputs: &[u32]) -> Vec<u32> {
        self.calls.set(self.calls.get() + 1);
        let weight = count_primes(100_000) * self.weights.iter().sum::<u32>();
        inputs.iter().map(|input| input * weight).collect()
    }
}

/// One thread for the runtime: a handler that ran on it would hold up everything else.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);

    let transport = MemoryTransport::default();
    let batcher: Batcher<u32, u32> = Batcher::new(transport.clone());
    let _primes = BatchProcessor::spawn_blocking(transport, policy.clone(), |batch: Vec<u32>| {
        batch.into_iter().map(count_primes).collect::<Vec<_>>()
    });
    let start = Instant::now();
    let mut ticks = 0;
    let mut every = tokio::time::interval(Duration::from_millis(5));
    let counting = batcher.send_many(vec![400_000; 8]);
    tokio::pin!(counting);
    let counts = loop {
        tokio::select! {
            counts = &mut counting => break counts,
            _ = every.tick() => ticks += 1,
        }
    };
    println!(
        "spawn_blocking: a batch of {} took {:.0?};",
        counts.len(),
        start.elapsed()
    );
    println!("  meanwhile the only thread of the runtime served {ticks} ticks of 5 ms");
    for count in counts {
        assert_eq!(count?, 33_860);
    }

    const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();
    const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(4).unwrap();
    let policy = policy.instances(THREADS).batch_size(BATCH_SIZE);
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    let _models = BatchProcessor::spawn_blocking_each(transport, policy, |thread| {
        // Runs on the thread that will use it, so the model never moves between threads.
        let model = Model::load();
        move |batch: Vec<u32>| {
            let outputs = model.predict(&batch).into_iter();
            let call = model.calls.get();
            outputs
                .map(|output| (output, thread, call))
                .collect::<Vec<_>>()
        }
    });
    println!("\nspawn_blocking_each: {THREADS} threads with a model each, batches of {BATCH_SIZE}");
    for (input, output) in (0..).zip(batcher.send_many((0..16).collect()).await) {
        let (output, thread, call) = output?;
        assert_eq!(output, input * 9_592 * 8);
        println!("  input {input:2}: call {call} of the model on thread {thread}");
    }
    Ok(())
}
