//! Who is let into a full queue, and when the others should come back: no clock, no I/O.
//!
//! A refused caller is told a time, and those times form a line: one place for each request that
//! the processors drain. While somebody is in the line a newcomer does not overtake: it is refused
//! too, even if a batch has just left room, because that room has been promised. Nobody can tell a
//! newcomer from one who comes back, so who comes when a place is due takes it. Only while the
//! queue is less than half full is everybody let in, so that processors never lack work.

use std::time::Duration;

use tokio::time::Instant;

/// What every refused caller is told before anything has been measured. No line is formed from
/// it: its places would be far too far apart.
const FIRST_GUESS: Duration = Duration::from_millis(100);
/// Nobody is told to come back sooner: who did so at once would only be busy.
const SOONEST: Duration = Duration::from_millis(1);
/// The line is never longer than this: who is told to come back so late will not.
const LONGEST_LINE: Duration = Duration::from_secs(60);

/// What a send meets when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnFull {
    /// It is refused at once, with [`QueueFull`](crate::ErrorKind::QueueFull) and the time after
    /// which to try again.
    #[default]
    Reject,
    /// It waits its turn, until its deadline. Turns are in the order of arrival. Each waiting
    /// request is held by a caller that waits for it, so the number of callers is the only bound. In
    /// process, where those who wait are in the same queue, its `max_queue` means nothing then.
    Wait,
}

/// Decides who is let into a bounded queue, and tells the others when to come back.
///
/// For authors of transports: it has no clock and does no I/O. Where the server counts the queue,
/// and so refuses, [`refuse`](Self::refuse) alone makes the times.
///
/// # Examples
///
/// ```
/// use dynamic_batcher::Admission;
/// use tokio::time::Instant;
///
/// let mut admission = Admission::new(2);
/// let now = Instant::now();
/// assert!(admission.admit(1, now).is_ok());
/// let retry_after = admission.admit(2, now).unwrap_err();
/// assert!(!retry_after.is_zero());
/// ```
#[derive(Debug)]
pub struct Admission {
    max_queue: usize,
    rate: DrainRate,
    line: Option<Line>,
}

/// The times promised to those who were refused and have not come back.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: Instant,
    last: Instant,
}

impl Admission {
    /// The admission to a queue of at most `max_queue` requests.
    #[must_use]
    pub fn new(max_queue: usize) -> Self {
        Self {
            max_queue,
            rate: DrainRate::default(),
            line: None,
        }
    }

    /// Whether a request may enter now that `outstanding` are in.
    ///
    /// # Errors
    ///
    /// After which time to try again, if it may not: because `max_queue` are in, or half as many
    /// while those who were refused before have been promised places that are not due yet.
    pub fn admit(&mut self, outstanding: usize, now: Instant) -> Result<(), Duration> {
        if outstanding == 0 {
            // However the last of them ended: since then there was nothing to drain.
            self.rate.last = None;
        }
        if outstanding >= self.max_queue {
            return Err(self.refuse(now));
        }
        let Some(line) = &mut self.line else {
            return Ok(());
        };
        let due = line.first <= now;
        if !due && outstanding >= self.max_queue.div_ceil(2) {
            return Err(self.refuse(now));
        }
        if due {
            line.first += self.rate.interval().unwrap_or_default();
            if line.first > line.last {
                self.line = None;
            }
        }
        Ok(())
    }

    /// Notes that `count` requests have left, and `outstanding` remain. The time is asked for only
    /// where it counts: while there are requests, not when a lone one has left.
    pub fn drained(&mut self, count: usize, outstanding: usize, now: impl FnOnce() -> Instant) {
        self.rate.measure(count, outstanding, now);
    }

    /// After which time the next request that is refused now should try again: a millisecond at least.
    pub fn refuse(&mut self, now: Instant) -> Duration {
        let Some(interval) = self.rate.interval() else {
            return FIRST_GUESS;
        };
        let line = match self.line {
            Some(line) if line.last > now => Line {
                last: (line.last + interval).min(now + LONGEST_LINE),
                ..line
            },
            // Room comes by the batch: the first place is there after the next one, not before.
            _ => {
                let first = now + (self.rate.period() + interval).min(LONGEST_LINE);
                Line { first, last: first }
            }
        };
        self.line = Some(line);
        (line.last - now).max(SOONEST)
    }
}

/// How fast requests leave while there are any.
#[derive(Debug, Default)]
struct DrainRate {
    /// When requests last left, if others remained.
    last: Option<Instant>,
    /// Smoothed time between two departures of batches, and the requests that leave in it.
    smoothed: Option<(Duration, f64)>,
}

impl DrainRate {
    fn measure(&mut self, count: usize, outstanding: usize, now: impl FnOnce() -> Instant) {
        if count == 0 || (self.last.is_none() && outstanding == 0) {
            return;
        }
        let now = now();
        if let Some(last) = self.last {
            let period = now.saturating_duration_since(last);
            let count = count as f64;
            self.smoothed = Some(match self.smoothed {
                None => (period, count),
                Some((before, counted)) => (
                    before.mul_f64(0.8) + period.mul_f64(0.2),
                    counted * 0.8 + count * 0.2,
                ),
            });
        }
        // An empty queue drains nothing, and that says nothing of the rate.
        self.last = (outstanding > 0).then_some(now);
    }

    /// The time for one request to leave, if it has been measured.
    fn interval(&self) -> Option<Duration> {
        let (period, count) = self.smoothed?;
        Some(period.div_f64(count))
    }

    /// The time in which the next batch will have left: half as long again as usual.
    fn period(&self) -> Duration {
        self.smoothed
            .map_or(Duration::ZERO, |(period, _)| period.mul_f64(1.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: usize = 10;
    const PERIOD: Duration = Duration::from_millis(20);

    /// A queue of 100 that drains 10 every 20 ms, 500 a second.
    fn full() -> (Admission, Instant) {
        let start = Instant::now();
        let mut admission = Admission::new(100);
        admission.drained(BATCH, 90, || start);
        admission.drained(BATCH, 90, || start + PERIOD);
        (admission, start + PERIOD)
    }

    #[test]
    fn below_the_limit_everybody_is_let_in() {
        let mut admission = Admission::new(2);
        let now = Instant::now();
        assert_eq!(admission.admit(0, now), Ok(()));
        assert_eq!(admission.admit(1, now), Ok(()));
        assert_eq!(admission.admit(2, now), Err(FIRST_GUESS));
    }

    #[test]
    fn before_anything_is_measured_nobody_is_told_to_wait_for_long() {
        let mut admission = Admission::new(2);
        let now = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(admission.admit(2, now), Err(FIRST_GUESS));
        }
        assert_eq!(admission.admit(1, now), Ok(()));
    }

    #[test]
    fn nobody_is_told_to_come_back_at_once() {
        let now = Instant::now();
        let mut admission = Admission::new(4);
        // Two batches that ended at the same time.
        admission.drained(2, 4, || now);
        admission.drained(2, 4, || now);
        assert_eq!(admission.admit(4, now), Err(SOONEST));
    }

    #[test]
    fn the_refused_are_told_to_come_one_by_one_as_fast_as_the_queue_drains() {
        let (mut admission, now) = full();
        let told: Vec<_> = (0..20)
            .map(|_| admission.admit(100, now).unwrap_err())
            .collect();
        assert_eq!(told[0], PERIOD.mul_f64(1.5) + Duration::from_millis(2));
        for (earlier, later) in told.iter().zip(&told[1..]) {
            assert_eq!(*later - *earlier, Duration::from_millis(2));
        }
    }

    #[test]
    fn a_newcomer_does_not_take_the_room_that_was_promised() {
        let (mut admission, now) = full();
        let told = admission.admit(100, now).unwrap_err();
        // A batch has left, but its room belongs to the one who was told to come.
        assert!(admission.admit(90, now + told / 2).is_err());
        assert_eq!(admission.admit(90, now + told), Ok(()));
    }

    #[test]
    fn a_queue_that_runs_empty_lets_everybody_in() {
        let (mut admission, now) = full();
        assert!(admission.admit(100, now).is_err());
        assert_eq!(admission.admit(49, now), Ok(()));
    }

    #[test]
    fn half_of_an_odd_number_is_not_rounded_down() {
        for (max_queue, less_than_half) in [(1, 0), (3, 1)] {
            let now = Instant::now();
            let mut admission = Admission::new(max_queue);
            admission.drained(1, 1, || now);
            admission.drained(1, 1, || now + PERIOD);
            assert!(admission.admit(max_queue, now + PERIOD).is_err());
            assert_eq!(admission.admit(less_than_half, now + PERIOD), Ok(()));
            assert!(admission.admit(less_than_half + 1, now + PERIOD).is_err());
        }
    }

    #[test]
    fn the_line_ends_when_those_in_it_have_come_or_given_up() {
        let (mut admission, now) = full();
        let told = admission.admit(100, now).unwrap_err();
        assert_eq!(admission.admit(90, now + told), Ok(()));
        // Nobody is left in the line: newcomers are let in at once.
        assert_eq!(admission.admit(99, now + told), Ok(()));
    }

    #[test]
    fn idle_time_does_not_count_as_slowness() {
        let (mut admission, now) = full();
        admission.drained(90, 0, || now + PERIOD * 9);
        admission.drained(BATCH, 90, || now + Duration::from_secs(3600));
        let told = admission
            .admit(100, now + Duration::from_secs(3600))
            .unwrap_err();
        assert!(told < Duration::from_secs(1), "{told:?}");
    }

    /// Those that were in were not drained: their processor has gone.
    #[test]
    fn nor_does_it_where_the_queue_emptied_otherwise() {
        let mut admission = Admission::new(2);
        let now = Instant::now();
        admission.drained(1, 1, || now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(admission.admit(0, later), Ok(()));
        admission.drained(1, 1, || later);
        assert_eq!(admission.admit(2, later), Err(FIRST_GUESS));
    }
}
