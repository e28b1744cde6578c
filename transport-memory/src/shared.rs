//! What all handles, calls and consumers of a transport share: the queue, and who is to be woken.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;

use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

use dynamic_batcher::{CallMeta, Error, ErrorKind, Result};

use crate::config::MemoryConfig;
use crate::queue::{Queue, Queued};
use crate::slot::Slot;
use crate::timer::{self, Arm};

/// How often a thread looks for the lock to be free before it may sleep, and its pauses between.
const LOOKS: u32 = 32;
const PAUSES: u32 = 4;

pub(crate) struct Shared<Req, Resp> {
    queue: Mutex<Queue<Req, Resp>>,
    /// The queue's count of delivered requests that nobody waits for: mostly none, and then it need
    /// not be asked of each.
    gone_delivered: Arc<AtomicUsize>,
}

/// The slot of a request that was let in, or why it was not.
pub(crate) type Entered<Resp> = Result<Arc<Slot<Resp>>>;

impl<Req: Send + 'static, Resp: Send + 'static> Shared<Req, Resp> {
    /// Enters one request.
    pub(crate) fn enter(
        self: &Arc<Self>,
        req: Req,
        meta: CallMeta,
        call: &Waker,
    ) -> Result<Arc<Slot<Resp>>> {
        // Before the lock is taken: others need not wait for the allocator.
        let slot = Arc::new(Slot::new(meta, call.clone()));
        let mut queue = self.lock();
        let mut unset = None;
        if !queue.timers.is_set_here(meta.deadline) {
            drop(queue);
            unset = Some(timer::current_runtime()?);
            queue = self.lock();
        }
        let entered = queue.enter(req, &slot);
        let unset = unset.filter(|_| entered.is_ok());
        let arm = unset.map(|on| (queue.timers.arm(on.id(), meta.deadline), on));
        drop(queue);
        if let Some(sleeper) = entered.map_err(|(_, error)| error)? {
            sleeper.wake();
        }
        if let Some((arm, on)) = arm
            && let Err(error) = self.armed(&on, arm)
        {
            self.abandon([&slot].into_iter());
            return Err(error);
        }
        Ok(slot)
    }

    /// Enters many requests at once; those that find no room are refused alone, and handed back, to be
    /// dropped when all else is done. None has a waker before it is polled.
    pub(crate) fn enter_many(
        self: &Arc<Self>,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> (Vec<Entered<Resp>>, Vec<Req>) {
        let runtime = match timer::current_runtime() {
            Ok(runtime) => runtime,
            Err(error) => return (reqs.iter().map(|_| Err(error.clone())).collect(), reqs),
        };
        let slot = |_: &Req| Arc::new(Slot::new(meta, Waker::noop().clone()));
        let new: Vec<_> = reqs.iter().map(slot).collect();
        let mut slots = Vec::with_capacity(reqs.len());
        let mut refused = Vec::new();
        let mut sleepers = Vec::new();
        let arm = {
            let mut queue = self.lock();
            slots.extend(reqs.into_iter().zip(new).map(
                |(req, slot)| match queue.enter(req, &slot) {
                    Ok(sleeper) => {
                        sleepers.extend(sleeper);
                        Ok(slot)
                    }
                    Err((req, error)) => {
                        refused.push(req);
                        Err(error)
                    }
                },
            ));
            queue.timers.arm(runtime.id(), meta.deadline)
        };
        sleepers.into_iter().for_each(Waker::wake);
        if let Err(error) = self.armed(&runtime, arm) {
            self.abandon(slots.iter().flatten());
            slots.fill_with(|| Err(error.clone()));
        }
        (slots, refused)
    }

    /// Has a timer on this runtime, where a call waits: another may have taken its timer with it,
    /// or the call may have come from another.
    pub(crate) fn ensure_timer(self: &Arc<Self>, deadline: Instant) -> Result<()> {
        if self.lock().timers.is_set_here(deadline) {
            return Ok(());
        }
        let runtime = timer::current_runtime()?;
        let arm = self.lock().timers.arm(runtime.id(), deadline);
        self.armed(&runtime, arm)
    }

    fn armed(self: &Arc<Self>, runtime: &Handle, arm: Arm) -> Result<()> {
        match arm {
            Arm::Set => Ok(()),
            Arm::Wake(timer) => {
                timer.notify_one();
                Ok(())
            }
            Arm::Start(signal) => timer::start(self, runtime, signal),
        }
    }
}

impl<Req, Resp> Shared<Req, Resp> {
    pub(crate) fn new(config: &MemoryConfig) -> Self {
        let gone_delivered = Arc::new(AtomicUsize::new(0));
        Self {
            queue: Mutex::new(Queue::new(config, Arc::clone(&gone_delivered))),
            gone_delivered,
        }
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue<Req, Resp>> {
        // A processor holds it for a few microseconds to read a batch, somewhat longer than the
        // standard library waits before the thread sleeps; and to sleep takes several times as long.
        for _ in 0..LOOKS {
            match self.queue.try_lock() {
                Ok(queue) => return queue,
                Err(TryLockError::Poisoned(queue)) => return queue.into_inner(),
                Err(TryLockError::WouldBlock) => (0..PAUSES).for_each(|_| spin_loop()),
            }
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that these calls are gone.
    pub(crate) fn abandon<'a>(&self, slots: impl Iterator<Item = &'a Arc<Slot<Resp>>>)
    where
        Resp: 'a,
    {
        let mut queue = self.lock();
        let abandoned: Vec<_> = slots.map(|slot| queue.abandon(slot)).collect();
        drop(queue);
        drop(abandoned);
    }

    #[inline]
    pub(crate) fn is_abandoned(&self, key: usize) -> bool {
        self.gone_delivered.load(Ordering::Relaxed) > 0 && self.lock().is_abandoned(key)
    }

    /// Ends what has expired, if it is time for the timer on `runtime`, which asks. Returns for when
    /// it is set, or `None` when there is nothing to wait for: then there is no such timer any more.
    pub(crate) fn look(&self, runtime: Id, now: Instant) -> Option<Instant> {
        let (expired, next) = {
            let mut queue = self.lock();
            let armed = queue.timers.armed(runtime)?;
            if armed > now {
                return Some(armed);
            }
            let expired = queue.expire(runtime, now);
            (expired, queue.timers.armed(runtime))
        };
        expired.delivered.into_iter().for_each(Waker::wake);
        let detail = if expired.never_served {
            "no processor has ever attached to its transport"
        } else {
            "no processor has taken it"
        };
        // All are told before the first payload is dropped, which may panic.
        for Queued { slot, .. } in &expired.queued {
            let queued = now.saturating_duration_since(slot.meta.enqueued);
            slot.fail(Error::timeout(queued, false, detail));
        }
        next
    }

    /// The timer's task was dropped with its runtime.
    pub(crate) fn timer_died(&self, runtime: Id) {
        let slots = {
            let mut queue = self.lock();
            queue.timers.remove(runtime);
            queue.slots()
        };
        slots.iter().for_each(|slot| slot.wake());
    }

    /// A consumer is gone; what nobody is left for ends.
    pub(crate) fn detach(&self) {
        let waiting = self.lock().detach();
        // All are told before the first payload is dropped, which may panic.
        for Queued { slot, .. } in &waiting {
            let detail = "the last processor has gone and this request had not been started";
            slot.fail(Error::new(ErrorKind::Closed, detail));
        }
    }

    /// No handle is left.
    pub(crate) fn close(&self) {
        let sleepers = {
            let mut queue = self.lock();
            queue.close();
            queue.sleepers.take_all()
        };
        sleepers.for_each(Waker::wake);
    }
}

impl<Req, Resp> Drop for Shared<Req, Resp> {
    fn drop(&mut self) {
        self.lock().timers.wake_all();
    }
}
