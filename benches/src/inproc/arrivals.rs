//! When requests come that come by themselves.

use std::time::Duration;

use fastrand::Rng;

/// Requests that come at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// How many.
    pub(crate) size: usize,
}

/// The most requests in a burst. All sizes from 1 on are as frequent.
const LARGEST: usize = 15;

/// Bursts of 1 to 15 requests for so long, which come as independent users do (a Poisson process) and
/// are so frequent that there are `rate` requests in a second on average. The same seed gives the same
/// ones.
pub(crate) fn bursts(rate: f64, length: Duration, seed: u64) -> Vec<Burst> {
    arrivals(rate, LARGEST, length, seed)
}

/// The same, one by one.
pub(crate) fn singles(rate: f64, length: Duration, seed: u64) -> Vec<Burst> {
    arrivals(rate, 1, length, seed)
}

fn arrivals(rate: f64, largest: usize, length: Duration, seed: u64) -> Vec<Burst> {
    let mut rng = Rng::with_seed(seed);
    let mean_size = (1 + largest) as f64 / 2.0;
    let mean_gap = mean_size / rate;
    let mut bursts = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        // Of 1 - [0, 1), which is never zero.
        at += Duration::from_secs_f64(-mean_gap * (1.0 - rng.f64()).ln());
        if at >= length {
            return bursts;
        }
        let size = rng.usize(1..=largest);
        bursts.push(Burst { at, size });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(100);

    /// A million requests, so that chance hardly shows.
    fn many() -> Vec<Burst> {
        bursts(10_000.0, LENGTH, 1)
    }

    #[test]
    fn the_rate_is_that_which_was_asked_for() {
        let requests: usize = many().iter().map(|burst| burst.size).sum();
        assert!((990_000..1_010_000).contains(&requests), "{requests}");
    }

    #[test]
    fn gaps_are_as_irregular_as_those_of_a_poisson_process() {
        let bursts = many();
        let gaps = bursts.windows(2).map(|pair| pair[1].at - pair[0].at);
        let gaps: Vec<_> = gaps.map(|gap| gap.as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let squares = gaps.iter().map(|gap| (gap - mean).powi(2));
        let deviation = (squares.sum::<f64>() / gaps.len() as f64).sqrt();
        // An exponential distribution's deviation is its mean; of regular gaps it is nothing.
        assert!((deviation / mean - 1.0).abs() < 0.02, "{deviation} {mean}");
        let long = gaps.iter().filter(|gap| **gap > 2.0 * mean).count();
        let share = long as f64 / gaps.len() as f64;
        assert!((share - (-2.0_f64).exp()).abs() < 0.01, "{share}");
    }

    #[test]
    fn bursts_come_in_order_and_in_time() {
        let bursts = many();
        assert!(bursts.is_sorted_by_key(|burst| burst.at));
        assert!(bursts.iter().all(|burst| burst.at < LENGTH));
        let sizes = bursts.iter().map(|burst| burst.size);
        assert_eq!(sizes.clone().min(), Some(1));
        assert_eq!(sizes.max(), Some(LARGEST));
    }

    #[test]
    fn singles_come_one_by_one_at_the_same_rate() {
        let singles = singles(10_000.0, LENGTH, 1);
        assert!(singles.iter().all(|single| single.size == 1));
        let requests = singles.len();
        assert!((990_000..1_010_000).contains(&requests), "{requests}");
    }

    #[test]
    fn the_seed_decides() {
        let short = |seed| bursts(10_000.0, Duration::from_secs(1), seed);
        assert_eq!(short(3), short(3));
        assert_ne!(short(3), short(4));
    }
}
