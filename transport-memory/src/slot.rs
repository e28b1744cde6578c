//! Where one call waits for its outcome.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dynamic_batcher::{Reply, Result};

/// Shared by the call and whoever may end it: the processor, the timer, the end of the transport.
/// The first outcome counts.
pub(crate) struct Slot<Resp>(Mutex<State<Resp>>);

enum State<Resp> {
    Waiting {
        call: Option<Waker>,
        /// A processor has the request.
        delivered: bool,
    },
    Done(Result<Reply<Resp>>),
    /// The call has its outcome, or is gone.
    Over,
}

/// Where a request was when its call gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandoned {
    Queued,
    Delivered,
    /// It had ended already.
    Ended,
}

impl<Resp> Slot<Resp> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Waiting {
            call: None,
            delivered: false,
        }))
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Reply<Resp>>> {
        let mut state = self.lock();
        match &mut *state {
            State::Waiting { call, .. } => {
                if !call.as_ref().is_some_and(|call| call.will_wake(cx.waker())) {
                    *call = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            _ => match mem::replace(&mut *state, State::Over) {
                State::Done(outcome) => Poll::Ready(outcome),
                // A call is not polled after its outcome.
                _ => Poll::Pending,
            },
        }
    }

    /// Ends the call. False if it had ended before, or nobody waits any more.
    pub(crate) fn complete(&self, outcome: Result<Reply<Resp>>) -> bool {
        let mut state = self.lock();
        if !matches!(*state, State::Waiting { .. }) {
            return false;
        }
        let before = mem::replace(&mut *state, State::Done(outcome));
        drop(state);
        if let State::Waiting {
            call: Some(call), ..
        } = before
        {
            call.wake();
        }
        true
    }

    /// The call is gone.
    pub(crate) fn abandon(&self) -> Abandoned {
        let before = mem::replace(&mut *self.lock(), State::Over);
        match before {
            State::Waiting {
                delivered: false, ..
            } => Abandoned::Queued,
            State::Waiting { .. } => Abandoned::Delivered,
            State::Done(_) | State::Over => Abandoned::Ended,
        }
    }

    /// Notes that a processor has the request now, or no longer. False if nobody waits for it.
    pub(crate) fn set_delivered(&self, now: bool) -> bool {
        match &mut *self.lock() {
            State::Waiting { delivered, .. } => {
                *delivered = now;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(*self.lock(), State::Waiting { .. })
    }

    /// Has the call polled again.
    pub(crate) fn wake(&self) {
        let call = match &mut *self.lock() {
            State::Waiting { call, .. } => call.take(),
            _ => None,
        };
        if let Some(call) = call {
            call.wake();
        }
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    fn lock(&self) -> MutexGuard<'_, State<Resp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
