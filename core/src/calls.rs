//! What a batcher tells its observer: the calls that end without a response.
//!
//! Without the feature `metrics` there is nothing of this in a call: see `calls/untold.rs`.

use std::sync::Arc;

use crate::batcher::Batcher;
use crate::error::Error;
use crate::observer::{CallFailure, Observer};

/// Who is told, if anybody is.
#[derive(Clone, Default)]
pub(crate) struct Told(Option<Arc<dyn Observer>>);

/// Calls that have not ended. Dropped before, they were abandoned.
pub(crate) struct Open<'a> {
    observer: Option<&'a Arc<dyn Observer>>,
    calls: usize,
}

impl Told {
    #[inline]
    pub(crate) fn open(&self, calls: usize) -> Open<'_> {
        let observer = self.0.as_ref();
        Open { observer, calls }
    }
}

impl Open<'_> {
    /// All have ended, these with errors. What is answered its processor tells of, once for each
    /// batch.
    #[inline]
    pub(crate) fn ended<'e>(mut self, errors: impl IntoIterator<Item = &'e Error>) {
        self.calls = 0;
        for error in errors {
            self.failed(error);
        }
    }

    #[cold]
    fn failed(&self, error: &Error) {
        if let Some(observer) = self.observer {
            observer.tell(|observer| observer.call_failed(CallFailure::Error(error)));
        }
    }

    #[cold]
    fn abandoned(&self) {
        if let Some(observer) = self.observer {
            for _ in 0..self.calls {
                observer.tell(|observer| observer.call_failed(CallFailure::Abandoned));
            }
        }
    }
}

impl Drop for Open<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.calls > 0 {
            self.abandoned();
        }
    }
}

impl<Req, Resp, T> Batcher<Req, Resp, T> {
    /// Sets who is told of each call that [ends without a response](Observer::call_failed): with an
    /// error, or because its future was dropped. Default: nobody. With the feature `metrics`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use dynamic_batcher::{BatchPolicy, CallFailure, Observer, WhenIdle};
    ///
    /// #[derive(Default)]
    /// struct Failures(AtomicUsize);
    ///
    /// impl Observer for Failures {
    ///     fn call_failed(&self, _failure: CallFailure<'_>) {
    ///         self.0.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let failures = Arc::new(Failures::default());
    /// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    /// let (batcher, _processor) = dynamic_batcher_memory::spawn(policy, |_: Vec<u32>| {
    ///     Err::<Vec<u32>, _>("out of order")
    /// });
    /// let batcher = batcher.observer(Arc::clone(&failures));
    /// assert!(batcher.send(1).await.is_err());
    /// assert_eq!(failures.0.load(Ordering::Relaxed), 1);
    /// # }
    /// ```
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.told = Told(Some(Arc::new(observer)));
        self
    }
}
