//! What panics beyond the handler's call: the value of its panic, the text of an error of its own.

use std::error::Error;
use std::fmt;
use std::panic::{panic_any, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dynamic_batcher::{
    BatchContext, BatchPolicy, BatchProcessor, Batcher, ErrorKind, Handler, Outcome, WhenIdle,
};
use dynamic_batcher_memory::MemoryTransport;
use tokio::runtime::Builder;

fn policy() -> BatchPolicy {
    BatchPolicy::default().when_idle(WhenIdle::Run)
}

/// A panic's value whose end is another panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            resume_unwind(Box::new("of the value"));
        }
    }
}

#[tokio::test]
async fn a_panic_whose_value_panics_too_costs_its_batch_alone() {
    let fails = |batch: Vec<u8>| match batch[0] {
        0 => resume_unwind(Box::new(Bomb)),
        _ => batch,
    };
    for blocking in [false, true] {
        let transport = MemoryTransport::default();
        let batcher: Batcher<u8, u8> = Batcher::new(transport.clone());
        let _processor = if blocking {
            BatchProcessor::spawn_blocking(transport, policy(), fails)
        } else {
            BatchProcessor::spawn(transport, policy(), fails)
        };
        let error = batcher.send(0).await.expect_err("it panicked");
        assert_eq!(error.kind(), ErrorKind::Panic, "{error}");
        assert_eq!(batcher.send(1).await.expect("it goes on"), 1);
    }
}

/// An error that cannot be shown.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        resume_unwind(Box::new("no words"))
    }
}

impl Error for Unspeakable {}

#[tokio::test]
async fn an_error_whose_text_panics_is_that_of_its_item_alone() {
    let transport = MemoryTransport::default();
    let batcher: Batcher<u8, u8> = Batcher::new(transport.clone());
    let _processor = BatchProcessor::spawn(transport, policy(), |batch: Vec<u8>| {
        let outcome = |each| match each {
            0 => Err(Unspeakable),
            each => Ok(each),
        };
        batch.into_iter().map(outcome).collect::<Vec<_>>()
    });
    let [bad, good] = batcher.send_many(vec![0, 1]).await.try_into().expect("two");
    let error = bad.expect_err("it is bad");
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert!(error.detail().contains("no words"), "{error}");
    assert_eq!(good.expect("it is good"), 1);
}

struct Panicking;

impl Handler<u8, u8> for Panicking {
    async fn run(&mut self, _: Vec<u8>, _: &BatchContext) -> Outcome<u8> {
        panic_any("of the handler")
    }
}

#[test]
fn who_waits_for_a_batch_that_panicked_is_told_before_the_next_handler_is_made() {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (told, was_told) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let make = {
            let (told, was_told) = (Arc::clone(&told), Arc::clone(&was_told));
            let mut made = 0;
            move |_| {
                made += 1;
                if made == 2 {
                    let was_told: &AtomicBool = &was_told;
                    was_told.store(told.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                Panicking
            }
        };
        let transport = MemoryTransport::default();
        let batcher: Batcher<u8, u8> = Batcher::new(transport.clone());
        let _processor = BatchProcessor::spawn_each(transport, policy(), make);
        batcher.send(0).await.expect_err("it panicked");
        told.store(true, Ordering::Relaxed);
        batcher.send(0).await.expect_err("it panicked again");
        assert!(was_told.load(Ordering::Relaxed));
    });
}
