//! Whether a caller is told that its request had been started, while batches start and calls expire
//! side by side.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, ErrorKind, SendOptions, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;

/// Enough for dozens to expire just as their batch starts, where that is possible.
const CALLERS: u64 = 600;
const CALLS: u64 = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_that_it_had_not_been_started_did_not_run() {
    let transport = MemoryTransport::<u64, u64>::default();
    let batcher = Batcher::new(transport.clone());
    let ran = Arc::new(Mutex::new(HashSet::<u64>::new()));
    let policy = BatchPolicy::default()
        .batch_size(NonZeroUsize::new(512).expect("not zero"))
        .when_idle(WhenIdle::Run);
    let _processor = BatchProcessor::spawn(transport, policy, {
        let ran = Arc::clone(&ran);
        move |batch: Vec<u64>| {
            ran.lock().expect("nobody panics with it").extend(&batch);
            // They come together, and some expire meanwhile.
            std::thread::sleep(Duration::from_micros(500));
            batch
        }
    });
    let callers = (0..CALLERS).map(|caller| {
        let batcher = batcher.clone();
        tokio::spawn(async move {
            let mut told = Vec::new();
            for call in 0..CALLS {
                let id = caller * CALLS + call;
                let timeout = Duration::from_micros(500 + id * 7 % 4000);
                let options = SendOptions::default().timeout(timeout);
                if let Err(error) = batcher.send_with(id, options).await
                    && matches!(error.kind(), ErrorKind::Timeout { started: false, .. })
                {
                    told.push(id);
                }
            }
            told
        })
    });
    let mut told = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        told.extend(caller.await.expect("no panic"));
    }
    let ran = ran.lock().expect("nobody panics with it");
    let wrong = told.iter().filter(|id| ran.contains(id)).count();
    assert_eq!(wrong, 0, "of {}", told.len());
}
