//! What a transport says as a batch starts: requests that ended just before do not run.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchInfo, BatchPolicy, BatchProcessor, BatchStart, CallMeta, Consumer, Delivery,
    ErrorKind, Observer, Result, Source, WhenIdle,
};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

/// A queue that is read once for all, and in which `late` expire as their batch starts.
#[derive(Clone)]
struct Expiring {
    late: &'static [u8],
    book: Arc<Mutex<Book>>,
}

/// What happened, and to which requests.
#[derive(Default)]
struct Book {
    queued: Vec<u8>,
    started: Vec<u8>,
    observed: Vec<Vec<u8>>,
    ran: Vec<Vec<u8>>,
    answered: Vec<(u8, bool)>,
}

impl Expiring {
    fn new(queued: &[u8], late: &'static [u8]) -> Self {
        let book = Book {
            queued: queued.to_vec(),
            ..Book::default()
        };
        Self {
            late,
            book: Arc::new(Mutex::new(book)),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panics with it")
    }

    /// Runs until all are answered.
    async fn run(&self) {
        let queued = self.book().queued.len();
        let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
        let handler = {
            let this = self.clone();
            move |batch: Vec<u8>| {
                this.book().ran.push(batch.clone());
                batch
            }
        };
        let observed = policy.observer(self.clone());
        let _processor = BatchProcessor::spawn(self.clone(), observed, handler);
        while self.book().answered.len() < queued {
            tokio::task::yield_now().await;
        }
    }
}

impl Observer for Expiring {
    fn batch_started(&self, _: &BatchStart<'_>) {
        let mut book = self.book();
        let started = book.started.clone();
        book.observed.push(started);
    }
}

impl Source<u8, u8> for Expiring {
    type Consumer = Self;

    fn attach(&self) -> Self {
        self.clone()
    }
}

impl Consumer<u8, u8> for Expiring {
    type Ticket = u8;

    async fn recv(&self, into: &mut Vec<Delivery<u8, u8>>, _: usize, _: Duration) -> Result<bool> {
        let queued = std::mem::take(&mut self.book().queued);
        if queued.is_empty() {
            return pending().await;
        }
        let deliveries = queued.into_iter();
        into.extend(deliveries.map(|id| Delivery::new(Ok(id), id, CallMeta::new(HOUR))));
        Ok(true)
    }

    fn is_abandoned(&self, ticket: &u8) -> bool {
        self.late.contains(ticket) && self.book().started.contains(ticket)
    }

    fn start<'a>(&self, tickets: impl Iterator<Item = &'a u8>, _: Instant) {
        self.book().started.extend(tickets);
    }

    async fn reply(&self, _: Option<Arc<BatchInfo>>, answers: Vec<Answer<u8, u8>>) -> Result<()> {
        for answer in answers {
            if let Err(error) = &answer.outcome {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Timeout { started: false, .. }));
            }
            let answered = (answer.ticket, answer.outcome.is_ok());
            self.book().answered.push(answered);
        }
        Ok(())
    }

    async fn release(&self, _: Vec<Delivery<u8, u8>>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_ended_before_its_start_does_not_run() {
    let queue = Expiring::new(&[1, 2, 3], &[2]);
    queue.run().await;
    let mut book = queue.book();
    assert_eq!(book.ran, [[1, 3]]);
    book.answered.sort_unstable();
    assert_eq!(book.answered, [(1, true), (2, false), (3, true)]);
}

#[tokio::test]
async fn a_batch_of_which_all_ended_before_its_start_does_not_run() {
    let queue = Expiring::new(&[1, 2], &[1, 2]);
    queue.run().await;
    assert!(queue.book().ran.is_empty());
    assert!(queue.book().observed.is_empty());
    // The instance is there for the next.
    queue.book().queued.push(3);
    let next = Expiring {
        late: &[],
        book: Arc::clone(&queue.book),
    };
    next.book().answered.clear();
    next.run().await;
    assert_eq!(queue.book().ran, [[3]]);
}

/// Observers may take their time.
#[tokio::test]
async fn the_transport_is_told_of_a_start_before_the_observer() {
    let queue = Expiring::new(&[1, 2], &[]);
    queue.run().await;
    assert_eq!(queue.book().observed, [[1, 2]]);
}
