//! How a processor leaves a transport that is not done with what it was given, or is being asked.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchInfo, BatchPolicy, BatchProcessor, Batcher, Consumer, Delivery, ErrorKind, Phase,
    Result, Source, WhenIdle,
};
use dynamic_batcher_memory::{MemoryConsumer, MemoryTicket, MemoryTransport};
use tokio::time::{Instant, sleep};

use crate::{poll_once, within};

const HOUR: Duration = Duration::from_secs(3600);
const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

/// Takes no answers, and needs a moment to take what is given back.
struct Stuck(MemoryTransport<u8, u8>);

struct StuckConsumer(MemoryConsumer<u8, u8>);

impl Source<u8, u8> for Stuck {
    type Consumer = StuckConsumer;

    fn attach(&self) -> StuckConsumer {
        StuckConsumer(self.0.attach())
    }
}

impl Consumer<u8, u8> for StuckConsumer {
    type Ticket = MemoryTicket<u8, u8>;

    async fn recv(
        &self,
        into: &mut Vec<Delivery<u8, Self::Ticket>>,
        max: usize,
        wait: Duration,
    ) -> Result<bool> {
        self.0.recv(into, max, wait).await
    }

    async fn reply(
        &self,
        _batch: Option<Arc<BatchInfo>>,
        _answers: Vec<Answer<u8, Self::Ticket>>,
    ) -> Result<()> {
        std::future::pending().await
    }

    async fn release(&self, deliveries: Vec<Delivery<u8, Self::Ticket>>) -> Result<()> {
        sleep(Duration::from_millis(1)).await;
        self.0.release(deliveries).await
    }
}

/// What becomes of a request that waits in a processor with an answer that is not taken and a handler
/// that does not end, while `leave` ends that processor and another is there. How long it took until the
/// first had left.
async fn leaves<F: Future<Output = ()>>(
    leave: impl FnOnce(BatchProcessor<u8, u8>) -> F,
) -> Duration {
    let transport = MemoryTransport::<u8, u8>::default();
    let batcher = Batcher::new(transport.clone()).timeout(2 * HOUR);
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let handler = |batch: Vec<u8>| async move {
        if batch[0] == 1 {
            std::future::pending::<()>().await;
        }
        batch
    };
    let two = policy.clone().batch_size(TWO);
    let (processor, task) = BatchProcessor::pair(Stuck(transport.clone()), two, handler);
    let task = tokio::spawn(task);
    let mut sends = Vec::new();
    for request in 0..3 {
        let batcher = batcher.clone();
        sends.push(tokio::spawn(async move { batcher.send(request).await }));
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(processor.status().waiting, 1);
    let other = BatchProcessor::spawn(transport, policy, |batch: Vec<u8>| batch);
    within(other.ready()).await.expect("it runs");

    let start = Instant::now();
    leave(processor).await;
    let waited = sends.pop().expect("three were sent");
    let answered = within(waited).await.expect("it does not panic");
    assert_eq!(answered.expect("another processor answers"), 2);
    task.await.expect("it ends in good order");
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_not_taken_keep_nothing_from_being_given_back() {
    let took = leaves(|processor| async { drop(processor) }).await;
    assert!(took < Duration::from_secs(6), "{took:?}");
    let took = leaves(|processor| async move {
        let report = processor.drain(Duration::from_secs(2)).await.unwrap();
        assert_eq!(report.released, 1);
    });
    assert!(took.await <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn who_is_stopped_as_it_drains_does_not_stay_to_the_end_of_the_drain() {
    let took = leaves(|processor| async move {
        assert!(poll_once(pin!(processor.drain(HOUR))).is_pending());
        // It drains, and nobody waits for it.
        sleep(Duration::from_millis(1)).await;
        assert_eq!(processor.status().phase, Phase::Draining);
    });
    let took = took.await;
    assert!(took < Duration::from_secs(6), "{took:?}");
}

/// Is asked for the length of its queue for as long as its processor's task is still there, or a moment.
struct Asked {
    asks: mpsc::Sender<()>,
    gone: Arc<Mutex<mpsc::Receiver<()>>>,
    dropped: mpsc::Sender<ThreadId>,
}

struct AskedConsumer(Asked);

impl Source<u8, u8> for Asked {
    type Consumer = AskedConsumer;

    fn attach(&self) -> AskedConsumer {
        AskedConsumer(Self {
            asks: self.asks.clone(),
            gone: Arc::clone(&self.gone),
            dropped: self.dropped.clone(),
        })
    }
}

impl Consumer<u8, u8> for AskedConsumer {
    type Ticket = ();

    async fn recv(
        &self,
        _into: &mut Vec<Delivery<u8, ()>>,
        _max: usize,
        _wait: Duration,
    ) -> Result<bool> {
        std::future::pending().await
    }

    fn queued(&self) -> usize {
        self.0.asks.send(()).expect("the test waits");
        let gone = self.0.gone.lock().expect("not poisoned");
        // A task that waits for whoever asks is not gone before.
        let _ = gone.recv_timeout(Duration::from_millis(200));
        7
    }

    async fn reply(
        &self,
        _batch: Option<Arc<BatchInfo>>,
        _answers: Vec<Answer<u8, ()>>,
    ) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _deliveries: Vec<Delivery<u8, ()>>) -> Result<()> {
        Ok(())
    }
}

impl Drop for AskedConsumer {
    fn drop(&mut self) {
        let _ = self.0.dropped.send(thread::current().id());
    }
}

#[test]
fn who_asks_for_the_status_does_not_drop_the_consumer() {
    let (asks, is_asked) = mpsc::channel();
    let (goes, gone) = mpsc::channel();
    let (dropped, was_dropped) = mpsc::channel();
    let gone = Arc::new(Mutex::new(gone));
    let source = Asked {
        asks,
        gone,
        dropped,
    };
    let policy = BatchPolicy::default();
    let (processor, task) = BatchProcessor::pair(source, policy, |batch: Vec<u8>| batch);
    thread::scope(|scope| {
        let asking = scope.spawn(|| processor.status().queued);
        is_asked.recv().unwrap();
        drop(task);
        let _ = goes.send(());
        assert_eq!(asking.join().unwrap(), 7);
    });
    assert_eq!(was_dropped.recv().unwrap(), thread::current().id());
}

#[test]
fn a_drain_outside_a_runtime_is_an_error() {
    let transport = MemoryTransport::<u8, u8>::default();
    let policy = BatchPolicy::default();
    let (processor, _task) = BatchProcessor::pair(transport, policy, |batch: Vec<u8>| batch);
    let Poll::Ready(drained) = poll_once(pin!(processor.drain(HOUR))) else {
        panic!("it waits");
    };
    assert_eq!(drained.unwrap_err().kind(), ErrorKind::Config);
}
