//! The reads that wait for requests, in the order in which they began to.
//!
//! Part of the queue's state, under its lock: who looks and finds nothing sleeps in the same step, so
//! that no request can come in between and wake nobody.

use std::collections::VecDeque;
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
    /// A read waits. One that has waited before and was not woken keeps its place.
    pub(crate) fn enter(&mut self, before: Option<Sleeper>, waker: &Waker) -> Sleeper {
        let mut waiting = self.waiting.iter_mut();
        if let Some((sleeper, waker_before)) = waiting.find(|(each, _)| Some(*each) == before) {
            waker_before.clone_from(waker);
            return *sleeper;
        }
        self.named += 1;
        let sleeper = Sleeper(self.named);
        self.waiting.push_back((sleeper, waker.clone()));
        sleeper
    }

    /// The next one to wake, which sleeps no longer.
    pub(crate) fn pop(&mut self) -> Option<Waker> {
        self.waiting.pop_front().map(|(_, waker)| waker)
    }

    /// All of them, to be woken.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(|(_, waker)| waker)
    }

    /// The read is over. False if somebody has woken it: what it was woken for may still be there,
    /// and is another's then.
    pub(crate) fn leave(&mut self, sleeper: Sleeper) -> bool {
        let at = self.waiting.iter().position(|(each, _)| *each == sleeper);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }
}
