//! What the suite, which erases every transport, does not show: handles that name theirs.

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
