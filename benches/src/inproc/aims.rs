//! What the library aims at within one process, and whether a run came up to it.

use crate::aims::{Bound, verdict};
use crate::inproc::job::Costly;
use crate::inproc::measure::{Figure, Results};
use crate::inproc::subject::Subject::{
    self, Amate, BatchAintOne, BatchedFn, FloorMpsc, FloorMpscTimeout, OursErased, OursMetrics,
    TowerBatchControl,
};
use crate::inproc::workload::BATCH_SIZE;

/// What is looked at.
#[derive(Clone, Copy)]
enum What {
    /// The time for a request over that of another subject.
    TimeOver(Subject),
    /// A figure of the subject's own.
    Own(&'static str, Figure),
}

/// What a subject, mostly ours as it is mostly used, is to be.
struct Aim {
    subject: Subject,
    what: What,
    bound: Bound,
    stretch: Bound,
    workloads: &'static [&'static str],
}

const MANY: &[&str] = &["small/64", "small/1024"];
const MANY_IN_WINDOWS: &[&str] = &["window-1ms/64", "window-1ms/1024"];
const LONE: &[&str] = &["small/1"];
const IDLE: &[&str] = &["idle", "idle-1ms"];

const LESS: Aim = Aim {
    subject: OursErased,
    what: What::TimeOver(FloorMpscTimeout),
    bound: Bound::Below(1.0),
    stretch: Bound::None,
    workloads: MANY,
};

const fn less_than(peer: Subject, workloads: &'static [&'static str]) -> Aim {
    Aim {
        what: What::TimeOver(peer),
        workloads,
        ..LESS
    }
}

const fn own(name: &'static str, figure: Figure, workloads: &'static [&'static str]) -> Aim {
    Aim {
        what: What::Own(name, figure),
        bound: Bound::None,
        workloads,
        ..LESS
    }
}

const AIMS: [Aim; 25] = [
    Aim {
        what: What::TimeOver(FloorMpsc),
        bound: Bound::AtMost(1.6),
        stretch: Bound::AtMost(1.25),
        ..LESS
    },
    LESS,
    less_than(Amate, MANY),
    less_than(BatchAintOne, MANY),
    less_than(BatchedFn, MANY),
    less_than(TowerBatchControl, MANY),
    less_than(Amate, MANY_IN_WINDOWS),
    less_than(BatchAintOne, MANY_IN_WINDOWS),
    less_than(BatchedFn, MANY_IN_WINDOWS),
    less_than(TowerBatchControl, MANY_IN_WINDOWS),
    Aim {
        what: What::TimeOver(FloorMpsc),
        bound: Bound::AtMost(1.8),
        stretch: Bound::AtMost(1.4),
        workloads: LONE,
        ..LESS
    },
    Aim {
        subject: OursMetrics,
        what: What::TimeOver(OursErased),
        bound: Bound::AtMost(1.05),
        workloads: &["small/64"],
        ..LESS
    },
    Aim {
        subject: OursMetrics,
        what: What::TimeOver(OursErased),
        bound: Bound::None,
        workloads: &["small/1", "small/1024"],
        ..LESS
    },
    Aim {
        bound: Bound::AtMost(1_200.0),
        stretch: Bound::AtMost(1_050.0),
        ..own("p50 in µs", |round| round.p50, &["window-1ms/1"])
    },
    Aim {
        bound: Bound::AtLeast(0.95),
        stretch: Bound::AtLeast(0.98),
        ..own(
            "share of the ideal rate",
            |round| round.share_of_ideal,
            &["costly/256"],
        )
    },
    own(
        "share of the ideal rate",
        |round| round.share_of_ideal,
        &["costly/64"],
    ),
    Aim {
        bound: Bound::AtMost(5.0),
        ..own("p99 in batch times", p99_in_batches, &["costly/256"])
    },
    Aim {
        bound: Bound::AtMost(200.0),
        ..own(
            "bytes allocated beside a picture that nobody copied",
            |round| round.bytes,
            &["image/64"],
        )
    },
    Aim {
        bound: Bound::AtMost(3.0),
        stretch: Bound::AtMost(2.0),
        ..own("allocations per request", |round| round.allocations, MANY)
    },
    Aim {
        // A megabyte in a million requests is the allocator's.
        bound: Bound::AtMost(1.0),
        ..own(
            "bytes of memory grown per request",
            |round| round.grown,
            &["growth/64"],
        )
    },
    Aim {
        // Its own noise is as large.
        bound: Bound::AtLeast(0.9),
        ..own(
            "late over early rate of a million requests",
            |round| round.late_over_early,
            &["growth/64"],
        )
    },
    Aim {
        bound: Bound::AtMost(0.0),
        ..own("wake-ups per second", |round| round.wake_ups, IDLE)
    },
    Aim {
        // What looking costs is subtracted to about that.
        bound: Bound::AtMost(50.0),
        ..own(
            "µs of processor time per second",
            |round| round.idle_cpu,
            IDLE,
        )
    },
    own("p50 in µs", |round| round.p50, &["bursts/20000"]),
    own("p99 in µs", |round| round.p99, &["bursts/20000"]),
];

fn p99_in_batches(round: &crate::inproc::measure::Round) -> Option<f64> {
    let batch = Costly::takes(BATCH_SIZE.get()).as_secs_f64() * 1e6;
    Some(round.p99? / batch)
}

/// A line for each aim.
pub fn verdicts(results: &[Results]) -> impl Iterator<Item = String> {
    AIMS.iter().map(|aim| aim.verdict(results))
}

impl Aim {
    fn verdict(&self, results: &[Results]) -> String {
        let measured = results.iter();
        let measured = measured.filter(|it| self.workloads.contains(&it.workload.name));
        let values = measured.filter_map(|it| Some((it.workload.name, self.value(it)?)));
        let values: Vec<_> = values.collect();
        verdict(self.name(), self.bound, self.stretch, &values)
    }

    fn value(&self, results: &Results) -> Option<f64> {
        match self.what {
            What::TimeOver(other) => results.time_ratio(self.subject, other),
            What::Own(_, figure) => results.figure(self.subject, figure),
        }
    }

    fn name(&self) -> String {
        let ours = self.subject.name();
        match self.what {
            What::TimeOver(other) => format!("time per request, {ours} / {}", other.name()),
            What::Own(name, _) => format!("{name}, {ours}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inproc::measure::Round;
    use crate::inproc::workload::Workload;

    fn results(workload: &str, rounds: &[(Subject, &[f64])]) -> Results {
        let workload = Workload::ALL.into_iter().find(|it| it.name == workload);
        let rounds = rounds.iter().map(|(subject, rates)| {
            let rounds = rates.iter().map(|rate| Round {
                requests_per_s: Some(*rate),
                ..Round::default()
            });
            (*subject, rounds.collect())
        });
        Results::new(workload.unwrap(), rounds.collect())
    }

    #[test]
    fn what_counts_is_the_ratio_in_the_same_round() {
        // The medians alone would say 2.
        let floor: (_, &[f64]) = (FloorMpsc, &[100.0, 40.0, 20.0]);
        let ours: (_, &[f64]) = (OursErased, &[80.0, 20.0, 16.0]);
        let verdict = AIMS[0].verdict(&[results("small/64", &[floor, ours])]);
        let text = "time per request, ours-erased / floor-mpsc ≤ 1.6 (stretch ≤ 1.25)";
        assert_eq!(verdict, format!("met, stretch {text}: small/64 1.25"));
    }

    #[test]
    fn an_aim_looks_at_its_own_workloads() {
        let both: [(_, &[f64]); 2] = [(FloorMpsc, &[100.0]), (OursErased, &[10.0])];
        let elsewhere = AIMS[0].verdict(&[results("small/1", &both)]);
        assert!(elsewhere.starts_with("not measured "), "{elsewhere}");
        let there = AIMS[0].verdict(&[results("small/1024", &both)]);
        assert!(there.starts_with("NOT MET "), "{there}");
    }

    #[test]
    fn every_aim_has_workloads_that_are_measured() {
        for aim in &AIMS {
            for name in aim.workloads {
                let found = Workload::ALL.iter().find(|it| it.name == *name);
                let subjects = found.expect("a workload of that name").subjects();
                assert!(subjects.contains(&aim.subject), "{name}");
                if let What::TimeOver(other) = aim.what {
                    assert!(subjects.contains(&other), "{name}: {}", other.name());
                }
            }
        }
    }
}
