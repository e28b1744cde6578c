//! What all handles, calls and consumers of a transport share: the queue, and who is to be woken.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;
use tokio::time::Instant;

use dynamic_batcher::{CallMeta, Error, ErrorKind, Result};

use crate::config::MemoryConfig;
use crate::queue::{Entered, Queue, Queued};
use crate::slot::{Place, Slot};
use crate::timer;

pub(crate) struct Shared<Req, Resp> {
    queue: Mutex<Queue<Req, Resp>>,
    /// Wakes a consumer: whoever puts something into an empty queue, or leaves something in it.
    pub(crate) readable: Notify,
    /// Wakes the timer, which outlives this.
    pub(crate) timer: Arc<Notify>,
    /// Whether a timer task runs.
    pub(crate) timer_runs: AtomicBool,
    /// How many delivered requests nobody waits for: mostly none, and then it need not be asked of
    /// each.
    gone_delivered: AtomicUsize,
}

impl<Req: Send + 'static, Resp: Send + 'static> Shared<Req, Resp> {
    /// Enters one request.
    pub(crate) fn enter(
        self: &Arc<Self>,
        req: Req,
        meta: CallMeta,
        call: &Waker,
    ) -> Result<Arc<Slot<Resp>>> {
        let mut entered = Entered::default();
        let slot = self.lock().enter(req, meta, call, &mut entered)?;
        match self.entered(entered) {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.abandon([&slot].into_iter());
                Err(error)
            }
        }
    }

    /// Enters many requests at once; those that find no room are refused alone. None has a waker
    /// before it is polled.
    pub(crate) fn enter_many(
        self: &Arc<Self>,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> Vec<Result<Arc<Slot<Resp>>>> {
        let mut entered = Entered::default();
        let mut slots = Vec::with_capacity(reqs.len());
        {
            let mut queue = self.lock();
            slots.extend(
                reqs.into_iter()
                    .map(|req| queue.enter(req, meta, Waker::noop(), &mut entered)),
            );
        }
        if let Err(error) = self.entered(entered) {
            self.abandon(slots.iter().flatten());
            slots.fill_with(|| Err(error.clone()));
        }
        slots
    }

    /// Has a timer run. To be called after a request has entered, since the timer ends when it
    /// finds none, and where a call waits, since a runtime may have taken the timer with it.
    pub(crate) fn ensure_timer(self: &Arc<Self>) -> Result<()> {
        if self.timer_runs.load(Ordering::Relaxed) {
            return Ok(());
        }
        timer::ensure(self)
    }

    fn entered(self: &Arc<Self>, entered: Entered) -> Result<()> {
        if entered.wake_consumer {
            self.readable.notify_one();
        }
        if entered.wake_timer {
            self.timer.notify_one();
        }
        self.ensure_timer()
    }
}

impl<Req, Resp> Shared<Req, Resp> {
    pub(crate) fn new(config: &MemoryConfig) -> Self {
        Self {
            queue: Mutex::new(Queue::new(config)),
            readable: Notify::new(),
            timer: Arc::new(Notify::new()),
            timer_runs: AtomicBool::new(false),
            gone_delivered: AtomicUsize::new(0),
        }
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue<Req, Resp>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that these calls are gone.
    pub(crate) fn abandon<'a>(&self, slots: impl Iterator<Item = &'a Arc<Slot<Resp>>>)
    where
        Resp: 'a,
    {
        let mut dropped = Vec::new();
        {
            let mut queue = self.lock();
            for slot in slots {
                let (was, gone) = queue.abandon(slot);
                dropped.extend(gone);
                if was == Place::Delivered {
                    self.gone_delivered.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        drop(dropped);
    }

    pub(crate) fn is_abandoned(&self, key: usize) -> bool {
        self.gone_delivered.load(Ordering::Relaxed) > 0 && self.lock().is_abandoned(key)
    }

    /// Notes that a delivered request, which nobody waited for, is no longer there.
    pub(crate) fn forget_gone(&self) {
        self.gone_delivered.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends what has expired. Returns when to look again, or that there is nothing to look at and
    /// the timer ends.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let expired = {
            let mut queue = self.lock();
            let expired = queue.expire(now);
            if expired.next.is_none() {
                self.timer_runs.store(false, Ordering::Release);
            }
            expired
        };
        for (slot, error) in expired.delivered {
            if slot.complete(Err(error)) {
                self.gone_delivered.fetch_add(1, Ordering::Relaxed);
            }
        }
        let detail = if expired.never_served {
            "no processor has ever attached to its transport"
        } else {
            "no processor has taken it"
        };
        for Queued { meta, slot, .. } in expired.queued {
            let queued = now.saturating_duration_since(meta.enqueued);
            slot.complete(Err(Error::timeout(queued, false, detail)));
        }
        expired.next
    }

    /// The timer's task was dropped with its runtime.
    pub(crate) fn timer_died(&self) {
        let slots = {
            let mut queue = self.lock();
            queue.disarm();
            self.timer_runs.store(false, Ordering::Release);
            queue.slots()
        };
        slots.iter().for_each(|slot| slot.wake());
    }

    /// A consumer is gone; what nobody is left for ends.
    pub(crate) fn detach(&self) {
        let waiting = self.lock().detach();
        for Queued { slot, .. } in waiting {
            slot.complete(Err(Error::new(
                ErrorKind::Closed,
                "the last processor has gone and this request had not been started",
            )));
        }
    }

    /// No handle is left.
    pub(crate) fn close(&self) {
        self.lock().close();
        self.readable.notify_waiters();
    }
}

impl<Req, Resp> Drop for Shared<Req, Resp> {
    fn drop(&mut self) {
        self.timer.notify_one();
    }
}
