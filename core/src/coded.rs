//! Carries any type over a transport of bytes: the only place where bytes become types.

use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use tokio::time::Instant;

use crate::codec::{Decode, Encode};
use crate::error::{Error, ErrorKind, Result, said};
use crate::meta::{BatchInfo, CallMeta, Reply};
use crate::transport::{Answer, Consumer, Delivery, Source, Transport};

/// Lifts a [`Transport`], [`Source`] or [`Consumer`] of `Vec<u8>` to any request and response that
/// the codec `C` encodes and decodes. Clones share the codec.
///
/// The bounds are one-way: a caller only encodes requests and decodes responses, a processor the
/// reverse. A request that does not encode, or a response that does not decode, is the error of
/// that one call; a request that does not decode is answered with that error, and its batch runs
/// without it.
#[derive(Debug)]
pub struct Coded<T, C> {
    inner: T,
    codec: Arc<C>,
}

impl<T, C> Coded<T, C> {
    /// Puts `codec` in front of `inner`.
    #[must_use]
    pub fn new(inner: T, codec: C) -> Self {
        Self {
            inner,
            codec: Arc::new(codec),
        }
    }
}

impl<T, C> Coded<T, C> {
    /// The same codec in front of what `f` makes of the transport.
    #[must_use]
    pub fn map_inner<U>(self, f: impl FnOnce(T) -> U) -> Coded<U, C> {
        Coded {
            inner: f(self.inner),
            codec: self.codec,
        }
    }

    /// What carries the bytes.
    #[must_use]
    pub fn inner(&self) -> &T {
        &self.inner
    }
}

impl<T: Clone, C> Clone for Coded<T, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            codec: Arc::clone(&self.codec),
        }
    }
}

impl<T, C, Req, Resp> Transport<Req, Resp> for Coded<T, C>
where
    T: Transport<Vec<u8>, Vec<u8>>,
    C: Encode<Req> + Decode<Resp>,
    Req: Send,
    Resp: Send,
{
    /// Encodes at once; sends when the transport within does. A future of this form is small, so that a
    /// batcher that does not know its transport need not allocate for it.
    fn call(&self, req: Req, meta: CallMeta) -> impl Future<Output = Result<Reply<Resp>>> + Send {
        let encoded = encode(REQUEST, &*self.codec, &req);
        // The request lives on as bytes alone.
        drop(req);
        let outcome = match encoded {
            Ok(body) => Either::Left(self.inner.call(body, meta)),
            Err(error) => Either::Right(ready(Err(error))),
        };
        outcome.map(|outcome| outcome?.try_map(|bytes| decode(RESPONSE, &*self.codec, &bytes)))
    }

    async fn call_many(&self, reqs: Vec<Req>, meta: CallMeta) -> Vec<Result<Reply<Resp>>> {
        let mut bodies = Vec::with_capacity(reqs.len());
        // What does not encode keeps its place, and the rest goes on without it.
        let encoded: Vec<Result<()>> = reqs
            .into_iter()
            .map(|req| encode(REQUEST, &*self.codec, &req).map(|body| bodies.push(body)))
            .collect();
        let mut replies = self.inner.call_many(bodies, meta).await.into_iter();
        let outcomes = encoded.into_iter().map(|encoded| {
            encoded?;
            let reply = replies.next().unwrap_or_else(|| Err(missing_reply()))?;
            reply.try_map(|bytes| decode(RESPONSE, &*self.codec, &bytes))
        });
        outcomes.collect()
    }
}

impl<T, C, Req, Resp> Source<Req, Resp> for Coded<T, C>
where
    T: Source<Vec<u8>, Vec<u8>>,
    C: Decode<Req> + Encode<Resp>,
    Req: Send,
    Resp: Send,
{
    type Consumer = Coded<T::Consumer, C>;

    fn attach(&self) -> Self::Consumer {
        Coded {
            inner: self.inner.attach(),
            codec: Arc::clone(&self.codec),
        }
    }
}

/// A ticket with the bytes of its request, which are what is given back if it is not run.
#[derive(Debug)]
pub struct CodedTicket<T> {
    inner: T,
    body: Vec<u8>,
}

impl<T, C, Req, Resp> Consumer<Req, Resp> for Coded<T, C>
where
    T: Consumer<Vec<u8>, Vec<u8>>,
    C: Decode<Req> + Encode<Resp>,
    Req: Send,
    Resp: Send,
{
    type Ticket = CodedTicket<T::Ticket>;

    async fn recv(
        &self,
        into: &mut Vec<Delivery<Req, Self::Ticket>>,
        max: usize,
        wait: Duration,
    ) -> Result<bool> {
        let mut raw = Vec::new();
        let open = self.inner.recv(&mut raw, max, wait).await?;
        into.extend(raw.into_iter().map(|delivery| {
            let (payload, body) = match delivery.payload {
                Ok(body) => (decode(REQUEST, &*self.codec, &body), body),
                Err(error) => (Err(error), Vec::new()),
            };
            let ticket = CodedTicket {
                inner: delivery.ticket,
                body,
            };
            Delivery::new(payload, ticket, delivery.meta)
        }));
        Ok(open)
    }

    fn close(&self) {
        self.inner.close();
    }

    fn is_abandoned(&self, ticket: &Self::Ticket) -> bool {
        self.inner.is_abandoned(&ticket.inner)
    }

    fn queued(&self) -> usize {
        self.inner.queued()
    }

    fn start<'a>(&self, tickets: impl Iterator<Item = &'a Self::Ticket>, at: Instant) {
        self.inner.start(tickets.map(|ticket| &ticket.inner), at);
    }

    async fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<Answer<Resp, Self::Ticket>>,
    ) -> Result<()> {
        let answers = answers.into_iter().map(|answer| {
            let outcome = answer
                .outcome
                .and_then(|response| encode(RESPONSE, &*self.codec, &response));
            Answer::new(answer.ticket.inner, outcome, answer.queued)
        });
        self.inner.reply(batch, answers.collect()).await
    }

    async fn release(&self, deliveries: Vec<Delivery<Req, Self::Ticket>>) -> Result<()> {
        let deliveries = deliveries.into_iter().map(|delivery| {
            let CodedTicket { inner, body } = delivery.ticket;
            let payload = delivery.payload.map(|_| body);
            Delivery::new(payload, inner, delivery.meta)
        });
        self.inner.release(deliveries.collect()).await
    }

    async fn detach(self) -> Result<()> {
        self.inner.detach().await
    }
}

/// Which half a value is: the reader of an error may have either wrong.
const REQUEST: &str = "the request";
const RESPONSE: &str = "the response";

fn encode<T, C: Encode<T>>(half: &str, codec: &C, value: &T) -> Result<Vec<u8>> {
    // Most values fit: grown from nothing, it would move several times.
    let mut bytes = Vec::with_capacity(128);
    guarded(ErrorKind::Encode, || codec.encode(value, &mut bytes))
        .map_err(|error| error.within(half))?;
    Ok(bytes)
}

fn decode<T, C: Decode<T>>(half: &str, codec: &C, bytes: &[u8]) -> Result<T> {
    guarded(ErrorKind::Decode, || codec.decode(bytes)).map_err(|error| error.within(half))
}

/// What the user's own code for one value does must not end the processor or its neighbours.
fn guarded<T>(kind: ErrorKind, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(Error::new(kind, format!("panicked: {}", said(panic)))))
}

fn missing_reply() -> Error {
    Error::new(
        ErrorKind::Lost,
        "the transport gave fewer replies than it got requests",
    )
}
