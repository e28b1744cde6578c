//! What travels beside a request and beside its response.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::trace::{Sender, TraceContext};

/// What a transport knows about a request beside its payload.
///
/// A [`Batcher`](crate::Batcher) makes one for each call; a transport hands an equal or a rebuilt
/// one to the processor with the [`Delivery`](crate::Delivery).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallMeta {
    /// When the request was sent. The window of a batch counts from here.
    pub enqueued: Instant,
    /// When the caller stops waiting. Whoever holds the request ends it then.
    pub deadline: Instant,
    /// Which delivery this is: 1 for the first.
    pub attempt: u32,
    /// Whether no further delivery is permitted: such a request runs in a batch of its own, so
    /// that if it kills its processor it takes no other with it.
    pub last_attempt: bool,
    /// Whether the caller asks for the batch of its response. If not, a transport need not tell, and
    /// is not told how long the request was [`queued`](crate::Answer::queued): what is shared by all
    /// of a batch costs each of them. A transport that does not carry it to the processor says that
    /// all ask ([`with_info`](Self::with_info)).
    pub wants_info: bool,
    /// The span that it was sent from.
    pub(crate) sender: Sender,
}

impl CallMeta {
    /// The meta data of a request that is sent now and that its caller awaits for `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let enqueued = Instant::now();
        Self::sent_at(enqueued, timeout)
    }

    /// The meta data of a request that was sent at `enqueued` and is awaited for `timeout` from
    /// then on: for a transport whose requests were sent by another process.
    #[must_use]
    pub fn sent_at(enqueued: Instant, timeout: Duration) -> Self {
        Self {
            enqueued,
            deadline: later(enqueued, timeout),
            attempt: 1,
            last_attempt: false,
            wants_info: false,
            sender: Sender::Unknown,
        }
    }

    /// Asks for the batch of the response.
    #[must_use]
    pub fn with_info(mut self) -> Self {
        self.wants_info = true;
        self
    }

    /// Sets which delivery this is, and whether it is the last that is permitted.
    #[must_use]
    pub fn attempt(mut self, attempt: u32, last: bool) -> Self {
        self.attempt = attempt;
        self.last_attempt = last;
        self
    }

    pub(crate) fn sent_by(mut self, sender: Sender) -> Self {
        self.sender = sender;
        self
    }

    /// The request's place in its caller's trace, for a transport that carries it to another
    /// process. Always `None` without the feature `opentelemetry`; with it, when nobody listens to
    /// the caller's spans or OpenTelemetry is not among those who do.
    #[must_use]
    pub fn trace_context(&self) -> Option<TraceContext> {
        self.sender.context()
    }

    /// Sets the request's place in its caller's trace, for a transport that has carried it here:
    /// the span of its batch gets a link to it. Does nothing without the feature `opentelemetry`.
    #[must_use]
    pub fn with_trace_context(self, context: TraceContext) -> Self {
        self.sent_by(context.into())
    }
}

/// `start + by`, or the furthest instant that the clock is sure to express: a caller may say
/// `Duration::MAX` for "for ever".
pub(crate) fn later(start: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    start.checked_add(by.min(FAR)).unwrap_or(start)
}

/// Identifies a batch among all batches of all processors.
///
/// Made of a number drawn at random when the processor starts and the batch's number in it, from
/// 1; shown as `1f3a9c02-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId {
    processor: u32,
    sequence: u64,
}

impl BatchId {
    /// Names the batch that is number `sequence` of the processor that drew `processor`: for
    /// authors of transports that carry it over a wire.
    #[must_use]
    pub const fn new(processor: u32, sequence: u64) -> Self {
        Self {
            processor,
            sequence,
        }
    }
}

impl BatchId {
    /// The number that the processor drew when it started.
    #[must_use]
    pub const fn processor(self) -> u32 {
        self.processor
    }

    /// The batch's number in its processor, from 1.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.processor, self.sequence)
    }
}

/// Why a batch was closed and handed to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// It held `batch_size` requests.
    Full,
    /// Its oldest request had been queued for `batch_time`.
    Window,
    /// An instance was idle, and the policy says [`WhenIdle::Run`](crate::WhenIdle::Run).
    Idle,
    /// The processor drains, or its source is closed for good: nothing more will come.
    Drain,
    /// Its one request is on its last permitted delivery and runs alone.
    LastAttempt,
}

impl CloseReason {
    /// Its name for programs, which stays: the word of metrics and spans.
    ///
    /// # Examples
    ///
    /// ```
    /// use dynamic_batcher::CloseReason;
    ///
    /// assert_eq!(CloseReason::LastAttempt.as_str(), "last_attempt");
    /// assert_eq!(CloseReason::LastAttempt.to_string(), "last attempt"); // for people
    /// ```
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Window => "window",
            Self::Idle => "idle",
            Self::Drain => "drain",
            Self::LastAttempt => "last_attempt",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastAttempt => "last attempt",
            Self::Full | Self::Window | Self::Idle | Self::Drain => self.as_str(),
        })
    }
}

/// One batch that ran: what its requests have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchInfo {
    /// The batch's identity.
    pub id: BatchId,
    /// How many requests it held when it was handed to the handler.
    pub size: usize,
    /// Why it was closed.
    pub reason: CloseReason,
    /// How long the handler ran.
    pub ran: Duration,
}

impl BatchInfo {
    /// Describes a batch: for authors of transports that carry it over a wire.
    #[must_use]
    pub fn new(id: BatchId, size: usize, reason: CloseReason, ran: Duration) -> Self {
        Self {
            id,
            size,
            reason,
            ran,
        }
    }
}

/// One request's part in the batch that answered it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemInfo {
    /// The batch.
    pub batch: Arc<BatchInfo>,
    /// The request's place in it, from 0.
    pub position: u32,
    /// How long the request waited before the handler started, its time on the wire included.
    pub queued: Duration,
}

impl ItemInfo {
    /// Joins a batch and a request's part in it: for authors of transports.
    #[must_use]
    pub fn new(batch: Arc<BatchInfo>, position: u32, queued: Duration) -> Self {
        Self {
            batch,
            position,
            queued,
        }
    }
}

/// A response as a transport hands it to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply<Resp> {
    /// The handler's output for this request.
    pub value: Resp,
    /// The batch that it came from; `None` when the responder does not tell, as a Python
    /// processor does not.
    pub info: Option<ItemInfo>,
}

impl<Resp> Reply<Resp> {
    /// A response with, if it is known, the batch that it came from.
    #[must_use]
    pub fn new(value: Resp, info: Option<ItemInfo>) -> Self {
        Self { value, info }
    }

    /// Changes the value and keeps the rest; an error of `f` becomes the caller's.
    pub(crate) fn try_map<T>(
        self,
        f: impl FnOnce(Resp) -> crate::Result<T>,
    ) -> crate::Result<Reply<T>> {
        Ok(Reply {
            value: f(self.value)?,
            info: self.info,
        })
    }
}
