//! Entries that were read or taken over become deliveries to the processor, each with a ticket.

use std::collections::hash_map;
use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::{CallMeta, Delivery};
use tokio::time::Instant;

use super::{Held, Hold, Inbox, State};
use crate::entry::Entry;
use crate::source::RedisTicket;

/// How long a Python caller waits at the most: twice its default timeout.
const PYTHON_PATIENCE: Duration = Duration::from_secs(200);

impl Inbox {
    /// Takes in what a read has found, at its first delivery.
    pub(crate) fn deliver_read(self: &Arc<Self>, mut entries: Vec<Entry>) {
        let state = self.lock();
        entries.retain(|entry| !state.found_beside.contains(&entry.id));
        drop(state);
        self.deliver(entries.into_iter().map(|entry| (entry, 1)));
    }

    /// Takes in what was pending on this consumer, unseen.
    pub(crate) fn deliver_unseen(self: &Arc<Self>, entries: Vec<(Entry, u32)>) {
        let ids = entries.iter().map(|(entry, _)| entry.id);
        self.lock().found_beside.extend(ids);
        self.deliver(entries);
    }

    /// Takes in entries that were read, each with the number of its delivery. While batches are short
    /// the next one is read when this one runs; but if one runs, this is the next one already.
    fn deliver(self: &Arc<Self>, entries: impl IntoIterator<Item = (Entry, u32)>) {
        let mut state = self.lock();
        let (wanted, ahead) = (state.wanted, state.ready.len());
        self.take_in(&mut state, entries);
        if state.short && state.running == 0 && ahead == 0 {
            state.wanted = wanted;
        }
        drop(state);
        self.readable.notify_one();
    }

    /// Takes in entries that were taken over, whether any wait for their last delivery, and whether
    /// there are more.
    pub(crate) fn deliver_taken(
        self: &Arc<Self>,
        entries: impl IntoIterator<Item = (Entry, u32)>,
        last_waits: bool,
        more: bool,
    ) {
        let mut state = self.lock();
        self.take_in(&mut state, entries);
        state.overdue = more;
        // To the server, one that is held is like any other.
        let quiet = last_waits || self.holds_last(&state);
        let was = std::mem::replace(&mut state.quiet, quiet);
        // What was held when the server was asked may have been answered meanwhile.
        self.ask_for_lapsed(&state);
        let reads_on = was && !self.is_quiet(&state);
        drop(state);
        if reads_on {
            self.wanted.notify_one();
        }
        self.readable.notify_one();
    }

    fn take_in(
        self: &Arc<Self>,
        state: &mut State,
        entries: impl IntoIterator<Item = (Entry, u32)>,
    ) {
        let place = &self.place;
        let now = Instant::now();
        let mut reply_stream = None;
        let entries = entries.into_iter();
        state.ready.reserve(entries.size_hint().0);
        for (entry, deliveries) in entries {
            let id = entry.id;
            let hash_map::Entry::Vacant(vacant) = state.held.entry(id) else {
                continue;
            };
            if state.closed {
                state.dropped.push((id, deliveries.saturating_sub(1)));
                self.upkeep.notify_one();
                continue;
            }
            state.last_serial += 1;
            let hold = Hold {
                id,
                serial: state.last_serial,
            };
            let held = Held {
                serial: hold.serial,
                deliveries,
                since: now,
                started: None,
            };
            vacant.insert(held);
            let (caller, request) = place.parse(&entry, &mut reply_stream);
            let (timeout, trace) = match &request {
                Ok(request) => (request.timeout, request.trace),
                Err(_) => (None, None),
            };
            // An id may be ahead of the clock: its window begins here, not when the clock is there.
            let sent = place.clock.instant(id.millis).min(now);
            // What a caller wants to know is not in its request, so all are told.
            let mut meta = CallMeta::sent_at(sent, timeout.unwrap_or(PYTHON_PATIENCE))
                .attempt(deliveries, place.is_last(deliveries))
                .with_info();
            if let Some(trace) = trace {
                meta = meta.with_trace_context(trace);
            }
            let ticket = RedisTicket::new(hold, caller, deliveries, self);
            let payload = request.map(|request| request.body);
            // Who wanted it says anew what is wanted then: a read for the rest would come too late for
            // the batch of this one, and make a small one of its own.
            state.wanted = 0;
            state.ready.push_back(Delivery::new(payload, ticket, meta));
        }
    }
}
