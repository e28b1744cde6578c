//! A batcher as a service of `tower`, so that its layers can be put round it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::batcher::Batcher;
use crate::error::{Error, Result};
use crate::transport::Transport;

type Sending<Resp> = Pin<Box<dyn Future<Output = Result<Resp>> + Send>>;

/// A batcher is a `tower::Service`: a call is a [`send`](Batcher::send). With the feature `tower`.
///
/// Always ready: the transport's queue is the only one, and what finds no room there ends in
/// [`QueueFull`](crate::ErrorKind::QueueFull). `poll_ready` reserves nothing, so that a clone, a
/// service that was polled and never called, or one that is kept for later holds up nobody.
///
/// What that means for the layers of `tower`:
///
/// | layer | with a batcher |
/// |---|---|
/// | `timeout` | drops the call, which abandons its request. The batcher's own [`timeout`](Batcher::timeout) costs nothing more, and its error says whether a handler had started |
/// | `concurrency_limit` | so many calls at a time through this service and its clones, where the queue's limit counts those of everybody |
/// | `load_shed` | a batcher is always ready, so it sheds nothing by itself: put it over a `concurrency_limit` |
/// | `retry` | with a policy that asks [`is_retryable`](Error::is_retryable), and waits for [`retry_after`](Error::retry_after); within a `timeout`, so that its time is that of all tries |
/// | `buffer` | is not needed to clone a batcher, and is one more queue before ours, which knows no deadlines |
///
/// The errors of most layers are boxed: `downcast_ref::<Error>()` finds the batcher's.
///
/// # Cancellation
///
/// As of [`send`](Batcher::send): nothing is sent before the future is first polled, and dropping
/// it abandons the request.
///
/// # Examples
///
/// A deadline for all tries, and trying again what may succeed:
///
/// ```
/// use std::time::Duration;
/// use dynamic_batcher::{BatchPolicy, Error, WhenIdle};
/// use tower::retry::Policy;
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// /// Tries again what may succeed, when there is room.
/// #[derive(Clone)]
/// struct Again {
///     tries: usize,
/// }
///
/// impl Policy<u32, u32, Error> for Again {
///     type Future = tokio::time::Sleep;
///
///     fn retry(&mut self, _: &mut u32, outcome: &mut Result<u32, Error>) -> Option<Self::Future> {
///         let error = outcome.as_ref().err().filter(|error| error.is_retryable())?;
///         self.tries = self.tries.checked_sub(1)?;
///         let pause = error.retry_after().unwrap_or(Duration::from_millis(10));
///         Some(tokio::time::sleep(pause))
///     }
///
///     fn clone_request(&mut self, request: &u32) -> Option<u32> {
///         Some(*request)
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
/// let (batcher, _processor) = dynamic_batcher_memory::spawn(policy, |batch: Vec<u32>| batch);
/// let mut service = ServiceBuilder::new()
///     .timeout(Duration::from_secs(5))
///     .retry(Again { tries: 3 })
///     .service(batcher);
/// assert_eq!(service.ready().await?.call(7).await?, 7);
/// # Ok(())
/// # }
/// ```
impl<Req, Resp, T> Service<Req> for Batcher<Req, Resp, T>
where
    Req: Send + 'static,
    Resp: Send + 'static,
    T: Transport<Req, Resp> + Clone,
{
    type Response = Resp;
    type Error = Error;
    type Future = Sending<Resp>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let batcher = self.clone();
        Box::pin(async move { batcher.send(request).await })
    }
}
