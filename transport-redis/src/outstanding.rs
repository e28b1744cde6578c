//! The requests of one caller process that wait for an outcome.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynamic_batcher::{CallMeta, Error, Reply, Result};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::entry::StreamId;

/// What a call ends with.
pub(crate) type Outcome = Result<Reply<Vec<u8>>>;

/// All of them, by the number that names each on the wire (`idem`). The first outcome counts.
#[derive(Default)]
pub(crate) struct Outstanding {
    table: Mutex<Table>,
    /// A deadline earlier than all others has come in.
    pub(crate) earlier_deadline: Notify,
    /// There was none, and now there is one.
    pub(crate) any: Notify,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<u64, Waiting>,
    last_idem: u64,
    /// The deadline that the timer is set for.
    armed: Option<Instant>,
}

struct Waiting {
    call: oneshot::Sender<Outcome>,
    meta: CallMeta,
    /// Known once the server has answered the XADD.
    id: Option<StreamId>,
}

/// A request whose deadline has passed and whose call has not been told.
pub(crate) struct Expired(Waiting);

impl Expired {
    pub(crate) fn id(&self) -> Option<StreamId> {
        self.0.id
    }

    /// Tells the call.
    pub(crate) fn end(self, delivered: bool) {
        let meta = self.0.meta;
        let queued = meta.deadline.saturating_duration_since(meta.enqueued);
        let detail = if delivered {
            "the processor that has it has not answered in time"
        } else {
            "no processor has taken it"
        };
        // Its caller may have gone in this moment.
        let _ = self
            .0
            .call
            .send(Err(Error::timeout(queued, delivered, detail)));
    }
}

impl Outstanding {
    /// Enters a request; returns its number and where its outcome will come.
    pub(crate) fn enter(&self, meta: CallMeta) -> (u64, oneshot::Receiver<Outcome>) {
        let (call, outcome) = oneshot::channel();
        let mut table = self.lock();
        table.last_idem += 1;
        let idem = table.last_idem;
        let first = table.waiting.is_empty();
        let earlier = table.armed.is_none_or(|armed| meta.deadline < armed);
        if earlier {
            table.armed = Some(meta.deadline);
        }
        let waiting = Waiting {
            call,
            meta,
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

    /// Notes the id of a request's entry. False if nobody waits for it any more.
    pub(crate) fn set_id(&self, idem: u64, id: StreamId) -> bool {
        let mut table = self.lock();
        let waiting = table.waiting.get_mut(&idem);
        waiting.map(|waiting| waiting.id = Some(id)).is_some()
    }

    /// Ends a call. False if nobody waits for it any more.
    pub(crate) fn end(&self, idem: u64, outcome: Outcome) -> bool {
        let Some(waiting) = self.lock().waiting.remove(&idem) else {
            return false;
        };
        waiting.call.send(outcome).is_ok()
    }

    /// Takes out a request whose call is gone; its entry's id, if it is known.
    pub(crate) fn abandon(&self, idem: u64) -> Option<StreamId> {
        self.lock().waiting.remove(&idem)?.id
    }

    /// Takes out what has expired, and says when to look again.
    pub(crate) fn expire(&self, now: Instant) -> (Vec<Expired>, Option<Instant>) {
        let mut table = self.lock();
        let is_due = |waiting: &mut Waiting| waiting.meta.deadline <= now;
        let expired = table.waiting.extract_if(|_, waiting| is_due(waiting));
        let expired = expired.map(|(_, waiting)| Expired(waiting)).collect();
        let earliest = table.waiting.values().map(|waiting| waiting.meta.deadline);
        // A look takes time for each request, so among many it is not taken too often.
        let pace = Duration::from_micros(table.waiting.len().min(50_000) as u64);
        table.armed = earliest.min().map(|earliest| earliest.max(now + pace));
        (expired, table.armed)
    }

    /// The requests whose entries are known, the oldest first, at most `most`.
    pub(crate) fn with_ids(&self, most: usize) -> Vec<(u64, StreamId, Instant)> {
        let table = self.lock();
        let known = table.waiting.iter().filter_map(|(idem, waiting)| {
            let id = waiting.id?;
            Some((*idem, id, waiting.meta.enqueued))
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable_by_key(|(_, id, _)| *id);
        known.truncate(most);
        known
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
