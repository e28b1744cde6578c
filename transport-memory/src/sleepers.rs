//! The reads that wait for requests, in the order in which they began to.
//!
//! Part of the queue's state, under its lock: who looks and finds nothing sleeps in the same step, so
//! that no request can come in between and wake nobody. Wakers are handed out to be dropped when the lock
//! is free: a task may go with its last one, and calls with the task.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

/// Names a read that sleeps, or has slept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sleeper(u64);

/// The wakers of the reads that wait.
#[derive(Debug, Default)]
pub(crate) struct Sleepers {
    waiting: VecDeque<(Sleeper, Waker)>,
    named: u64,
}

impl Sleepers {
    /// A read waits. One that has waited before and was not woken keeps its place, and leaves its
    /// waker of before, if that was another.
    pub(crate) fn enter(
        &mut self,
        before: Option<Sleeper>,
        waker: &Waker,
    ) -> (Sleeper, Option<Waker>) {
        let mut waiting = self.waiting.iter_mut();
        if let Some((sleeper, known)) = waiting.find(|(each, _)| Some(*each) == before) {
            let left = (!known.will_wake(waker)).then(|| mem::replace(known, waker.clone()));
            return (*sleeper, left);
        }
        self.named += 1;
        let sleeper = Sleeper(self.named);
        self.waiting.push_back((sleeper, waker.clone()));
        (sleeper, None)
    }

    /// The next one to wake, which sleeps no longer.
    pub(crate) fn pop(&mut self) -> Option<Waker> {
        self.waiting.pop_front().map(|(_, waker)| waker)
    }

    /// All of them, to be woken.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let waiting = mem::take(&mut self.waiting);
        waiting.into_iter().map(|(_, waker)| waker)
    }

    /// The read is over, and leaves its waker. `None` if somebody has woken it: what it was woken for
    /// may still be there, and is another's then.
    pub(crate) fn leave(&mut self, sleeper: Sleeper) -> Option<Waker> {
        let at = self.waiting.iter().position(|(each, _)| *each == sleeper)?;
        self.waiting.remove(at).map(|(_, waker)| waker)
    }
}
