//! What the suite, which erases every transport, does not show: handles that name theirs.

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{
    AnyTransport, BatchPolicy, BatchProcessor, Batcher, ErrorKind, Transport, WhenIdle,
};
use dynamic_batcher_memory::MemoryTransport;

async fn assert_serves<T: Transport<u32, u32>>(
    batcher: Batcher<u32, u32, T>,
    source: MemoryTransport<u32, u32>,
) {
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let processor = BatchProcessor::spawn(source, policy, |batch: Vec<u32>| batch);
    assert_eq!(batcher.send(1).await.expect("answered"), 1);
    let many = batcher.send_many(vec![1, 2, 3]).await;
    let many: Vec<_> = many
        .into_iter()
        .map(|each| each.expect("answered"))
        .collect();
    assert_eq!(many, [1, 2, 3]);
    drop(processor);
    let unserved = batcher.send(1).await.expect_err("nobody is there");
    assert_eq!(unserved.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_batcher_may_name_its_transport() {
    let transport = MemoryTransport::default();
    assert_serves(Batcher::with_transport(transport.clone()), transport).await;
}

#[tokio::test(start_paused = true)]
async fn a_batcher_may_erase_its_transport_twice() {
    let transport = MemoryTransport::default();
    let erased = AnyTransport::new(AnyTransport::new(transport.clone()));
    assert_serves(Batcher::new(erased), transport).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_before_any_processor_says_what_is_missing() {
    let batcher: Batcher<u32, u32> = Batcher::new(MemoryTransport::default());
    let batcher = batcher.timeout(Duration::from_secs(3));
    let error = batcher.send(1).await.expect_err("unserved");
    assert_eq!(
        error.to_string(),
        "timed out after 3s in the queue: no processor has ever attached to its transport"
    );
}

#[test]
fn a_call_outside_a_runtime_is_an_error() {
    let batcher: Batcher<u32, u32> = Batcher::new(MemoryTransport::default());
    let error = futures_util::FutureExt::now_or_never(batcher.send(1));
    let error = error.expect("at once").expect_err("no runtime");
    assert_eq!(error.kind(), ErrorKind::Config);
}

const LIMIT: Duration = Duration::from_secs(1);

/// Asserts that the processor refuses the policy, with this text, and keeps its own.
fn assert_refused(processor: &BatchProcessor<u32, u32>, policy: BatchPolicy, text: &str) {
    let changed = policy.batch_size(NonZeroUsize::MIN);
    let error = processor.reconfigure(changed).expect_err("it cannot");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.to_string(), format!("bad configuration: {text}"));
    let kept = BatchPolicy::default().batch_size;
    assert_eq!(processor.policy().batch_size, kept);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_change_is_refused_and_nothing_changed() {
    let transport = MemoryTransport::default();
    let policy = BatchPolicy::default();
    let processor = BatchProcessor::spawn(transport.clone(), policy.clone(), |batch| batch);
    let three = NonZeroUsize::MIN.saturating_add(2);
    assert_refused(
        &processor,
        policy.clone().instances(three),
        "instances is 3, allowed is 1: their number is fixed when a processor starts",
    );
    assert_refused(
        &processor,
        policy.clone().run_timeout(LIMIT),
        "run_timeout is 1s, allowed is none: this processor started without a limit, \
         and runs its one handler where the time cannot be kept",
    );

    processor.drain(LIMIT).await.expect("drained");
    let closed = processor.reconfigure(policy).expect_err("it has ended");
    assert_eq!(closed.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_run_timeout_can_change_where_the_handler_has_a_place_of_its_own() {
    let transport = MemoryTransport::<u32, u32>::default();
    let policy = BatchPolicy::default();
    let on_a_thread =
        BatchProcessor::spawn_blocking(transport.clone(), policy.clone(), |batch| batch);
    let limited = policy.clone().run_timeout(LIMIT);
    let on_a_task = BatchProcessor::spawn(transport.clone(), limited.clone(), |batch| batch);
    on_a_thread.reconfigure(limited).expect("it gets one");
    on_a_task.reconfigure(policy).expect("it loses its own");
    assert_eq!(on_a_thread.policy().run_timeout, Some(LIMIT));
    assert_eq!(on_a_task.policy().run_timeout, None);
}

/// A thread is there when the task has been polled, and not before.
#[tokio::test]
async fn a_processor_with_threads_can_be_made_without_being_started() {
    let transport = MemoryTransport::default();
    let batcher: Batcher<u32, u32> = Batcher::new(transport.clone());
    let (made, makes) = std::sync::mpsc::channel();
    let make = move |index| {
        made.send(index).expect("the test goes on");
        |batch: Vec<u32>| batch
    };
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let (processor, task) = BatchProcessor::pair_blocking_each(transport, policy, make);
    assert!(makes.try_recv().is_err());
    let task = tokio::spawn(task);
    processor.ready().await.expect("it runs");
    assert_eq!(makes.try_recv(), Ok(0));
    assert_eq!(batcher.send(1).await.expect("answered"), 1);
    drop(batcher);
    task.await.expect("no panic");
}
