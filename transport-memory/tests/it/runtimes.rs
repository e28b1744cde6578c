//! The runtimes that calls wait on, and whose timers keep their deadlines.

use std::task::Poll;
use std::time::Duration;

use dynamic_batcher::{Batcher, ErrorKind, SendOptions};
use dynamic_batcher_memory::MemoryTransport;
use tokio::runtime::Builder;

use crate::{SECOND, poll_once, within};

#[test]
fn deadlines_hold_after_the_runtime_that_ran_the_timer_is_gone() {
    let transport = MemoryTransport::<u8, u8>::default();
    let batcher = Batcher::new(transport);
    let short = SendOptions::default().timeout(Duration::from_millis(20));

    // The first runtime starts the timer and takes it with it.
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    let early = batcher.clone();
    first.spawn(async move { early.send(1).await });
    first.block_on(tokio::task::yield_now());
    first.shutdown_background();

    let second = Builder::new_current_thread().enable_all().build().unwrap();
    let error = second
        .block_on(within(batcher.send_with(2, short)))
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
}

#[test]
fn a_call_that_waits_on_one_runtime_survives_the_end_of_the_one_with_the_timer() {
    let batcher = Batcher::new(MemoryTransport::<u8, u8>::default());
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    let early = batcher.clone();
    first.spawn(async move { early.send(1).await });
    first.block_on(tokio::task::yield_now());

    let second = Builder::new_current_thread().enable_all().build().unwrap();
    let short = SendOptions::default().timeout(Duration::from_millis(50));
    let waiting = second.spawn(async move { batcher.send_with(2, short).await });
    // It waits, with a deadline that only the first runtime's timer knows of.
    second.block_on(tokio::task::yield_now());
    first.shutdown_background();
    let error = second.block_on(within(waiting)).unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
}

#[test]
fn a_call_without_a_runtime_is_refused_since_nothing_could_end_it() {
    let batcher = Batcher::new(MemoryTransport::<u8, u8>::default());
    let mut send = std::pin::pin!(batcher.send(1));
    let Poll::Ready(Err(error)) = poll_once(send.as_mut()) else {
        panic!("it waits");
    };
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("runtime"), "{error}");
    let mut many = std::pin::pin!(batcher.send_many(vec![1, 2]));
    let Poll::Ready(results) = poll_once(many.as_mut()) else {
        panic!("it waits");
    };
    assert!(results.iter().all(Result::is_err));
}

#[test]
fn deadlines_hold_beside_a_runtime_that_nobody_drives() {
    let batcher = Batcher::new(MemoryTransport::<u8, u8>::default());
    let idle = Builder::new_current_thread().enable_all().build().unwrap();
    // It has a timer, set for a long time, and stands still from here on.
    idle.block_on(async {
        let mut send = std::pin::pin!(batcher.send(1));
        assert!(poll_once(send.as_mut()).is_pending());
        tokio::task::yield_now().await;
    });
    let driven = Builder::new_current_thread().enable_all().build().unwrap();
    let short = SendOptions::default().timeout(Duration::from_millis(20));
    let error = driven
        .block_on(within(batcher.send_with(1, short)))
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    drop(idle);
}

#[test]
fn deadlines_hold_on_a_thread_that_comes_from_a_runtime_whose_workers_stand_still() {
    for goes in [false, true] {
        let batcher = Batcher::new(MemoryTransport::<u8, u8>::default());
        let short = SendOptions::default().timeout(Duration::from_millis(50));
        let first = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        // Its timer is set, and this thread has been on it.
        first.block_on(async {
            let mut send = std::pin::pin!(batcher.send_with(1, short));
            assert!(poll_once(send.as_mut()).is_pending());
        });
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (tell, holds) = std::sync::mpsc::channel();
        first.spawn(async move {
            let _ = tell.send(());
            let _ = held.recv_timeout(10 * SECOND);
        });
        holds.recv().unwrap();
        let first = match goes {
            true => {
                first.shutdown_background();
                None
            }
            false => Some(first),
        };
        let second = Builder::new_current_thread().enable_all().build().unwrap();
        let error = second.block_on(batcher.send_with(2, short)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
        release.send(()).expect("told when the others were through");
        drop(first);
    }
}

/// The second call finds the timer of its runtime set, for later.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_later_call_may_have_an_earlier_deadline() {
    let batcher = Batcher::new(MemoryTransport::<u8, u8>::default());
    let calls = tokio::spawn(async move {
        let mut long = std::pin::pin!(batcher.send(1));
        assert!(poll_once(long.as_mut()).is_pending());
        let short = SendOptions::default().timeout(Duration::from_millis(20));
        batcher.send_with(2, short).await
    });
    let error = within(calls).await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
}

#[test]
fn a_runtime_without_time_is_refused() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let batcher = Batcher::new(MemoryTransport::<u8, u8>::default());
    let error = runtime.block_on(batcher.send(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("enable_time"), "{error}");
}

/// It runs a future that is blocked on, and nothing that would keep its time.
#[test]
fn a_runtime_that_has_been_shut_down_is_refused() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    drop(runtime);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let batcher = Batcher::new(MemoryTransport::<u8, u8>::default());
        let _ = tell.send(handle.block_on(batcher.send(1)));
    });
    let outcome = told.recv_timeout(10 * SECOND).expect("the call hangs");
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Config);
}
