//! The function that serves a batch: the forms it may have, and what it is told.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{BoxError, Error, ErrorKind};
use crate::meta::{BatchId, CallMeta};

/// What a handler made of a batch. It cannot be looked into: to test what a [`Handler`] answers, run it on
/// the in-process transport.
///
/// Built with `From`/`into()` from the same three forms that a closure may return, or with
/// [`failed`](Self::failed).
///
/// An error in these forms reaches the caller as one of kind [`Handler`](ErrorKind::Handler), whose
/// [`source`](std::error::Error::source) it is. So does the [`Error`] of another batcher that the
/// handler calls: `QueueFull`, say, is true of the request there, while the one here has run.
#[derive(Debug)]
pub struct Outcome<Resp>(pub(crate) Outputs<Resp>);

#[derive(Debug)]
pub(crate) enum Outputs<Resp> {
    /// A response for each request.
    All(Vec<Resp>),
    /// A response or an error for each request.
    Each(Vec<Result<Resp, Error>>),
    /// One error for all requests.
    Failed(Error),
}

impl<Resp> Outcome<Resp> {
    /// The whole batch failed: each of its callers gets this error as it is, and goes by its kind.
    #[must_use]
    pub fn failed(error: Error) -> Self {
        Self(Outputs::Failed(error))
    }

    pub(crate) fn len(&self) -> Option<usize> {
        match &self.0 {
            Outputs::All(outputs) => Some(outputs.len()),
            Outputs::Each(outputs) => Some(outputs.len()),
            Outputs::Failed(_) => None,
        }
    }
}

impl<Resp> From<Vec<Resp>> for Outcome<Resp> {
    fn from(outputs: Vec<Resp>) -> Self {
        Self(Outputs::All(outputs))
    }
}

impl<Resp, E: Into<BoxError>> From<Vec<Result<Resp, E>>> for Outcome<Resp> {
    fn from(outputs: Vec<Result<Resp, E>>) -> Self {
        let outputs = outputs.into_iter();
        Self(Outputs::Each(
            outputs
                .map(|output| output.map_err(handler_error))
                .collect(),
        ))
    }
}

impl<Resp, E: Into<BoxError>> From<Result<Vec<Resp>, E>> for Outcome<Resp> {
    fn from(outputs: Result<Vec<Resp>, E>) -> Self {
        match outputs {
            Ok(outputs) => outputs.into(),
            Err(error) => Self::failed(handler_error(error)),
        }
    }
}

/// The handler's error for its callers: one that was made with [`Error::handler`] is that already.
fn handler_error(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(error) if error.kind() == ErrorKind::Handler => *error,
        Ok(error) => Error::handler(*error),
        Err(error) => Error::handler(error),
    }
}

/// Serves batches, with state of its own.
///
/// A plain function or closure needs none of this: see the forms at
/// [`BatchProcessor::spawn`](crate::BatchProcessor::spawn). Implement it for a handler that keeps
/// something from batch to batch or wants its [`BatchContext`], and start it with
/// [`spawn_handler`](crate::BatchProcessor::spawn_handler) or
/// [`spawn_each`](crate::BatchProcessor::spawn_each).
///
/// # Cancellation
///
/// The future of `run` is dropped when it passes the policy's `run_timeout`, when a drain's
/// deadline passes, and when the processor is dropped.
///
/// # Panics
///
/// A panic is caught and becomes the error of this batch's callers. The handler is then used
/// again as it is, or, where there is a factory, replaced by a new one.
///
/// # Examples
///
/// ```
/// use dynamic_batcher::{BatchContext, BatchPolicy, BatchProcessor, Batcher, Handler, Outcome};
/// use dynamic_batcher::WhenIdle;
/// use dynamic_batcher_memory::MemoryTransport;
///
/// /// Numbers the batches that it serves.
/// struct Counting {
///     batches: u64,
/// }
///
/// impl Handler<&'static str, String> for Counting {
///     async fn run(&mut self, batch: Vec<&'static str>, _: &BatchContext) -> Outcome<String> {
///         self.batches += 1;
///         let number = self.batches;
///         batch.into_iter().map(|text| format!("{text} {number}")).collect::<Vec<_>>().into()
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> dynamic_batcher::Result<()> {
/// let transport = MemoryTransport::default();
/// let batcher = Batcher::new(transport.clone());
/// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
/// let _processor = BatchProcessor::spawn_handler(transport, policy, Counting { batches: 0 });
/// assert_eq!(batcher.send("batch").await?, "batch 1");
/// assert_eq!(batcher.send("batch").await?, "batch 2");
/// # Ok(())
/// # }
/// ```
pub trait Handler<Req, Resp>: Send + 'static {
    /// Serves one batch: as many outputs as requests, in their order.
    fn run(
        &mut self,
        batch: Vec<Req>,
        context: &BatchContext,
    ) -> impl Future<Output = Outcome<Resp>> + Send;
}

/// What a handler may know of a batch beside its requests. Positions count from 0.
#[derive(Clone, Debug)]
pub struct BatchContext {
    id: BatchId,
    started: Instant,
    items: Vec<CallMeta>,
}

impl BatchContext {
    /// The context of a batch of these requests: what a unit test hands to a [`Handler`].
    #[must_use]
    pub fn new(id: BatchId, started: Instant, items: Vec<CallMeta>) -> Self {
        Self { id, started, items }
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The context of some of its requests, which run again without the others.
    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        Self {
            id: self.id,
            started: self.started,
            items: self.items[range].to_vec(),
        }
    }

    /// Whether none of its callers waits any longer.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.items.iter().all(|meta| meta.deadline <= now)
    }

    pub(crate) fn into_items(self) -> Vec<CallMeta> {
        self.items
    }

    pub(crate) fn items(&self) -> &[CallMeta] {
        &self.items
    }

    /// The batch's identity, the same that its callers see.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// The number of requests.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Which delivery of its request this is, 1 for the first: above 1 the request may have run
    /// before, which matters to effects that are not idempotent. `None` beyond the batch.
    #[must_use]
    pub fn attempt(&self, position: usize) -> Option<u32> {
        self.items.get(position).map(|meta| meta.attempt)
    }

    /// How long the request was queued before this batch started. `None` beyond the batch.
    #[must_use]
    pub fn queued(&self, position: usize) -> Option<Duration> {
        let meta = self.items.get(position)?;
        Some(self.started.saturating_duration_since(meta.enqueued))
    }

    /// When the request's caller stops waiting. `None` beyond the batch.
    #[must_use]
    pub fn deadline(&self, position: usize) -> Option<Instant> {
        self.items.get(position).map(|meta| meta.deadline)
    }
}

/// Marks what is an outcome as it stands.
#[derive(Debug)]
pub enum Now {}

/// Marks a future of an outcome.
#[derive(Debug)]
pub enum Later {}

/// What a closure may return for its batch: the six forms below. `Form` is inferred.
///
/// - `Vec<Resp>`
/// - `Vec<Result<Resp, E>>`: each request has its own outcome
/// - `Result<Vec<Resp>, E>`: the whole batch fails
/// - a future of one of these
///
/// with `E: Into<BoxError>`: most error types, `String`, `&str`.
#[diagnostic::on_unimplemented(
    message = "a batch handler for responses of type `{Resp}` cannot return `{Self}`",
    label = "this handler's return type is not an outcome of a batch",
    note = "return `Vec<{Resp}>`, `Vec<Result<{Resp}, E>>` or `Result<Vec<{Resp}>, E>`, or a future of one of these",
    note = "`E` must convert into `Box<dyn Error + Send + Sync>`, and the future must be `Send`",
    note = "under `spawn_blocking` the handler returns the outcome itself, not a future",
    note = "if nothing names the response type, as with `!` or `()` above, write `Batcher<Req, Resp>`"
)]
pub trait IntoOutcome<Resp, Form>: Send {
    /// Turns the return value into an [`Outcome`].
    fn into_outcome(self) -> impl Future<Output = Outcome<Resp>> + Send;
}

impl<Resp: Send> IntoOutcome<Resp, Now> for Vec<Resp> {
    async fn into_outcome(self) -> Outcome<Resp> {
        self.into()
    }
}

impl<Resp: Send, E: Into<BoxError> + Send> IntoOutcome<Resp, Now> for Vec<Result<Resp, E>> {
    async fn into_outcome(self) -> Outcome<Resp> {
        self.into()
    }
}

impl<Resp: Send, E: Into<BoxError> + Send> IntoOutcome<Resp, Now> for Result<Vec<Resp>, E> {
    async fn into_outcome(self) -> Outcome<Resp> {
        self.into()
    }
}

impl<Resp: Send, F> IntoOutcome<Resp, Later> for F
where
    F: Future + Send,
    F::Output: IntoOutcome<Resp, Now>,
{
    async fn into_outcome(self) -> Outcome<Resp> {
        self.await.into_outcome().await
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn error_of(outcome: Outcome<u8>) -> Error {
        match outcome.0 {
            Outputs::Each(mut outcomes) => outcomes.remove(0).expect_err("it failed"),
            Outputs::Failed(error) => error,
            Outputs::All(_) => panic!("it failed"),
        }
    }

    #[test]
    fn that_a_batcher_refused_the_handler_does_not_say_that_the_request_did_not_run() {
        let retry_after = Duration::from_secs(1);
        let refused = || Error::new(ErrorKind::QueueFull { retry_after }, "");
        for outcome in [vec![Err(refused())].into(), Err(refused()).into()] {
            let error = error_of(outcome);
            assert_eq!(error.kind(), ErrorKind::Handler);
            assert!(!error.is_retryable());
            let source = error.source().and_then(|source| source.downcast_ref());
            assert_eq!(source.map(Error::kind), Some(refused().kind()));
        }
    }

    #[test]
    fn an_error_that_is_a_handlers_already_stays_as_it_is() {
        let error = error_of(vec![Err(Error::handler("no memory"))].into());
        assert_eq!(error.to_string(), "the handler failed: no memory");
    }
}
