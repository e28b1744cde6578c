//! What one consumer has read and answers for.

use std::collections::{HashSet, VecDeque, hash_map};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynamic_batcher::{Error, Result};
use foldhash::HashMap;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::entry::StreamId;
use crate::place::Place;
use crate::source::RawDelivery;

mod delivery;
mod quiet;
mod upkeep;

/// A batch that takes less keeps others waiting for less than they would take to read what is read
/// ahead.
pub(crate) const SHORT: Duration = Duration::from_millis(1);

/// A consumer's state, shared by its two tasks, its tickets and the processor.
pub(crate) struct Inbox {
    pub(crate) place: Place,
    state: Mutex<State>,
    /// Something has been read.
    pub(crate) readable: Notify,
    /// Something is wanted.
    pub(crate) wanted: Notify,
    /// Something is wanted, and what others have let lapse may be taken: a request on its last
    /// delivery, as nothing is held any more, or what was not wanted before.
    pub(crate) may_take: Notify,
    /// Something is to be given back or acknowledged.
    pub(crate) upkeep: Notify,
    /// Held while it is found out what is pending on this consumer or to be taken over: what one way
    /// has just delivered, and is answered at once, the other would deliver again.
    pub(crate) taking: tokio::sync::Mutex<()>,
    /// Whether the lease of a request has ended before it was started.
    has_lost: AtomicBool,
}

#[derive(Default)]
struct State {
    ready: VecDeque<RawDelivery>,
    wanted: usize,
    /// How many batches have started and not ended.
    running: usize,
    /// The last one that ended was short.
    short: bool,
    /// About the longest time that a batch has lately taken.
    longest: Duration,
    /// What this consumer answers for, until it has: its lease is kept.
    held: HashMap<StreamId, Held>,
    last_serial: u64,
    /// Dropped without an answer: to be given back, each with its deliveries.
    dropped: Vec<(StreamId, u32)>,
    /// Answered to Python callers, which may still look for them among the pending; since when.
    unacknowledged: VecDeque<(StreamId, Instant)>,
    /// Others have let leases lapse of more than was wanted when it was looked: these come first.
    overdue: bool,
    /// A read is under way, which blocks until something new comes.
    reading: bool,
    /// What has been found to be pending on this consumer, unseen, since the last read began: that may have
    /// it too, and its reply be on its way.
    found_beside: HashSet<StreamId>,
    /// A request on its last delivery waits for this consumer to hold nothing, or is held: nothing
    /// else is read, see [`Inbox::is_quiet`].
    quiet: bool,
    /// The processor drains: what comes now is for others.
    closed: bool,
    /// Why nothing will be read any more.
    failed: Option<Error>,
    tasks: Vec<AbortHandle>,
}

/// An entry whose lease is kept.
struct Held {
    /// Tells this delivery from another of the same entry.
    serial: u64,
    deliveries: u32,
    since: Instant,
    /// When a handler has started on it.
    started: Option<Instant>,
}

/// What a ticket remembers of its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) id: StreamId,
    serial: u64,
}

impl Inbox {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            state: Mutex::default(),
            readable: Notify::new(),
            wanted: Notify::new(),
            may_take: Notify::new(),
            upkeep: Notify::new(),
            taking: tokio::sync::Mutex::default(),
            has_lost: AtomicBool::new(false),
        }
    }

    /// Notes the tasks that belong to it, the first time.
    pub(crate) fn start(&self, start: impl FnOnce() -> Result<Vec<AbortHandle>>) -> Result<()> {
        let mut state = self.lock();
        if state.tasks.is_empty() {
            state.tasks = start()?;
        }
        Ok(())
    }

    /// Ends the tasks, and takes out what has been read for nobody.
    pub(crate) fn stop(&self) -> VecDeque<RawDelivery> {
        let mut state = self.lock();
        state.tasks.drain(..).for_each(|task| task.abort());
        mem::take(&mut state.ready)
    }

    /// Nothing is wanted any more. Takes out what has been read for nobody; what a read that blocks
    /// still brings is given back as it comes.
    pub(crate) fn close(&self) -> VecDeque<RawDelivery> {
        let mut state = self.lock();
        state.closed = true;
        state.wanted = 0;
        mem::take(&mut state.ready)
    }

    /// Takes at most `max` of what has been read; if there is nothing, so many are wanted. How many
    /// they were.
    pub(crate) fn take(&self, max: usize, into: &mut Vec<RawDelivery>) -> Result<usize> {
        let mut state = self.lock();
        if let (true, Some(error)) = (state.ready.is_empty(), &state.failed) {
            return Err(error.clone());
        }
        let count = state.ready.len().min(max);
        if count == 0 {
            state.wanted = max;
        }
        self.ask_for_lapsed(&state);
        if count == state.ready.len() {
            // All at once, not one by one.
            into.append(&mut mem::take(&mut state.ready).into());
        } else {
            into.extend(state.ready.drain(..count));
        }
        Ok(count)
    }

    /// Who wanted something does not wait for it any more.
    pub(crate) fn want_nothing(&self) {
        self.lock().wanted = 0;
    }

    /// The lease of an entry ends: it was answered or given back. False if it had ended before.
    pub(crate) fn settle(&self, hold: Hold) -> bool {
        self.forget(&mut self.lock(), hold)
    }

    /// A ticket was dropped: the entry is to be given back, unless its lease has ended before.
    pub(crate) fn drop_ticket(&self, hold: Hold, deliveries: u32) {
        let mut state = self.lock();
        if self.forget(&mut state, hold) {
            state.dropped.push((hold.id, deliveries));
            self.upkeep.notify_one();
        }
    }

    fn forget(&self, state: &mut State, Hold { id, serial }: Hold) -> bool {
        match state.held.entry(id) {
            hash_map::Entry::Occupied(held) if held.get().serial == serial => held.remove(),
            _ => return false,
        };
        self.ask_for_lapsed(state);
        true
    }

    /// Whether the lease is still kept.
    pub(crate) fn is_held(&self, hold: Hold) -> bool {
        // The common case costs nothing.
        if !self.has_lost.load(Ordering::Acquire) {
            return true;
        }
        let state = self.lock();
        let held = state.held.get(&hold.id);
        held.is_some_and(|held| held.serial == hold.serial)
    }

    /// A handler starts on these, a batch, `at` this instant.
    pub(crate) fn started(&self, holds: impl Iterator<Item = Hold>, at: Instant) {
        let mut state = self.lock();
        state.running += 1;
        for Hold { id, serial } in holds {
            if let Some(held) = state.held.get_mut(&id)
                && held.serial == serial
            {
                held.started = Some(at);
            }
        }
    }

    /// Ends the leases of what no handler has started on for so long, while others might. It is to
    /// be given back, and this delivery does not count.
    pub(crate) fn drop_waiting(&self, longest: Duration) {
        let mut state = self.lock();
        let waits = |held: &mut Held| held.started.is_none() && held.since.elapsed() > longest;
        let waiting = state.held.extract_if(|_, held| waits(held));
        let waiting: Vec<_> = waiting
            .map(|(id, held)| (id, held.deliveries.saturating_sub(1)))
            .collect();
        self.lost(&mut state, !waiting.is_empty());
        state.dropped.extend(waiting);
    }

    /// Others have these now: what no handler has started on is not run here.
    pub(crate) fn lose(&self, ids: &[StreamId]) {
        let mut state = self.lock();
        let before = state.held.len();
        state
            .held
            .retain(|id, held| held.started.is_some() || !ids.contains(id));
        let lost = state.held.len() < before;
        self.lost(&mut state, lost);
    }

    fn lost(&self, state: &mut State, any: bool) {
        if any {
            self.has_lost.store(true, Ordering::Release);
            self.ask_for_lapsed(state);
        }
    }

    /// How many entries are to be read.
    pub(crate) fn wanted(&self) -> usize {
        let state = self.lock();
        match self.is_quiet(&state) {
            true => 0,
            false => state.wanted,
        }
    }

    /// A read begins, unless what others have let lapse is to be taken over first.
    pub(crate) fn begin_reading(&self) -> bool {
        let mut state = self.lock();
        state.reading = !state.overdue;
        state.found_beside.clear();
        state.reading
    }

    pub(crate) fn end_reading(&self) {
        self.lock().reading = false;
    }

    /// How many entries may be taken over, and whether any is held. None beside a request on its last
    /// delivery.
    pub(crate) fn wanted_and_holding(&self) -> (usize, bool) {
        let state = self.lock();
        let wanted = match self.holds_last(&state) {
            true => 0,
            false => state.wanted,
        };
        (wanted, !state.held.is_empty())
    }

    /// A batch ran for so long, and has ended.
    pub(crate) fn ran(&self, took: Duration) {
        let mut state = self.lock();
        state.running = state.running.saturating_sub(1);
        state.short = took < SHORT;
        // One that took hours does not count for ever.
        state.longest = took.max(state.longest / 2);
    }

    /// Nothing will be read any more.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().failed = Some(error);
        self.readable.notify_one();
    }

    /// Of what is pending on this consumer, with the deliveries of each, that which it knows nothing
    /// of.
    pub(crate) fn unseen(&self, mut pending: Vec<(StreamId, u32)>) -> Vec<(StreamId, u32)> {
        let state = self.lock();
        let unacknowledged = state.unacknowledged.iter().map(|(id, _)| id);
        let dropped = state.dropped.iter().map(|(id, _)| id);
        let ended: HashSet<_> = unacknowledged.chain(dropped).collect();
        pending.retain(|(id, _)| !state.held.contains_key(id) && !ended.contains(id));
        pending
    }

    pub(crate) fn held(&self) -> Vec<StreamId> {
        self.lock().held.keys().copied().collect()
    }

    /// No code of the user's runs under the lock, so a poisoned one means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
