//! The traits between core and a transport: what the author of one has to keep.
//!
//! A transport has a caller's side, [`Transport`], and a place where processors attach,
//! [`Source`], which gives each of them a [`Consumer`] of its own. One object usually is both.
//! Payloads are type parameters of the traits: a transport within one process implements them for
//! every `Send` type and moves values; one that needs bytes implements them once, for `Vec<u8>`,
//! and [`Coded`](crate::Coded) makes it carry any type that a codec knows.
//!
//! What the traits ask for in their *Contract* sections is checked by the suite in the package
//! `dynamic-batcher-conformance`. A small transport, written out and run through that suite, is
//! `examples/own_transport.rs` in the repository.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Result;
use crate::meta::{BatchInfo, CallMeta, Reply};

/// The caller's side of a transport.
///
/// # Contract
///
/// - A call ends in exactly one outcome, and **by `meta.deadline`**: [`Batcher`](crate::Batcher)
///   adds no timer. Whoever holds the request enforces it, best with one timer for all requests;
///   a timer round each call costs as much as the call.
/// - The response is the one that a processor gave for this request, and no other's.
/// - An error that a processor gave for it arrives with its kind and its text.
///
/// # Cancellation
///
/// Dropping the future of a call abandons the request: if no handler has started on it, none will.
///
/// # Ordering
///
/// Requests are delivered in the order in which they were sent, as far as the transport can know
/// it. A transport may send when `call` is called or when its future is first polled; a
/// [`Batcher`](crate::Batcher) does both at once.
///
/// # Errors
///
/// [`Timeout`](crate::ErrorKind::Timeout) when the deadline passes,
/// [`QueueFull`](crate::ErrorKind::QueueFull) when the request is not accepted,
/// [`Closed`](crate::ErrorKind::Closed) when the transport knows that nobody will ever answer, and
/// whatever the processor replied.
pub trait Transport<Req, Resp>: Send + Sync + 'static {
    /// Sends one request and waits for its outcome.
    fn call(&self, req: Req, meta: CallMeta) -> impl Future<Output = Result<Reply<Resp>>> + Send;

    /// Sends many requests and waits for all outcomes, which come in the order of the requests.
    ///
    /// The default joins single calls; a transport that can enter many requests at once overrides
    /// it.
    fn call_many(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> impl Future<Output = Vec<Result<Reply<Resp>>>> + Send
    where
        Req: Send,
        Resp: Send,
    {
        futures_util::future::join_all(reqs.into_iter().map(move |req| self.call(req, meta)))
    }
}

/// Where processors attach to a transport.
pub trait Source<Req, Resp>: Send + Sync + 'static {
    /// What one processor holds while it is attached.
    type Consumer: Consumer<Req, Resp>;

    /// Registers one processor. No I/O happens here: what needs a server happens at the first
    /// [`recv`](Consumer::recv).
    ///
    /// The processor keeps the consumer and drops the source: a source that is also a transport
    /// must not be kept open by the consumers that it gave.
    fn attach(&self) -> Self::Consumer;
}

/// One processor's side of a transport.
///
/// # Contract
///
/// - Every [`Delivery`] ends in one of three ways: it is answered through
///   [`reply`](Self::reply), given back through [`release`](Self::release), or its ticket is
///   dropped. A dropped ticket counts as given back; a transport that cannot deliver the request
///   again (the payload is gone) ends its call with [`Lost`](crate::ErrorKind::Lost), or with
///   [`Closed`](crate::ErrorKind::Closed) when no other processor is attached. No caller hangs
///   because a ticket was dropped.
/// - Several consumers of one source share its requests; each request is delivered to one.
/// - A processor has one future of [`recv`](Self::recv) and several of [`reply`](Self::reply) in
///   flight at the same time, and as it leaves one of [`release`](Self::release) beside the latter.
/// - A transport that leases requests keeps the lease from [`recv`](Self::recv) until `reply`,
///   `release` or the ticket's drop.
/// - Dropping the consumer says that this processor is gone, however it went. A transport that
///   can know it then ends its waiting calls with `Closed` when no consumer is left.
///
/// # Cancellation
///
/// Dropping the future of `recv` loses nothing: an implementation appends to `into` only after its
/// last await. The futures of `reply`, `release` and `detach` are not dropped before they end, unless
/// the processor itself is, or has no time left in which to leave.
pub trait Consumer<Req, Resp>: Send + Sync + 'static {
    /// Stands for one delivered request until it has ended: a channel, or a stream entry's id.
    type Ticket: Send + 'static;

    /// Appends between 1 and `max` deliveries to `into`, waiting until there is one; `max` is at
    /// least 1.
    ///
    /// May return without any after `wait`, as a blocking command of a server does; need not keep
    /// a timer for it. Returns `false` when nothing will ever come any more.
    ///
    /// # Errors
    ///
    /// When reading failed. If the error [is retryable](crate::Error::is_retryable) the processor
    /// pauses and calls again, else it ends.
    fn recv(
        &self,
        into: &mut Vec<Delivery<Req, Self::Ticket>>,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Whether it is known that the caller no longer waits: it is gone, or was told of its
    /// timeout. Asked for each request just before a batch is handed over, and again after its
    /// [`start`](Self::start): what ended before that must say so then. Must be cheap.
    ///
    /// The default, for a transport that cannot know, is `false`.
    fn is_abandoned(&self, _ticket: &Self::Ticket) -> bool {
        false
    }

    /// How many requests wait that no processor has read, as far as this is known without asking a
    /// server; must be cheap. Told by [`BatchProcessor::status`](crate::BatchProcessor::status) and
    /// to an [`Observer`](crate::Observer).
    ///
    /// The default, for a transport that does not know, is 0.
    fn queued(&self) -> usize {
        0
    }

    /// Says that a handler starts on these requests now, `at` this instant, so that a later timeout
    /// can tell the caller that its request had been started. What was abandoned before does not run.
    /// The default ignores it: a transport that does must tell so of every request that a processor
    /// has, since it may have been.
    fn start<'a>(&self, _tickets: impl Iterator<Item = &'a Self::Ticket>, _at: Instant) {}

    /// Says that nothing will be received any more, though what was still has to end: the processor
    /// drains. What was read ahead is to go to others now, and not only when the last batch has ended.
    /// Called again when the drain is given another deadline, and not at all when the processor is
    /// stopped, or ends by itself.
    ///
    /// The default, for a transport that reads nothing ahead, does nothing.
    fn close(&self) {}

    /// Ends requests: with responses, or with errors.
    ///
    /// `batch` is the batch that ran, and then an answer's position in `answers` is its position
    /// in the batch; `None` for requests that ended without having run. An answer for a caller
    /// that is gone is no error.
    ///
    /// # Errors
    ///
    /// When the answers could not be sent. The processor logs it; the requests count as dropped.
    fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<Answer<Resp, Self::Ticket>>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Gives back requests that were read and not started, so that others can have them at once.
    ///
    /// # Errors
    ///
    /// When they could not be given back. The processor logs it; the requests count as dropped.
    fn release(
        &self,
        deliveries: Vec<Delivery<Req, Self::Ticket>>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Leaves in good order, after every delivery has ended. The default just drops the consumer.
    ///
    /// # Errors
    ///
    /// When leaving failed; the consumer is gone all the same.
    fn detach(self) -> impl Future<Output = Result<()>> + Send
    where
        Self: Sized,
    {
        async { Ok(()) }
    }
}

/// One request as a processor receives it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery<Req, Ticket> {
    /// The request, or why it could not be decoded; the processor then answers with that error.
    pub payload: Result<Req>,
    /// What the request is ended with.
    pub ticket: Ticket,
    /// When it was sent, until when it is awaited, which delivery this is.
    pub meta: CallMeta,
}

/// A transport that is not `Clone` is shared by both sides in an [`Arc`].
impl<Req, Resp, T: Transport<Req, Resp>> Transport<Req, Resp> for Arc<T> {
    fn call(&self, req: Req, meta: CallMeta) -> impl Future<Output = Result<Reply<Resp>>> + Send {
        T::call(self, req, meta)
    }

    fn call_many(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> impl Future<Output = Vec<Result<Reply<Resp>>>> + Send
    where
        Req: Send,
        Resp: Send,
    {
        T::call_many(self, reqs, meta)
    }
}

impl<Req, Resp, S: Source<Req, Resp>> Source<Req, Resp> for Arc<S> {
    type Consumer = S::Consumer;

    fn attach(&self) -> Self::Consumer {
        S::attach(self)
    }
}

impl<Req, Ticket> Delivery<Req, Ticket> {
    /// Joins the parts of a delivery.
    #[must_use]
    pub fn new(payload: Result<Req>, ticket: Ticket, meta: CallMeta) -> Self {
        Self {
            payload,
            ticket,
            meta,
        }
    }
}

/// The end of one request, as a processor hands it to its [`Consumer`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer<Resp, Ticket> {
    /// The request's ticket.
    pub ticket: Ticket,
    /// Its response, or why there is none.
    pub outcome: Result<Resp>,
    /// How long the request had waited before its handler started, or before it was given up. Zero for
    /// one that was run and whose meta data do not ask for it ([`CallMeta::wants_info`]).
    pub queued: Duration,
}

impl<Resp, Ticket> Answer<Resp, Ticket> {
    /// Joins the parts of an answer.
    #[must_use]
    pub fn new(ticket: Ticket, outcome: Result<Resp>, queued: Duration) -> Self {
        Self {
            ticket,
            outcome,
            queued,
        }
    }
}
