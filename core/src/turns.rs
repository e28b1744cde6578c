//! When callers have a turn between two batches: a pure state machine, without clock or runtime.
//!
//! Before a batch that may hold the thread, those who were answered see their answers, and what they
//! send next can still join it. A turn is the processor's giving way to the other tasks once.

use std::time::Duration;

use tokio::time::Instant;

use crate::meta::CloseReason;

/// While full batches wait, callers have their turn this often instead of after each batch: each turn
/// makes the runtime wake and halt its workers, which costs more than a cheap batch. Also how long a turn
/// may have taken that is followed by another for the same batch.
const TURN_EVERY: Duration = Duration::from_micros(200);

/// What a processor owes its callers.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Handlers run on the processor's own task.
    holds_task: bool,
    is_owed: bool,
    answered_several: bool,
    /// When callers last had a turn, and how many requests then waited for the batch to come.
    last: Instant,
    waited: Option<usize>,
}

impl Turns {
    pub(crate) fn new(holds_task: bool, now: Instant) -> Self {
        Self {
            holds_task,
            is_owed: false,
            answered_several: false,
            last: now,
            waited: None,
        }
    }

    /// So many are being answered together.
    pub(crate) fn answering(&mut self, count: usize) {
        self.answered_several = count > 1;
    }

    /// Answers have been sent.
    pub(crate) fn answered(&mut self) {
        self.is_owed = true;
    }

    /// The processor sleeps, which is a turn. But of several the first to come back wakes it, on
    /// tokio's runtime with threads ahead of the others, and it would run that one alone.
    pub(crate) fn sleeping(&mut self) {
        self.is_owed &= self.answered_several;
    }

    /// A batch starts.
    pub(crate) fn starting(&mut self) {
        self.waited = None;
    }

    /// Whether callers have a turn now, before a batch for which `waiting` requests wait.
    pub(crate) fn is_due(&mut self, reason: CloseReason, waiting: usize, now: Instant) -> bool {
        let is_recent = now.saturating_duration_since(self.last) < TURN_EVERY;
        let is_due = match reason {
            CloseReason::Full => self.is_owed && !is_recent,
            // Other threads may still be at it, and what runs elsewhere is worth another look; but
            // not where the runtime is so busy that a turn is long.
            CloseReason::Idle if !self.holds_task => {
                let brought_more = self.waited.is_some_and(|waited| waiting > waited);
                self.is_owed || brought_more && is_recent
            }
            _ => self.is_owed,
        };
        if is_due {
            self.is_owed = false;
            self.last = now;
            self.waited = Some(waiting);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows after `answered` callers were answered together.
    fn after(answered: usize, holds_task: bool) -> (Turns, Instant) {
        let start = Instant::now();
        let mut turns = Turns::new(holds_task, start);
        turns.starting();
        turns.answering(answered);
        turns.answered();
        (turns, start)
    }

    #[test]
    fn who_was_answered_has_one_turn() {
        let (mut turns, now) = after(1, true);
        assert!(turns.is_due(CloseReason::Idle, 1, now));
        assert!(!turns.is_due(CloseReason::Idle, 2, now));
    }

    #[test]
    fn before_the_first_batch_nobody_is_owed_a_turn() {
        let now = Instant::now();
        for holds_task in [false, true] {
            let mut turns = Turns::new(holds_task, now);
            assert!(!turns.is_due(CloseReason::Idle, 1, now));
        }
    }

    #[test]
    fn while_full_batches_wait_turns_are_rare() {
        let (mut turns, start) = after(64, true);
        let soon = start + TURN_EVERY / 2;
        assert!(!turns.is_due(CloseReason::Full, 64, soon));
        assert!(turns.is_due(CloseReason::Full, 64, start + TURN_EVERY));
        turns.answered();
        assert!(!turns.is_due(CloseReason::Full, 64, start + TURN_EVERY * 3 / 2));
        // The turn that was left out is made up for when a batch is not full.
        assert!(turns.is_due(CloseReason::Idle, 1, start + TURN_EVERY * 3 / 2));
    }

    #[test]
    fn to_one_a_sleep_is_a_turn_and_to_several_it_is_not() {
        let (mut turns, now) = after(1, true);
        turns.sleeping();
        assert!(!turns.is_due(CloseReason::Idle, 1, now));
        let (mut turns, now) = after(2, true);
        turns.sleeping();
        assert!(turns.is_due(CloseReason::Idle, 1, now));
    }

    #[test]
    fn what_runs_elsewhere_waits_while_turns_bring_more() {
        let (mut turns, now) = after(8, false);
        assert!(turns.is_due(CloseReason::Idle, 1, now));
        assert!(turns.is_due(CloseReason::Idle, 5, now));
        assert!(!turns.is_due(CloseReason::Idle, 5, now));
        turns.starting();
        assert!(!turns.is_due(CloseReason::Idle, 6, now));
    }

    #[test]
    fn a_turn_that_took_long_is_not_followed_by_another() {
        let (mut turns, now) = after(8, false);
        assert!(turns.is_due(CloseReason::Idle, 1, now));
        assert!(!turns.is_due(CloseReason::Idle, 5, now + TURN_EVERY));
    }
}
