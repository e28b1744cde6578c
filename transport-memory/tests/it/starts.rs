//! Whether a caller is told that its request had been started, while batches start and calls expire
//! side by side.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchInfo, BatchPolicy, BatchProcessor, Batcher, Consumer, Delivery, ErrorKind, Result,
    SendOptions, Source, WhenIdle,
};
use dynamic_batcher_memory::{MemoryConsumer, MemoryTransport};
use tokio::time::Instant;

use crate::{poll_once, within};

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

type Hook = Arc<Mutex<dyn FnMut() + Send>>;

/// Its consumers do something just before they are told that a batch starts, as another thread might.
struct Hooked(MemoryTransport<u8, u8>, Hook);

struct HookedConsumer(MemoryConsumer<u8, u8>, Hook);

type Ticket = <MemoryConsumer<u8, u8> as Consumer<u8, u8>>::Ticket;

impl Source<u8, u8> for Hooked {
    type Consumer = HookedConsumer;

    fn attach(&self) -> HookedConsumer {
        HookedConsumer(self.0.attach(), Arc::clone(&self.1))
    }
}

impl Consumer<u8, u8> for HookedConsumer {
    type Ticket = Ticket;

    async fn recv(
        &self,
        into: &mut Vec<Delivery<u8, Ticket>>,
        max: usize,
        wait: Duration,
    ) -> Result<bool> {
        self.0.recv(into, max, wait).await
    }

    fn is_abandoned(&self, ticket: &Ticket) -> bool {
        self.0.is_abandoned(ticket)
    }

    fn start<'a>(&self, tickets: impl Iterator<Item = &'a Ticket>, at: Instant) {
        (self.1.lock().expect("nobody panics with it"))();
        self.0.start(tickets, at);
    }

    async fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<Answer<u8, Ticket>>,
    ) -> Result<()> {
        self.0.reply(batch, answers).await
    }

    async fn release(&self, deliveries: Vec<Delivery<u8, Ticket>>) -> Result<()> {
        self.0.release(deliveries).await
    }
}

/// The others were told to have been started, and it is too late to look for one in its place.
#[tokio::test]
async fn a_batch_runs_without_one_that_goes_as_it_starts() {
    let transport = MemoryTransport::<u8, u8>::default();
    let batcher = Batcher::new(transport.clone());
    let (stays, goes) = (batcher.clone(), batcher);
    let mut goes = Some(Box::pin(async move { goes.send(2).await }));
    let mut stays = Box::pin(async move { stays.send(1).await });
    assert!(poll_once(stays.as_mut()).is_pending());
    assert!(
        goes.as_mut()
            .is_some_and(|call| poll_once(call.as_mut()).is_pending())
    );

    let hook = Arc::new(Mutex::new(move || drop(goes.take())));
    let policy = BatchPolicy::default()
        .batch_size(NonZeroUsize::new(2).expect("not zero"))
        .batch_time(Duration::from_secs(60));
    let processor = BatchProcessor::spawn(Hooked(transport, hook), policy, |batch: Vec<u8>| batch);
    assert_eq!(within(stays).await.expect("it ran"), 1);
    let totals = processor.status().totals;
    assert_eq!((totals.batches, totals.abandoned), (1, 1));
}
