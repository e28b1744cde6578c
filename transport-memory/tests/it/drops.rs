//! Payloads and responses whose `Drop` comes back to the transport: none is dropped under its lock,
//! and a call that is dropped in between is counted once. And such whose `Drop` panics: it is felt by
//! the task that drops it, and no other call is forgotten over it.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use dynamic_batcher::{
    BatchPolicy, BatchProcessor, Batcher, Consumer, Error, ErrorKind, Source, WhenIdle,
};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::{poll_once, within};

type Send<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + std::marker::Send>>;

/// A request that owns other calls, which go with it.
#[derive(Clone, Default)]
struct Owner(Arc<Mutex<Vec<Send<u8>>>>);

impl Drop for Owner {
    fn drop(&mut self) {
        let calls = std::mem::take(&mut *self.0.lock().expect("not poisoned"));
        drop(calls);
    }
}

fn send(batcher: &Batcher<Owner, u8>, request: Owner, timeout: Duration) -> Send<u8> {
    let batcher = batcher.clone().timeout(timeout);
    let mut send: Send<u8> = Box::pin(async move { batcher.send(request).await });
    assert!(poll_once(send.as_mut()).is_pending());
    send
}

#[expect(clippy::needless_pass_by_value, reason = "the form of a handler")]
fn one_for_each(batch: Vec<Owner>) -> Vec<u8> {
    vec![1; batch.len()]
}

/// Runs a test that may block its thread, and fails instead of waiting for ever.
fn on_a_thread(test: impl FnOnce() + std::marker::Send + 'static) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    let ended = is_done.recv_timeout(Duration::from_secs(10));
    ended.expect("the transport blocks on itself, or the test failed");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_while_it_expires_is_counted_once() {
    let short = Duration::from_millis(10);
    let long = Duration::from_secs(100);
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    // The first request, expired and dropped, drops the second call before that one is told.
    let first = Owner::default();
    let calls = Arc::clone(&first.0);
    let first = send(&batcher, first, short);
    let second = send(&batcher, Owner::default(), short);
    calls.lock().unwrap().push(second);
    let others: Vec<_> = (0..4)
        .map(|_| send(&batcher, Owner::default(), long))
        .collect();
    assert!(within(first).await.is_err());
    assert!(calls.lock().unwrap().is_empty(), "the second call is there");

    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let _processor = BatchProcessor::spawn(transport, policy, one_for_each);
    for other in others {
        assert_eq!(within(other).await.unwrap(), 1);
    }
    assert_eq!(within(batcher.send(Owner::default())).await.unwrap(), 1);
}

#[test]
fn a_refused_request_may_own_a_call_of_the_same_transport() {
    on_a_thread(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = MemoryConfig::default().max_queue(NonZeroUsize::MIN);
            let batcher = Batcher::new(MemoryTransport::new(config));
            let request = Owner::default();
            let first = send(&batcher, Owner::default(), Duration::from_secs(100));
            request.0.lock().unwrap().push(first);
            let error = batcher.send(request).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::QueueFull { .. }));
        });
    });
}

/// A response that owns a call.
struct Response {
    _call: Send<Self>,
}

#[test]
fn an_unread_response_may_own_a_call_of_the_same_transport() {
    on_a_thread(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let transport = MemoryTransport::<u8, Response>::default();
            let batcher = Batcher::new(transport.clone());
            let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
            let again = batcher.clone();
            let (processor, task) =
                BatchProcessor::pair(transport, policy, move |batch: Vec<u8>| {
                    let responses = batch.into_iter().map(|_| {
                        let batcher = again.clone();
                        let mut call: Send<Response> =
                            Box::pin(async move { batcher.send(2).await });
                        let _ = poll_once(call.as_mut());
                        Response { _call: call }
                    });
                    responses.collect::<Vec<_>>()
                });
            let mut task = Box::pin(task);
            let mut call = Box::pin(batcher.send(1));
            assert!(poll_once(call.as_mut()).is_pending());
            while processor.status().answered == 0 {
                let _ = poll_once(task.as_mut());
            }
            // Its answer is there and was not taken.
            drop(call);
        });
    });
}

/// A waker that owns a call, as one may that is the last to hold on to its task.
struct OwnerWaker(#[expect(dead_code, reason = "it is dropped")] Mutex<Send<u8>>);

impl Wake for OwnerWaker {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn the_waker_of_a_read_may_own_a_call_of_the_same_transport() {
    on_a_thread(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let transport = MemoryTransport::<Owner, u8>::default();
        let batcher = Batcher::new(transport.clone());
        let consumer = transport.attach();
        let call = || send(&batcher, Owner::default(), Duration::from_secs(100));
        let mut calls = vec![call(), call()];
        let mut taken = Vec::new();
        let take = consumer.recv(&mut taken, 2, Duration::ZERO);
        assert!(poll_once(std::pin::pin!(take)).is_ready());

        // One goes when the read has another waker, the other when the read does.
        let mut found = Vec::new();
        let mut read = Box::pin(consumer.recv(&mut found, 1, Duration::ZERO));
        while let Some(call) = calls.pop() {
            let waker = Waker::from(Arc::new(OwnerWaker(Mutex::new(call))));
            let poll = read.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(poll.is_pending());
        }
        drop(read);
        assert_eq!(
            taken
                .iter()
                .filter(|it| consumer.is_abandoned(&it.ticket))
                .count(),
            2
        );
    });
}

/// What panics when it is dropped, if it says so.
struct Fragile(bool);

impl Drop for Fragile {
    fn drop(&mut self) {
        if self.0 {
            resume_unwind(Box::new("on purpose"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_drop_panics_keeps_no_other_from_expiring() {
    let batcher: Batcher<Fragile, u8> = Batcher::new(MemoryTransport::default());
    let batcher = batcher.timeout(Duration::from_millis(10));
    let calls = async { tokio::join!(batcher.send(Fragile(true)), batcher.send(Fragile(false))) };
    let (one, other) = within(calls).await;
    for error in [one.unwrap_err(), other.unwrap_err()] {
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_drop_panics_keeps_no_other_from_its_end() {
    let transport = MemoryTransport::<Fragile, u8>::default();
    let batcher = Batcher::new(transport.clone());
    let policy = BatchPolicy::default().batch_time(Duration::from_secs(60));
    let (processor, task) = BatchProcessor::pair(transport, policy, |batch: Vec<Fragile>| {
        vec![1; batch.len()]
    });
    let mut one = Box::pin(batcher.send(Fragile(true)));
    let mut other = Box::pin(batcher.send(Fragile(false)));
    assert!(poll_once(one.as_mut()).is_pending() && poll_once(other.as_mut()).is_pending());
    let end = std::panic::AssertUnwindSafe(move || drop((processor, task)));
    std::panic::catch_unwind(end).unwrap_err();
    let (one, other) = within(async { tokio::join!(one, other) }).await;
    for error in [one.unwrap_err(), other.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_whose_drop_panics_keeps_no_other_from_its_end() {
    let transport = MemoryTransport::<bool, Fragile>::default();
    let batcher = Batcher::new(transport.clone());
    let signals = Arc::new((Notify::new(), Notify::new()));
    let of_handler = Arc::clone(&signals);
    let policy = BatchPolicy::default().batch_size(NonZeroUsize::new(2).unwrap());
    let _processor = BatchProcessor::spawn(transport, policy, move |batch: Vec<bool>| {
        let signals = Arc::clone(&of_handler);
        async move {
            signals.0.notify_one();
            signals.1.notified().await;
            batch.into_iter().map(Fragile).collect::<Vec<_>>()
        }
    });
    let mut gone = Box::pin(batcher.send(true));
    let mut other = Box::pin(batcher.send(false));
    assert!(poll_once(gone.as_mut()).is_pending() && poll_once(other.as_mut()).is_pending());
    signals.0.notified().await;
    drop(gone);
    signals.1.notify_one();
    // The others of its batch have been told before.
    assert!(!within(other).await.unwrap().0);
}

/// A queue of four, and five requests for it at once, of which the last, which is refused, panics when it
/// is dropped.
async fn send_five(batcher: &Batcher<Fragile, u8>) {
    let batcher = batcher.clone();
    let many = async move {
        batcher
            .send_many((0..5).map(|n| Fragile(n == 4)).collect())
            .await
    };
    assert!(
        tokio::spawn(many)
            .await
            .is_err_and(|error| error.is_panic())
    );
}

fn with_room_for_four() -> MemoryTransport<Fragile, u8> {
    const FOUR: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");
    MemoryTransport::new(MemoryConfig::default().max_queue(FOUR))
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_whose_drop_panics_keeps_no_processor_asleep() {
    let transport = with_room_for_four();
    let batcher = Batcher::new(transport.clone());
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let handler = |batch: Vec<Fragile>| vec![1; batch.len()];
    let processor = BatchProcessor::spawn(transport, policy, handler);
    within(processor.ready()).await.unwrap();
    // It has looked and found nothing.
    tokio::time::sleep(Duration::from_millis(1)).await;
    send_five(&batcher).await;
    assert_eq!(within(batcher.send(Fragile(false))).await.unwrap(), 1);
    assert_eq!(processor.status().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_whose_drop_panics_takes_no_timer_with_it() {
    let batcher = Batcher::new(with_room_for_four()).timeout(Duration::from_secs(1));
    send_five(&batcher).await;
    // Nobody serves it.
    let error = within(batcher.send(Fragile(false))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
}
