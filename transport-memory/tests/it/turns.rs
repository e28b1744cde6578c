//! Between two batches callers have their turn, even where the handler holds the only thread.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher};
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
