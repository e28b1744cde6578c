//! What only the in-process transport has: its timer among runtimes, its queue's limits, its end.
//! What all transports promise is tested by the conformance suite.

mod drops;
mod leaving;
mod runtimes;
mod starts;
mod threads;
mod turns;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dynamic_batcher::{
    BatchPolicy, BatchProcessor, Batcher, CallMeta, Consumer, ErrorKind, Phase, SendOptions,
    Source, Transport, WhenIdle,
};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport, OnFull};
use tokio::runtime::Builder;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn limited(max_queue: usize, on_full: OnFull) -> MemoryConfig {
    let max_queue = NonZeroUsize::new(max_queue).expect("not zero");
    MemoryConfig::default()
        .max_queue(max_queue)
        .on_full(on_full)
}

/// Fails instead of waiting for ever.
async fn within<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, future)
        .await
        .expect("a call hangs")
}

/// Polls once, and drops what it gives.
fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_processor_that_is_held_up_keeps_no_other_asleep() {
    let transport = MemoryTransport::<u8, u8>::default();
    let batcher = Batcher::new(transport.clone());
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let held = Arc::new(held);
    // The first to get a 1 holds its thread until it is released.
    let processors = [(); 2].map(|()| {
        let held = Arc::clone(&held);
        let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
        BatchProcessor::spawn(transport.clone(), policy, move |batch: Vec<u8>| {
            if batch[0] == 1 {
                let _ = held.lock().unwrap().recv();
            }
            batch
        })
    });
    let slow = tokio::spawn({
        let batcher = batcher.clone();
        async move { batcher.send(1).await }
    });
    while processors.iter().all(|each| each.status().running == 0) {
        tokio::task::yield_now().await;
    }
    // The first of these may be promised to the one that is held up; the rest are not.
    let first = tokio::spawn({
        let batcher = batcher.clone();
        async move { batcher.send(2).await }
    });
    for _ in 0..5 {
        assert_eq!(within(batcher.send(3)).await.unwrap(), 3);
    }
    release.send(()).unwrap();
    assert_eq!(within(slow).await.unwrap().unwrap(), 1);
    assert_eq!(within(first).await.unwrap().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn abandoned_requests_are_dropped_while_no_processor_looks() {
    let payload = Arc::new(());
    let transport = MemoryTransport::<Arc<()>, ()>::new(limited(4, OnFull::Reject));
    for _ in 0..1_000 {
        let meta = CallMeta::new(SECOND);
        let mut call = Box::pin(transport.call(Arc::clone(&payload), meta));
        assert!(poll_once(call.as_mut()).is_pending());
    }
    assert!(
        Arc::strong_count(&payload) <= 5,
        "{}",
        Arc::strong_count(&payload)
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_beyond_the_limit_is_served_in_turn() {
    let transport = MemoryTransport::<u32, u32>::new(limited(1, OnFull::Wait));
    let batcher = Batcher::new(transport.clone());
    let sends = batcher.send_many((0..10).collect());
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<u32>| batch);
    let answers: Result<Vec<_>, _> = sends.await.into_iter().collect();
    assert_eq!(answers.unwrap(), (0..10).collect::<Vec<_>>());
    drop(processor);
}

#[tokio::test(start_paused = true)]
async fn after_the_last_processor_sends_are_refused_until_another_attaches() {
    let transport = MemoryTransport::<u8, u8>::default();
    let batcher = Batcher::new(transport.clone());
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let first = BatchProcessor::spawn(transport.clone(), policy.clone(), |batch: Vec<u8>| batch);
    assert_eq!(batcher.send(1).await.unwrap(), 1);
    first.drain(SECOND).await.unwrap();
    let error = batcher.send(2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let second = BatchProcessor::spawn(transport, policy, |batch: Vec<u8>| batch);
    assert_eq!(batcher.send(3).await.unwrap(), 3);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_delivered_request_that_nobody_answers_ends_at_its_deadline_and_says_it_had_not_started()
{
    let transport = MemoryTransport::<u8, u8>::default();
    let consumer = transport.attach();
    let sent = Instant::now();
    let mut call = std::pin::pin!(transport.call(1, CallMeta::new(SECOND)));
    assert!(poll_once(call.as_mut()).is_pending());
    let mut deliveries = Vec::new();
    assert!(consumer.recv(&mut deliveries, 10, SECOND).await.unwrap());
    let error = call.await.unwrap_err();
    let late = sent.elapsed() - SECOND;
    assert!(late <= Duration::from_millis(100), "{late:?} late");
    assert!(
        matches!(error.kind(), ErrorKind::Timeout { started: false, .. }),
        "{error}"
    );
    // Its processor learns of it, and its late answer does no harm.
    assert!(consumer.is_abandoned(&deliveries[0].ticket));
}

#[tokio::test(start_paused = true)]
async fn deadlines_of_every_length_are_kept_side_by_side() {
    let batcher = Batcher::new(MemoryTransport::<u64, u64>::default());
    let start = Instant::now();
    // Long before short, so that the timer has to be set earlier again and again.
    let sends = (1..=50_u64).rev().map(|n| {
        let batcher = batcher.clone();
        tokio::spawn(async move {
            let timeout = Duration::from_millis(n * 37);
            let options = SendOptions::default().timeout(timeout);
            let error = batcher.send_with(n, options).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Timeout { .. }));
            let late = start.elapsed() - timeout;
            assert!(late <= Duration::from_millis(100), "{n}: {late:?} late");
        })
    });
    for send in sends.collect::<Vec<_>>() {
        send.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_processors_status_tells_what_no_processor_has_read() {
    let transport = MemoryTransport::<u8, u8>::default();
    let batcher = Batcher::new(transport.clone());
    let policy = BatchPolicy::default()
        .batch_size(NonZeroUsize::MIN)
        .when_idle(WhenIdle::Run);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let handler = move |batch: Vec<u8>| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.expect("it is not closed").forget();
            batch
        }
    };
    let processor = BatchProcessor::spawn(transport, policy, handler);
    let call = tokio::spawn(async move { batcher.send_many((0..10).collect()).await });
    let status = within(async {
        loop {
            let status = processor.status();
            if status.running + status.waiting + status.queued == 10 && status.running == 1 {
                return status;
            }
            tokio::task::yield_now().await;
        }
    });
    let status = status.await;
    // One batch is read ahead.
    assert_eq!((status.waiting, status.queued), (1, 8));
    gate.add_permits(10);
    let answers = within(call).await.expect("no panic");
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(processor.status().queued, 0);
}

/// One that keeps no time, on which the processor's first timer panics.
#[test]
fn a_processor_whose_own_task_panics_says_so_at_its_end() {
    let transport = MemoryTransport::<u8, u8>::default();
    let policy = BatchPolicy::default().when_idle(WhenIdle::Wait);
    let (processor, task) = BatchProcessor::pair(transport.clone(), policy, |batch: Vec<u8>| batch);
    let batcher = Batcher::new(transport);
    let timed = Builder::new_current_thread().enable_all().build().unwrap();
    let call = timed.spawn(async move { batcher.send(1).await });
    timed.block_on(tokio::task::yield_now());

    let timeless = Builder::new_current_thread().build().unwrap();
    let task = timeless.spawn(task);
    assert!(timeless.block_on(task).unwrap_err().is_panic());
    let error = timed.block_on(within(processor.ended())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panic, "{error}");
    let error = timed.block_on(within(call)).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

/// A thread that panics for another reason, and drops the processor's task with its runtime.
#[test]
fn a_processor_that_goes_with_its_runtime_has_not_panicked() {
    let transport = MemoryTransport::<u8, u8>::default();
    let policy = BatchPolicy::default();
    let (processor, task) = BatchProcessor::pair(transport, policy, |batch: Vec<u8>| batch);
    let main = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(task);
        runtime.block_on(tokio::task::yield_now());
        panic!("main has panicked");
    });
    main.join().unwrap_err();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(within(processor.ended())).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_nobody_can_send_to_any_more_drains() {
    let transport = MemoryTransport::<u8, u8>::default();
    let batcher = Batcher::new(transport.clone());
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let handler = |batch: Vec<u8>| async {
        tokio::time::sleep(SECOND).await;
        batch
    };
    let processor = BatchProcessor::spawn(transport, policy, handler);
    let call = tokio::spawn(async move { batcher.send(1).await });
    // The call holds the last batcher; dropped, it leaves its request to the handler.
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(processor.status().phase, Phase::Running);
    call.abort();
    tokio::time::sleep(SECOND / 4).await;
    assert_eq!(processor.status().phase, Phase::Draining);
    let error = processor.ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    within(processor.ended()).await.unwrap();
}

/// [`AnyTransport`](dynamic_batcher::AnyTransport) has room for 48 bytes beside the metadata, and allocates
/// what is larger.
#[test]
fn a_call_with_a_request_of_32_bytes_takes_no_memory_of_its_own() {
    let transport: MemoryTransport<[u64; 4], ()> = MemoryTransport::default();
    let call = transport.call([0; 4], CallMeta::new(SECOND));
    let room = size_of::<CallMeta>() + 48;
    assert!(size_of_val(&call) <= room, "{}", size_of_val(&call));
}

/// The one that was woken first may be held up by its handler.
#[tokio::test]
async fn what_is_given_back_wakes_a_processor_for_each_request() {
    let transport = MemoryTransport::<u8, u8>::default();
    let batcher = Batcher::new(transport.clone());
    let [holder, held_up, idle] = [(); 3].map(|()| transport.attach());
    let sending = tokio::spawn(async move { batcher.send_many(vec![1, 2]).await });
    let mut deliveries = Vec::new();
    while deliveries.len() < 2 {
        within(holder.recv(&mut deliveries, 2, SECOND))
            .await
            .unwrap();
    }

    let mut nothing = Vec::new();
    let mut woken_and_not_polled = Box::pin(held_up.recv(&mut nothing, 1, SECOND));
    assert!(poll_once(woken_and_not_polled.as_mut()).is_pending());
    let reading = tokio::spawn(async move {
        let mut found = Vec::new();
        idle.recv(&mut found, 1, SECOND).await.unwrap();
        found.len()
    });
    // It sleeps by then: there is one thread.
    tokio::task::yield_now().await;
    within(holder.release(deliveries)).await.unwrap();
    assert_eq!(within(reading).await.unwrap(), 1);
    sending.abort();
}
