//! One request from its call to its outcome: all of it but the payload.

use std::mem;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use dynamic_batcher::{CallMeta, Error, ItemInfo, Reply, Result};

/// Shared by the call and whoever may end it: the processor, the timer, the end of the transport.
/// The first outcome counts.
pub(crate) struct Slot<Resp> {
    state: Mutex<State<Resp>>,
    pub(crate) meta: CallMeta,
    /// Where the request is, and how many nanoseconds after its sending a handler started on it:
    /// read and changed under the queue's lock alone, which orders them.
    place: AtomicU8,
    started: AtomicU64,
}

/// No handler has started.
const NOT_STARTED: u64 = u64::MAX;

enum State<Resp> {
    Waiting(Waker),
    /// The info in a box: it is seldom asked for, and would double the slot.
    Done(Result<Resp>, Option<Box<ItemInfo>>),
    /// The call has its outcome, or is gone.
    Over,
}

/// What a call leaves when it goes.
pub(crate) struct Left<Resp> {
    /// It had not ended before.
    pub(crate) was_waiting: bool,
    _state: State<Resp>,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    Queued,
    /// A processor has it.
    Delivered,
    /// Nobody waits for it any more.
    Gone,
}

impl<Resp> Slot<Resp> {
    /// The slot of a call that `call` wakes.
    pub(crate) fn new(meta: CallMeta, call: Waker) -> Self {
        Self {
            state: Mutex::new(State::Waiting(call)),
            meta,
            place: AtomicU8::new(Place::Queued as u8),
            started: AtomicU64::new(NOT_STARTED),
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Reply<Resp>>> {
        let mut state = self.lock();
        match &mut *state {
            State::Waiting(call) if call.will_wake(cx.waker()) => Poll::Pending,
            State::Waiting(call) => {
                let before = mem::replace(call, cx.waker().clone());
                // With the last waker of a task goes whatever it holds: not under the lock.
                drop(state);
                drop(before);
                Poll::Pending
            }
            _ => match mem::replace(&mut *state, State::Over) {
                State::Done(outcome, info) => {
                    let info = info.map(|info| *info);
                    Poll::Ready(outcome.map(|response| Reply::new(response, info)))
                }
                // A call is not polled after its outcome.
                _ => Poll::Pending,
            },
        }
    }

    /// Ends the call. False if it had ended before, or nobody waits any more.
    pub(crate) fn complete(&self, outcome: Result<Resp>, info: Option<ItemInfo>) -> bool {
        let mut state = self.lock();
        if !matches!(*state, State::Waiting { .. }) {
            return false;
        }
        let before = mem::replace(&mut *state, State::Done(outcome, info.map(Box::new)));
        drop(state);
        if let State::Waiting(call) = before {
            call.wake();
        }
        true
    }

    /// Ends the call with an error. False if nobody waits any more.
    pub(crate) fn fail(&self, error: Error) -> bool {
        self.complete(Err(error), None)
    }

    /// The call is gone. What it leaves is handed out, to be dropped where no lock is held: the
    /// response may be in it.
    pub(crate) fn abandon(&self) -> Left<Resp> {
        let mut state = self.lock();
        let was_waiting = matches!(*state, State::Waiting(_));
        let state = mem::replace(&mut *state, State::Over);
        Left {
            was_waiting,
            _state: state,
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(*self.lock(), State::Waiting(_))
    }

    /// Has the call polled again.
    pub(crate) fn wake(&self) {
        let call = match &*self.lock() {
            State::Waiting(call) => call.clone(),
            State::Done(..) | State::Over => return,
        };
        call.wake();
    }

    pub(crate) fn place(&self) -> Place {
        match self.place.load(Ordering::Relaxed) {
            queued if queued == Place::Queued as u8 => Place::Queued,
            delivered if delivered == Place::Delivered as u8 => Place::Delivered,
            _ => Place::Gone,
        }
    }

    /// How long the request was queued before a handler started on it, if one has.
    pub(crate) fn started_after(&self) -> Option<Duration> {
        let nanos = self.started.load(Ordering::Relaxed);
        (nanos != NOT_STARTED).then(|| Duration::from_nanos(nanos))
    }

    pub(crate) fn start(&self, at: Instant) {
        let queued = at.saturating_duration_since(self.meta.enqueued).as_nanos();
        let nanos = u64::try_from(queued).unwrap_or(NOT_STARTED - 1);
        self.started.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn set_place(&self, place: Place) {
        self.place.store(place as u8, Ordering::Relaxed);
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    fn lock(&self) -> MutexGuard<'_, State<Resp>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
