//! Deadlines and retries: how long a caller waits, what it is told when that was not enough, and
//! when to send again what a full queue refused.
//!
//! `cargo run --example deadline_and_retry`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{
    BatchPolicy, BatchProcessor, Batcher, ErrorKind, Result, SendOptions, WhenIdle,
};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport};
use tokio::time::{Instant, sleep, timeout_at};

const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(8).unwrap();
const MAX_QUEUE: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// Stands for a service that takes 20 ms for a batch, however large.
async fn echo(batch: Vec<u32>) -> Vec<u32> {
    sleep(Duration::from_millis(20)).await;
    batch
}

#[tokio::main]
async fn main() -> Result<()> {
    let policy = BatchPolicy::default()
        .batch_size(BATCH_SIZE)
        .when_idle(WhenIdle::Run);
    // A short queue refuses early, while there is time to try again or to ask somebody else.
    let transport = MemoryTransport::new(MemoryConfig::default().max_queue(MAX_QUEUE));
    let batcher = Batcher::new(transport.clone());
    let _processor = BatchProcessor::spawn(transport, policy, echo);

    // A timeout for one request; `Batcher::timeout` sets it for all. Its error says whether the
    // handler had started, so whether the request may have had an effect.
    let hurried = SendOptions::default().timeout(Duration::from_millis(10));
    match batcher.send_with(1, hurried).await {
        Err(error) if matches!(error.kind(), ErrorKind::Timeout { started: true, .. }) => {
            println!("10 ms for 20 ms of work: {error}");
        }
        other => panic!("expected a timeout, got {other:?}"),
    }

    // 100 callers for a queue of 16: most are refused, and try again when they are told to.
    let start = Instant::now();
    let tasks: Vec<_> = (0..100)
        .map(|request| {
            let batcher = batcher.clone();
            let deadline = start + Duration::from_secs(5);
            tokio::spawn(async move { send_until(&batcher, request, deadline).await })
        })
        .collect();
    let mut tries = Vec::new();
    for (request, task) in (0..).zip(tasks) {
        let (response, tried) = task.await.expect("no task panics")?;
        assert_eq!(response, request);
        tries.push(tried);
    }
    println!("\n100 callers at once, a queue of {MAX_QUEUE}: all answered");
    println!("  in          {:.0?}", start.elapsed());
    println!(
        "  first try   {}",
        tries.iter().filter(|&&tried| tried == 1).count()
    );
    println!("  most tries  {}", tries.iter().max().unwrap_or(&0));
    println!(
        "  mean tries  {:.1}",
        f64::from(tries.iter().sum::<u32>()) / 100.0
    );
    Ok(())
}

/// Sends again as long as that can help and there is time; says how often it tried.
///
/// A refused request has not run. Another error that `is_retryable` leaves open whether it has:
/// then sending again is for requests that do no harm when they run twice.
async fn send_until(
    batcher: &Batcher<u32, u32>,
    request: u32,
    deadline: Instant,
) -> Result<(u32, u32)> {
    let mut tries = 1;
    loop {
        let left = SendOptions::default().timeout(deadline - Instant::now());
        match batcher.send_with(request, left).await {
            Ok(response) => return Ok((response, tries)),
            Err(error) if error.is_retryable() => {
                // After `retry_after` there is probably room; at once would only ask for nothing.
                let pause = error.retry_after().unwrap_or(Duration::from_millis(10));
                if timeout_at(deadline, sleep(pause)).await.is_err() {
                    return Err(error);
                }
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}
