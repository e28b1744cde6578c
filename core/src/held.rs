//! What a processor has read and not started, and how it is given back.

use std::marker::PhantomData;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::batch::{Books, OpenBatch};
use crate::former::{Former, Gone};
use crate::meta::CloseReason;
use crate::observer::NotRun;
use crate::policy::BatchPolicy;
use crate::status::Counts;
use crate::transport::{Consumer, Delivery};

/// A batch that starts, unless all that it was made of had ended; and what had.
pub(crate) type Started<Req, T> = (Option<OpenBatch<Req, T>>, Vec<Gone<Req, T>>);

/// The former with the requests that wait in it. They are given back even when the processor's
/// future is dropped where it stands.
pub(crate) struct Held<'a, Req, Resp, C: Consumer<Req, Resp>> {
    consumer: &'a C,
    counts: &'a Counts,
    pub(crate) former: Former<Req, C::Ticket>,
    /// Since when anything waits, where somebody wants to know.
    opened: Option<Instant>,
    is_observed: bool,
    responses: PhantomData<fn() -> Resp>,
}

impl<'a, Req, Resp, C: Consumer<Req, Resp>> Held<'a, Req, Resp, C> {
    pub(crate) fn new(consumer: &'a C, policy: &BatchPolicy, counts: &'a Counts) -> Self {
        Self {
            consumer,
            counts,
            former: Former::new(policy),
            opened: None,
            is_observed: policy.observer.is_some(),
            responses: PhantomData,
        }
    }

    /// Goes on by another policy.
    pub(crate) fn reconfigure(&mut self, policy: &BatchPolicy) {
        self.former.reconfigure(policy);
        self.is_observed = policy.observer.is_some();
    }

    /// Notes for the processor's status what waits.
    pub(crate) fn note_waiting(&self) {
        let former = &self.former;
        self.counts.note_waiting(former.len(), former.oldest());
    }

    /// Takes in what was read, and leaves the list empty; returns what could not be decoded.
    pub(crate) fn receive(
        &mut self,
        found: &mut Vec<Delivery<Req, C::Ticket>>,
    ) -> Vec<Gone<Req, C::Ticket>> {
        let mut undecodable = Vec::new();
        if found.iter().any(|delivery| delivery.payload.is_err()) {
            let failed = found.extract_if(.., |delivery| delivery.payload.is_err());
            undecodable.extend(failed.map(|delivery| (delivery, NotRun::Undecodable)));
        }
        self.former.append(found);
        if self.is_observed && self.opened.is_none() && !self.former.is_empty() {
            self.opened = Some(Instant::now());
        }
        undecodable
    }

    /// How long the batch was open that has been taken `now`.
    pub(crate) fn gathered(&mut self, now: Instant) -> Duration {
        let opened = self.opened.take();
        if self.is_observed && !self.former.is_empty() {
            self.opened = Some(now);
        }
        opened.map_or(Duration::ZERO, |opened| {
            now.saturating_duration_since(opened)
        })
    }

    /// Tells what waits.
    pub(crate) fn tell_load(&self, books: &mut Books<'_, C::Ticket>, now: Instant) {
        let former = &self.former;
        books.load(now, || {
            (former.len() + self.consumer.queued(), former.oldest())
        });
    }

    /// Takes out what must not run any more.
    pub(crate) fn remove_gone(&mut self, now: Instant) -> Vec<Gone<Req, C::Ticket>> {
        let consumer = self.consumer;
        let gone = self
            .former
            .remove_gone(now, |ticket| consumer.is_abandoned(ticket));
        if self.former.is_empty() {
            self.opened = None;
        }
        gone
    }

    /// Closes a batch on which a handler starts `now`. The transport is told before anything else,
    /// so that of no request that runs its caller is told that it had not been started; those that
    /// ended just before do not run.
    pub(crate) fn start_batch(
        &mut self,
        books: &mut Books<'_, C::Ticket>,
        reason: CloseReason,
        now: Instant,
    ) -> Started<Req, C::Ticket> {
        let consumer = self.consumer;
        let tickets = self.former.next_batch(reason);
        consumer.start(tickets.map(|delivery| &delivery.ticket), now);

        let has_ended = |delivery: &Delivery<_, _>| consumer.is_abandoned(&delivery.ticket);
        let all_run = !self.former.next_batch(reason).any(has_ended);
        let batch = self.former.take(reason);
        if all_run {
            return (Some(books.open(reason, batch, now)), Vec::new());
        }
        let (ended, batch): (Vec<_>, Vec<_>) = batch.partition(has_ended);
        let batch = (!batch.is_empty()).then(|| books.open(reason, batch.into_iter(), now));
        let why = |delivery| (delivery, NotRun::Abandoned);
        (batch, ended.into_iter().map(why).collect())
    }

    /// Gives back what waits.
    pub(crate) async fn give_back(&mut self) {
        let deliveries = self.take_deliveries();
        if deliveries.is_empty() {
            return;
        }
        let count = deliveries.len();
        match self.consumer.release(deliveries).await {
            Ok(()) => {
                self.counts.released.add(count);
            }
            Err(error) => tracing::warn!("{count} requests could not be given back: {error}"),
        }
    }

    fn take_deliveries(&mut self) -> Vec<Delivery<Req, C::Ticket>> {
        self.counts.note_waiting(0, None);
        self.former.take_all().collect()
    }
}

impl<Req, Resp, C: Consumer<Req, Resp>> Drop for Held<'_, Req, Resp, C> {
    fn drop(&mut self) {
        let deliveries = self.take_deliveries();
        if !deliveries.is_empty() {
            let count = deliveries.len();
            self.counts.released.add(count);
            // A transport within the process has taken them when this returns; of any other the
            // tickets are dropped, which counts as given back too, only later.
            let _ = self.consumer.release(deliveries).now_or_never();
        }
    }
}
