//! One request from its call to its outcome: all of it but the payload.

use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dynamic_batcher::{CallMeta, Error, ItemInfo, Reply, Result};

/// Shared by the call and whoever may end it: the processor, the timer, the end of the transport.
/// The first outcome counts.
pub(crate) struct Slot<Resp> {
    state: Mutex<State<Resp>>,
    pub(crate) meta: CallMeta,
    /// Where the request is: read and changed under the queue's lock alone, which orders it.
    place: AtomicU8,
}

enum State<Resp> {
    Waiting(Waker),
    Done(Result<Resp>),
    /// With what is seldom asked for, and would double the slot if it were not in a box.
    DoneWithInfo(Box<(Result<Resp>, ItemInfo)>),
    /// The call has its outcome, or is gone.
    Over,
}

/// What a call leaves when it goes.
pub(crate) struct Left<Resp> {
    _state: State<Resp>,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    Queued,
    /// A processor has it.
    Delivered,
    /// It has ended, or nobody waits for it any more.
    Gone,
}

impl<Resp> Slot<Resp> {
    /// The slot of a call that `call` wakes.
    pub(crate) fn new(meta: CallMeta, call: Waker) -> Self {
        Self {
            state: Mutex::new(State::Waiting(call)),
            meta,
            place: AtomicU8::new(Place::Queued as u8),
        }
    }

    #[inline]
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
                State::Done(outcome) => {
                    Poll::Ready(outcome.map(|response| Reply::new(response, None)))
                }
                State::DoneWithInfo(done) => {
                    let (outcome, info) = *done;
                    Poll::Ready(outcome.map(|response| Reply::new(response, Some(info))))
                }
                // A call is not polled after its outcome.
                _ => Poll::Pending,
            },
        }
    }

    /// Ends the call, if it has not ended before and somebody waits. Hands out what nobody waits for, to
    /// be dropped when all others have been told.
    #[inline]
    pub(crate) fn complete(
        &self,
        outcome: Result<Resp>,
        info: Option<ItemInfo>,
    ) -> Option<Left<Resp>> {
        let done = match info {
            None => State::Done(outcome),
            Some(info) => State::DoneWithInfo(Box::new((outcome, info))),
        };
        match self.end(done) {
            Ok(call) => {
                call.wake();
                None
            }
            Err(unread) => Some(Left { _state: unread }),
        }
    }

    /// Ends the call with an error.
    pub(crate) fn fail(&self, error: Error) {
        let _unread = self.complete(Err(error), None);
    }

    /// Ends the call with an error; returns whom to wake when no lock is held.
    pub(crate) fn fail_without_waking(&self, error: Error) -> Option<Waker> {
        self.end(State::Done(Err(error))).ok()
    }

    /// The waker of the call that has ended so, or what nobody waits for.
    #[inline]
    fn end(&self, done: State<Resp>) -> Result<Waker, State<Resp>> {
        let mut state = self.lock();
        if !matches!(*state, State::Waiting(_)) {
            return Err(done);
        }
        let before = mem::replace(&mut *state, done);
        drop(state);
        match before {
            State::Waiting(call) => Ok(call),
            other => Err(other),
        }
    }

    /// The call is gone. What it leaves is handed out, to be dropped where no lock is held: the
    /// response may be in it.
    pub(crate) fn abandon(&self) -> Left<Resp> {
        let mut state = self.lock();
        let state = mem::replace(&mut *state, State::Over);
        Left { _state: state }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(*self.lock(), State::Waiting(_))
    }

    /// Has the call polled again.
    pub(crate) fn wake(&self) {
        let call = match &*self.lock() {
            State::Waiting(call) => call.clone(),
            State::Done(_) | State::DoneWithInfo(_) | State::Over => return,
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

    pub(crate) fn set_place(&self, place: Place) {
        self.place.store(place as u8, Ordering::Relaxed);
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    fn lock(&self) -> MutexGuard<'_, State<Resp>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
