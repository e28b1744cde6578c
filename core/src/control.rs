//! What a processor's handle and its run loop share: orders and policies one way, state the other.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::policy::BatchPolicy;
use crate::status::{Counts, ProcessorStatus, QueueLength};

/// Where a processor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Its first handler is being made, or its handlers are warmed up.
    Starting,
    /// It takes requests and runs batches.
    Running,
    /// It takes no more requests and finishes what it has: it was told to, or its source has closed.
    Draining,
    /// It has ended.
    Ended,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Ended => "ended",
        })
    }
}

/// What the handle wants of the run loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Serve,
    /// Finish by this instant.
    Drain(Instant),
    /// Give back what waits, drop what runs, and leave.
    Stop,
}

const SERVE: u8 = 0;
const DRAIN: u8 = 1;
const STOP: u8 = 2;

#[derive(Debug)]
pub(crate) struct Control {
    order: AtomicU8,
    finish_by: Mutex<Option<Instant>>,
    run_loop: AtomicWaker,
    policy: Mutex<BatchPolicy>,
    has_new_policy: AtomicBool,
    /// Whether a handler that holds its thread holds the run loop.
    handler_holds_task: bool,
    phase: watch::Sender<Phase>,
    failure: OnceLock<Error>,
    pub(crate) counts: Counts,
    pub(crate) queue_length: QueueLength,
}

impl Control {
    pub(crate) fn new(
        policy: BatchPolicy,
        handler_holds_task: bool,
        queue_length: QueueLength,
    ) -> Self {
        Self {
            order: AtomicU8::new(SERVE),
            finish_by: Mutex::new(None),
            run_loop: AtomicWaker::new(),
            policy: Mutex::new(policy),
            has_new_policy: AtomicBool::new(false),
            handler_holds_task,
            phase: watch::Sender::new(Phase::Starting),
            failure: OnceLock::new(),
            counts: Counts::new(),
            queue_length,
        }
    }

    /// Orders a drain; of several, the earliest deadline holds. No way leads back.
    pub(crate) fn drain(&self, deadline: Instant) {
        {
            let mut finish_by = self.lock_finish_by();
            *finish_by = Some(finish_by.map_or(deadline, |earlier| earlier.min(deadline)));
        }
        self.order.fetch_max(DRAIN, Ordering::Release);
        self.run_loop.wake();
    }

    pub(crate) fn stop(&self) {
        self.order.fetch_max(STOP, Ordering::Release);
        self.run_loop.wake();
    }

    /// From now on `cx` is woken when another order is given, or another policy.
    pub(crate) fn listen(&self, cx: &Context<'_>) {
        self.run_loop.register(cx.waker());
    }

    /// The order in force.
    pub(crate) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            SERVE => Order::Serve,
            DRAIN => self.finish_by().map_or(Order::Stop, Order::Drain),
            _ => Order::Stop,
        }
    }

    /// The deadline of the drain, if one was ordered, also before an order to stop.
    pub(crate) fn finish_by(&self) -> Option<Instant> {
        *self.lock_finish_by()
    }

    fn lock_finish_by(&self) -> MutexGuard<'_, Option<Instant>> {
        self.finish_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The policy in force, or about to be.
    pub(crate) fn policy(&self) -> BatchPolicy {
        self.lock_policy().clone()
    }

    /// Gives the run loop another policy, unless something in it cannot change.
    pub(crate) fn reconfigure(&self, policy: BatchPolicy) -> Result<()> {
        if self.phase() == Phase::Ended {
            return Err(Error::new(ErrorKind::Closed, "the processor has ended"));
        }
        let before = {
            let mut current = self.lock_policy();
            self.check_change(&current, &policy)?;
            std::mem::replace(&mut *current, policy)
        };
        // Not under the lock: its observer may ask for the policy when it is dropped.
        drop(before);
        self.has_new_policy.store(true, Ordering::Release);
        self.run_loop.wake();
        Ok(())
    }

    fn check_change(&self, current: &BatchPolicy, new: &BatchPolicy) -> Result<()> {
        if new.instances != current.instances {
            let text = format!(
                "instances is {}, allowed is {}: their number is fixed when a processor starts",
                new.instances, current.instances
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        match new.run_timeout {
            Some(limit) if self.handler_holds_task => {
                let text = format!(
                    "run_timeout is {limit:?}, allowed is none: this processor started without a \
                     limit, and runs its one handler where the time cannot be kept"
                );
                Err(Error::new(ErrorKind::Config, text))
            }
            _ => Ok(()),
        }
    }

    /// Whether a policy has been given since this was last asked. [`listen`](Self::listen)
    /// sees to it that the run loop asks.
    pub(crate) fn take_new_policy(&self) -> bool {
        // The common case costs a read.
        self.has_new_policy.load(Ordering::Relaxed)
            && self.has_new_policy.swap(false, Ordering::Acquire)
    }

    fn lock_policy(&self) -> MutexGuard<'_, BatchPolicy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why the processor ends without having served.
    pub(crate) fn fail(&self, failure: Error) {
        // The first failure counts.
        let _ = self.failure.set(failure);
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.get().cloned()
    }

    pub(crate) fn status(&self) -> ProcessorStatus {
        self.counts.status(self.phase(), self.queue_length.get())
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Notes a phase; none is gone back to.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Waits until the processor is in `phase` or beyond; says where it is then.
    pub(crate) async fn reached(&self, phase: Phase) -> Phase {
        let mut phases = self.phase.subscribe();
        match phases.wait_for(|now| *now >= phase).await {
            Ok(now) => *now,
            // Its sender is ours, so it is not gone while we wait.
            Err(_) => Phase::Ended,
        }
    }
}

/// Says that the processor has ended, however its future ends: finished or dropped.
pub(crate) struct EndGuard(pub(crate) Arc<Control>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.enter(Phase::Ended);
    }
}
