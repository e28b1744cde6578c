//! The requests in the transport: those that wait and those that a processor has.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use slab::Slab;
use tokio::runtime::Id;
use tokio::time::Instant;

use dynamic_batcher::{Admission, CallMeta, Error, ErrorKind, OnFull};

use crate::config::MemoryConfig;
use crate::sleepers::Sleepers;
use crate::slot::{Left, Place, Slot};
use crate::timer::Timers;

/// All state of a transport, under one lock. Nothing here wakes a task or drops a payload: what
/// would is handed out, to be done when the lock is free.
pub(crate) struct Queue<Req, Resp> {
    waiting: VecDeque<Queued<Req, Resp>>,
    /// How many of `waiting` nobody waits for any more.
    gone: usize,
    /// Those that processors have.
    delivered: Slab<Delivered<Resp>>,
    /// How many of `delivered` nobody waits for any more. Written here alone, and read without the
    /// lock.
    gone_delivered: Arc<AtomicUsize>,
    /// `None` when sends wait instead of being refused.
    admission: Option<Admission>,
    consumers: usize,
    /// Consumers that have found nothing.
    pub(crate) sleepers: Sleepers,
    /// A processor has attached at least once.
    served: bool,
    /// No handle of the transport is left.
    closed: bool,
    pub(crate) timers: Timers,
}

pub(crate) struct Queued<Req, Resp> {
    pub(crate) payload: Req,
    pub(crate) slot: Arc<Slot<Resp>>,
}

/// A request that a processor has.
struct Delivered<Resp> {
    slot: Arc<Slot<Resp>>,
    /// When a handler started on it.
    started: Option<Instant>,
}

/// What is to be dropped when the lock is free: code of the user's may run then.
pub(crate) type Dropped<Req, Resp> = (Left<Resp>, VecDeque<Queued<Req, Resp>>);

/// Requests whose deadline has passed.
pub(crate) struct Expired<Req, Resp> {
    pub(crate) queued: Vec<Queued<Req, Resp>>,
    /// The calls of those that a processor has, which have ended: to be woken.
    pub(crate) delivered: Vec<Waker>,
    /// No processor has ever attached.
    pub(crate) never_served: bool,
}

impl<Req, Resp> Queue<Req, Resp> {
    pub(crate) fn new(config: &MemoryConfig, gone_delivered: Arc<AtomicUsize>) -> Self {
        Self {
            waiting: VecDeque::new(),
            gone: 0,
            delivered: Slab::new(),
            gone_delivered,
            admission: (config.on_full != OnFull::Wait)
                .then(|| Admission::new(config.max_queue.get())),
            consumers: 0,
            sleepers: Sleepers::default(),
            served: false,
            closed: false,
            timers: Timers::default(),
        }
    }

    /// Requests that have not ended.
    fn outstanding(&self) -> usize {
        let gone_delivered = self.gone_delivered.load(Ordering::Relaxed);
        self.waiting.len() - self.gone + self.delivered.len() - gone_delivered
    }

    /// Lets a request in, or hands it back and says why not. Returns a consumer that slept because
    /// there was nothing.
    #[inline]
    pub(crate) fn enter(
        &mut self,
        payload: Req,
        slot: &Arc<Slot<Resp>>,
    ) -> Result<Option<Waker>, (Req, Error)> {
        if self.served && self.consumers == 0 {
            let error = Error::new(ErrorKind::Closed, "no processor is attached any more");
            return Err((payload, error));
        }
        let outstanding = self.outstanding();
        if let Some(admission) = &mut self.admission
            && let Err(retry_after) = admission.admit(outstanding, slot.meta.enqueued)
        {
            let error = Error::new(ErrorKind::QueueFull { retry_after }, "");
            return Err((payload, error));
        }
        self.waiting.push_back(Queued {
            payload,
            slot: Arc::clone(slot),
        });
        // Whoever was woken before may be held up by its handler: each request wakes another.
        Ok(self.sleepers.pop())
    }

    /// Takes the request that has waited longest, if its caller still waits; `Err` holds one whose
    /// caller does not.
    #[expect(clippy::type_complexity, reason = "read at its one call")]
    pub(crate) fn take(&mut self) -> Option<Result<(Req, CallMeta, usize), Queued<Req, Resp>>> {
        let next = self.waiting.pop_front()?;
        if next.slot.place() == Place::Gone {
            self.gone -= 1;
            return Some(Err(next));
        }
        let Queued { payload, slot } = next;
        slot.set_place(Place::Delivered);
        let meta = slot.meta;
        let key = self.delivered.insert(Delivered {
            slot,
            started: None,
        });
        Some(Ok((payload, meta, key)))
    }

    /// Who is to be woken for what is left.
    pub(crate) fn next_sleeper(&mut self) -> Option<Waker> {
        match self.waiting.is_empty() {
            true => None,
            false => self.sleepers.pop(),
        }
    }

    /// Requests that no processor has and that somebody waits for.
    pub(crate) fn queued(&self) -> usize {
        self.waiting.len() - self.gone
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts a delivered request back where it came from: before all that wait. `Err` holds the
    /// payload of one that nobody waits for.
    pub(crate) fn put_back(&mut self, payload: Req, key: usize) -> Result<(), Req> {
        let Some(slot) = self.end(key) else {
            return Err(payload);
        };
        // Gone, or told of its timeout.
        if !slot.is_waiting() {
            return Err(payload);
        }
        slot.set_place(Place::Queued);
        self.waiting.push_front(Queued { payload, slot });
        Ok(())
    }

    pub(crate) fn start(&mut self, key: usize, at: Instant) {
        if let Some(delivered) = self.delivered.get_mut(key) {
            delivered.started = Some(at);
        }
    }

    pub(crate) fn is_abandoned(&self, key: usize) -> bool {
        let delivered = self.delivered.get(key);
        delivered.is_none_or(|delivered| delivered.slot.place() == Place::Gone)
    }

    /// Takes out a delivered request.
    pub(crate) fn end(&mut self, key: usize) -> Option<Arc<Slot<Resp>>> {
        let slot = self.delivered.try_remove(key)?.slot;
        if slot.place() == Place::Gone {
            self.gone_delivered.fetch_sub(1, Ordering::Relaxed);
        }
        slot.set_place(Place::Gone);
        Some(slot)
    }

    /// Notes for the measure of the drain rate that `count` requests have just ended.
    pub(crate) fn drained(&mut self, count: usize) {
        let outstanding = self.outstanding();
        if let Some(admission) = &mut self.admission {
            admission.drained(count, outstanding, Instant::now);
        }
    }

    /// Notes that a call is gone.
    pub(crate) fn abandon(&mut self, slot: &Slot<Resp>) -> Dropped<Req, Resp> {
        let left = slot.abandon();
        match slot.place() {
            Place::Gone => return (left, VecDeque::new()),
            Place::Delivered => {
                self.gone_from_delivered(slot);
                return (left, VecDeque::new());
            }
            Place::Queued => {
                slot.set_place(Place::Gone);
                self.gone += 1;
            }
        }
        // When those of gone callers have become as many as the others they are dropped.
        if self.gone * 2 <= self.waiting.len() {
            return (left, VecDeque::new());
        }
        let (waiting, gone) = mem::take(&mut self.waiting)
            .into_iter()
            .partition(|queued| queued.slot.place() != Place::Gone);
        self.waiting = waiting;
        self.gone = 0;
        (left, gone)
    }

    /// Nobody waits any more for a request that a processor has.
    fn gone_from_delivered(&self, slot: &Slot<Resp>) {
        slot.set_place(Place::Gone);
        self.gone_delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes out what has expired, and sets the timer on `runtime`, which asks, for the rest.
    pub(crate) fn expire(&mut self, runtime: Id, now: Instant) -> Expired<Req, Resp> {
        let is_due = |queued: &Queued<Req, Resp>| queued.slot.meta.deadline <= now;
        let mut queued = Vec::new();
        if self.waiting.iter().any(is_due) {
            for each in mem::take(&mut self.waiting) {
                if is_due(&each) {
                    queued.push(each);
                } else {
                    self.waiting.push_back(each);
                }
            }
            let is_gone = |each: &&Queued<Req, Resp>| each.slot.place() == Place::Gone;
            self.gone -= queued.iter().filter(is_gone).count();
            // Their calls may go before they are told: they are no longer in the queue's count.
            queued
                .iter()
                .for_each(|each| each.slot.set_place(Place::Gone));
        }

        let mut delivered = Vec::new();
        let mut next = self
            .waiting
            .iter()
            .map(|each| each.slot.meta.deadline)
            .min();
        for (_, Delivered { slot, started }) in &self.delivered {
            let deadline = slot.meta.deadline;
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                continue;
            }
            // It stays until its processor is done with it.
            if slot.place() == Place::Gone {
                continue;
            }
            let until = started.unwrap_or(now);
            let queued = until.saturating_duration_since(slot.meta.enqueued);
            let error = Error::timeout(queued, started.is_some(), "");
            // While it is known whether it had been started: it does not start any more.
            delivered.extend(slot.fail_without_waking(error));
            self.gone_from_delivered(slot);
        }
        let looked_at = self.waiting.len() + self.delivered.len();
        self.timers.looked(runtime, now, looked_at, next);
        Expired {
            queued,
            delivered,
            never_served: !self.served,
        }
    }

    /// All calls that may be waiting.
    pub(crate) fn slots(&self) -> Vec<Arc<Slot<Resp>>> {
        let waiting = self.waiting.iter().map(|each| &each.slot);
        let delivered = self.delivered.iter().map(|(_, each)| &each.slot);
        waiting.chain(delivered).map(Arc::clone).collect()
    }

    pub(crate) fn attach(&mut self) {
        self.consumers += 1;
        self.served = true;
    }

    /// A consumer is gone. With the last one everything that waits is handed out, to be ended.
    pub(crate) fn detach(&mut self) -> VecDeque<Queued<Req, Resp>> {
        self.consumers -= 1;
        if self.consumers > 0 {
            return VecDeque::new();
        }
        self.gone = 0;
        let waiting = mem::take(&mut self.waiting);
        // Their calls may go before they are told: they are no longer in the queue's count.
        waiting
            .iter()
            .for_each(|each| each.slot.set_place(Place::Gone));
        waiting
    }

    pub(crate) fn consumers(&self) -> usize {
        self.consumers
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}
