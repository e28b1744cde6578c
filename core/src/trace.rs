//! Spans for [`tracing`], and the place of a request in its caller's trace.
//!
//! All spans have the target `dynamic_batcher` and the level `DEBUG`: a filter
//! `dynamic_batcher=debug` shows them. The words are those of the metrics, where these have one.
//!
//! | span | where | parent | fields |
//! |---|---|---|---|
//! | `send` | the caller, for one call of [`Batcher`](crate::Batcher) | the caller's span | `size`: its requests; `timeout`: in seconds; `batch.id`: when it ends with a response whose batch is known; `outcome`: when it ends without a response |
//! | `batch` | the processor, from the start of a batch until its answers are sent | none; it [follows from](tracing::Span::follows_from) the `send` of each of its requests | `batch.id`; `batch.size`: its requests; `batch.reason`: why it was closed, `full`, `window`, `idle`, `drain` or `last_attempt`; `batch.processor`: the number that the processor drew |
//! | `handler` | one run of the handler, on whichever task or thread it runs | `batch` | `size`: the requests of this run, fewer than the batch's where parts of it run again; `outcome`: when it fails as a whole |
//! | `reply` | sending the answers of a batch | `batch` | `size`: its answers |
//!
//! `outcome` is `expired`, `rejected`, `cancelled`, `poison`, `lost`, `panic`, `batch_error` (a run
//! that took too long or gave a wrong number of outputs), `handler_error` (the handler's own error,
//! of the request or of its batch) or `codec_error`; of many requests, that of the first that
//! failed. With it goes `otel.status_code`, `ERROR`. (The metrics count errors of handlers as
//! `item_error` or `batch_error`, by whom they befell.)
//!
//! A handler runs within its span, so that spans and events of its own are under it.
//!
//! # From process to process
//!
//! With the feature `opentelemetry`, and a layer of `tracing-opentelemetry` 0.34 (of another version
//! nothing is found) among the subscriber's,
//! the context of the `send` span travels with its requests as a [`TraceContext`]; a transport
//! between processes carries it in a field `traceparent`. The batch's span then has a link to it. A
//! batch has many callers and its trace is its own: the links lead from it to each of theirs. What a
//! `tracestate` says is not carried.
//!
//! From a caller's trace to the batch's the field `batch.id` leads: search for the span `batch` that
//! has the same. A call of many requests has the ids of all its batches, with commas between them, in
//! the order of its requests. What ended without a response has none, nor has what a Python processor
//! answered: its batch, if there was one, is found by its link to the `send`, where what keeps the
//! traces can search for links.
//!
//! Without the feature the id of the span travels, which means something to the subscriber of this
//! process alone; programs in which callers and processors have different subscribers need the
//! feature.
//!
//! # What it costs
//!
//! When nobody listens at `DEBUG`, a load of one atomic number for each call, and for each batch a
//! few. Nothing is made or allocated: of a request in process, the fastest that there is, that is
//! some hundredths of the time. In a build in which `tracing` is without this level (its features
//! `release_max_level_info` and the like) nothing at all is left of it. A call that somebody listens
//! to takes one allocation more, and asks for its batch as
//! [`send_for_reply`](crate::Batcher::send_for_reply) does.

use std::fmt;
use std::pin::Pin;

use futures_util::future::Either;
use tokio::time::Instant;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Instrument as _, Level, Span, debug_span, field};

use crate::error::{Error, ErrorKind, Result};
use crate::handler::Outputs;
use crate::meta::{BatchId, CallMeta, CloseReason, Reply};

mod context;

pub use context::TraceContext;

const TARGET: &str = "dynamic_batcher";

/// What is known of the span from which a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Unknown,
    /// A span of this process's subscriber.
    Local(std::num::NonZeroU64),
    /// A span of any process.
    #[cfg(feature = "opentelemetry")]
    Anywhere(TraceContext),
}

impl Sender {
    fn of(span: &Span) -> Self {
        #[cfg(feature = "opentelemetry")]
        if let Some(context) = otel::context(span) {
            return Self::Anywhere(context);
        }
        let id = span.id();
        id.map_or(Self::Unknown, |id| Self::Local(id.into_non_zero_u64()))
    }

    pub(crate) fn context(self) -> Option<TraceContext> {
        match self {
            Self::Unknown | Self::Local(_) => None,
            #[cfg(feature = "opentelemetry")]
            Self::Anywhere(context) => Some(context),
        }
    }

    fn link(self, span: &Span) {
        match self {
            Self::Unknown => {}
            Self::Local(id) => {
                span.follows_from(tracing::Id::from_non_zero_u64(id));
            }
            #[cfg(feature = "opentelemetry")]
            Self::Anywhere(context) => otel::link(span, context),
        }
    }
}

impl From<TraceContext> for Sender {
    #[cfg(feature = "opentelemetry")]
    fn from(context: TraceContext) -> Self {
        Self::Anywhere(context)
    }

    #[cfg(not(feature = "opentelemetry"))]
    fn from(_: TraceContext) -> Self {
        Self::Unknown
    }
}

#[cfg(feature = "opentelemetry")]
mod otel {
    //! What the spans of `tracing` are to OpenTelemetry.

    use opentelemetry::trace::{
        SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use super::TraceContext;

    pub(super) fn context(span: &Span) -> Option<TraceContext> {
        let context = span.context();
        let span = context.span();
        let context = span.span_context();
        let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
        context.is_valid().then(|| TraceContext {
            trace_id: [(trace_id >> 64) as u64, trace_id as u64],
            span_id: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: context.trace_flags().to_u8(),
        })
    }

    pub(super) fn link(span: &Span, context: TraceContext) {
        let [high, low] = context.trace_id.map(u128::from);
        span.add_link(SpanContext::new(
            TraceId::from(high << 64 | low),
            SpanId::from(context.span_id),
            TraceFlags::new(context.flags),
            true,
            TraceState::NONE,
        ));
    }
}

/// Whether anybody may want a span. A constant where `tracing` is built without this level.
#[inline]
fn is_wanted() -> bool {
    STATIC_MAX_LEVEL >= Level::DEBUG && LevelFilter::current() >= Level::DEBUG
}

/// A call, or one within a span of its own, which only then is on the heap.
pub(crate) type Sent<F, G> = Either<F, Pin<Box<G>>>;

/// Makes a call of so many requests, in a span if anybody wants one. `outcomes` finds what became of
/// each of them.
#[inline]
pub(crate) fn send<F: Future, Resp>(
    meta: CallMeta,
    size: usize,
    outcomes: impl FnOnce(&F::Output) -> &[Result<Reply<Resp>>],
    call: impl FnOnce(CallMeta) -> F,
) -> Sent<F, impl Future<Output = F::Output>> {
    let span = if is_wanted() {
        send_span(meta.enqueued, meta.deadline, size)
    } else {
        None
    };
    let Some(span) = span else {
        return Either::Left(call(meta));
    };
    // The span is to name the batch, though its caller may not have asked.
    let meta = meta.sent_by(Sender::of(&span)).with_info();
    let call = call(meta).instrument(span.clone());
    Either::Right(Box::pin(async move {
        let cancelled = Cancelled(Some(span));
        let output = call.await;
        if let Some(span) = cancelled.not() {
            ended(&span, outcomes(&output));
        }
        output
    }))
}

// Not the meta data by reference: they would have to be in memory though nobody wants a span.
#[cold]
fn send_span(enqueued: Instant, deadline: Instant, size: usize) -> Option<Span> {
    let timeout = deadline.saturating_duration_since(enqueued);
    enabled(debug_span!(
        target: TARGET,
        "send",
        size,
        timeout = timeout.as_secs_f64(),
        batch.id = field::Empty,
        outcome = field::Empty,
        otel.status_code = field::Empty,
    ))
}

/// Notes in the span of a call what became of its requests.
fn ended<Resp>(send: &Span, outcomes: &[Result<Reply<Resp>>]) {
    let batches = Batches(outcomes);
    if batches.ids().next().is_some() {
        send.record("batch.id", field::display(batches));
    }
    let failure = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
    if let Some(kind) = failure.map(Error::kind) {
        fail(send, outcome(kind));
    }
}

/// The batches of a call's responses, as text.
struct Batches<'a, Resp>(&'a [Result<Reply<Resp>>]);

impl<Resp> Batches<'_, Resp> {
    fn ids(&self) -> impl Iterator<Item = BatchId> {
        let replies = self.0.iter().flatten();
        replies.filter_map(|reply| Some(reply.info.as_ref()?.batch.id))
    }
}

impl<Resp> fmt::Display for Batches<'_, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for id in self.ids() {
            match last.replace(id) {
                // Neighbours mostly share a batch.
                Some(last) if last == id => {}
                Some(_) => write!(f, ",{id}")?,
                None => write!(f, "{id}")?,
            }
        }
        Ok(())
    }
}

/// Says of a call that is dropped that it was.
struct Cancelled(Option<Span>);

impl Cancelled {
    fn not(mut self) -> Option<Span> {
        self.0.take()
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(span) = &self.0 {
            fail(span, "cancelled");
        }
    }
}

/// The span of a batch of these requests, which is to run now.
pub(crate) fn batch(id: BatchId, reason: CloseReason, items: &[CallMeta]) -> Span {
    if !is_wanted() {
        return Span::none();
    }
    let span = debug_span!(
        target: TARGET,
        parent: None,
        "batch",
        batch.id = %id,
        batch.size = items.len(),
        batch.reason = reason.as_str(),
        batch.processor = format_args!("{:08x}", id.processor()),
    );
    if !span.is_disabled() {
        // The requests of a call of many have one sender.
        let mut last = Sender::Unknown;
        for meta in items {
            if meta.sender != last {
                last = meta.sender;
                last.link(&span);
            }
        }
    }
    span
}

/// The span of a run of so many of a batch's requests.
pub(crate) fn handler(batch: &Span, size: usize) -> Span {
    if batch.is_disabled() {
        return Span::none();
    }
    debug_span!(
        target: TARGET,
        parent: batch,
        "handler",
        size,
        outcome = field::Empty,
        otel.status_code = field::Empty,
    )
}

/// Notes in the span of a run how it ended.
pub(crate) fn ran<Resp>(handler: &Span, outputs: &Outputs<Resp>) {
    if let Outputs::Failed(error) = outputs {
        fail(handler, outcome(error.kind()));
    }
}

/// The span of sending so many answers of a batch.
pub(crate) fn reply(batch: &Span, size: usize) -> Span {
    if batch.is_disabled() {
        return Span::none();
    }
    debug_span!(target: TARGET, parent: batch, "reply", size)
}

fn enabled(span: Span) -> Option<Span> {
    (!span.is_disabled()).then_some(span)
}

fn fail(span: &Span, outcome: &str) {
    span.record("outcome", outcome);
    span.record("otel.status_code", "ERROR");
}

fn outcome(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Timeout { .. } => "expired",
        ErrorKind::QueueFull { .. } => "rejected",
        ErrorKind::Handler => "handler_error",
        ErrorKind::Panic => "panic",
        ErrorKind::HandlerTimeout { .. } | ErrorKind::WrongNumberOfOutputs { .. } => "batch_error",
        ErrorKind::Encode | ErrorKind::Decode => "codec_error",
        ErrorKind::Undeliverable { .. } => "poison",
        ErrorKind::Lost | ErrorKind::Connection | ErrorKind::Closed | ErrorKind::Config => "lost",
    }
}

#[cfg(test)]
mod tests;
