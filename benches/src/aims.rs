//! What is aimed at, and whether a run came up to it: one line for each aim.

use std::fmt;

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    /// Anything: it is only to be known.
    None,
}

impl Bound {
    fn holds(&self, value: f64) -> bool {
        match *self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::Below(bound) => value < bound,
            Self::None => true,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, " ≥ {bound}"),
            Self::AtMost(bound) => write!(f, " ≤ {bound}"),
            Self::Below(bound) => write!(f, " < {bound}"),
            Self::None => Ok(()),
        }
    }
}

/// The line of an aim: whether it is met, what it is, and what was measured, by workload. `stretch` is
/// what would be better still.
pub(crate) fn verdict(
    what: impl fmt::Display,
    bound: Bound,
    stretch: Bound,
    values: &[(&str, f64)],
) -> String {
    let all = |bound: Bound| values.iter().all(|(_, value)| bound.holds(*value));
    let verdict = match bound {
        _ if values.is_empty() => "not measured",
        Bound::None => "reported",
        _ if !all(bound) => "NOT MET",
        _ if stretch != Bound::None && all(stretch) => "met, stretch",
        _ => "met",
    };
    let values = values.iter().map(|(name, value)| {
        let decimals = if *value < 100.0 { 2 } else { 0 };
        format!("{name} {value:.decimals$}")
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let stretch = match stretch {
        Bound::None => String::new(),
        _ => format!(" (stretch{stretch})"),
    };
    format!("{verdict:<12} {what}{bound}{stretch}: {values}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(&str, f64)]) -> String {
        verdict("time", Bound::AtMost(1.6), Bound::AtMost(1.2), values)
    }

    #[test]
    fn every_value_counts() {
        let text = "time ≤ 1.6 (stretch ≤ 1.2): ";
        let met = of(&[("a", 1.6), ("b", 1.0)]);
        assert_eq!(met, format!("met          {text}a 1.60, b 1.00"));
        let better = of(&[("a", 1.2), ("b", 1.0)]);
        assert_eq!(better, format!("met, stretch {text}a 1.20, b 1.00"));
        let missed = of(&[("a", 1.0), ("b", 161.7)]);
        assert_eq!(missed, format!("NOT MET      {text}a 1.00, b 162"));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        assert!(of(&[]).starts_with("not measured "));
        let none = verdict("time", Bound::None, Bound::None, &[]);
        assert!(none.starts_with("not measured "));
    }

    #[test]
    fn a_bound_has_its_edge() {
        assert!(Bound::AtLeast(1.0).holds(1.0) && !Bound::AtLeast(1.0).holds(0.9));
        assert!(Bound::AtMost(1.0).holds(1.0) && !Bound::AtMost(1.0).holds(1.1));
        assert!(Bound::Below(1.0).holds(0.9) && !Bound::Below(1.0).holds(1.0));
    }
}
