//! What was given up on its way to an instance does not start there, and whose handler has panicked
//! does not wait for the next one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::handler::Outputs;
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

/// Makes functions that panic on an empty batch, each when it is told to go.
fn panicking(goes: mpsc::Receiver<()>) -> impl FnMut(usize) -> fn(Vec<u8>) -> Vec<u8> + Send {
    move |_| {
        let _ = goes.recv();
        |batch| {
            assert!(!batch.is_empty(), "no batch");
            batch
        }
    }
}

#[tokio::test]
async fn the_callers_of_a_panic_do_not_wait_for_the_next_function_of_a_thread() {
    let (go, goes) = mpsc::channel();
    let make = std::sync::Mutex::new(panicking(goes));
    let make = move |index| (make.lock().unwrap())(index);
    let remote = Remote::thread(Arc::new(make), 0).unwrap();
    panics_and_recovers(remote, &go).await;
}

struct Closure(fn(Vec<u8>) -> Vec<u8>);

impl Handler<u8, u8> for Closure {
    async fn run(&mut self, batch: Vec<u8>, _: &BatchContext) -> Outcome<u8> {
        (self.0)(batch).into()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_of_a_panic_do_not_wait_for_the_next_handler_of_a_task() {
    let (go, goes) = mpsc::channel();
    let mut make = panicking(goes);
    let make: Make<Closure> = Arc::new(Mutex::new(move |index| Closure(make(index))));
    panics_and_recovers(Remote::task(make, 0), &go).await;
}

/// The next function is made when the outcome is there, and it runs what comes then.
async fn panics_and_recovers(mut remote: Remote<u8, u8>, go: &mpsc::Sender<()>) {
    assert!(!remote.is_usable());
    go.send(()).unwrap();
    remote.recover().await;
    assert!(remote.is_usable());
    let outcome = remote.run(vec![], &context()).await;
    let Outputs::Failed(error) = outcome.0 else {
        panic!("it has run");
    };
    assert_eq!(error.kind(), ErrorKind::Panic);
    assert!(!remote.is_usable());
    go.send(()).unwrap();
    remote.recover().await;
    assert!(remote.is_usable());
    let outcome = remote.run(vec![1], &context()).await;
    assert!(matches!(outcome.0, Outputs::All(all) if all == [1]));
}

/// It was given up while it waits for its turn to be made.
#[tokio::test]
async fn whoever_gives_up_waiting_for_a_handler_can_wait_again() {
    let (go, goes) = mpsc::channel();
    let make = std::sync::Mutex::new(panicking(goes));
    let make = move |index| (make.lock().unwrap())(index);
    let mut remote = Remote::thread(Arc::new(make), 0).unwrap();
    assert!(remote.recover().now_or_never().is_none());
    assert!(!remote.is_usable());
    go.send(()).unwrap();
    remote.recover().await;
    assert!(remote.is_usable());
}

#[test]
fn a_thread_takes_the_next_job_whether_it_looks_or_sleeps() {
    const LONG: Duration = Duration::from_secs(3600);
    let (sender, mut jobs) = tokio::sync::mpsc::channel(1);
    sender.try_send(1).unwrap();
    assert_eq!(next_job(&mut jobs, LONG), Some(1));
    let sending = std::thread::spawn(move || sender.blocking_send(2));
    assert_eq!(next_job(&mut jobs, Duration::ZERO), Some(2));
    sending.join().unwrap().unwrap();
    assert_eq!(next_job(&mut jobs, LONG), None);
}
