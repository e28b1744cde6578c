//! The caller's handle: one request in, its own response out.

use std::fmt;
use std::marker::PhantomData;
use std::slice;
use std::time::Duration;

use crate::any::AnyTransport;
use crate::calls::Told;
use crate::error::Result;
use crate::meta::{CallMeta, Reply};
use crate::trace;
use crate::transport::Transport;

/// How long a request is awaited unless something else is said: 100 s, as in the Python package.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(100);

/// Sends requests, one at a time or many, and returns to each caller its own response.
///
/// Cheap to clone; all clones share the transport, and one batcher can be used from any number of
/// tasks at once. By default the type does not name the transport: [`AnyTransport`] says what that
/// costs. [`with_transport`](Self::with_transport) makes one whose type does.
///
/// # Cancellation
///
/// Dropping the future of a `send` abandons its request: it is not run if no handler has started
/// on it. Nothing is sent before the future is first polled.
///
/// # Examples
///
/// ```
/// use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
/// use dynamic_batcher_memory::MemoryTransport;
///
/// # #[tokio::main]
/// # async fn main() -> dynamic_batcher::Result<()> {
/// let transport = MemoryTransport::default();
/// let batcher: Batcher<u32, u32> = Batcher::new(transport.clone());
/// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
/// let _processor = BatchProcessor::spawn(transport, policy, |batch: Vec<u32>| {
///     batch.into_iter().map(|n| n * 2).collect::<Vec<_>>()
/// });
///
/// assert_eq!(batcher.send(21).await?, 42);
/// # Ok(())
/// # }
/// ```
pub struct Batcher<Req, Resp, T = AnyTransport<Req, Resp>> {
    transport: T,
    timeout: Duration,
    pub(crate) told: Told,
    types: PhantomData<fn(Req) -> Resp>,
}

/// What one send may ask for. The default asks for nothing: the batcher's own settings hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendOptions {
    /// How long to wait for the response; more than a year counts as a year. Default: `None`, the
    /// batcher's timeout.
    pub timeout: Option<Duration>,
}

impl SendOptions {
    /// Sets how long to wait for the response, counted from the first poll of the send.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// Options that say how long to wait for the response, and nothing else.
impl From<Duration> for SendOptions {
    fn from(timeout: Duration) -> Self {
        Self::default().timeout(timeout)
    }
}

impl<Req: Send + 'static, Resp: Send + 'static> Batcher<Req, Resp> {
    /// Makes a batcher over any transport, without its type.
    #[must_use]
    pub fn new(transport: impl Transport<Req, Resp>) -> Self {
        Self::with_transport(AnyTransport::new(transport))
    }
}

impl<Req, Resp, T: Transport<Req, Resp>> Batcher<Req, Resp, T> {
    /// Makes a batcher whose type names its transport: no allocation for its sake on each call.
    #[must_use]
    pub fn with_transport(transport: T) -> Self {
        Self {
            transport,
            timeout: DEFAULT_TIMEOUT,
            told: Told::default(),
            types: PhantomData,
        }
    }

    /// Sets how long a request is awaited when its own options do not say. More than a year counts
    /// as a year. Default: [`DEFAULT_TIMEOUT`], 100 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends one request and waits for its response.
    ///
    /// # Errors
    ///
    /// Every kind can occur, see [`ErrorKind`](crate::ErrorKind): [`Config`](crate::ErrorKind::Config)
    /// where there is no tokio runtime that keeps time, and where a server has to be set up otherwise.
    /// [`Timeout`](crate::ErrorKind::Timeout) may come late: in process by up to 50 ms where very
    /// many requests wait, over Redis by up to 100 ms.
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the request.
    pub async fn send(&self, req: Req) -> Result<Resp> {
        self.send_with(req, SendOptions::default()).await
    }

    /// Sends one request with options of its own.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use dynamic_batcher::{Batcher, ErrorKind, SendOptions};
    /// use dynamic_batcher_memory::MemoryTransport;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let batcher: Batcher<u32, u32> = Batcher::new(MemoryTransport::default());
    /// let options = SendOptions::default().timeout(Duration::from_millis(5));
    /// // No processor has attached, so nobody answers.
    /// let error = batcher.send_with(1, options).await.unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::Timeout { started: false, .. }));
    /// # }
    /// ```
    pub async fn send_with(&self, req: Req, options: SendOptions) -> Result<Resp> {
        let open = self.told.open(1);
        let outcome = self.call(req, self.meta(options)).await;
        open.ended(outcome.as_ref().err());
        Ok(outcome?.value)
    }

    /// Sends one request and gives, beside the response, the batch that it came from.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the request.
    pub async fn send_for_reply(&self, req: Req, options: SendOptions) -> Result<Reply<Resp>> {
        let open = self.told.open(1);
        let meta = self.meta(options).with_info();
        let outcome = self.call(req, meta).await;
        open.ended(outcome.as_ref().err());
        outcome
    }

    /// Sends many requests as one future: results come in the order of the requests, each item
    /// with an outcome of its own.
    ///
    /// The items are requests like any other: they share batches with other callers' and are split
    /// over several batches when they are more than `batch_size`. Each counts against the queue's
    /// limit; those beyond it are refused alone. Of no requests there are no results, at once.
    ///
    /// # Errors
    ///
    /// Each item's, as those of [`send`](Self::send).
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the items that have not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use dynamic_batcher::{BatchPolicy, WhenIdle};
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    /// let (batcher, _processor) = dynamic_batcher_memory::spawn(policy, |batch: Vec<i32>| {
    ///     batch
    ///         .into_iter()
    ///         .map(|n| if n < 0 { Err("negative") } else { Ok(n * n) })
    ///         .collect::<Vec<_>>()
    /// });
    /// // The type says that the handler's `Result` is each item's outcome, and no response itself.
    /// let results: Vec<dynamic_batcher::Result<i32>> = batcher.send_many(vec![3, -1, 5]).await;
    /// assert_eq!(results[0].as_ref().unwrap(), &9);
    /// assert_eq!(results[1].as_ref().unwrap_err().to_string(), "the handler failed: negative");
    /// assert_eq!(results[2].as_ref().unwrap(), &25);
    /// # }
    /// ```
    pub async fn send_many(&self, reqs: Vec<Req>) -> Vec<Result<Resp>>
    where
        Req: Send,
        Resp: Send,
    {
        self.send_many_with(reqs, SendOptions::default()).await
    }

    /// Sends many requests as [`send_many`](Self::send_many) does, with options for all of them.
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the items that have not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use dynamic_batcher::{Batcher, ErrorKind};
    /// use dynamic_batcher_memory::MemoryTransport;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let batcher: Batcher<u32, u32> = Batcher::new(MemoryTransport::default());
    /// // No processor has attached, so nobody answers.
    /// let timeout = Duration::from_millis(5);
    /// for outcome in batcher.send_many_with(vec![1, 2], timeout.into()).await {
    ///     assert!(matches!(outcome.unwrap_err().kind(), ErrorKind::Timeout { .. }));
    /// }
    /// # }
    /// ```
    pub async fn send_many_with(&self, reqs: Vec<Req>, options: SendOptions) -> Vec<Result<Resp>>
    where
        Req: Send,
        Resp: Send,
    {
        let open = self.told.open(reqs.len());
        let meta = self.meta(options);
        let outcomes = self.call_many(reqs, meta).await;
        open.ended(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()));
        let replies = outcomes.into_iter();
        replies.map(|reply| Ok(reply?.value)).collect()
    }

    /// Sends many requests with options for all of them, and gives the batch of each.
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the items that have not ended.
    pub async fn send_many_for_replies(
        &self,
        reqs: Vec<Req>,
        options: SendOptions,
    ) -> Vec<Result<Reply<Resp>>>
    where
        Req: Send,
        Resp: Send,
    {
        let open = self.told.open(reqs.len());
        let meta = self.meta(options).with_info();
        let outcomes = self.call_many(reqs, meta).await;
        open.ended(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()));
        outcomes
    }

    fn call(&self, req: Req, meta: CallMeta) -> impl Future<Output = Result<Reply<Resp>>> {
        trace::send(meta, 1, slice::from_ref, |meta| {
            self.transport.call(req, meta)
        })
    }

    fn call_many(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> impl Future<Output = Vec<Result<Reply<Resp>>>>
    where
        Req: Send,
        Resp: Send,
    {
        trace::send(meta, reqs.len(), Vec::as_slice, |meta| {
            self.transport.call_many(reqs, meta)
        })
    }

    fn meta(&self, options: SendOptions) -> CallMeta {
        CallMeta::new(options.timeout.unwrap_or(self.timeout))
    }
}

impl<Req, Resp, T: Clone> Clone for Batcher<Req, Resp, T> {
    fn clone(&self) -> Self {
        Self {
            transport: self.transport.clone(),
            timeout: self.timeout,
            told: self.told.clone(),
            types: PhantomData,
        }
    }
}

impl<Req, Resp, T> fmt::Debug for Batcher<Req, Resp, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
