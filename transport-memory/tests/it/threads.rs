//! A closure that holds a thread of the runtime, and what that keeps from running.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::sleep;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, ErrorKind, SendOptions, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;

use crate::within;

/// The only thread of the runtime's own is that which keeps its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_closure_that_was_slow_once_keeps_no_deadline_from_being_seen() {
    for (instances, panics) in [(1, false), (1, true), (2, false)] {
        let transport = MemoryTransport::<u8, u8>::default();
        let batcher = Batcher::new(transport.clone());
        let policy = BatchPolicy::default()
            .when_idle(WhenIdle::Run)
            .instances(NonZeroUsize::new(instances).unwrap());
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let released = Arc::new(AtomicBool::new(false));
        let saw = Arc::clone(&released);
        let processor = BatchProcessor::spawn(transport, policy, move |batch: Vec<u8>| {
            if batch == [1] {
                sleep(Duration::from_millis(20));
                assert!(!panics, "as it is to");
            } else {
                let held = held.lock().unwrap().recv_timeout(Duration::from_secs(10));
                saw.store(held.is_ok(), Ordering::SeqCst);
            }
            batch
        });
        assert_eq!(within(batcher.send(1)).await.is_err(), panics);

        let short = SendOptions::default().timeout(Duration::from_millis(50));
        let held_up = batcher.send_with(2, short).await;
        // Nobody waits for it any more where it held up the deadline.
        let _ = release.send(());
        within(processor.drain(Duration::from_secs(5)))
            .await
            .unwrap();
        let error = held_up.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
        assert!(released.load(Ordering::SeqCst), "told when it was over");
    }
}
