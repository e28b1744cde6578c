//! Each layer of `tower` round a batcher.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamic_batcher::{
    BatchPolicy, BatchProcessor, Batcher, Error, ErrorKind, Result, Transport, WhenIdle,
};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tower::load_shed::error::Overloaded;
use tower::retry::{Policy, Retry};
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// A processor whose batches each wait for leave to end. It keeps what it has run.
struct Gated {
    batcher: Batcher<u32, u32>,
    gate: Arc<Semaphore>,
    ran: Arc<Mutex<Vec<Vec<u32>>>>,
    _processor: BatchProcessor<u32, u32>,
}

impl Gated {
    /// Over a queue of at most `max_queue`.
    fn start(policy: BatchPolicy, max_queue: usize) -> Self {
        let max_queue = NonZeroUsize::new(max_queue).expect("not zero");
        let transport = MemoryTransport::new(MemoryConfig::default().max_queue(max_queue));
        let gate = Arc::new(Semaphore::new(0));
        let ran = Arc::new(Mutex::new(Vec::new()));
        let (leave, book) = (Arc::clone(&gate), Arc::clone(&ran));
        let processor = BatchProcessor::spawn(transport.clone(), policy, move |batch: Vec<u32>| {
            let leave = Arc::clone(&leave);
            book.lock().expect("no panic").push(batch.clone());
            async move {
                leave.acquire().await.expect("open").forget();
                batch
            }
        });
        Self {
            batcher: Batcher::new(transport),
            gate,
            ran,
            _processor: processor,
        }
    }

    fn ran(&self) -> Vec<Vec<u32>> {
        self.ran.lock().expect("no panic").clone()
    }

    async fn until_ran(&self, batches: usize) {
        while self.ran().len() < batches {
            tokio::task::yield_now().await;
        }
    }

    /// Lets all batches end.
    fn open(&self) {
        self.gate.add_permits(1_000);
    }
}

fn run_at_once() -> BatchPolicy {
    BatchPolicy::default().when_idle(WhenIdle::Run)
}

/// Tries again what may succeed, when the error says or after 10 ms.
#[derive(Clone)]
struct Retryable;

impl Policy<u32, u32, Error> for Retryable {
    type Future = Sleep;

    fn retry(&mut self, _: &mut u32, outcome: &mut Result<u32>) -> Option<Sleep> {
        let error = outcome
            .as_ref()
            .err()
            .filter(|error| error.is_retryable())?;
        let pause = error.retry_after().unwrap_or(Duration::from_millis(10));
        Some(sleep(pause))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

/// The batcher's error in a layer's.
fn kind(error: &BoxError) -> Option<ErrorKind> {
    Some(error.downcast_ref::<Error>()?.kind())
}

#[test]
fn with_and_without_its_transports_type_it_is_a_service_that_is_cloned_and_sent() {
    fn assert_service<S>(_: &S)
    where
        S: Service<u32, Response = u32, Error = Error> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
    }
    fn assert_with_transport<T: Transport<u32, u32> + Clone>(transport: T) {
        assert_service(&Batcher::with_transport(transport));
    }
    let transport = MemoryTransport::default();
    assert_service(&Batcher::new(transport.clone()));
    assert_with_transport(transport);
}

#[tokio::test(start_paused = true)]
async fn being_ready_takes_no_place_in_the_queue() {
    let gated = Gated::start(run_at_once(), 1);
    gated.open();
    let mut ready = Vec::new();
    for _ in 0..10 {
        let mut service = gated.batcher.clone();
        service.ready().await.expect("always ready");
        ready.push(service);
    }
    assert_eq!(gated.batcher.send(1).await.expect("there is room"), 1);
    for service in &mut ready {
        assert_eq!(service.call(2).await.expect("there is room"), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_future_is_not_polled_sends_nothing() {
    let gated = Gated::start(run_at_once(), 1);
    gated.open();
    let unpolled = gated.batcher.clone().call(1);
    assert_eq!(gated.batcher.send(2).await.expect("there is room"), 2);
    drop(unpolled);
    assert_eq!(gated.ran(), [[2]]);
}

#[tokio::test(start_paused = true)]
async fn timeout_abandons_the_request() {
    let gated = Gated::start(run_at_once(), 10);
    let mut service = ServiceBuilder::new()
        .timeout(Duration::from_secs(1))
        .service(gated.batcher.clone());
    let first = tokio::spawn(gated.batcher.clone().oneshot(1));
    gated.until_ran(1).await;

    let late = service.ready().await.expect("ready").call(2).await;
    assert!(late.expect_err("nothing runs").is::<Elapsed>());

    gated.open();
    assert_eq!(first.await.expect("no panic").expect("answered"), 1);
    let answered = service.ready().await.expect("ready").call(3).await;
    assert_eq!(answered.expect("answered"), 3);
    assert_eq!(gated.ran(), [[1], [3]]);
}

#[tokio::test(start_paused = true)]
async fn concurrency_limit_counts_the_calls_of_all_clones() {
    let gated = Gated::start(run_at_once(), 100);
    gated.open();
    let service = ServiceBuilder::new()
        .concurrency_limit(TWO.get())
        .service(gated.batcher.clone());
    let mut calls = JoinSet::new();
    for request in 0..10 {
        calls.spawn(service.clone().oneshot(request));
    }
    let mut answered = calls
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()
        .expect("all are answered");
    answered.sort_unstable();
    assert_eq!(answered, (0..10).collect::<Vec<_>>());
    let sizes: Vec<_> = gated.ran().iter().map(Vec::len).collect();
    assert!(
        sizes.iter().all(|size| *size <= TWO.get()),
        "more calls than permitted were in a batch: {sizes:?}"
    );
    // The two that are permitted do share batches.
    assert!(sizes.contains(&TWO.get()), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn load_shed_sheds_what_a_limit_keeps_waiting() {
    let gated = Gated::start(run_at_once(), 100);
    let service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service(gated.batcher.clone());
    let first = tokio::spawn(service.clone().oneshot(1));
    gated.until_ran(1).await;

    let shed = service.clone().oneshot(2).await;
    assert!(shed.expect_err("one is in progress").is::<Overloaded>());

    gated.open();
    assert_eq!(first.await.expect("no panic").expect("answered"), 1);
    assert_eq!(service.oneshot(3).await.expect("nothing is in progress"), 3);
    assert_eq!(gated.ran(), [[1], [3]]);
}

#[tokio::test(start_paused = true)]
async fn under_load_shed_alone_the_queue_itself_refuses() {
    let gated = Gated::start(run_at_once(), 1);
    let service = ServiceBuilder::new()
        .load_shed()
        .service(gated.batcher.clone());
    let first = tokio::spawn(service.clone().oneshot(1));
    gated.until_ran(1).await;

    let refused = service.oneshot(2).await.expect_err("the queue is full");
    assert!(matches!(kind(&refused), Some(ErrorKind::QueueFull { .. })));
    gated.open();
    assert_eq!(first.await.expect("no panic").expect("answered"), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_sends_what_a_full_queue_refused_until_there_is_room() {
    let gated = Gated::start(run_at_once(), 1);
    let first = tokio::spawn(gated.batcher.clone().oneshot(1));
    gated.until_ran(1).await;
    let refused = gated.batcher.send(2).await.expect_err("the queue is full");
    assert!(refused.is_retryable());

    let retried = tokio::spawn(Retry::new(Retryable, gated.batcher.clone()).oneshot(2));
    sleep(Duration::from_secs(1)).await;
    assert!(!retried.is_finished());
    gated.open();
    assert_eq!(first.await.expect("no panic").expect("answered"), 1);
    assert_eq!(retried.await.expect("no panic").expect("answered"), 2);
}

#[tokio::test(start_paused = true)]
async fn retry_leaves_alone_what_cannot_succeed() {
    let runs = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&runs);
    let (batcher, _processor) =
        dynamic_batcher_memory::spawn(run_at_once(), move |batch: Vec<u32>| {
            *counted.lock().expect("no panic") += 1;
            batch.iter().map(|_| Err("odd")).collect::<Vec<_>>()
        });
    let outcome: Result<u32> = Retry::new(Retryable, batcher).oneshot(1).await;
    assert_eq!(outcome.expect_err("odd").kind(), ErrorKind::Handler);
    assert_eq!(*runs.lock().expect("no panic"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_over_retry_is_that_of_all_tries() {
    let gated = Gated::start(run_at_once(), 1);
    let _first = tokio::spawn(gated.batcher.clone().oneshot(1));
    gated.until_ran(1).await;
    let service = ServiceBuilder::new()
        .timeout(Duration::from_secs(3))
        .retry(Retryable)
        .service(gated.batcher.clone());
    let start = tokio::time::Instant::now();
    let late = service.oneshot(2).await;
    assert!(late.expect_err("the queue stays full").is::<Elapsed>());
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_a_buffer_share_batches() {
    let policy = BatchPolicy::default().batch_time(Duration::from_secs(1));
    let gated = Gated::start(policy, 100);
    gated.open();
    let service = ServiceBuilder::new()
        .buffer(4)
        .service(gated.batcher.clone());
    let mut calls = JoinSet::new();
    for request in 0..20 {
        calls.spawn(service.clone().oneshot(request));
    }
    let answered = calls.join_all().await;
    assert!(answered.iter().all(std::result::Result::is_ok));
    let sizes: Vec<_> = gated.ran().iter().map(Vec::len).collect();
    assert_eq!(sizes, [20]);
}

#[tokio::test(start_paused = true)]
async fn all_layers_together_serve_everybody() {
    let gated = Gated::start(run_at_once(), 4);
    gated.open();
    let service = ServiceBuilder::new()
        .buffer(8)
        .load_shed()
        .concurrency_limit(16)
        .timeout(Duration::from_secs(10))
        .retry(Retryable)
        .service(gated.batcher.clone());
    let mut calls = JoinSet::new();
    for request in 0..12 {
        let service = service.clone();
        calls.spawn(async move { (request, service.oneshot(request).await) });
    }
    for (request, outcome) in calls.join_all().await {
        assert_eq!(outcome.expect("in time"), request);
    }
}
