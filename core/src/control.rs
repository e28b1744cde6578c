//! What a processor's handle and its run loop share: orders one way, state the other.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;
use tokio::sync::watch;
use tokio::time::Instant;

/// Where a processor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Its first handler is being made.
    Starting,
    /// It takes requests and runs batches.
    Running,
    /// It takes no more requests and finishes what it has.
    Draining,
    /// It has ended.
    Ended,
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
    phase: watch::Sender<Phase>,
    pub(crate) waiting: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) answered: AtomicUsize,
    pub(crate) released: AtomicUsize,
    pub(crate) abandoned: AtomicUsize,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            order: AtomicU8::new(SERVE),
            finish_by: Mutex::new(None),
            run_loop: AtomicWaker::new(),
            phase: watch::Sender::new(Phase::Starting),
            waiting: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            released: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
        }
    }

    /// Orders a drain; of several, the earliest deadline holds. No way leads back.
    pub(crate) fn drain(&self, deadline: Instant) {
        {
            let mut finish_by = self
                .finish_by
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *finish_by = Some(finish_by.map_or(deadline, |earlier| earlier.min(deadline)));
        }
        self.order.fetch_max(DRAIN, Ordering::Release);
        self.run_loop.wake();
    }

    pub(crate) fn stop(&self) {
        self.order.fetch_max(STOP, Ordering::Release);
        self.run_loop.wake();
    }

    /// The order in force; `cx` is woken when another is given.
    pub(crate) fn poll_order(&self, cx: &mut Context<'_>) -> Order {
        self.run_loop.register(cx.waker());
        match self.order.load(Ordering::Acquire) {
            SERVE => Order::Serve,
            DRAIN => {
                let finish_by = self
                    .finish_by
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                finish_by.map_or(Order::Stop, Order::Drain)
            }
            _ => Order::Stop,
        }
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

/// Says that the processor has ended, however its future ends: finished, dropped or panicked.
pub(crate) struct EndGuard(pub(crate) Arc<Control>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.enter(Phase::Ended);
    }
}
