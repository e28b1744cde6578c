//! Between two batches callers have their turn, even where the handler holds the only thread.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;

use crate::within;

#[derive(Debug, PartialEq)]
enum Event {
    Ran(Vec<u32>),
    Answered(u32),
}

#[tokio::test]
async fn answers_are_seen_before_the_next_full_batch_holds_the_thread() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let transport = MemoryTransport::default();
    let batcher: Batcher<u32, u32> = Batcher::new(transport.clone());
    let callers = (0..6).map(|n| {
        let batcher = batcher.clone();
        let events = Arc::clone(&events);
        tokio::spawn(async move {
            batcher.send(n).await.expect("served");
            events.lock().unwrap().push(Event::Answered(n));
        })
    });
    let callers: Vec<_> = callers.collect();

    let policy = BatchPolicy::default().batch_size(NonZeroUsize::new(2).unwrap());
    let ran = Arc::clone(&events);
    let _processor = BatchProcessor::spawn(transport, policy, move |batch: Vec<u32>| {
        ran.lock().unwrap().push(Event::Ran(batch.clone()));
        // What it computes takes longer than callers may be kept from their turn.
        thread::sleep(Duration::from_millis(2));
        batch
    });
    for caller in callers {
        within(caller).await.expect("no caller panics");
    }

    let expected = (0..3).map(|batch| (2 * batch, 2 * batch + 1));
    let expected = expected.flat_map(|(one, other)| {
        let ran = Event::Ran(vec![one, other]);
        [ran, Event::Answered(one), Event::Answered(other)]
    });
    assert_eq!(*events.lock().unwrap(), expected.collect::<Vec<_>>());
}

/// On the runtime that runs what was woken last before all others, with one thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn callers_that_were_answered_together_are_served_together() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    // All of it on the one worker, so that no other thread has a part in who comes when.
    let on_the_worker = tokio::spawn(async move {
        let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
        let (batcher, _processor) =
            dynamic_batcher_memory::spawn(policy, move |batch: Vec<u32>| {
                seen.lock().unwrap().push(batch.len());
                batch
            });
        let callers = (0..8).map(|n| {
            let batcher = batcher.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    batcher.send(n).await.expect("served");
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            within(caller).await.expect("no caller panics");
        }
    });
    on_the_worker.await.expect("all are served");

    // Some may have run alone before all were there, and so have gone earlier.
    let sizes = sizes.lock().unwrap();
    let together = sizes.iter().skip_while(|&&size| size < 8);
    assert!(together.clone().count() >= 3, "{sizes:?}");
    assert!(together.clone().all(|&size| size >= 6), "{sizes:?}");
}
