//! What a processor does and has done: counted by its run loop, read through its handle.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::control::Phase;
use crate::observer::NotRun;

/// What a processor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessorStatus {
    /// Where it is in its life.
    pub phase: Phase,
    /// Requests that it has read and not started; one that expires counts until its batch would start. It
    /// reads one batch ahead; what waits beyond that is [`queued`](Self#structfield.queued).
    pub waiting: usize,
    /// Requests in the transport's queue that no processor has read, where the transport
    /// [knows](crate::Consumer::queued) without asking anybody: the in-process one does. Over Redis
    /// always 0: what waits there is told to an [`Observer`](crate::Observer::backlog).
    pub queued: usize,
    /// How long the longest queued of those that wait has been queued, since it was sent. `None`
    /// when none waits.
    pub oldest: Option<Duration>,
    /// Requests in batches that run.
    pub running: usize,
    /// Batches that run, one on each instance at the most.
    pub running_batches: usize,
    /// Requests whose batch has ended, since the start.
    pub answered: usize,
    /// What became of its batches and requests, since the start.
    pub totals: Totals,
}

/// What became of a processor's batches and requests since its start. A request that comes back to
/// it, after a release or a lease that ran out, counts again.
///
/// Batches that warm a handler up are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Batches that have ended.
    pub batches: usize,
    /// Those of them that failed as a whole. Their requests may have been answered all the same,
    /// as [`OnBatchError`](crate::OnBatchError) may ask for.
    pub failed_batches: usize,
    /// Requests that the handler gave a response for. Counted before it is encoded, which over a
    /// transport of bytes may fail.
    pub succeeded: usize,
    /// Requests whose batch ended with an error for them.
    pub failed: usize,
    /// Requests that were not run because their deadline had passed.
    pub expired: usize,
    /// Requests that were not run because their caller no longer waited.
    pub abandoned: usize,
    /// Requests that were not run because they could not be decoded.
    pub undecodable: usize,
    /// Requests that were read and given back unstarted, when the processor ended.
    pub released: usize,
    /// Requests that were running when the processor ended, and were given up.
    pub given_up: usize,
}

/// A number that the run loop alone writes: reading and writing it are plain moves.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, more: usize) {
        self.set(self.get() + more);
    }
}

/// The numbers behind [`ProcessorStatus`].
#[derive(Debug)]
pub(crate) struct Counts {
    start: Instant,
    waiting: Counter,
    /// When the longest queued of those that wait was sent, in nanoseconds from `start`, before
    /// which it may have been; [`NONE`] when none waits.
    oldest: AtomicI64,
    pub(crate) running: Counter,
    pub(crate) running_batches: Counter,
    pub(crate) batches: Counter,
    pub(crate) failed_batches: Counter,
    pub(crate) succeeded: Counter,
    pub(crate) failed: Counter,
    expired: Counter,
    abandoned: Counter,
    undecodable: Counter,
    pub(crate) released: Counter,
    pub(crate) given_up: Counter,
}

const NONE: i64 = i64::MAX;

impl Counts {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            waiting: Counter::default(),
            oldest: AtomicI64::new(NONE),
            running: Counter::default(),
            running_batches: Counter::default(),
            batches: Counter::default(),
            failed_batches: Counter::default(),
            succeeded: Counter::default(),
            failed: Counter::default(),
            expired: Counter::default(),
            abandoned: Counter::default(),
            undecodable: Counter::default(),
            released: Counter::default(),
            given_up: Counter::default(),
        }
    }

    /// Notes how many requests wait, and when the longest queued of them was sent.
    pub(crate) fn note_waiting(&self, waiting: usize, oldest: Option<Instant>) {
        self.waiting.set(waiting);
        let nanos = oldest.map_or(NONE, |sent| match sent.checked_duration_since(self.start) {
            Some(after) => nanos(after),
            None => -nanos(self.start - sent),
        });
        self.oldest.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn note_not_run(&self, reason: NotRun) {
        let counter = match reason {
            NotRun::Expired => &self.expired,
            NotRun::Abandoned => &self.abandoned,
            NotRun::Undecodable => &self.undecodable,
        };
        counter.add(1);
    }

    /// Requests whose batch has ended.
    pub(crate) fn answered(&self) -> usize {
        self.succeeded.get() + self.failed.get()
    }

    pub(crate) fn status(&self, phase: Phase, queued: usize) -> ProcessorStatus {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let oldest = (oldest != NONE).then(|| {
            let age = nanos(self.start.elapsed()).saturating_sub(oldest);
            Duration::from_nanos(age.max(0).unsigned_abs())
        });
        ProcessorStatus {
            phase,
            waiting: self.waiting.get(),
            queued,
            oldest,
            running: self.running.get(),
            running_batches: self.running_batches.get(),
            answered: self.answered(),
            totals: Totals {
                batches: self.batches.get(),
                failed_batches: self.failed_batches.get(),
                succeeded: self.succeeded.get(),
                failed: self.failed.get(),
                expired: self.expired.get(),
                abandoned: self.abandoned.get(),
                undecodable: self.undecodable.get(),
                released: self.released.get(),
                given_up: self.given_up.get(),
            },
        }
    }
}

/// Asks the consumer of a processor how long its queue is, as long as it is attached.
pub(crate) struct QueueLength(Mutex<Option<Ask>>);

type Ask = Box<dyn Fn() -> usize + Send>;

impl QueueLength {
    pub(crate) fn of(ask: impl Fn() -> usize + Send + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(ask))))
    }

    pub(crate) fn get(&self) -> usize {
        self.lock().as_ref().map_or(0, |ask| ask())
    }

    /// Nobody is asked from now on, nor still being asked.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ask>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for QueueLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueLength").finish_non_exhaustive()
    }
}

/// In nanoseconds, which is exact for some 290 years, and less than [`NONE`].
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(NONE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_not_to_run_has_its_counter() {
        let counts = Counts::new();
        let reasons = [NotRun::Expired, NotRun::Abandoned, NotRun::Undecodable];
        for (times, reason) in (1..).zip(reasons) {
            (0..times).for_each(|_| counts.note_not_run(reason));
        }
        let expected = Totals {
            expired: 1,
            abandoned: 2,
            undecodable: 3,
            ..Totals::default()
        };
        assert_eq!(counts.status(Phase::Running, 0).totals, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn an_age_may_begin_before_the_processor_did() {
        const BEFORE: Duration = Duration::from_secs(5);
        let sent = Instant::now();
        tokio::time::advance(BEFORE).await;
        let counts = Counts::new();
        counts.note_waiting(1, Some(sent));
        tokio::time::advance(BEFORE).await;
        assert_eq!(counts.status(Phase::Running, 0).oldest, Some(BEFORE * 2));
        counts.note_waiting(0, None);
        assert_eq!(counts.status(Phase::Running, 0).oldest, None);
    }
}
