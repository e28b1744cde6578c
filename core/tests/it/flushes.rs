//! Why batches are closed, as the metrics count it: each reason by itself.

use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchInfo, BatchPolicy, BatchProcessor, Batcher, CallMeta, Consumer, Delivery, Result,
    Source, WhenIdle,
};
use dynamic_batcher_memory::MemoryTransport;

use crate::book::Book;

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Batches of two, of which the first waits for the second for so long.
fn waits(book: &Book, window: Duration) -> BatchPolicy {
    let policy = BatchPolicy::default().batch_size(TWO);
    let policy = policy.when_idle(WhenIdle::Wait).batch_time(window);
    policy.observer(book.metrics.clone())
}

/// Sends so many requests to a processor with that policy, and drains it at their end, or while they
/// wait.
async fn run(policy: BatchPolicy, requests: u8, drain_first: bool) {
    let transport = MemoryTransport::default();
    let batcher: Batcher<u8, u8> = Batcher::new(transport.clone());
    let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<u8>| batch);
    let sent = tokio::spawn(async move { batcher.send_many((0..requests).collect()).await });
    if drain_first {
        while processor.status().waiting < usize::from(requests) {
            tokio::task::yield_now().await;
        }
        processor.drain(SECOND).await.expect("it runs");
    }
    let answers = sent.await.expect("no panic");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

fn assert_one(book: &Book, reason: &str) {
    let expected = (format!("flush_total{{{reason}}}"), 1);
    let flushes: Vec<_> = book.counters("flush_total").into_iter().collect();
    assert_eq!(flushes, [expected]);
}

#[tokio::test(start_paused = true)]
async fn it_is_full() {
    let book = Book::new();
    run(waits(&book, HOUR), 2, false).await;
    assert_one(&book, "full");
}

#[tokio::test(start_paused = true)]
async fn its_window_is_over() {
    let book = Book::new();
    run(waits(&book, SECOND), 1, false).await;
    assert_one(&book, "window");
}

#[tokio::test(start_paused = true)]
async fn nothing_else_runs() {
    let book = Book::new();
    let policy = waits(&book, HOUR).when_idle(WhenIdle::Run);
    run(policy, 1, false).await;
    assert_one(&book, "idle");
}

#[tokio::test(start_paused = true)]
async fn the_processor_drains() {
    let book = Book::new();
    run(waits(&book, HOUR), 1, true).await;
    assert_one(&book, "drain");
}

/// A queue of one request, which may be delivered this once and not again.
struct LastAttempt {
    delivered: AtomicBool,
    answered: Arc<AtomicBool>,
}

impl Source<u8, u8> for LastAttempt {
    type Consumer = Self;

    fn attach(&self) -> Self {
        Self {
            delivered: AtomicBool::new(false),
            answered: Arc::clone(&self.answered),
        }
    }
}

impl Consumer<u8, u8> for LastAttempt {
    type Ticket = ();

    async fn recv(&self, into: &mut Vec<Delivery<u8, ()>>, _: usize, _: Duration) -> Result<bool> {
        if self.delivered.swap(true, Ordering::Relaxed) {
            return pending().await;
        }
        let mut meta = CallMeta::new(HOUR);
        meta.last_attempt = true;
        into.push(Delivery::new(Ok(1), (), meta));
        Ok(true)
    }

    async fn reply(&self, _: Option<Arc<BatchInfo>>, _: Vec<Answer<u8, ()>>) -> Result<()> {
        self.answered.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn release(&self, _: Vec<Delivery<u8, ()>>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn it_has_a_request_on_its_last_attempt() {
    let book = Book::new();
    let answered = Arc::new(AtomicBool::new(false));
    let source = LastAttempt {
        delivered: AtomicBool::new(false),
        answered: Arc::clone(&answered),
    };
    let _processor = BatchProcessor::spawn(source, waits(&book, HOUR), |batch: Vec<u8>| batch);
    while !answered.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    assert_one(&book, "last_attempt");
}
