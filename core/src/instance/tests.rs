//! What was given up on its way to an instance does not start there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::meta::{BatchId, CallMeta};

fn context() -> BatchContext {
    let metas = vec![CallMeta::new(Duration::from_secs(1))];
    BatchContext::new(BatchId::new(1, 1), Instant::now(), metas)
}

struct Counting(Arc<AtomicUsize>);

impl Handler<u8, u8> for Counting {
    async fn run(&mut self, batch: Vec<u8>, _: &BatchContext) -> Outcome<u8> {
        self.0.fetch_add(1, Ordering::Relaxed);
        batch.into()
    }
}

/// Sends a batch that is given up before the other side has seen it.
fn give_up(mut remote: Remote<u8, u8>) {
    let context = context();
    let mut run = Box::pin(remote.run(vec![1], &context));
    assert!((&mut run).now_or_never().is_none());
}

#[tokio::test]
async fn a_task_does_not_start_what_was_given_up() {
    let ran = Arc::new(AtomicUsize::new(0));
    let remote = Remote::fixed_task(Counting(Arc::clone(&ran)));
    give_up(remote);
    // Its handler goes with it.
    while Arc::strong_count(&ran) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0);
}

#[test]
fn a_thread_does_not_start_what_was_given_up() {
    let (go, goes) = mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let (ran, runs) = mpsc::channel();
    let make = move |_| {
        let _ = goes.lock().unwrap().recv();
        let ran = ran.clone();
        move |batch: Vec<u8>| {
            ran.send(()).unwrap();
            batch
        }
    };
    let remote = Remote::thread(Arc::new(make), 0).unwrap();
    give_up(remote);
    go.send(()).unwrap();
    // Its function goes with it.
    assert_eq!(runs.recv(), Err(mpsc::RecvError));
}
