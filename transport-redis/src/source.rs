//! The processor's side: one consumer of the group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::{Answer, Backoff, BatchInfo, Consumer, Delivery, Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::answer;
use crate::client::send_repeatedly;
use crate::commands;
use crate::entry::StreamId;
use crate::inbox::{Hold, Inbox};
use crate::place::Place;
use crate::reader;
use crate::reclaim;
use crate::request::Caller;

/// The pause before it is tried again to leave doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The pause before it is looked again whether anything keeps it from leaving.
const AGAIN: Duration = Duration::from_millis(20);

/// One processor's hold on the request stream.
pub struct RedisConsumer {
    inbox: Arc<Inbox>,
}

pub(crate) type RawDelivery = Delivery<Vec<u8>, RedisTicket>;
pub(crate) type RawAnswer = Answer<Vec<u8>, RedisTicket>;

/// An entry that a processor has.
pub struct RedisTicket {
    pub(crate) caller: Caller,
    pub(crate) deliveries: u32,
    pub(crate) hold: Hold,
    /// `None` once it was answered or given back.
    inbox: Option<Arc<Inbox>>,
}

impl RedisConsumer {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            inbox: Arc::new(Inbox::new(place)),
        }
    }

    /// Gives back what is here, waits for Python callers to see what was answered, and goes.
    async fn leave(&self) -> Result<()> {
        let inbox = &self.inbox;
        let place = &inbox.place;
        loop {
            // A read that was cut off may have taken entries that nobody here has seen.
            reader::take_own_pending(inbox).await?;
            give_back(inbox.stop());
            reclaim::give_back_dropped(inbox).await?;
            while !reclaim::acknowledge_seen(inbox).await? {
                sleep(AGAIN).await;
            }
            let mut has_unseen = false;
            for reply in place.client.send(&commands::leave(place)).await? {
                has_unseen |= reply.accepted()?.int()? > 0;
            }
            if !has_unseen {
                return Ok(());
            }
            // The server had not noticed yet that the connection of the read was closed.
            sleep(AGAIN).await;
        }
    }

    /// Starts the tasks on the current runtime, the first time.
    fn start(&self) -> Result<()> {
        let inbox = &self.inbox;
        inbox.start(|| {
            let runtime = Handle::try_current()
                .map_err(|error| Error::with_source(ErrorKind::Config, error))?;
            let reader = runtime.spawn(reader::read(Arc::clone(inbox)));
            let keeper = runtime.spawn(reclaim::keep(Arc::clone(inbox)));
            Ok(vec![reader.abort_handle(), keeper.abort_handle()])
        })
    }
}

/// Somebody waits for what is read. When that is given up, a read that has not begun does not begin.
struct Waits<'a>(&'a Inbox);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.want_nothing();
    }
}

/// Gives back what was read and not started.
fn give_back(deliveries: impl IntoIterator<Item = RawDelivery>) {
    let tickets = deliveries.into_iter().map(|delivery| delivery.ticket);
    tickets.for_each(RedisTicket::give_back);
}

impl RedisTicket {
    pub(crate) fn new(hold: Hold, caller: Caller, deliveries: u32, inbox: &Arc<Inbox>) -> Self {
        Self {
            caller,
            deliveries,
            hold,
            inbox: Some(Arc::clone(inbox)),
        }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.hold.id
    }

    /// Gives it back, unstarted: this time does not count as a delivery.
    fn give_back(mut self) {
        if let Some(inbox) = self.inbox.take() {
            inbox.drop_ticket(self.hold, self.deliveries.saturating_sub(1));
        }
    }

    /// The ticket's lease ends: it was answered or given back.
    fn settle(&mut self) {
        if let Some(inbox) = self.inbox.take() {
            inbox.settle(self.hold);
        }
    }
}

impl Drop for RedisTicket {
    /// Unanswered, it is given back soon, or by its lease if this process ends first. It may have
    /// been started, so this time counts as a delivery.
    fn drop(&mut self) {
        if let Some(inbox) = self.inbox.take() {
            inbox.drop_ticket(self.hold, self.deliveries);
        }
    }
}

impl Consumer<Vec<u8>, Vec<u8>> for RedisConsumer {
    type Ticket = RedisTicket;

    /// Waits for the inbox, which a task of its own fills: no read to end after `wait`, nor a timer.
    async fn recv(&self, into: &mut Vec<RawDelivery>, max: usize, _wait: Duration) -> Result<bool> {
        self.start()?;
        loop {
            let readable = self.inbox.readable.notified();
            if self.inbox.take(max, into)? > 0 {
                return Ok(true);
            }
            self.inbox.wanted.notify_one();
            let waits = Waits(&self.inbox);
            readable.await;
            std::mem::forget(waits);
        }
    }

    fn close(&self) {
        give_back(self.inbox.close());
    }

    /// Another has it, so that its caller need not wait for this processor.
    fn is_abandoned(&self, ticket: &RedisTicket) -> bool {
        !self.inbox.is_held(ticket.hold)
    }

    fn start<'a>(&self, tickets: impl Iterator<Item = &'a RedisTicket>, at: Instant) {
        self.inbox.started(tickets.map(|ticket| ticket.hold), at);
    }

    async fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        mut answers: Vec<RawAnswer>,
    ) -> Result<()> {
        let place = &self.inbox.place;
        match &batch {
            Some(batch) => self.inbox.ran(batch.ran),
            // What was not run because another has it is that one's to answer.
            None => answers.retain(|answer| self.inbox.is_held(answer.ticket.hold)),
        }
        let mut ending = answer::end(place, batch.as_deref(), answers);
        let commands = std::mem::take(&mut ending.commands);
        let (mut replies, sent) = answer::send(place, commands).await;
        drop(ending.take_unended(&replies));
        let seen_later = ending.seen_later;
        if !seen_later.is_empty() {
            // Not before: of a request whose answer is refused the entry is all that there is.
            let delete =
                commands::delete_entries(&place.request_stream, seen_later.iter().copied());
            replies.extend(send_repeatedly(&*place.client, vec![delete], place.lease).await?);
            // Of what its caller looks for among the pending ones the lease is kept no longer.
            self.inbox.answered(seen_later);
        }
        ending.tickets.iter_mut().for_each(RedisTicket::settle);
        for reply in replies {
            reply.accepted()?;
        }
        sent
    }

    async fn release(&self, deliveries: Vec<RawDelivery>) -> Result<()> {
        give_back(deliveries);
        reclaim::give_back_dropped(&self.inbox).await
    }

    async fn detach(self) -> Result<()> {
        give_back(self.inbox.stop());
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match self.leave().await {
                // The processor says when it is too late.
                Err(error) if error.is_retryable() => sleep(backoff.next_pause()).await,
                left => return left,
            }
        }
    }
}

impl Drop for RedisConsumer {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}

impl fmt::Debug for RedisConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConsumer")
            .field("consumer", &self.inbox.place.consumer)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTicket")
            .field("id", &self.hold.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
