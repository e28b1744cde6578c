//! A batcher as a `tower::Service`: tower's layers round it, and its own queue under them.
//!
//! `cargo run --example tower`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, Error, WhenIdle};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport};
use tokio::time::{Sleep, sleep};
use tower::load_shed::error::Overloaded;
use tower::retry::Policy;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _};

const CALLERS: u32 = 100;
const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(8).unwrap();
const MAX_QUEUE: NonZeroUsize = NonZeroUsize::new(16).unwrap();
const LIMIT: usize = 32;

/// Stands for a service that takes 20 ms for a batch, however large.
async fn echo(batch: Vec<u32>) -> Vec<u32> {
    sleep(Duration::from_millis(20)).await;
    batch
}

/// Tries again what may succeed, when there is room. Whoever cannot bear that a request runs twice
/// looks at the error's kind: what a full queue refused has not run.
#[derive(Clone)]
struct Retryable;

impl Policy<u32, u32, Error> for Retryable {
    type Future = Sleep;

    fn retry(&mut self, _: &mut u32, outcome: &mut Result<u32, Error>) -> Option<Sleep> {
        let error = outcome.as_ref().err()?;
        let pause = error.retry_after().unwrap_or(Duration::from_millis(10));
        error.is_retryable().then(|| sleep(pause))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

/// What became of requests that were sent at the same time.
#[derive(Default)]
struct Outcomes {
    answered: u32,
    shed: u32,
    refused: u32,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let policy = BatchPolicy::default()
        .batch_size(BATCH_SIZE)
        .when_idle(WhenIdle::Run);
    let transport = MemoryTransport::new(MemoryConfig::default().max_queue(MAX_QUEUE));
    let batcher: Batcher<u32, u32> = Batcher::new(transport.clone());
    let _processor = BatchProcessor::spawn(transport, policy, echo);

    println!("{CALLERS} callers at once, a queue of {MAX_QUEUE}\n");

    // As it is: a batcher is always ready, and what its queue has no place for is refused.
    let bare = call_all(&batcher).await?;
    print("the batcher", &bare);
    assert!(bare.answered >= 1 && bare.refused >= 1);

    // Five seconds for all tries of a call.
    let patient = ServiceBuilder::new()
        .timeout(Duration::from_secs(5))
        .retry(Retryable)
        .service(batcher.clone());
    let patient = call_all(&patient).await?;
    print("with retry", &patient);
    assert_eq!(patient.answered, CALLERS);

    // One part of a program has so many calls in progress, and sheds the rest before they cost
    // anything: others that send to the same queue find room there.
    let limited = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(LIMIT)
        .retry(Retryable)
        .service(batcher);
    let limited = call_all(&limited).await?;
    print("with a limit", &limited);
    assert!(limited.answered >= LIMIT as u32 && limited.refused == 0);
    Ok(())
}

/// One call of each caller, all at once; each must have its own answer.
async fn call_all<S>(service: &S) -> Result<Outcomes, BoxError>
where
    S: Service<u32, Response = u32> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let calls: Vec<_> = (0..CALLERS)
        .map(|request| (request, tokio::spawn(service.clone().oneshot(request))))
        .collect();
    let mut outcomes = Outcomes::default();
    for (request, call) in calls {
        match call.await?.map_err(Into::into) {
            Ok(answer) => {
                assert_eq!(answer, request);
                outcomes.answered += 1;
            }
            Err(error) if error.is::<Overloaded>() => outcomes.shed += 1,
            // Layers box their errors: the batcher's is inside.
            Err(error) => match error.downcast_ref::<Error>() {
                Some(error) if error.retry_after().is_some() => outcomes.refused += 1,
                _ => return Err(error),
            },
        }
    }
    Ok(outcomes)
}

fn print(service: &str, outcomes: &Outcomes) {
    println!("{service}");
    println!("  answered  {:4}", outcomes.answered);
    println!("  refused   {:4}  by the full queue", outcomes.refused);
    println!("  shed      {:4}  by the layer\n", outcomes.shed);
}
