//! The processor's side: one consumer of the group.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynamic_batcher::{Answer, BatchInfo, CallMeta, Consumer, Delivery, Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::answer::{self, Ending};
use crate::client::{send_accepted, send_repeatedly};
use crate::commands;
use crate::entry::{Entry, StreamId};
use crate::place::Place;
use crate::reader;
use crate::reclaim;
use crate::request::Caller;

/// How long a Python caller waits at the most: twice its default timeout.
const PYTHON_PATIENCE: Duration = Duration::from_secs(200);

/// One processor's hold on the request stream.
pub struct RedisConsumer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) place: Place,
    inbox: Mutex<Inbox>,
    /// Something has been read.
    pub(crate) readable: Notify,
    /// Something is wanted.
    pub(crate) wanted: Notify,
    /// Nothing is held any more, and a request on its last delivery may be taken.
    pub(crate) emptied: Notify,
    /// Held while it is found out what is pending on this consumer or to be taken over: what one way
    /// has just delivered, and is answered at once, the other would deliver again.
    pub(crate) taking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Inbox {
    ready: VecDeque<RawDelivery>,
    wanted: usize,
    /// What this consumer answers for, until it has: its lease is kept.
    held: HashSet<StreamId>,
    /// Dropped without an answer: to be given back, each with its deliveries.
    dropped: Vec<(StreamId, u32)>,
    /// Answered to Python callers, which may still look for them among the pending; since when.
    unacknowledged: VecDeque<(StreamId, Instant)>,
    /// A request on its last delivery waits for this consumer to hold nothing, or is held: nothing
    /// else is read.
    quiet: bool,
    /// Why nothing will be read any more.
    failed: Option<Error>,
    tasks: Vec<AbortHandle>,
}

type RawDelivery = Delivery<Vec<u8>, RedisTicket>;

/// An entry that a processor has.
pub struct RedisTicket {
    pub(crate) id: StreamId,
    pub(crate) caller: Caller,
    pub(crate) deliveries: u32,
    /// `None` once it was answered or given back.
    inner: Option<Arc<Inner>>,
}

impl RedisConsumer {
    pub(crate) fn new(place: Place) -> Self {
        let inner = Inner {
            place,
            inbox: Mutex::default(),
            readable: Notify::new(),
            wanted: Notify::new(),
            emptied: Notify::new(),
            taking: tokio::sync::Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts the tasks on the current runtime, the first time.
    fn start(&self) -> Result<()> {
        let mut inbox = self.inner.lock();
        if !inbox.tasks.is_empty() {
            return Ok(());
        }
        let runtime =
            Handle::try_current().map_err(|error| Error::with_source(ErrorKind::Config, error))?;
        let reader = runtime.spawn(reader::read(Arc::clone(&self.inner)));
        let keeper = runtime.spawn(reclaim::keep(Arc::clone(&self.inner)));
        inbox.tasks = vec![reader.abort_handle(), keeper.abort_handle()];
        Ok(())
    }
}

impl Inner {
    /// How many entries are to be read.
    pub(crate) fn wanted(&self) -> usize {
        let inbox = self.lock();
        match inbox.quiet {
            true => 0,
            false => inbox.wanted,
        }
    }

    /// How many entries may be taken over, and whether any is held.
    pub(crate) fn wanted_and_holding(&self) -> (usize, bool) {
        let inbox = self.lock();
        (inbox.wanted, !inbox.held.is_empty())
    }

    /// Notes whether a request on its last delivery waits or is held.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        let was = std::mem::replace(&mut self.lock().quiet, quiet);
        if was && !quiet {
            self.wanted.notify_one();
        }
    }

    /// The lease of an entry ends.
    fn forget(&self, inbox: &mut Inbox, id: StreamId) {
        inbox.held.remove(&id);
        if inbox.quiet && inbox.held.is_empty() {
            self.emptied.notify_one();
        }
    }

    /// Takes in entries that were read or taken over, each with the number of its delivery.
    pub(crate) fn deliver(self: &Arc<Self>, entries: impl IntoIterator<Item = (Entry, u32)>) {
        let place = &self.place;
        let mut inbox = self.lock();
        for (entry, deliveries) in entries {
            let id = entry.id;
            if !inbox.held.insert(id) {
                continue;
            }
            let (caller, request) = place.parse(entry);
            let timeout = request.as_ref().ok().and_then(|request| request.timeout);
            let sent = place.clock.instant(id.millis);
            let meta = CallMeta::sent_at(sent, timeout.unwrap_or(PYTHON_PATIENCE))
                .attempt(deliveries, place.is_last(deliveries));
            let ticket = RedisTicket {
                id,
                caller,
                deliveries,
                inner: Some(Arc::clone(self)),
            };
            let payload = request.map(|request| request.body);
            inbox.wanted = inbox.wanted.saturating_sub(1);
            inbox.ready.push_back(Delivery::new(payload, ticket, meta));
        }
        drop(inbox);
        self.readable.notify_one();
    }

    /// Nothing will be read any more.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().failed = Some(error);
        self.readable.notify_one();
    }

    pub(crate) fn holds(&self, id: StreamId) -> bool {
        let inbox = self.lock();
        let unacknowledged = || inbox.unacknowledged.iter().any(|(each, _)| *each == id);
        let dropped = || inbox.dropped.iter().any(|(each, _)| *each == id);
        inbox.held.contains(&id) || unacknowledged() || dropped()
    }

    pub(crate) fn held(&self) -> Vec<StreamId> {
        self.lock().held.iter().copied().collect()
    }

    pub(crate) fn take_dropped(&self) -> Vec<(StreamId, u32)> {
        std::mem::take(&mut self.lock().dropped)
    }

    pub(crate) fn unacknowledged(&self) -> Vec<(StreamId, Instant)> {
        self.lock().unacknowledged.iter().copied().collect()
    }

    pub(crate) fn acknowledged(&self, ids: &[StreamId]) {
        let mut inbox = self.lock();
        inbox.unacknowledged.retain(|(id, _)| !ids.contains(id));
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RedisTicket {
    /// The ticket's lease ends: it was answered or given back.
    fn settle(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.forget(&mut inner.lock(), self.id);
        }
    }
}

impl Drop for RedisTicket {
    /// Unanswered, it is given back soon, or by its lease if this process ends first. It may have
    /// been started, so this time counts as a delivery.
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            let mut inbox = inner.lock();
            inner.forget(&mut inbox, self.id);
            inbox.dropped.push((self.id, self.deliveries));
        }
    }
}

impl Consumer<Vec<u8>, Vec<u8>> for RedisConsumer {
    type Ticket = RedisTicket;

    async fn recv(&self, into: &mut Vec<RawDelivery>, max: usize, wait: Duration) -> Result<bool> {
        self.start()?;
        let waited = async {
            loop {
                let readable = self.inner.readable.notified();
                let taken = {
                    let mut inbox = self.inner.lock();
                    if let (true, Some(error)) = (inbox.ready.is_empty(), &inbox.failed) {
                        return Err(error.clone());
                    }
                    let count = inbox.ready.len().min(max);
                    inbox.wanted = if count == 0 { max } else { 0 };
                    inbox.ready.drain(..count).collect::<Vec<_>>()
                };
                if !taken.is_empty() {
                    return Ok(taken);
                }
                self.inner.wanted.notify_one();
                readable.await;
            }
        };
        if let Ok(taken) = timeout(wait, waited).await {
            into.extend(taken?);
        }
        Ok(true)
    }

    async fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<Answer<Vec<u8>, RedisTicket>>,
    ) -> Result<()> {
        let place = &self.inner.place;
        let Ending {
            commands,
            mut tickets,
            seen_later,
        } = answer::end(place, batch.as_deref(), answers);
        // Of an entry that its caller looks for among the pending ones the lease is kept no longer.
        let replies = send_repeatedly(&*place.client, commands, place.lease).await?;
        let now = Instant::now();
        let seen_later = seen_later.into_iter().map(|id| (id, now));
        self.inner.lock().unacknowledged.extend(seen_later);
        tickets.iter_mut().for_each(RedisTicket::settle);
        for reply in replies {
            reply.accepted()?;
        }
        Ok(())
    }

    async fn release(&self, deliveries: Vec<RawDelivery>) -> Result<()> {
        give_back(&self.inner.place, deliveries).await
    }

    async fn detach(self) -> Result<()> {
        let unread = {
            let mut inbox = self.inner.lock();
            inbox.tasks.drain(..).for_each(|task| task.abort());
            std::mem::take(&mut inbox.ready)
        };
        let place = &self.inner.place;
        // A read that was cut off may have taken entries that nobody here has seen.
        reader::take_own_pending(&self.inner).await?;
        let unseen = std::mem::take(&mut self.inner.lock().ready);
        give_back(place, unread.into_iter().chain(unseen).collect()).await?;
        reclaim::give_back_dropped(&self.inner).await?;
        while !reclaim::acknowledge_seen(&self.inner).await? {
            sleep(Duration::from_millis(20)).await;
        }
        let streams = [(&place.request_stream, false), (&place.again_stream, true)];
        let leave = streams.map(|(stream, notices)| {
            commands::leave(stream, &place.group, &place.consumer, notices)
        });
        send_accepted(&*place.client, &leave).await
    }
}

/// Gives back what was read and not started: this time does not count as a delivery.
async fn give_back(place: &Place, mut deliveries: Vec<RawDelivery>) -> Result<()> {
    let entries = deliveries.iter().map(|each| {
        let RedisTicket { id, deliveries, .. } = each.ticket;
        (id, deliveries.saturating_sub(1))
    });
    reclaim::give_back(place, entries.collect()).await?;
    deliveries.iter_mut().for_each(|each| each.ticket.settle());
    Ok(())
}

impl Drop for RedisConsumer {
    fn drop(&mut self) {
        let tasks = std::mem::take(&mut self.inner.lock().tasks);
        tasks.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for RedisConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConsumer")
            .field("consumer", &self.inner.place.consumer)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTicket")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
