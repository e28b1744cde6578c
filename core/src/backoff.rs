//! Pauses between attempts at what may be down: they grow, and no two clients pause alike.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// How long to pause before the next attempt: for authors of transports.
///
/// The full pause doubles from the first to the longest, and each pause is drawn between half of
/// the full one and the full one: when a server is back, its many clients do not come all at once.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use dynamic_batcher::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
/// for full in [20, 40, 80].map(Duration::from_millis) {
///     let pause = backoff.next_pause();
///     assert!(full / 2 <= pause && pause <= full);
/// }
/// backoff.reset();
/// assert!(backoff.next_pause() <= Duration::from_millis(20));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    full: Duration,
}

impl Backoff {
    /// Makes pauses from `first` to `longest`, where a `first` beyond `longest` counts as
    /// `longest`. A `first` of zero means no pauses.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Self {
            first,
            longest,
            full: first,
        }
    }

    /// The pause before the next attempt; the one after it is about twice as long.
    #[must_use = "the pause is to be slept"]
    pub fn next_pause(&mut self) -> Duration {
        let full = self.full;
        self.full = full.saturating_mul(2).min(self.longest);
        // The standard library's hasher keys are its source of randomness: enough to part clients.
        jittered(full, RandomState::new().build_hasher().finish())
    }

    /// An attempt has succeeded: the next pause is the first again.
    pub fn reset(&mut self) {
        self.full = self.first;
    }
}

/// From half of `full`, for a `drawn` of 0, to `full`, for the greatest.
fn jittered(full: Duration, drawn: u64) -> Duration {
    let share = drawn as f64 / u64::MAX as f64;
    let half = full / 2;
    half + (full - half).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(70);

    fn assert_drawn_from(pause: Duration, full: Duration) {
        assert!(full / 2 <= pause && pause <= full, "{pause:?} of {full:?}");
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        for full in [10, 20, 40, 70, 70] {
            assert_drawn_from(backoff.next_pause(), Duration::from_millis(full));
        }
    }

    #[test]
    fn after_a_success_they_begin_anew() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        for _ in 0..5 {
            let _ = backoff.next_pause();
        }
        backoff.reset();
        assert_drawn_from(backoff.next_pause(), FIRST);
        assert_drawn_from(backoff.next_pause(), FIRST * 2);
    }

    #[test]
    fn a_pause_is_drawn_from_the_upper_half() {
        assert_eq!(jittered(LONGEST, 0), LONGEST / 2);
        assert_eq!(jittered(LONGEST, u64::MAX), LONGEST);
        assert_eq!(jittered(LONGEST, u64::MAX / 2 + 1), LONGEST * 3 / 4);
    }

    #[test]
    fn clients_do_not_pause_in_step() {
        let mut pauses = std::iter::repeat_with(|| Backoff::new(FIRST, LONGEST).next_pause());
        let first = pauses.next();
        assert!(pauses.take(20).any(|pause| Some(pause) != first));
    }

    #[test]
    fn the_longest_holds_from_the_start_and_nothing_overflows() {
        assert_drawn_from(Backoff::new(LONGEST, FIRST).next_pause(), FIRST);
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        for _ in 0..3 {
            assert!(backoff.next_pause() >= Duration::MAX / 2);
        }
        assert_eq!(
            Backoff::new(Duration::ZERO, LONGEST).next_pause(),
            Duration::ZERO
        );
    }
}
