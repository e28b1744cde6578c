//! What goes on by the old time when a processor's policy changes.

use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchContext, BatchInfo, BatchPolicy, BatchProcessor, Consumer, Delivery, Error,
    ErrorKind, Handler, Load, Observer, Outcome, Result, Source, WhenIdle,
};
use dynamic_batcher_memory::MemoryTransport;
use tokio::time::sleep;

/// Shorter than the longest pause after a failed read, and than the time between two reports.
const OFTEN: Duration = Duration::from_millis(450);

/// Changes the policy again and again for a minute.
async fn change_for_a_minute(processor: &BatchProcessor<u8, u8>) {
    let mut left = Duration::from_secs(60);
    while let Some(after) = left.checked_sub(OFTEN) {
        left = after;
        let policy = processor.policy();
        processor.reconfigure(policy).expect("it runs");
        sleep(OFTEN).await;
    }
}

/// A queue that cannot be read, and how often that was tried.
struct Unreadable(Arc<AtomicUsize>);

impl Source<u8, u8> for Unreadable {
    type Consumer = Self;

    fn attach(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Consumer<u8, u8> for Unreadable {
    type Ticket = ();

    async fn recv(&self, _: &mut Vec<Delivery<u8, ()>>, _: usize, _: Duration) -> Result<bool> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(ErrorKind::Connection, "on purpose"))
    }

    async fn reply(&self, _: Option<Arc<BatchInfo>>, _: Vec<Answer<u8, ()>>) -> Result<()> {
        Ok(())
    }

    async fn release(&self, _: Vec<Delivery<u8, ()>>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_after_a_failed_read_goes_on() {
    let reads = Arc::new(AtomicUsize::new(0));
    let source = Unreadable(Arc::clone(&reads));
    let processor = BatchProcessor::spawn(source, BatchPolicy::default(), |batch: Vec<u8>| batch);
    change_for_a_minute(&processor).await;
    // The longest pause is a second.
    assert!(reads.load(Ordering::Relaxed) > 60, "{reads:?}");
}

/// A handler with state.
struct Sums(u8);

impl Handler<u8, u8> for Sums {
    async fn run(&mut self, batch: Vec<u8>, _: &BatchContext) -> Outcome<u8> {
        self.0 = batch
            .iter()
            .fold(self.0, |sum, number| sum.wrapping_add(*number));
        vec![self.0; batch.len()].into()
    }
}

#[tokio::test]
async fn the_policy_of_one_handler_has_one_instance() {
    let policy = BatchPolicy::default().instances(NonZeroUsize::MIN.saturating_add(2));
    let processor = BatchProcessor::spawn_handler(MemoryTransport::default(), policy, Sums(0));
    let in_force = processor.policy();
    assert_eq!(in_force.instances, NonZeroUsize::MIN);
    processor.reconfigure(in_force).expect("nothing differs");
}

#[derive(Clone, Default)]
struct Loads(Arc<AtomicUsize>);

impl Observer for Loads {
    fn load(&self, _: &Load) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_the_load_all_the_same() {
    let loads = Loads::default();
    let (transport, policy) = (MemoryTransport::default(), BatchPolicy::default());
    let policy = policy.when_idle(WhenIdle::Run).observer(loads.clone());
    let batcher = dynamic_batcher::Batcher::<u8, u8>::new(transport.clone());
    let processor = BatchProcessor::spawn(transport, policy, |_: Vec<u8>| async {
        pending::<Vec<u8>>().await
    });
    let _sending = tokio::spawn(async move { batcher.send(1).await });
    change_for_a_minute(&processor).await;
    // Once in a second.
    assert!(
        loads.0.load(Ordering::Relaxed) >= 59,
        "{loads:?}",
        loads = loads.0
    );
}

/// What it was told last: how many waited, how many batches ran.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<Option<(usize, usize)>>>);

impl Observer for Last {
    fn load(&self, load: &Load) {
        *self.0.lock().expect("nobody panics") = Some((load.waiting, load.batches));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_is_replaced_is_told_that_it_sees_nothing_any_more() {
    let last = Last::default();
    let told = || *last.0.lock().expect("nobody panics");
    let (transport, policy) = (MemoryTransport::default(), BatchPolicy::default());
    let policy = policy.when_idle(WhenIdle::Run);
    let batcher = dynamic_batcher::Batcher::<u8, u8>::new(transport.clone());
    let observed = policy.clone().observer(last.clone());
    let processor = BatchProcessor::spawn(transport, observed, |_: Vec<u8>| async {
        pending::<Vec<u8>>().await
    });
    let _sending = tokio::spawn(async move { batcher.send(1).await });
    sleep(OFTEN).await;
    assert_eq!(told(), Some((0, 1)));
    processor.reconfigure(policy).expect("it runs");
    sleep(OFTEN).await;
    assert_eq!(told(), Some((0, 0)));
}
