//! One batch from its opening to its answers, and the processor's books about it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::control::Control;
use crate::error::{Error, Result};
use crate::former::Item;
use crate::handler::{BatchContext, Outputs};
use crate::held::Gone;
use crate::isolate::Ran;
use crate::meta::{BatchId, BatchInfo, CallMeta, CloseReason};
use crate::observer::{BatchReport, NotRun, Observer};
use crate::policy::BatchPolicy;
use crate::transport::Answer;

/// A batch that is about to run.
pub(crate) struct OpenBatch<Req, T> {
    pub(crate) requests: Vec<Req>,
    pub(crate) tickets: Vec<T>,
    pub(crate) context: BatchContext,
    pub(crate) reason: CloseReason,
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
pub(crate) struct Books<'a> {
    observer: Option<&'a dyn Observer>,
    control: &'a Control,
    processor: u32,
    batches: u64,
    running: usize,
}

impl<'a> Books<'a> {
    pub(crate) fn new(policy: &'a BatchPolicy, control: &'a Control) -> Self {
        // The standard library's hasher keys are its source of randomness: enough to tell
        // processors apart.
        let drawn = RandomState::new().build_hasher().finish();
        Self {
            observer: policy.observer.as_deref(),
            control,
            processor: (drawn >> 32) as u32,
            batches: 0,
            running: 0,
        }
    }

    pub(crate) fn nothing_runs(&self) -> bool {
        self.running == 0
    }

    /// Makes a batch of `items`, which is to run now.
    pub(crate) fn open<Req, T>(
        &mut self,
        reason: CloseReason,
        items: impl Iterator<Item = Item<(Req, T)>>,
        now: Instant,
    ) -> OpenBatch<Req, T> {
        let size = items.size_hint().0;
        let mut requests = Vec::with_capacity(size);
        let mut tickets = Vec::with_capacity(size);
        let mut metas = Vec::with_capacity(size);
        for Item {
            meta,
            value: (request, ticket),
        } in items
        {
            requests.push(request);
            tickets.push(ticket);
            metas.push(meta);
        }
        self.batches += 1;
        self.count_running(self.running + requests.len());
        let id = BatchId::new(self.processor, self.batches);
        OpenBatch {
            requests,
            tickets,
            context: BatchContext::new(id, now, metas),
            reason,
        }
    }

    /// Makes the answers of a batch that has run: to each request its own.
    pub(crate) fn close<Resp, T>(
        &mut self,
        batch: RunBatch<Resp, T>,
    ) -> (Arc<BatchInfo>, Vec<Answer<Resp, T>>) {
        let RunBatch {
            tickets,
            context,
            reason,
            took,
            ran,
        } = batch;
        let size = tickets.len();
        self.count_running(self.running - size);
        self.control.answered.fetch_add(size, Ordering::Relaxed);
        let info = BatchInfo::new(context.id(), size, reason, took);

        let started = context.started();
        let each = tickets.into_iter().zip(context.into_items());
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
            let failed = answers.iter().filter(|answer| answer.outcome.is_err());
            observer.batch_ended(&BatchReport {
                info: &info,
                error: ran.error,
                reruns: ran.reruns,
                failed: failed.count(),
            });
        });
        (Arc::new(info), answers)
    }

    /// Makes the answers of requests that must not run. Mostly nobody will read them: the callers
    /// are gone, or were told by their transport.
    pub(crate) fn give_up<Req, Resp, T>(&self, gone: Vec<Gone<Req, T>>) -> Vec<Answer<Resp, T>> {
        let gone = gone.into_iter().map(|(item, reason)| {
            self.not_run(reason, 1);
            let queued = item.meta.enqueued.elapsed();
            let error = Error::timeout(queued, false, "it had not been started");
            Answer::new(item.value.1, Err(error), queued)
        });
        gone.collect()
    }

    pub(crate) fn not_run(&self, reason: NotRun, count: usize) {
        self.tell(|observer| (0..count).for_each(|_| observer.not_run(reason)));
    }

    /// An observer that panics loses what it was told, and nobody else loses anything.
    fn tell(&self, tell: impl FnOnce(&dyn Observer)) {
        let Some(observer) = self.observer else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| tell(observer))).is_err() {
            tracing::error!("the policy's observer panicked");
        }
    }

    /// Notes that what runs is given up.
    pub(crate) fn abandon_running(&mut self) {
        self.control
            .abandoned
            .fetch_add(self.running, Ordering::Relaxed);
        self.count_running(0);
    }

    fn count_running(&mut self, running: usize) {
        self.running = running;
        self.control.running.store(running, Ordering::Relaxed);
    }
}

impl Drop for Books<'_> {
    /// The processor's future may be dropped where it stands.
    fn drop(&mut self) {
        self.abandon_running();
    }
}

fn answers<Resp, T>(
    each: impl Iterator<Item = (T, CallMeta)>,
    started: Instant,
    outcomes: impl Iterator<Item = Result<Resp>>,
) -> impl Iterator<Item = Answer<Resp, T>> {
    each.zip(outcomes).map(move |((ticket, meta), outcome)| {
        let queued = started.saturating_duration_since(meta.enqueued);
        Answer::new(ticket, outcome, queued)
    })
}
