//! When callers have a turn between two batches: a pure state machine, without clock or runtime.
//!
//! Before a batch that may hold the thread, those who were answered see their answers, and what they
//! send next can still join it. A turn is the processor's giving way to the other tasks once.

use std::time::Duration;

use tokio::time::Instant;

use crate::meta::CloseReason;

/// While full batches wait, callers have their turn this often instead of after each batch: each turn
/// makes the runtime wake and halt its workers, which costs more than a cheap batch.
const TURN_EVERY: Duration = Duration::from_micros(200);

/// For so long after a batch that took as long as that callers have their turn after each: the next one
/// may hold the thread again, with those whom it keeps from running.
const SLOW_FOR: Duration = Duration::from_secs(1);

/// How long turns may bring more to a batch that could start.
const TURNS_TAKE: Duration = Duration::from_micros(200);

/// What a processor owes its callers.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Handlers run on the processor's own task.
    holds_task: bool,
    is_owed: bool,
    answered_several: bool,
    /// When a batch last took long.
    slow: Option<Instant>,
    /// When callers last had a turn.
    last: Instant,
    /// The turns before the batch to come.
    before: Option<Before>,
}

/// Turns before one batch.
#[derive(Debug)]
struct Before {
    since: Instant,
    /// How many requests waited when the last of them began.
    waited: usize,
}

impl Turns {
    pub(crate) fn new(holds_task: bool, now: Instant) -> Self {
        Self {
            holds_task,
            is_owed: false,
            answered_several: false,
            slow: None,
            last: now,
            before: None,
        }
    }

    /// So many are being answered together.
    pub(crate) fn answering(&mut self, count: usize) {
        self.answered_several = count > 1;
    }

    /// A batch has ended, and took so long.
    pub(crate) fn ran(&mut self, took: Duration, ended: Instant) {
        if self.holds_task && took >= TURN_EVERY {
            self.slow = Some(ended);
        }
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
        self.before = None;
    }

    /// Whether callers have a turn now, before a batch for which `waiting` requests wait. Whatever is
    /// answered meanwhile, a batch waits for one turn that is owed: it could start.
    pub(crate) fn is_due(&mut self, reason: CloseReason, waiting: usize, now: Instant) -> bool {
        let passed = |since| now.saturating_duration_since(since);
        let is_slow = self.slow.is_some_and(|ended| passed(ended) < SLOW_FOR);
        let is_due = match (&self.before, reason) {
            (None, CloseReason::Full) => {
                self.is_owed && (is_slow || passed(self.last) >= TURN_EVERY)
            }
            (None, _) => self.is_owed,
            // Other threads may still be at it, and what runs elsewhere, or long, is worth another look;
            // but not where the runtime is so busy that a turn is long.
            (Some(before), CloseReason::Idle) if is_slow || !self.holds_task => {
                waiting > before.waited && passed(before.since) < TURNS_TAKE
            }
            (Some(_), _) => false,
        };
        if is_due {
            self.is_owed = false;
            self.last = now;
            let since = self.before.as_ref().map_or(now, |before| before.since);
            let waited = waiting;
            self.before = Some(Before { since, waited });
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
        turns.starting();
        turns.answered();
        assert!(!turns.is_due(CloseReason::Full, 64, start + TURN_EVERY * 3 / 2));
        // The turn that was left out is made up for when a batch is not full.
        assert!(turns.is_due(CloseReason::Idle, 1, start + TURN_EVERY * 3 / 2));
    }

    #[test]
    fn after_a_batch_that_took_long_they_are_not() {
        let (mut turns, start) = after(64, true);
        turns.ran(TURN_EVERY, start);
        assert!(turns.is_due(CloseReason::Full, 64, start));
        turns.starting();
        turns.ran(Duration::ZERO, start);
        turns.answered();
        assert!(turns.is_due(CloseReason::Full, 64, start));
        turns.starting();
        turns.answered();
        let later = start + SLOW_FOR;
        assert!(turns.is_due(CloseReason::Full, 64, later - TURN_EVERY / 2));
        turns.starting();
        turns.answered();
        assert!(!turns.is_due(CloseReason::Full, 64, later));
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
    fn so_does_what_ran_long() {
        let (mut turns, now) = after(8, true);
        turns.ran(TURN_EVERY, now);
        assert!(turns.is_due(CloseReason::Idle, 1, now));
        assert!(turns.is_due(CloseReason::Idle, 5, now));
        assert!(!turns.is_due(CloseReason::Idle, 5, now));
    }

    #[test]
    fn a_turn_that_took_long_is_not_followed_by_another() {
        let (mut turns, now) = after(8, false);
        assert!(turns.is_due(CloseReason::Idle, 1, now));
        assert!(!turns.is_due(CloseReason::Idle, 5, now + TURNS_TAKE));
    }

    #[test]
    fn turns_that_bring_more_come_to_an_end() {
        let (mut turns, start) = after(64, false);
        let pause = TURNS_TAKE / 4;
        let times = (0..64).map(|n| (1 + n, start + pause * n));
        let taken = times.take_while(|&(waiting, now)| {
            let waiting = usize::try_from(waiting).unwrap();
            turns.is_due(CloseReason::Idle, waiting, now)
        });
        assert_eq!(taken.count(), 4);
    }

    #[test]
    fn a_batch_waits_for_one_turn_whatever_is_answered_meanwhile() {
        for reason in [CloseReason::Idle, CloseReason::Window, CloseReason::Full] {
            for holds_task in [false, true] {
                let (mut turns, start) = after(1, holds_task);
                let now = start + TURN_EVERY;
                assert!(turns.is_due(reason, 2, now));
                turns.answered();
                assert!(!turns.is_due(reason, 2, now + TURN_EVERY));
                // It is made up for before the next one.
                turns.starting();
                assert!(turns.is_due(reason, 2, now + TURN_EVERY));
            }
        }
    }
}
