//! How long its transport's queue is, as a processor's status says it.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchInfo, BatchPolicy, BatchProcessor, Consumer, Delivery, Result, Source,
};

const QUEUED: usize = 7;

/// A queue of which nothing is ever read, and how many have left it in good order.
struct Stuck(Arc<AtomicUsize>);

impl Source<u8, u8> for Stuck {
    type Consumer = Self;

    fn attach(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Consumer<u8, u8> for Stuck {
    type Ticket = ();

    async fn recv(&self, _: &mut Vec<Delivery<u8, ()>>, _: usize, _: Duration) -> Result<bool> {
        pending().await
    }

    fn queued(&self) -> usize {
        QUEUED
    }

    async fn reply(&self, _: Option<Arc<BatchInfo>>, _: Vec<Answer<u8, ()>>) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _: Vec<Delivery<u8, ()>>) -> Result<()> {
        Ok(())
    }

    async fn detach(self) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn the_transports_queue_is_asked_while_a_processor_is_attached() {
    let left = Arc::new(AtomicUsize::new(0));
    let source = Stuck(Arc::clone(&left));
    let (processor, task) =
        BatchProcessor::pair(source, BatchPolicy::default(), |batch: Vec<u8>| batch);
    assert_eq!(processor.status().queued, QUEUED);
    let task = tokio::spawn(task);
    processor.ready().await.expect("it runs");
    assert_eq!(processor.status().queued, QUEUED);
    processor
        .drain(Duration::from_secs(1))
        .await
        .expect("it runs");
    assert_eq!(processor.status().queued, 0);
    assert_eq!(left.load(Ordering::Relaxed), 1);
    task.await.expect("no panic");
}

/// Who looks holds the consumer for a moment, and it is given away when it leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_keeps_no_processor_from_leaving_in_good_order() {
    const PROCESSORS: usize = 300;
    let left = Arc::new(AtomicUsize::new(0));
    for _ in 0..PROCESSORS {
        let source = Stuck(Arc::clone(&left));
        let processor =
            BatchProcessor::spawn(source, BatchPolicy::default(), |batch: Vec<u8>| batch);
        let (processor, ended) = (Arc::new(processor), Arc::new(AtomicBool::new(false)));
        let looks = {
            let (processor, ended) = (Arc::clone(&processor), Arc::clone(&ended));
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let _ = processor.status();
                }
            })
        };
        processor
            .drain(Duration::from_secs(10))
            .await
            .expect("it runs");
        ended.store(true, Ordering::Relaxed);
        looks.join().expect("no panic");
    }
    assert_eq!(left.load(Ordering::Relaxed), PROCESSORS);
}
