//! How long a processor takes to leave a transport that does not let it go.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchInfo, BatchPolicy, BatchProcessor, CallMeta, Consumer, Delivery, Result, Source,
    WhenIdle,
};
use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);
/// What a processor that was stopped may take to leave.
const LIMIT: Duration = Duration::from_secs(5);

/// A queue of one request, which never lets its processor leave, and says when one wants to.
#[derive(Default)]
struct Clinging {
    is_read: AtomicBool,
    leaves: Arc<Notify>,
    /// There is always something to do before it could.
    is_busy: bool,
}

impl Source<u8, u8> for Clinging {
    type Consumer = Self;

    fn attach(&self) -> Self {
        Self {
            is_read: AtomicBool::new(false),
            leaves: Arc::clone(&self.leaves),
            is_busy: self.is_busy,
        }
    }
}

impl Consumer<u8, u8> for Clinging {
    type Ticket = ();

    async fn recv(&self, into: &mut Vec<Delivery<u8, ()>>, _: usize, _: Duration) -> Result<bool> {
        if self.is_read.swap(true, Ordering::Relaxed) {
            return pending().await;
        }
        let meta = CallMeta::new(HOUR);
        into.push(Delivery::new(Ok(1), (), meta));
        Ok(true)
    }

    async fn reply(&self, _: Option<Arc<BatchInfo>>, _: Vec<Answer<u8, ()>>) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _: Vec<Delivery<u8, ()>>) -> Result<()> {
        Ok(())
    }

    async fn detach(self) -> Result<()> {
        self.leaves.notify_one();
        let (more, mut rest) = mpsc::unbounded_channel();
        if self.is_busy {
            loop {
                let _ = more.send(());
                rest.recv().await;
            }
        }
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_tells_what_it_gave_up_though_the_processor_could_not_leave() {
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let processor = BatchProcessor::spawn(Clinging::default(), policy, |_: Vec<u8>| async {
        pending::<Vec<u8>>().await
    });
    while processor.status().running == 0 {
        tokio::task::yield_now().await;
    }
    let report = processor.drain(Duration::from_secs(1)).await;
    let report = report.expect("it runs");
    assert!(!report.ended);
    assert_eq!(report.abandoned, 1);
}

/// In real time: the paused clock goes on only where nothing is to be done.
#[tokio::test]
async fn a_transport_that_is_never_idle_lets_its_processor_go_in_time() {
    let queue = Clinging {
        is_busy: true,
        ..Clinging::default()
    };
    let processor = BatchProcessor::spawn(queue, BatchPolicy::default(), |batch: Vec<u8>| batch);
    processor.ready().await.expect("it runs");
    let soon = Duration::from_millis(50);
    processor.drain(soon).await.expect("it runs");
    processor.ended().await.expect("it has left");
}

/// While the samples are served, another thread orders a drain.
#[tokio::test(start_paused = true)]
async fn a_processor_that_has_failed_does_not_stay_to_the_end_of_a_drain() {
    static PROCESSOR: OnceLock<BatchProcessor<u8, u8>> = OnceLock::new();
    let policy = BatchPolicy::default().warm_up(|| vec![vec![1_u8]]);
    let (processor, task) =
        BatchProcessor::pair(Clinging::default(), policy, |_: Vec<u8>| -> Vec<u8> {
            let drain = PROCESSOR.get().map(|processor| processor.drain(HOUR));
            assert!(
                drain.and_then(FutureExt::now_or_never).is_some(),
                "no model"
            );
            vec![1]
        });
    PROCESSOR.set(processor).expect("it is the only one");
    let started = Instant::now();
    task.await;
    assert_eq!(started.elapsed(), LIMIT);
}

/// A processor whose drain of an hour is through, but which cannot leave.
async fn leaving() -> (BatchProcessor<u8, u8>, JoinHandle<()>) {
    let queue = Clinging::default();
    let leaves = Arc::clone(&queue.leaves);
    let (processor, task) =
        BatchProcessor::pair(queue, BatchPolicy::default(), |batch: Vec<u8>| batch);
    let task = tokio::spawn(task);
    processor.ready().await.expect("it runs");
    tokio::select! {
        report = processor.drain(HOUR) => panic!("it cannot leave: {report:?}"),
        () = leaves.notified() => {}
    }
    (processor, task)
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_is_stopped_while_it_leaves_does_not_stay_to_the_end_of_its_drain() {
    let (processor, task) = leaving().await;
    let stopped = Instant::now();
    drop(processor);
    task.await.expect("no panic");
    assert_eq!(stopped.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn of_several_drains_the_earliest_deadline_holds_also_while_the_processor_leaves() {
    let soon = Duration::from_secs(1);
    let (processor, task) = leaving().await;
    let ordered = Instant::now();
    processor.drain(soon).await.expect("it runs");
    task.await.expect("no panic");
    assert_eq!(ordered.elapsed(), soon);
}
