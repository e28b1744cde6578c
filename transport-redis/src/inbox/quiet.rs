//! Room for a request on its last delivery, which runs while this consumer holds nothing else: if it kills
//! the process, it takes no other with it.

use super::{Inbox, State};

impl Inbox {
    /// Whether nothing new is read. What has run for longer than a lease, and longer than batches lately
    /// took, may never end: the request on its last delivery goes on waiting for that, others do not.
    pub(super) fn is_quiet(&self, state: &State) -> bool {
        state.quiet && (self.holds_last(state) || !self.hangs(state))
    }

    fn hangs(&self, state: &State) -> bool {
        let limit = self.place.lease.max(state.longest);
        let mut started = state.held.values().filter_map(|held| held.started);
        started.any(|started| started.elapsed() > limit)
    }

    pub(super) fn holds_last(&self, state: &State) -> bool {
        let mut held = state.held.values();
        held.any(|held| self.place.is_last(held.deliveries))
    }

    /// Wakes who takes over when a request on its last delivery can be taken now, or nothing keeps
    /// the reading from going on; and for what is overdue, unless the reader will see to that at once.
    pub(super) fn ask_for_lapsed(&self, state: &State) {
        if state.wanted == 0 {
            return;
        }
        let last = state.quiet && state.held.is_empty();
        if last || state.overdue && state.reading && !self.is_quiet(state) {
            self.may_take.notify_one();
        }
    }
}
