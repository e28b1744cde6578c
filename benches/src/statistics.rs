//! Medians and quantiles.

use std::time::Duration;

/// The middle one; of an even number of values the higher of the two.
///
/// # Panics
///
/// When there are no values, or one is no number.
pub(crate) fn median<T: PartialOrd + Copy>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("figures are numbers"));
    values[values.len() / 2]
}

/// The time that so many of 1000 do not exceed; zero if there are none.
pub(crate) fn quantile(sorted: &[Duration], of_1000: usize) -> Duration {
    let at = sorted.len() * of_1000 / 1000;
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median([3, 1, 2]), 2);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), 3.0);
        assert_eq!(median([7]), 7);
    }

    #[test]
    fn quantiles_count_in_thousandths() {
        let times: Vec<_> = (0..2_000).map(Duration::from_micros).collect();
        assert_eq!(quantile(&times, 500), Duration::from_micros(1_000));
        assert_eq!(quantile(&times, 990), Duration::from_micros(1_980));
        assert_eq!(quantile(&times, 999), Duration::from_micros(1_998));
        assert_eq!(quantile(&times[..1], 999), Duration::ZERO);
        assert_eq!(quantile(&[], 500), Duration::ZERO);
    }
}
