//! A handler with state: `impl Handler`, one instance that remembers, then several with a state of
//! their own each.
//!
//! `cargo run --example stateful_handler`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{
    BatchContext, BatchPolicy, BatchProcessor, Batcher, Handler, Outcome, Result, WhenIdle,
};
use dynamic_batcher_memory::MemoryTransport;

/// Gives each word a number, and the same number when it comes again.
#[derive(Default)]
struct Vocabulary {
    numbers: HashMap<&'static str, usize>,
}

impl Handler<&'static str, usize> for Vocabulary {
    // `&mut self`: one batch at a time, no lock.
    async fn run(&mut self, batch: Vec<&'static str>, context: &BatchContext) -> Outcome<usize> {
        let number = |word| {
            let next = self.numbers.len();
            *self.numbers.entry(word).or_insert(next)
        };
        let numbers: Vec<_> = batch.into_iter().map(number).collect();
        // The context has what a request does not carry itself.
        let queued = context.queued(0).unwrap_or_default();
        println!(
            "  batch {}: {} words, queued for {queued:.1?}",
            context.id(),
            context.len()
        );
        numbers.into()
    }
}

/// Stands for a connection or a device: made once, used for many batches.
struct Connection {
    name: String,
    batches: usize,
}

impl Handler<u32, String> for Connection {
    async fn run(&mut self, batch: Vec<u32>, _: &BatchContext) -> Outcome<String> {
        self.batches += 1;
        // Stands for a round trip, during which the other connection has its turn.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let Self { name, batches } = self;
        let answer =
            |request| format!("request {request} went over {name}, in its batch {batches}");
        batch.into_iter().map(answer).collect::<Vec<_>>().into()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let idle_runs = BatchPolicy::default().when_idle(WhenIdle::Run);

    println!("one handler that remembers:");
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    let policy = idle_runs.clone();
    let _processor = BatchProcessor::spawn_handler(transport, policy, Vocabulary::default());
    let first = batcher
        .send_many(vec!["to", "be", "or", "not", "to", "be"])
        .await;
    let first: Vec<usize> = first.into_iter().collect::<Result<_>>()?;
    let later = batcher.send("not").await?;
    println!("  the words have the numbers {first:?}; \"not\" sent later has {later}");
    assert_eq!((first, later), (vec![0, 1, 2, 3, 0, 1], 3));

    println!("\ntwo handlers, each with a connection of its own, batches of 2:");
    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    let policy = idle_runs.instances(TWO).batch_size(TWO);
    // Called for each instance, and again for one whose handler has panicked.
    let connect = |instance| Connection {
        name: format!("connection {instance}"),
        batches: 0,
    };
    let _processor = BatchProcessor::spawn_each(transport, policy, connect);
    for answer in batcher.send_many((0..8).collect()).await {
        println!("  {}", answer?);
    }
    Ok(())
}
