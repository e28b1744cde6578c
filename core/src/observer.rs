//! The one seam for counters: what a processor tells of its batches.

use std::fmt;
use std::sync::Arc;

use crate::error::ErrorKind;
use crate::meta::BatchInfo;

/// Is told what a processor does; every method's default does nothing.
///
/// Called on the processor's own task, so an implementation must be quick and must not block.
/// Pass it with [`BatchPolicy::observer`](crate::BatchPolicy::observer).
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
    /// A batch has ended, in whatever way; its answers are about to be sent.
    fn batch_ended(&self, _report: &BatchReport<'_>) {}

    /// A request was ended, or skipped, without having run: its deadline passed, its caller was
    /// gone, or it could not be decoded.
    fn not_run(&self, _reason: NotRun) {}
}

/// One observer can be told by several processors.
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn batch_ended(&self, report: &BatchReport<'_>) {
        O::batch_ended(self, report);
    }

    fn not_run(&self, reason: NotRun) {
        O::not_run(self, reason);
    }
}

/// How one batch ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchReport<'a> {
    /// The batch.
    pub info: &'a BatchInfo,
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

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
