//! The one seam for counters: what processors, callers and transports tell of their work.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, said};
use crate::handler::BatchContext;
use crate::meta::{BatchInfo, CloseReason};

/// Is told what a processor does, which calls fail, and what a transport does; every method's default
/// does nothing.
///
/// A processor tells the observer of its [policy](crate::BatchPolicy::observer), a batcher its own
/// (`Batcher::observer`, with the feature `metrics`), and a transport with a server the one that it
/// was given. All of them may be the same.
///
/// Called on the task of whoever tells, so an implementation must be quick and must not block. A panic
/// in one is logged, and changes nothing for the requests.
/// Without one, nothing is counted or timed.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use dynamic_batcher::{BatchPolicy, BatchReport, Observer, WhenIdle};
///
/// struct Count(Arc<AtomicUsize>);
///
/// impl Observer for Count {
///     fn batch_ended(&self, report: &BatchReport<'_>) {
///         self.0.fetch_add(report.info.size, Ordering::Relaxed);
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> dynamic_batcher::Result<()> {
/// let answered = Arc::new(AtomicUsize::new(0));
/// let policy = BatchPolicy::default()
///     .when_idle(WhenIdle::Run)
///     .observer(Count(Arc::clone(&answered)));
/// let (batcher, _processor) = dynamic_batcher_memory::spawn(policy, |batch: Vec<u8>| batch);
/// batcher.send(1).await?;
/// assert_eq!(answered.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A processor has read so many requests that had been delivered before.
    fn redelivered(&self, _requests: usize) {}

    /// A request was ended, or skipped, without having run: its deadline passed, its caller was
    /// gone, or it could not be decoded.
    fn not_run(&self, _reason: NotRun) {}

    /// A batch was closed and is about to run.
    fn batch_started(&self, _start: &BatchStart<'_>) {}

    /// A batch has ended, in whatever way; its answers are about to be sent.
    fn batch_ended(&self, _report: &BatchReport<'_>) {}

    /// The answers of a batch were taken by the transport, or given up by it, so long after the
    /// handler had ended.
    fn replied(&self, _took: Duration) {}

    /// What a processor has before it: told when a batch starts or has ended, at most once in 10 ms;
    /// every second while requests wait or run, though not while a closure holds the processor's
    /// task; and always when there is nothing any more.
    fn load(&self, _load: &Load) {}

    /// A call of a batcher has ended without a response.
    fn call_failed(&self, _failure: CallFailure<'_>) {}

    /// So many requests were given up by the transport and kept as dead letters.
    fn dead_letters(&self, _requests: usize) {}

    /// So many answers came for requests that had ended before, and were dropped.
    fn duplicates_dropped(&self, _answers: usize) {}

    /// So many commands were sent to the transport's server.
    fn commands_sent(&self, _commands: usize) {}

    /// What the queue at the transport's server holds: told by each processor, a few times in a lease.
    fn backlog(&self, _backlog: &Backlog) {}
}

/// One observer can be told by several processors.
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn redelivered(&self, requests: usize) {
        O::redelivered(self, requests);
    }

    fn not_run(&self, reason: NotRun) {
        O::not_run(self, reason);
    }

    fn batch_started(&self, start: &BatchStart<'_>) {
        O::batch_started(self, start);
    }

    fn batch_ended(&self, report: &BatchReport<'_>) {
        O::batch_ended(self, report);
    }

    fn replied(&self, took: Duration) {
        O::replied(self, took);
    }

    fn load(&self, load: &Load) {
        O::load(self, load);
    }

    fn call_failed(&self, failure: CallFailure<'_>) {
        O::call_failed(self, failure);
    }

    fn dead_letters(&self, requests: usize) {
        O::dead_letters(self, requests);
    }

    fn duplicates_dropped(&self, answers: usize) {
        O::duplicates_dropped(self, answers);
    }

    fn commands_sent(&self, commands: usize) {
        O::commands_sent(self, commands);
    }

    fn backlog(&self, backlog: &Backlog) {
        O::backlog(self, backlog);
    }
}

impl dyn Observer {
    /// Has an observer told, for authors of transports: one that panics loses what it was told
    /// (a `tracing` error says so), and nobody else loses anything.
    pub fn tell(&self, tell: impl FnOnce(&Self)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| tell(self))) {
            tracing::error!("an observer panicked: {}", said(panic));
        }
    }
}

/// A batch that is about to run.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchStart<'a> {
    /// Its requests, without their payloads: how many, how long each was queued.
    pub context: &'a BatchContext,
    /// Why it was closed.
    pub reason: CloseReason,
    /// The most requests that it might have held.
    pub batch_size: usize,
    /// How long it was open: since the processor read the first request that waited.
    pub gathered: Duration,
}

/// How one batch ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchReport<'a> {
    /// The batch.
    pub info: &'a BatchInfo,
    /// Its requests, as when it started.
    pub context: &'a BatchContext,
    /// What failed the whole batch, if anything did. Its requests may have been answered all the
    /// same, by `reruns`.
    pub error: Option<ErrorKind>,
    /// How often the handler was called again with parts of the batch, as
    /// [`OnBatchError`](crate::OnBatchError) may ask for.
    pub reruns: usize,
    /// How many of its requests got an error.
    pub failed: usize,
}

/// Why a request was taken from the queue and not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotRun {
    /// Its deadline had passed.
    Expired,
    /// Its caller no longer waited.
    Abandoned,
    /// It could not be decoded.
    Undecodable,
}

/// What a processor has before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Requests that wait: those that the processor has read and not started, and those in the
    /// transport's queue, where the transport [knows](crate::Consumer::queued).
    pub waiting: usize,
    /// How long the longest of those that the processor has read has been queued; zero when it has
    /// none. As a processor reads as long as it has room, none waits longer.
    pub oldest: Duration,
    /// Batches that run.
    pub batches: usize,
}

/// What a server's queue holds, for all callers and processors together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Requests that processors have: read, and not yet cleaned up after their answer.
    pub pending: usize,
    /// Requests that no processor has read; `None` where the server does not know.
    pub unread: Option<usize>,
}

impl Backlog {
    /// For authors of transports.
    #[must_use]
    pub const fn new(pending: usize, unread: Option<usize>) -> Self {
        Self { pending, unread }
    }
}

/// How a call ended for its caller that had no response.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CallFailure<'a> {
    /// With an error, its processor's too.
    Error(&'a Error),
    /// Its future was dropped.
    Abandoned,
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
