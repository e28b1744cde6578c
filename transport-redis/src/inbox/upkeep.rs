//! What a consumer no longer answers for and the server is still to be told of: given back, or answered and
//! to be acknowledged.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Inbox;
use crate::entry::StreamId;

impl Inbox {
    /// Whether anything is to be given back or acknowledged.
    pub(crate) fn has_upkeep(&self) -> bool {
        let state = self.lock();
        !(state.dropped.is_empty() && state.unacknowledged.is_empty())
    }

    /// What is to be given back, each with the deliveries that count.
    pub(crate) fn dropped(&self) -> Vec<(StreamId, u32)> {
        let state = &mut *self.lock();
        state.dropped.retain(|(id, _)| !state.held.contains_key(id));
        state.dropped.clone()
    }

    /// The first `count` of these were given back.
    pub(crate) fn given_back(&self, count: usize) {
        self.lock().dropped.drain(..count);
    }

    /// At most `most` of what is to be acknowledged; the next time it is others' turn.
    pub(crate) fn unacknowledged(&self, most: usize) -> Vec<(StreamId, Instant)> {
        let mut state = self.lock();
        let count = state.unacknowledged.len().min(most);
        let first = state.unacknowledged.range(..count).copied().collect();
        state.unacknowledged.rotate_left(count);
        first
    }

    /// Notes that these were answered to Python callers just now.
    pub(crate) fn answered(&self, ids: Vec<StreamId>) {
        if ids.is_empty() {
            return;
        }
        let now = Instant::now();
        let ids = ids.into_iter().map(|id| (id, now));
        self.lock().unacknowledged.extend(ids);
        self.upkeep.notify_one();
    }

    pub(crate) fn acknowledged(&self, ids: &BTreeSet<StreamId>) {
        let mut state = self.lock();
        state.unacknowledged.retain(|(id, _)| !ids.contains(id));
    }
}
