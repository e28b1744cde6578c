//! Which values are recorded: all while they are few, and of many one in so many.

use std::iter::StepBy;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::time::Instant;

/// How many things happen in a second, and so of how many one is recorded. That is drawn from the
/// second before, so that within each all have the same chance; but for a burst after a quiet one, of
/// which the beginning has more.
pub(super) struct Sample {
    start: Instant,
    /// The most that is recorded in a second, about.
    rate: usize,
    second: AtomicU64,
    happened: AtomicUsize,
    every: AtomicUsize,
}

impl Sample {
    pub(super) fn new(rate: usize) -> Self {
        Self {
            start: Instant::now(),
            rate,
            second: AtomicU64::new(0),
            happened: AtomicUsize::new(0),
            every: AtomicUsize::new(1),
        }
    }

    /// Notes that so many things happened; one in how many is to be recorded.
    pub(super) fn note(&self, now: Instant, count: usize) -> usize {
        let second = now.saturating_duration_since(self.start).as_secs();
        let last = self.second.load(Ordering::Relaxed);
        if second > last {
            self.second.store(second, Ordering::Relaxed);
            let happened = self.happened.load(Ordering::Relaxed);
            self.happened.store(0, Ordering::Relaxed);
            let every = match second - last {
                1 => happened.div_ceil(self.rate).max(1),
                _ => 1,
            };
            self.every.store(every, Ordering::Relaxed);
        }
        let happened = self.happened.fetch_add(count, Ordering::Relaxed);
        // A burst after a quiet second has not been reckoned with.
        let at_least = 1 + happened / self.rate;
        self.every
            .fetch_max(at_least, Ordering::Relaxed)
            .max(at_least)
    }

    pub(super) fn every(&self) -> usize {
        self.every.load(Ordering::Relaxed)
    }
}

/// Whose turn it is to be recorded.
#[derive(Default)]
pub(super) struct Turns {
    seen: AtomicUsize,
    /// When so many have been seen, the next is recorded.
    next: AtomicUsize,
}

impl Turns {
    /// Of so many values, the places of those that are recorded.
    pub(super) fn of(&self, count: usize, every: usize) -> StepBy<Range<usize>> {
        let seen = add(&self.seen, count);
        let left = self.next.load(Ordering::Relaxed).wrapping_sub(seen);
        // It may have been drawn when more happened.
        let first = left.min(every - 1);
        if first < count {
            let recorded = (count - first).div_ceil(every);
            let next = seen.wrapping_add(first + recorded * every);
            self.next.store(next, Ordering::Relaxed);
        }
        (first..count).step_by(every)
    }

    /// Whether one value is recorded.
    pub(super) fn is_next(&self, every: usize) -> bool {
        self.of(1, every).next().is_some()
    }
}

/// Adds in two steps, which together cost less than one that is atomic. Where several processors count
/// at the same time some of it is lost, and a little more is recorded.
fn add(counter: &AtomicUsize, by: usize) -> usize {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(by), Ordering::Relaxed);
    before
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_are_recorded_up_to_the_rate_and_about_so_many_beyond_it() {
        let sample = Sample::new(100);
        let turns = Turns::default();
        // What happens in a second; how many are recorded in the next with as many.
        for (second, (happens, recorded)) in
            (0..)
                .step_by(10)
                .zip([(1, 1), (100, 100), (101, 51), (10_000, 100)])
        {
            let mut found = 0;
            for later in 0..2 {
                let now = sample.start + Duration::from_secs(second + later);
                found = 0;
                for _ in 0..happens {
                    found += usize::from(turns.is_next(sample.note(now, 1)));
                }
            }
            assert!(found.abs_diff(recorded) <= 1, "{found} of {happens}");
        }
    }

    #[test]
    fn after_a_pause_all_are_recorded_again() {
        let sample = Sample::new(1);
        assert_eq!(sample.note(sample.start, 1_000), 1);
        assert_eq!(sample.note(sample.start, 1), 1_001);
        assert_eq!(sample.note(sample.start + Duration::from_secs(1), 1), 1_001);
        assert_eq!(sample.note(sample.start + Duration::from_secs(9), 1), 1);
    }

    #[test]
    fn each_of_a_batch_has_its_turn_across_batches() {
        let turns = Turns::default();
        let mut seen = Vec::new();
        let mut before = 0;
        for size in [3, 1, 7, 2, 20] {
            seen.extend(turns.of(size, 5).map(|place| before + place));
            before += size;
        }
        assert_eq!(seen, [0, 5, 10, 15, 20, 25, 30]);
        // Nobody waits for a turn that was drawn when more happened.
        assert_eq!(turns.of(1, 1_000).next(), None);
        assert_eq!(turns.of(3, 1_000).next(), Some(1));
        assert_eq!(turns.of(3, 1).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
