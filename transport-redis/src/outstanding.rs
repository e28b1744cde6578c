//! The requests of one caller that wait for an outcome.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynamic_batcher::{Admission, CallMeta, Error, Reply, Result};
use foldhash::HashMap;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::entry::StreamId;

/// What a call ends with.
pub(crate) type Outcome = Result<Reply<Vec<u8>>>;

/// All of them, by the number that names each on the wire (`idem`). The first outcome counts.
pub(crate) struct Outstanding {
    table: Mutex<Table>,
    /// A deadline earlier than all others has come in.
    pub(crate) earlier_deadline: Notify,
    /// There was none, and now there is one.
    pub(crate) any: Notify,
}

struct Table {
    waiting: HashMap<u64, Waiting>,
    /// Nobody ends what enters any more.
    closed: bool,
    last_idem: u64,
    /// The deadline that the timer is set for.
    armed: Option<Instant>,
    /// Measures how fast answers come. The server counts the queue.
    admission: Admission,
}

struct Waiting {
    call: oneshot::Sender<Outcome>,
    enqueued: Instant,
    deadline: Instant,
    /// Whether it may be on the stream.
    sent: bool,
    /// It was sent on a connection that then failed: it may be there under an id that nobody knows, also
    /// when it was sent again.
    unconfirmed: bool,
    /// Known once the server has answered the XADD.
    id: Option<StreamId>,
}

/// A request whose deadline has passed and whose call has not been told.
pub(crate) struct Expired(Waiting);

impl Expired {
    pub(crate) fn id(&self) -> Option<StreamId> {
        self.0.id
    }

    /// Tells the call; `delivered` is whether a processor has had it, where the server has said.
    pub(crate) fn end(self, delivered: Option<bool>) {
        let Waiting {
            call,
            enqueued,
            deadline,
            sent,
            unconfirmed,
            id,
        } = self.0;
        let queued = deadline.saturating_duration_since(enqueued);
        let (delivered, detail) = match (delivered, id) {
            (Some(true), _) => (true, "the processor that has it has not answered in time"),
            (Some(false), _) if unconfirmed => (
                true,
                "it was sent again after a connection had failed, and the first one may have run",
            ),
            (Some(false), _) => (false, "no processor has taken it"),
            (None, Some(_)) => (true, "the server does not say whether a processor has it"),
            (None, None) if sent => (true, "the server has not confirmed that it has it"),
            (None, None) => (false, "it has not been let into the queue"),
        };
        // Its caller may have gone in this moment.
        let _ = call.send(Err(Error::timeout(queued, delivered, detail)));
    }
}

impl Outstanding {
    /// Of a caller that adds to a queue of at most `max_queue`.
    pub(crate) fn new(max_queue: usize) -> Self {
        Self {
            table: Mutex::new(Table {
                waiting: HashMap::default(),
                closed: false,
                last_idem: 0,
                armed: None,
                admission: Admission::new(max_queue),
            }),
            earlier_deadline: Notify::new(),
            any: Notify::new(),
        }
    }

    /// Enters a request; returns its number and where its outcome will come, or nothing, at once,
    /// where it is closed.
    pub(crate) fn enter(&self, meta: CallMeta) -> (u64, oneshot::Receiver<Outcome>) {
        let (call, outcome) = oneshot::channel();
        let mut table = self.lock();
        table.last_idem += 1;
        let idem = table.last_idem;
        if table.closed {
            return (idem, outcome);
        }
        let first = table.waiting.is_empty();
        let earlier = table.armed.is_none_or(|armed| meta.deadline < armed);
        if earlier {
            table.armed = Some(meta.deadline);
        }
        let waiting = Waiting {
            call,
            enqueued: meta.enqueued,
            deadline: meta.deadline,
            sent: false,
            unconfirmed: false,
            id: None,
        };
        table.waiting.insert(idem, waiting);
        drop(table);
        if first {
            self.any.notify_one();
        }
        if earlier {
            self.earlier_deadline.notify_one();
        }
        (idem, outcome)
    }

    /// Of requests that are to be sent later, keeps those that somebody waits for.
    pub(crate) fn retain_known<T>(&self, requests: &mut VecDeque<T>, idem: impl Fn(&T) -> u64) {
        let table = self.lock();
        requests.retain(|request| table.waiting.contains_key(&idem(request)));
    }

    /// Of requests that are sent, keeps those that somebody waits for.
    pub(crate) fn retain_waiting<T>(&self, requests: &mut Vec<T>, idem: impl Fn(&T) -> u64) {
        let mut table = self.lock();
        requests.retain(|request| {
            let waiting = table.waiting.get_mut(&idem(request));
            waiting.map(|waiting| waiting.sent = true).is_some()
        });
    }

    /// Notes the ids of entries. Returns those that nobody waits for any more.
    pub(crate) fn set_ids(&self, ids: impl Iterator<Item = (u64, StreamId)>) -> Vec<StreamId> {
        let mut table = self.lock();
        let gone = ids.filter(|(idem, id)| {
            let waiting = table.waiting.get_mut(idem);
            waiting.map(|waiting| waiting.id = Some(*id)).is_none()
        });
        gone.map(|(_, id)| id).collect()
    }

    /// Notes that these were refused: they are not on the stream, unless an earlier one is.
    pub(crate) fn set_refused(&self, idems: impl Iterator<Item = u64>) {
        let mut table = self.lock();
        for idem in idems {
            if let Some(waiting) = table.waiting.get_mut(&idem) {
                waiting.sent = waiting.unconfirmed;
            }
        }
    }

    /// Notes that the connection failed on which these were sent.
    pub(crate) fn set_unconfirmed(&self, idems: impl Iterator<Item = u64>) {
        let mut table = self.lock();
        for idem in idems {
            if let Some(waiting) = table.waiting.get_mut(&idem) {
                waiting.unconfirmed = true;
            }
        }
    }

    /// Whether one may be on the stream though its last sending was refused.
    pub(crate) fn is_unconfirmed(&self, idem: u64) -> bool {
        let table = self.lock();
        let waiting = table.waiting.get(&idem);
        waiting.is_some_and(|waiting| waiting.unconfirmed)
    }

    /// Ends a call, if somebody waits for it.
    pub(crate) fn end(&self, idem: u64, outcome: Outcome) {
        self.end_all([(idem, outcome)]);
    }

    /// Ends calls, of those that somebody waits for; how many they were.
    pub(crate) fn end_all(&self, outcomes: impl IntoIterator<Item = (u64, Outcome)>) -> usize {
        let mut table = self.lock();
        let outcomes = outcomes.into_iter().filter_map(|(idem, outcome)| {
            let waiting = table.waiting.remove(&idem)?;
            Some((waiting.call, outcome))
        });
        let ended: Vec<_> = outcomes.collect();
        drop(table);
        let count = ended.len();
        for (call, outcome) in ended {
            // Its caller may have gone in this moment.
            let _ = call.send(outcome);
        }
        count
    }

    /// Notes that so many answers have come, from which it is told when a full queue has room.
    pub(crate) fn drained(&self, count: usize) {
        let mut table = self.lock();
        let waiting = table.waiting.len();
        table.admission.drained(count, waiting, Instant::now);
    }

    /// When the next request that was refused now may be sent again.
    pub(crate) fn refuse(&self, now: Instant) -> Duration {
        self.lock().admission.refuse(now)
    }

    /// Takes out a request whose call is gone; its entry's id, if it is known.
    pub(crate) fn abandon(&self, idem: u64) -> Option<StreamId> {
        // Dropped when the lock is free.
        let waiting = self.lock().waiting.remove(&idem)?;
        waiting.id
    }

    /// Takes out what has expired, and says when to look again.
    pub(crate) fn expire(&self, now: Instant) -> (Vec<Expired>, Option<Instant>) {
        let mut table = self.lock();
        let is_due = |waiting: &mut Waiting| waiting.deadline <= now;
        let expired = table.waiting.extract_if(|_, waiting| is_due(waiting));
        let expired = expired.map(|(_, waiting)| Expired(waiting)).collect();
        let earliest = table.waiting.values().map(|waiting| waiting.deadline);
        // A look takes time for each request, so among many it is not taken too often.
        let pace = Duration::from_micros(table.waiting.len().min(50_000) as u64);
        table.armed = earliest.min().map(|earliest| earliest.max(now + pace));
        (expired, table.armed)
    }

    /// Ends all calls, now and from now on, without an outcome.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        let waiting = std::mem::take(&mut table.waiting);
        // Calls are woken when the lock is free.
        drop(table);
        drop(waiting);
    }

    /// The requests whose entries are known, the oldest first, at most `most`.
    pub(crate) fn with_ids(&self, most: usize) -> Vec<(u64, StreamId, Instant)> {
        let table = self.lock();
        let known = table.waiting.iter().filter_map(|(idem, waiting)| {
            let id = waiting.id?;
            Some((*idem, id, waiting.enqueued))
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable_by_key(|(_, id, _)| *id);
        known.truncate(most);
        known
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
