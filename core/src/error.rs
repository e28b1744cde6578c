//! The one error type: how a request can end without a response.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Any error a handler may return: what `?` and `.into()` make of most error types and of text.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request has no response, or why a batcher or processor could not do what was asked.
///
/// One word wide and cheap to clone: the error of a whole batch is made once and shared by its
/// callers, so nothing asks the user's error type to be `Clone`. [`kind`](Self::kind) says what
/// happened, [`is_retryable`](Self::is_retryable) whether the same request may succeed later, and
/// [`source`](StdError::source) gives the cause, for example the handler's own error, to downcast.
///
/// `Display` is one line and includes the text of the cause: an error that crossed a wire has no
/// `source()`, and it has to read the same. A logger that walks the chain of sources therefore
/// sees that text twice.
///
/// # Examples
///
/// ```
/// use std::error::Error as _;
/// use dynamic_batcher::{Error, ErrorKind};
///
/// let parse = "x".parse::<u32>().unwrap_err();
/// let error = Error::handler(parse);
/// assert_eq!(error.kind(), ErrorKind::Handler);
/// assert_eq!(error.to_string(), "the handler failed: invalid digit found in string");
/// assert!(error.source().unwrap().is::<std::num::ParseIntError>());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Repr>);

struct Repr {
    kind: ErrorKind,
    /// What is known beyond the kind; empty when the kind says it all.
    detail: String,
    /// Shared, so that an error made of another keeps its cause, whoever has that one too.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What happened to a request. More kinds may come: a `match` needs a `_` arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request's deadline passed before its response was there.
    ///
    /// Raise the timeout, or give the work more processors; a timeout shorter than the policy's
    /// [`batch_time`](crate::BatchPolicy#structfield.batch_time) is over before the window of a lone request.
    /// If `started` is true, a handler may have been running it already and may still finish: mind this
    /// before sending again what has effects.
    Timeout {
        /// How long the request waited before a handler started on it, or, if none did or the
        /// transport does not know when (as over Redis), until its deadline.
        queued: Duration,
        /// Whether a handler had started on it, or may have: over Redis a processor had read it, of which
        /// its caller learns no more.
        started: bool,
    },
    /// The queue holds as many requests as it may, or what room it has is promised to others, who
    /// were refused before; this one was not accepted.
    QueueFull {
        /// After which time there is probably room, from the measured drain rate; 100 ms for everybody
        /// until one has been measured.
        retry_after: Duration,
    },
    /// The handler returned an error for this request, or for its whole batch; in process the
    /// error's source is that one.
    Handler,
    /// The handler panicked; the text is the panic's message.
    Panic,
    /// The handler ran longer than the policy's `run_timeout` and was given up.
    HandlerTimeout {
        /// The limit that it passed.
        run_timeout: Duration,
    },
    /// The handler returned more or fewer outputs than it got requests, so that none can be told
    /// apart; every request of the batch gets this.
    WrongNumberOfOutputs {
        /// The number of requests in the batch.
        expected: usize,
        /// The number of outputs that came back.
        actual: usize,
    },
    /// The request or the response could not be turned into bytes.
    Encode,
    /// The bytes received are no valid request or response.
    Decode,
    /// The request was delivered as often as is permitted and never answered.
    Undeliverable {
        /// How many deliveries were made.
        deliveries: u32,
    },
    /// The request was accepted and then lost: its processor went away while it held it, or its
    /// entry was removed by somebody else. Whether it ran is not known.
    Lost,
    /// The transport could not reach its server.
    Connection,
    /// No processor is left to answer, or the batcher's transport was closed. Of a request that was
    /// running when the last one went, the text says so: it may have run.
    Closed,
    /// A setting is not valid; the text names it, its value and what is allowed.
    Config,
}

impl ErrorKind {
    /// Its name for programs, which stays: for labels, logs and answers, whatever its fields are.
    ///
    /// # Examples
    ///
    /// ```
    /// use dynamic_batcher::ErrorKind;
    ///
    /// let kind = ErrorKind::Undeliverable { deliveries: 3 };
    /// assert_eq!(kind.as_str(), "undeliverable");
    /// ```
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::QueueFull { .. } => "queue_full",
            Self::Handler => "handler",
            Self::Panic => "panic",
            Self::HandlerTimeout { .. } => "handler_timeout",
            Self::WrongNumberOfOutputs { .. } => "wrong_number_of_outputs",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Undeliverable { .. } => "undeliverable",
            Self::Lost => "lost",
            Self::Connection => "connection",
            Self::Closed => "closed",
            Self::Config => "config",
        }
    }
}

impl Error {
    /// Makes an error of `kind` with a `detail` that `Display` shows after the kind's own words.
    ///
    /// For authors of transports and codecs. The detail is one line without a full stop.
    #[must_use]
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self::from_parts(kind, detail.into(), None)
    }

    /// Makes an error of `kind` that was caused by `source`; the text of `source` is shown too.
    #[must_use]
    pub fn with_source(kind: ErrorKind, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        // The user's code, which is to cost this request alone.
        let text = catch_unwind(AssertUnwindSafe(|| source.to_string()));
        let text = text.unwrap_or_else(|panic| format!("its text panicked: {}", said(panic)));
        Self::from_parts(kind, text, Some(source.into()))
    }

    /// Makes the error of a request, or of a batch, that its handler could not serve.
    #[must_use]
    pub fn handler(source: impl Into<BoxError>) -> Self {
        Self::with_source(ErrorKind::Handler, source)
    }

    /// Makes the error of a request whose deadline has passed.
    #[must_use]
    pub fn timeout(queued: Duration, started: bool, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Timeout { queued, started }, detail)
    }

    fn from_parts(
        kind: ErrorKind,
        detail: String,
        source: Option<Arc<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Repr {
            kind,
            detail,
            source,
        }))
    }

    /// The same error with a detail that begins with `what` it is about; its cause stays.
    ///
    /// For authors of transports and codecs.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error as _;
    /// use dynamic_batcher::{Error, ErrorKind};
    ///
    /// let cause = "x".parse::<u32>().unwrap_err();
    /// let error = Error::with_source(ErrorKind::Decode, cause).within("the request");
    /// assert_eq!(error.detail(), "the request: invalid digit found in string");
    /// assert!(error.source().unwrap().is::<std::num::ParseIntError>());
    /// ```
    #[must_use]
    pub fn within(&self, what: impl fmt::Display) -> Self {
        let detail = format!("{what}: {}", self.0.detail);
        Self::from_parts(self.0.kind, detail, self.0.source.clone())
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is known beyond the kind, for example the handler's own text; may be empty.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether the same request, unchanged, may succeed when it is sent again.
    ///
    /// True for [`Timeout`](ErrorKind::Timeout), [`QueueFull`](ErrorKind::QueueFull) (after
    /// [`retry_after`](Self::retry_after)), [`Lost`](ErrorKind::Lost) and
    /// [`Connection`](ErrorKind::Connection); not for [`Closed`](ErrorKind::Closed), as there is nobody to
    /// send it to. Delivery is at least once: of these, `QueueFull`
    /// alone says for certain that the request did not run, as does a `Timeout` that had not
    /// `started`, unless it is the handler that gave it, with
    /// [`Outcome::failed`](crate::Outcome::failed).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Timeout { .. }
                | ErrorKind::QueueFull { .. }
                | ErrorKind::Lost
                | ErrorKind::Connection
        )
    }

    /// When to try again, if the error says so: `Some` for [`QueueFull`](ErrorKind::QueueFull).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            ErrorKind::QueueFull { retry_after } => Some(retry_after),
            _ => None,
        }
    }
}

/// What a caught panic said, which is let go: its value may panic once more as it is dropped.
pub(crate) fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic_text(&*panic).to_owned();
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(again);
    }
    text
}

/// The text of a panic that goes on.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "with a value that is no text"
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)?;
        if self.0.detail.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.0.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("detail", &self.0.detail)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout {
                queued,
                started: false,
            } => write!(f, "timed out after {queued:?} in the queue"),
            Self::Timeout {
                queued,
                started: true,
            } => write!(
                f,
                "timed out when it may have run, after {queued:?} in the queue"
            ),
            Self::QueueFull { retry_after } => {
                write!(f, "the queue is full, try again after {retry_after:?}")
            }
            Self::Handler => f.write_str("the handler failed"),
            Self::Panic => f.write_str("the handler panicked"),
            Self::HandlerTimeout { run_timeout } => {
                write!(
                    f,
                    "the handler ran longer than its limit of {run_timeout:?}"
                )
            }
            Self::WrongNumberOfOutputs { expected, actual } => write!(
                f,
                "the handler returned {actual} outputs for a batch of {expected} requests"
            ),
            Self::Encode => f.write_str("not encodable"),
            Self::Decode => f.write_str("not decodable"),
            Self::Undeliverable { deliveries } => {
                write!(
                    f,
                    "given up after {deliveries} deliveries without an answer"
                )
            }
            Self::Lost => f.write_str("lost"),
            Self::Connection => f.write_str("the connection failed"),
            Self::Closed => f.write_str("closed"),
            Self::Config => f.write_str("bad configuration"),
        }
    }
}
