//! Ending in good order: on ctrl-c, or after 500 answers, the processor drains and says how it
//! went. No caller is left without an outcome.
//!
//! `cargo run --example graceful_drain`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, ErrorKind, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;
use tokio::time::{interval, sleep};

const CALLERS: u32 = 24;
const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(8).unwrap();

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = BatchPolicy::default()
        .batch_size(BATCH_SIZE)
        .when_idle(WhenIdle::Run);
    let transport = MemoryTransport::default();
    let batcher: Batcher<u32, u32> = Batcher::new(transport.clone());
    let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<u32>| async {
        // Stands for a remote service.
        sleep(Duration::from_millis(10)).await;
        batch
    });
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| tokio::spawn(call_until_closed(batcher.clone(), number)))
        .collect();

    println!("{CALLERS} callers at work; ctrl-c ends it early");
    let enough = async {
        let mut look = interval(Duration::from_millis(5));
        while processor.status().answered < 500 {
            look.tick().await;
        }
    };
    tokio::select! {
        () = enough => println!("500 answers are enough: draining"),
        result = tokio::signal::ctrl_c() => {
            result?;
            println!("ctrl-c: draining");
        }
    }

    // What runs and what was read is finished, the rest is given back, all within a second.
    let report = processor.drain(Duration::from_secs(1)).await?;
    println!("\nthe drain");
    println!(
        "  answered    {:4}  requests that it still had",
        report.answered
    );
    println!(
        "  given back  {:4}  that time did not suffice for",
        report.released
    );
    println!(
        "  abandoned   {:4}  that were cut short at its deadline",
        report.abandoned
    );
    println!("  ended       {:>4}", report.ended);

    let mut answered = 0;
    let mut refused = 0;
    for caller in callers {
        answered += caller.await??;
        refused += 1;
    }
    println!("\nthe callers");
    println!("  answered    {answered:4}  requests");
    println!(
        "  refused     {refused:4}  with `Closed`, as no processor is left; with so long a drain, none has run"
    );
    Ok(())
}

/// Sends one request after the other until there is nobody to answer; says how many were answered.
async fn call_until_closed(
    batcher: Batcher<u32, u32>,
    number: u32,
) -> dynamic_batcher::Result<usize> {
    let mut answered = 0;
    loop {
        match batcher.send(number).await {
            Ok(response) => assert_eq!(response, number),
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(answered),
            Err(error) => return Err(error),
        }
        answered += 1;
    }
}
