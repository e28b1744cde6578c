//! Testing a handler of your own, batching included, without a server and without waiting: the
//! tests below run under tokio's paused clock, where a window of two seconds takes no time.
//!
//! `cargo test --example test_your_handler`, and `cargo run --example test_your_handler` for the
//! first of them told in words
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, Result, SendOptions};
use dynamic_batcher_memory::MemoryTransport;
use tokio::time::Instant;

/// The function to be tested: a price for each quantity.
fn price(batch: Vec<u32>) -> Vec<std::result::Result<u32, String>> {
    let price = |quantity| match quantity {
        0 => Err("nothing was ordered".into()),
        1..10 => Ok(quantity * 100),
        _ => Ok(quantity * 90),
    };
    batch.into_iter().map(price).collect()
}

/// The program's own way to start it, which the tests use too.
fn start(policy: BatchPolicy) -> (Batcher<u32, u32>, BatchProcessor<u32, u32>) {
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    (batcher, BatchProcessor::spawn(transport, policy, price))
}

// A paused clock jumps to the next timer whenever every task waits. Add the feature `test-util` of
// tokio to your dev-dependencies.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<()> {
    let (batcher, _processor) = start(BatchPolicy::default());
    let (clock, real) = (Instant::now(), std::time::Instant::now());
    let reply = batcher.send_for_reply(3, SendOptions::default()).await?;
    println!("a lone request is answered with {}", reply.value);
    if let Some(info) = reply.info {
        println!(
            "its batch of {} was closed because {}",
            info.batch.size, info.batch.reason
        );
    }
    println!("on the paused clock that took {:?}", clock.elapsed());
    println!("in real time it took {:.1?}", real.elapsed());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dynamic_batcher::{CloseReason, ErrorKind};

    use super::*;

    /// The function alone is a function: no batcher is needed for its own cases.
    #[test]
    fn many_are_cheaper() {
        assert_eq!(price(vec![1, 10]), [Ok(100), Ok(900)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_request_waits_for_the_window() {
        let (batcher, _processor) = start(BatchPolicy::default());
        let sent = Instant::now();
        let reply = batcher
            .send_for_reply(3, SendOptions::default())
            .await
            .unwrap();

        assert_eq!(reply.value, 300);
        let batch = reply.info.unwrap().batch;
        assert_eq!((batch.size, batch.reason), (1, CloseReason::Window));
        assert_eq!(sent.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_does_not_wait() {
        let (batcher, _processor) = start(BatchPolicy::default());
        let sent = Instant::now();
        let replies = batcher.send_many(vec![1; 64]).await;

        assert!(replies.into_iter().all(|reply| reply.unwrap() == 100));
        assert!(sent.elapsed() < Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_order_fails_alone() {
        let (batcher, _processor) = start(BatchPolicy::default());
        let (good, bad) = tokio::join!(batcher.send(10), batcher.send(0));

        assert_eq!(good.unwrap(), 900);
        let error = bad.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Handler);
        assert_eq!(error.to_string(), "the handler failed: nothing was ordered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_not_have_the_time_for_the_window() {
        let (batcher, _processor) = start(BatchPolicy::default());
        let hurried = SendOptions::default().timeout(Duration::from_secs(1));
        let error = batcher.send_with(3, hurried).await.unwrap_err();

        assert!(matches!(
            error.kind(),
            ErrorKind::Timeout { started: false, .. }
        ));
    }
}
