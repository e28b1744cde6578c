//! When a batch is closed, and with what: a pure state machine, without clock or I/O.
//!
//! Requests go in with their meta data, and at each step the caller says whether an instance is
//! free; out come decisions, some of them for a later time. The run loop does the rest. Whatever decides
//! about batches later (weights, keys, priorities) belongs here.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::meta::{CallMeta, CloseReason, later};
use crate::observer::NotRun;
use crate::policy::{BatchPolicy, WhenIdle};

/// A request that waits, with whatever the run loop keeps of it.
#[derive(Debug)]
pub(crate) struct Item<T> {
    pub(crate) meta: CallMeta,
    pub(crate) value: T,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Close a batch: after [`Former::remove_gone`], if it still says so, [`Former::take`] it.
    Run(CloseReason),
    /// As [`Run`](Self::Run) for [`Window`](CloseReason::Window), when that instant has come, unless
    /// something happens before.
    RunAt(Instant),
    /// Nothing until something happens.
    Wait,
}

/// The requests that wait in this processor: one open batch, and those that must run alone.
#[derive(Debug)]
pub(crate) struct Former<T> {
    batch_size: usize,
    batch_time: Duration,
    when_idle: WhenIdle,
    /// In order of arrival.
    open: VecDeque<Item<T>>,
    /// When the longest queued of `open` was sent. Not always its first: requests that were given
    /// back or delivered again come late.
    oldest: Option<Instant>,
    /// On their last permitted delivery.
    alone: VecDeque<Item<T>>,
    closing: bool,
}

impl<T> Former<T> {
    pub(crate) fn new(policy: &BatchPolicy) -> Self {
        Self {
            batch_size: policy.batch_size.get(),
            batch_time: policy.batch_time,
            when_idle: policy.when_idle,
            open: VecDeque::new(),
            oldest: None,
            alone: VecDeque::new(),
            closing: false,
        }
    }

    /// Goes on by another policy, which the open batch follows too.
    pub(crate) fn reconfigure(&mut self, policy: &BatchPolicy) {
        self.batch_size = policy.batch_size.get();
        self.batch_time = policy.batch_time;
        self.when_idle = policy.when_idle;
    }

    /// How many requests are wanted: while one batch runs, the next is filled, and no more.
    pub(crate) fn room(&self) -> usize {
        self.batch_size.saturating_sub(self.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len() + self.alone.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.alone.is_empty()
    }

    /// When the longest queued request was sent.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let alone = self.alone.iter().map(|item| item.meta.enqueued);
        self.oldest.into_iter().chain(alone).min()
    }

    pub(crate) fn push(&mut self, item: Item<T>) {
        if item.meta.last_attempt {
            self.alone.push_back(item);
            return;
        }
        let sent = item.meta.enqueued;
        self.oldest = Some(self.oldest.map_or(sent, |oldest| oldest.min(sent)));
        self.open.push_back(item);
    }

    /// Nothing more will come: what is there no longer waits for company.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    pub(crate) fn step(&self, instance_free: bool) -> Step {
        // While every instance is busy the open batch grows; the end of a batch is the next event.
        if !instance_free {
            return Step::Wait;
        }
        if !self.alone.is_empty() {
            return Step::Run(CloseReason::LastAttempt);
        }
        let Some(oldest) = self.oldest else {
            return Step::Wait;
        };
        if self.open.len() >= self.batch_size {
            return Step::Run(CloseReason::Full);
        }
        if self.closing {
            return Step::Run(CloseReason::Drain);
        }
        if self.when_idle == WhenIdle::Run {
            return Step::Run(CloseReason::Idle);
        }
        Step::RunAt(later(oldest, self.batch_time))
    }

    /// Removes the requests that must not run any more: their deadline has passed, or
    /// `is_abandoned` says that nobody waits for them. What they leave is room for others, so ask
    /// for a new step if there were any.
    pub(crate) fn remove_gone(
        &mut self,
        now: Instant,
        mut is_abandoned: impl FnMut(&T) -> bool,
    ) -> Vec<(Item<T>, NotRun)> {
        let mut why = |item: &Item<T>| {
            // Asked first: what has expired is abandoned too, once its caller was told.
            if item.meta.deadline <= now {
                Some(NotRun::Expired)
            } else if is_abandoned(&item.value) {
                Some(NotRun::Abandoned)
            } else {
                None
            }
        };
        let mut gone = Vec::new();
        for waiting in [&mut self.open, &mut self.alone] {
            // The common case is that all stay: then nothing moves.
            if !waiting.iter().any(|item| why(item).is_some()) {
                continue;
            }
            for item in std::mem::take(waiting) {
                match why(&item) {
                    Some(reason) => gone.push((item, reason)),
                    None => waiting.push_back(item),
                }
            }
        }
        if !gone.is_empty() {
            self.find_oldest();
        }
        gone
    }

    /// What [`take`](Self::take) takes.
    pub(crate) fn next_batch(
        &self,
        reason: CloseReason,
    ) -> impl ExactSizeIterator<Item = &Item<T>> {
        let (waiting, size) = match reason {
            CloseReason::LastAttempt => (&self.alone, 1),
            _ => (&self.open, self.batch_size),
        };
        waiting.iter().take(size)
    }

    /// Takes the batch that [`step`](Self::step) said to run.
    pub(crate) fn take(&mut self, reason: CloseReason) -> impl Iterator<Item = Item<T>> {
        let size = self.next_batch(reason).len();
        if reason == CloseReason::LastAttempt {
            return self.alone.drain(..size);
        }
        let left = self.open.iter().skip(size);
        self.oldest = left.map(|item| item.meta.enqueued).min();
        self.open.drain(..size)
    }

    pub(crate) fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Takes everything, to give it back.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Item<T>> {
        self.oldest = None;
        std::mem::take(&mut self.alone)
            .into_iter()
            .chain(std::mem::take(&mut self.open))
    }

    fn find_oldest(&mut self) {
        self.oldest = self.open.iter().map(|item| item.meta.enqueued).min();
    }
}

#[cfg(test)]
mod tests;
