//! One batch from its opening to its answers, and the processor's books about it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::mem;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::error::{Error, Result};
use crate::former::Gone;
use crate::handler::{BatchContext, Outputs};
use crate::isolate::Ran;
use crate::meta::{BatchId, BatchInfo, CallMeta, CloseReason};
use crate::observer::{BatchReport, BatchStart, Load, NotRun, Observer};
use crate::status::Counts;
use crate::trace;
use crate::transport::{Answer, Delivery};

/// The shortest time between two reports of what waits and runs: gauges are looked at now and then,
/// and batches come by the ten thousand.
const LOAD_REST: Duration = Duration::from_millis(10);

/// A batch that is about to run.
pub(crate) struct OpenBatch<Req, T> {
    pub(crate) requests: Vec<Req>,
    pub(crate) tickets: Vec<T>,
    pub(crate) context: BatchContext,
    pub(crate) reason: CloseReason,
    pub(crate) span: Span,
}

/// A batch that has run.
pub(crate) struct RunBatch<Resp, T> {
    pub(crate) tickets: Vec<T>,
    pub(crate) context: BatchContext,
    pub(crate) reason: CloseReason,
    pub(crate) took: Duration,
    pub(crate) ran: Ran<Resp>,
}

/// Numbers the batches, counts what runs, tells the observer, and makes the answers.
pub(crate) struct Books<'a, T> {
    observer: Option<Arc<dyn Observer>>,
    counts: &'a Counts,
    processor: u32,
    batches: u64,
    /// When the observer was last told what waits and runs.
    load_told: Option<Instant>,
    /// And whether there was anything.
    has_told_of_load: bool,
    /// Empty lists, with the memory of the batch that ended last.
    tickets: Vec<T>,
    metas: Vec<CallMeta>,
}

impl<'a, T> Books<'a, T> {
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>, counts: &'a Counts) -> Self {
        // The standard library's hasher keys are its source of randomness, which a process that was
        // forked has from its parent: with its number, enough to tell processors apart.
        let drawn = RandomState::new().hash_one(process::id());
        Self {
            observer,
            counts,
            processor: (drawn >> 32) as u32,
            batches: 0,
            load_told: None,
            has_told_of_load: false,
            tickets: Vec::new(),
            metas: Vec::new(),
        }
    }

    pub(crate) fn set_observer(&mut self, observer: Option<Arc<dyn Observer>>) {
        let is_told = self.observer.as_ref().zip(observer.as_ref());
        if is_told.is_none_or(|(old, new)| !Arc::ptr_eq(old, new)) {
            // Who is told no more would keep for ever what it was told last.
            if mem::take(&mut self.has_told_of_load) {
                self.tell(|observer| observer.load(&Load::default()));
            }
            self.load_told = None;
        }
        self.observer = observer;
    }

    /// Whether the observer thinks that something waits or runs.
    pub(crate) fn has_told_of_load(&self) -> bool {
        self.has_told_of_load
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    pub(crate) fn nothing_runs(&self) -> bool {
        self.counts.running.get() == 0
    }

    /// Makes a batch of what was read and decoded, which is to run now.
    pub(crate) fn open<Req>(
        &mut self,
        reason: CloseReason,
        deliveries: impl Iterator<Item = Delivery<Req, T>>,
        now: Instant,
    ) -> OpenBatch<Req, T> {
        let size = deliveries.size_hint().0;
        let mut requests = Vec::with_capacity(size);
        let mut tickets = mem::take(&mut self.tickets);
        let mut metas = mem::take(&mut self.metas);
        tickets.reserve(size);
        metas.reserve(size);
        for Delivery {
            payload,
            ticket,
            meta,
        } in deliveries
        {
            // What could not be decoded was answered when it was read.
            let Ok(request) = payload else { continue };
            requests.push(request);
            tickets.push(ticket);
            metas.push(meta);
        }
        self.batches += 1;
        let counts = self.counts;
        counts.running.add(requests.len());
        counts.running_batches.add(1);
        let id = BatchId::new(self.processor, self.batches);
        let span = trace::batch(id, reason, &metas);
        OpenBatch {
            requests,
            tickets,
            context: BatchContext::new(id, now, metas),
            reason,
            span,
        }
    }

    /// Makes the answers of a batch that has run: to each request its own.
    pub(crate) fn close<Resp>(
        &mut self,
        batch: RunBatch<Resp, T>,
    ) -> (Arc<BatchInfo>, Vec<Answer<Resp, T>>) {
        let RunBatch {
            mut tickets,
            context,
            reason,
            took,
            ran,
        } = batch;
        let size = tickets.len();
        let failed = match &ran.outputs {
            Outputs::All(_) => 0,
            Outputs::Each(outcomes) => outcomes.iter().filter(|outcome| outcome.is_err()).count(),
            Outputs::Failed(_) => size,
        };
        self.count(size, failed, ran.error.is_some());
        let info = BatchInfo::new(context.id(), size, reason, took);

        let started = context.started();
        let each = tickets.drain(..).zip(context.items());
        let answers: Vec<_> = match ran.outputs {
            Outputs::All(responses) => {
                let outcomes = responses.into_iter().map(Ok);
                answers(each, started, outcomes).collect()
            }
            Outputs::Each(outcomes) => answers(each, started, outcomes.into_iter()).collect(),
            Outputs::Failed(failed) => {
                let outcomes = std::iter::repeat_with(|| Err(failed.clone()));
                answers(each, started, outcomes).collect()
            }
        };
        self.tell(|observer| {
            observer.batch_ended(&BatchReport {
                info: &info,
                context: &context,
                error: ran.error,
                reruns: ran.reruns,
                failed,
            });
        });
        self.tickets = tickets;
        self.metas = context.into_items();
        self.metas.clear();
        (Arc::new(info), answers)
    }

    /// Makes the answers of requests that must not run. Mostly nobody will read them: the callers
    /// are gone, or were told by their transport.
    pub(crate) fn give_up<Req, Resp>(&self, gone: Vec<Gone<Req, T>>) -> Vec<Answer<Resp, T>> {
        let gone = gone.into_iter().map(|(delivery, reason)| {
            self.not_run(reason);
            let queued = delivery.meta.enqueued.elapsed();
            let undecodable = delivery.payload.err();
            let error = undecodable
                .unwrap_or_else(|| Error::timeout(queued, false, "it had not been started"));
            Answer::new(delivery.ticket, Err(error), queued)
        });
        gone.collect()
    }

    fn not_run(&self, reason: NotRun) {
        self.counts.note_not_run(reason);
        self.tell(|observer| observer.not_run(reason));
    }

    /// Tells of what was read and had been delivered before.
    pub(crate) fn read<Req>(&self, found: &[Delivery<Req, T>]) {
        self.tell(|observer| {
            let again = found.iter().filter(|delivery| delivery.meta.attempt > 1);
            match again.count() {
                0 => {}
                again => observer.redelivered(again),
            }
        });
    }

    /// Tells of a batch that starts.
    pub(crate) fn started<Req>(
        &self,
        batch: &OpenBatch<Req, T>,
        batch_size: usize,
        gathered: Duration,
    ) {
        self.tell(|observer| {
            observer.batch_started(&BatchStart {
                context: &batch.context,
                reason: batch.reason,
                batch_size,
                gathered,
            });
        });
    }

    /// Tells what waits, how much and since when, and what runs: not again and again within
    /// [`LOAD_REST`], but always when it is nothing.
    pub(crate) fn load(
        &mut self,
        now: Instant,
        waiting: impl FnOnce() -> (usize, Option<Instant>),
    ) {
        let Some(observer) = &self.observer else {
            return;
        };
        let rests_until = self.load_told.map(|told| told + LOAD_REST);
        let rests = rests_until.is_some_and(|rest| now < rest);
        if rests && !self.nothing_runs() {
            return;
        }
        let (waiting, oldest) = waiting();
        if rests && waiting > 0 {
            return;
        }
        self.load_told = Some(now);
        let load = Load {
            waiting,
            oldest: oldest.map_or(Duration::ZERO, |sent| now.saturating_duration_since(sent)),
            batches: self.counts.running_batches.get(),
        };
        self.has_told_of_load = load.waiting + load.batches > 0;
        observer.tell(|observer| observer.load(&load));
    }

    fn tell(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.observer {
            observer.tell(tell);
        }
    }

    /// Notes that what runs is given up.
    pub(crate) fn give_up_running(&self) {
        let counts = self.counts;
        counts.given_up.add(counts.running.get());
        counts.running.set(0);
        counts.running_batches.set(0);
    }

    /// Counts a batch of `size` requests that has ended.
    fn count(&self, size: usize, failed: usize, failed_as_a_whole: bool) {
        let counts = self.counts;
        counts.running.set(counts.running.get() - size);
        counts.running_batches.set(counts.running_batches.get() - 1);
        counts.batches.add(1);
        counts.failed_batches.add(failed_as_a_whole.into());
        counts.succeeded.add(size - failed);
        counts.failed.add(failed);
    }
}

impl<T> Drop for Books<'_, T> {
    /// The processor's future may be dropped where it stands.
    fn drop(&mut self) {
        self.give_up_running();
        self.load(Instant::now(), || (0, None));
    }
}

fn answers<'a, Resp, T>(
    each: impl Iterator<Item = (T, &'a CallMeta)>,
    started: Instant,
    outcomes: impl Iterator<Item = Result<Resp>>,
) -> impl Iterator<Item = Answer<Resp, T>> {
    each.zip(outcomes).map(move |((ticket, meta), outcome)| {
        let queued = match meta.wants_info {
            true => started.saturating_duration_since(meta.enqueued),
            false => Duration::ZERO,
        };
        Answer::new(ticket, outcome, queued)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Loads(Mutex<Vec<usize>>);

    impl Observer for Loads {
        fn load(&self, load: &Load) {
            self.0.lock().unwrap().push(load.waiting);
        }
    }

    #[test]
    fn what_waits_is_told_now_and_then_and_at_once_when_it_is_nothing() {
        let loads = Arc::new(Loads::default());
        let counts = Counts::new();
        let mut books = Books::<()>::new(Some(loads.clone()), &counts);
        let now = Instant::now();
        // They wait in the transport: the processor itself holds none.
        books.load(now, || (9, None));
        books.load(now + LOAD_REST / 2, || (8, None));
        books.load(now + LOAD_REST, || (7, None));
        books.load(now + LOAD_REST, || (0, None));
        assert_eq!(*loads.0.lock().unwrap(), [9, 7, 0]);
    }
}
