//! When a batch is closed, and with what: a pure state machine, without clock or I/O.
//!
//! Requests go in with their meta data, and at each step the caller says whether an instance is
//! free; out come decisions, some of them for a later time. The run loop does the rest. Whatever decides
//! about batches later (weights, keys, priorities) belongs here.

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use crate::meta::{CloseReason, later};
use crate::observer::NotRun;
use crate::policy::{BatchPolicy, WhenIdle};
use crate::transport::Delivery;

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

/// A request that must not run, and why.
pub(crate) type Gone<Req, T> = (Delivery<Req, T>, NotRun);

/// The requests that wait in this processor: one open batch, and those that must run alone.
#[derive(Debug)]
pub(crate) struct Former<Req, T> {
    batch_size: usize,
    batch_time: Duration,
    when_idle: WhenIdle,
    /// In order of arrival.
    open: Vec<Delivery<Req, T>>,
    /// When the longest queued of `open` was sent. Not always its first: requests that were given
    /// back or delivered again come late.
    oldest: Option<Instant>,
    /// On their last permitted delivery.
    alone: Vec<Delivery<Req, T>>,
    closing: bool,
}

impl<Req, T> Former<Req, T> {
    pub(crate) fn new(policy: &BatchPolicy) -> Self {
        Self {
            batch_size: policy.batch_size.get(),
            batch_time: policy.batch_time,
            when_idle: policy.when_idle,
            open: Vec::new(),
            oldest: None,
            alone: Vec::new(),
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
        self.oldest.into_iter().chain(oldest(&self.alone)).min()
    }

    /// Takes in what was read, and leaves the list empty.
    pub(crate) fn append(&mut self, read: &mut Vec<Delivery<Req, T>>) {
        if read.iter().any(|delivery| delivery.meta.last_attempt) {
            let alone = read.extract_if(.., |delivery| delivery.meta.last_attempt);
            self.alone.extend(alone);
        }
        self.oldest = self.oldest.into_iter().chain(oldest(&*read)).min();
        // The common case is that nothing is open yet: then nothing moves.
        if self.open.is_empty() {
            mem::swap(&mut self.open, read);
        } else {
            self.open.append(read);
        }
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
    ) -> Vec<Gone<Req, T>> {
        let mut why = |delivery: &Delivery<Req, T>| {
            // Asked first: what has expired is abandoned too, once its caller was told.
            if delivery.meta.deadline <= now {
                Some(NotRun::Expired)
            } else if is_abandoned(&delivery.ticket) {
                Some(NotRun::Abandoned)
            } else {
                None
            }
        };
        let mut gone = Vec::new();
        for waiting in [&mut self.open, &mut self.alone] {
            // The common case is that all stay: then nothing moves.
            if !waiting.iter().any(|delivery| why(delivery).is_some()) {
                continue;
            }
            for delivery in mem::take(waiting) {
                match why(&delivery) {
                    Some(reason) => gone.push((delivery, reason)),
                    None => waiting.push(delivery),
                }
            }
        }
        if !gone.is_empty() {
            self.oldest = oldest(&self.open);
        }
        gone
    }

    /// What [`take`](Self::take) takes.
    pub(crate) fn next_batch(
        &self,
        reason: CloseReason,
    ) -> impl ExactSizeIterator<Item = &Delivery<Req, T>> {
        let (waiting, size) = match reason {
            CloseReason::LastAttempt => (&self.alone, 1),
            _ => (&self.open, self.batch_size),
        };
        waiting.iter().take(size)
    }

    /// Takes the batch that [`step`](Self::step) said to run.
    pub(crate) fn take(&mut self, reason: CloseReason) -> impl Iterator<Item = Delivery<Req, T>> {
        let size = self.next_batch(reason).len();
        if reason == CloseReason::LastAttempt {
            return self.alone.drain(..size);
        }
        self.oldest = oldest(self.open.iter().skip(size));
        self.open.drain(..size)
    }

    pub(crate) fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Takes everything, to give it back.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Delivery<Req, T>> {
        self.oldest = None;
        mem::take(&mut self.alone)
            .into_iter()
            .chain(mem::take(&mut self.open))
    }
}

/// When the longest queued of these was sent.
fn oldest<'a, Req: 'a, T: 'a>(
    deliveries: impl IntoIterator<Item = &'a Delivery<Req, T>>,
) -> Option<Instant> {
    let sent = deliveries
        .into_iter()
        .map(|delivery| delivery.meta.enqueued);
    sent.min()
}

#[cfg(test)]
mod tests;
