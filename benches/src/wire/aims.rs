//! What the transport aims at, and whether a run came up to it.

use std::fmt;

use crate::aims::{Bound, verdict};
use crate::wire::measure::{Figure, Results};
use crate::wire::subject::Subject::{
    self, FloorDocumented, FloorReplyStream, OursFred, OursRedis, PythonToPython, PythonToRust,
    RustToPython,
};

const MANY: &[&str] = &["outstanding/64", "outstanding/1024", "outstanding/8192"];

/// A figure of a subject, or its ratio to another's, and what it is to be.
struct Aim {
    what: &'static str,
    figure: Figure,
    subject: Subject,
    over: Option<Subject>,
    bound: Bound,
    workloads: &'static [&'static str],
}

const RATE: Aim = Aim {
    what: "requests/s",
    figure: |round| Some(round.requests_per_s),
    subject: OursRedis,
    over: Some(FloorReplyStream),
    bound: Bound::AtLeast(0.8),
    workloads: MANY,
};

const AIMS: [Aim; 9] = [
    RATE,
    Aim {
        over: Some(FloorDocumented),
        bound: Bound::AtLeast(1.0),
        ..RATE
    },
    Aim {
        subject: OursFred,
        over: Some(FloorDocumented),
        bound: Bound::AtLeast(1.0),
        ..RATE
    },
    Aim {
        what: "the server's processor time",
        figure: |round| round.server_cpu,
        bound: Bound::AtMost(1.2),
        ..RATE
    },
    Aim {
        what: "time per request",
        figure: |round| Some(1.0 / round.requests_per_s),
        bound: Bound::AtMost(1.6),
        workloads: &["outstanding/1"],
        ..RATE
    },
    Aim {
        what: "p50 in µs",
        figure: |round| Some(round.p50),
        over: None,
        bound: Bound::AtMost(1_000.0),
        workloads: &["outstanding/1"],
        ..RATE
    },
    Aim {
        over: Some(PythonToPython),
        bound: Bound::AtLeast(40.0),
        workloads: &["outstanding/64"],
        ..RATE
    },
    Aim {
        subject: RustToPython,
        ..MIXED
    },
    MIXED,
];

const MIXED: Aim = Aim {
    subject: PythonToRust,
    over: Some(PythonToPython),
    bound: Bound::None,
    workloads: &["outstanding/64", "outstanding/512"],
    ..RATE
};

/// A line for each aim.
pub fn verdicts(results: &[Results]) -> impl Iterator<Item = String> {
    AIMS.iter().map(|aim| aim.verdict(results))
}

impl Aim {
    fn verdict(&self, results: &[Results]) -> String {
        let values: Vec<_> = results
            .iter()
            .filter(|results| self.workloads.contains(&results.workload.name))
            .filter_map(|results| Some((results.workload.name, self.value(results)?)))
            .collect();
        verdict(self, self.bound, Bound::None, &values)
    }

    fn value(&self, results: &Results) -> Option<f64> {
        match self.over {
            Some(other) => results.ratio(self.subject, other, self.figure),
            None => results.figure(self.subject, self.figure),
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.what, self.subject.name())?;
        if let Some(other) = self.over {
            write!(f, " / {}", other.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::measure::Round;
    use crate::wire::workload::Workload;

    fn round(requests_per_s: f64) -> Round {
        Round {
            requests_per_s,
            p50: 0.0,
            p99: 0.0,
            p999: 0.0,
            callers_cpu: None,
            processors_cpu: None,
            server_cpu: None,
            commands: 0.0,
            peak_memory: 0.0,
        }
    }

    /// Our rates and the floor's, round by round.
    fn verdict(ours: &[f64], floor: &[f64]) -> String {
        let workload = Workload::ALL.into_iter().find(|each| each.callers == 1024);
        let rounds = |rates: &[f64]| rates.iter().map(|rate| round(*rate)).collect();
        let rounds = vec![(OursRedis, rounds(ours)), (FloorReplyStream, rounds(floor))];
        RATE.verdict(&[Results::new(workload.unwrap(), rounds)])
    }

    #[test]
    fn what_counts_is_the_ratio_in_the_same_round() {
        let text = "requests/s, ours-redis / floor-reply-stream ≥ 0.8: outstanding/1024";
        // The medians alone would say 2.
        let slowed = verdict(&[80.0, 40.0, 8.0], &[100.0, 20.0, 10.0]);
        assert_eq!(slowed, format!("{:<12} {text} 0.80", "met"));
        let slower = verdict(&[70.0, 7.0, 40.0], &[100.0, 10.0, 20.0]);
        assert_eq!(slower, format!("{:<12} {text} 0.70", "NOT MET"));
    }

    #[test]
    fn an_aim_without_its_subjects_is_not_met() {
        for aim in &AIMS {
            assert!(aim.verdict(&[]).starts_with("not measured "));
        }
    }
}
