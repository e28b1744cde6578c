//! What the transport aims at, and whether a run came up to it.

use std::fmt;

use crate::aims::{Bound, verdict};
use crate::wire::idle::Idle;
use crate::wire::results::{Figure, Results, Round};
use crate::wire::subject::Subject::{
    self, FloorCut, FloorDocumented, FloorReplyStream, FloorToOurs, FloorToPython, OursFred,
    OursRedis, PythonToFloor, PythonToPython, PythonToRust, RustToPython,
};

const MANY: &[&str] = &["outstanding/64", "outstanding/1024", "outstanding/8192"];

/// What a figure is taken over.
#[derive(Clone, Copy)]
enum Over {
    /// Another subject's under the same workload.
    Subject(Subject),
    /// The subject's own under another workload.
    Workload(&'static str),
    /// Nothing.
    None,
}

/// A figure of a subject, or its ratio to another, and what it is to be.
#[derive(Clone, Copy)]
struct Aim {
    what: &'static str,
    figure: Figure,
    subject: Subject,
    over: Over,
    bound: Bound,
    /// What it had better be.
    stretch: Bound,
    workloads: &'static [&'static str],
}

const RATE: Aim = Aim {
    what: "requests/s",
    figure: |round| Some(round.requests_per_s),
    subject: OursRedis,
    over: Over::Subject(FloorReplyStream),
    bound: Bound::AtLeast(0.8),
    stretch: Bound::AtLeast(0.9),
    workloads: MANY,
};

/// The median latency: the mean of so short a time is that of the few requests during which the
/// machine did something else.
const LONE: Aim = Aim {
    what: "p50",
    figure: |round| Some(round.p50),
    bound: Bound::AtMost(1.6),
    stretch: Bound::AtMost(1.2),
    workloads: &["outstanding/1"],
    ..RATE
};

/// Ours at one end, beside the least that could stand there: what our half adds.
const MIXED: Aim = Aim {
    what: "time per request",
    figure: |round| Some(1.0 / round.requests_per_s),
    bound: Bound::AtMost(1.05),
    stretch: Bound::None,
    workloads: &["outstanding/64"],
    ..RATE
};

const MIXED_SHARE: Aim = Aim {
    what: "share of a processor that our half takes",
    over: Over::None,
    bound: Bound::None,
    ..MIXED
};

const MULTIPLE: Aim = Aim {
    over: Over::Subject(PythonToPython),
    bound: Bound::None,
    stretch: Bound::None,
    workloads: &["outstanding/64", "outstanding/512"],
    ..RATE
};

/// A request costs no more than it does alone, or among few; that it costs less is no fault.
const GROWTH: Aim = Aim {
    what: "processor time of all",
    figure: Round::cost,
    over: Over::Workload("outstanding/64"),
    bound: Bound::AtMost(1.1),
    stretch: Bound::None,
    workloads: &["outstanding/1024", "outstanding/8192"],
    ..RATE
};

const GROWTH_PROCESSORS: Aim = Aim {
    over: Over::Workload("outstanding/1024"),
    workloads: &[
        "outstanding/1024×2",
        "outstanding/1024×4",
        "outstanding/1024×8",
    ],
    ..GROWTH
};

const GROWTH_WAITING: Aim = Aim {
    workloads: &["outstanding/64+10000"],
    ..GROWTH
};

const GROWTH_REQUESTS: Aim = Aim {
    over: Over::Workload("requests/first"),
    workloads: &["requests/last"],
    ..GROWTH
};

const SERVER_SHARE: Aim = Aim {
    what: "share of a processor that the server takes",
    figure: |round| round.share(round.server_cpu),
    over: Over::None,
    bound: Bound::None,
    stretch: Bound::None,
    workloads: &["device×1", "device×2", "device×4", "device×8"],
    ..RATE
};

const AIMS: &[Aim] = &[
    RATE,
    Aim {
        over: Over::Subject(FloorCut),
        bound: Bound::None,
        stretch: Bound::None,
        ..RATE
    },
    Aim {
        over: Over::Subject(FloorDocumented),
        bound: Bound::AtLeast(1.0),
        stretch: Bound::None,
        ..RATE
    },
    Aim {
        subject: OursFred,
        over: Over::Subject(FloorDocumented),
        bound: Bound::AtLeast(1.0),
        stretch: Bound::None,
        ..RATE
    },
    Aim {
        what: "the server's processor time",
        figure: |round| round.server_cpu,
        bound: Bound::AtMost(1.2),
        stretch: Bound::AtMost(1.05),
        ..RATE
    },
    LONE,
    Aim {
        what: "p50 in µs",
        over: Over::None,
        bound: Bound::AtMost(1_000.0),
        stretch: Bound::None,
        ..LONE
    },
    Aim {
        bound: Bound::AtLeast(40.0),
        workloads: &["outstanding/64"],
        ..MULTIPLE
    },
    Aim {
        subject: RustToPython,
        ..MULTIPLE
    },
    Aim {
        subject: PythonToRust,
        ..MULTIPLE
    },
    Aim {
        subject: RustToPython,
        over: Over::Subject(FloorToPython),
        ..MIXED
    },
    Aim {
        subject: PythonToRust,
        over: Over::Subject(PythonToFloor),
        ..MIXED
    },
    Aim {
        subject: RustToPython,
        figure: |round| round.share(round.callers_cpu),
        ..MIXED_SHARE
    },
    Aim {
        subject: PythonToRust,
        figure: |round| round.share(round.processors_cpu),
        ..MIXED_SHARE
    },
    GROWTH,
    Aim {
        subject: OursFred,
        ..GROWTH
    },
    Aim {
        subject: FloorReplyStream,
        bound: Bound::None,
        ..GROWTH
    },
    GROWTH_PROCESSORS,
    Aim {
        subject: OursFred,
        ..GROWTH_PROCESSORS
    },
    Aim {
        subject: FloorReplyStream,
        bound: Bound::None,
        ..GROWTH_PROCESSORS
    },
    GROWTH_WAITING,
    Aim {
        subject: OursFred,
        ..GROWTH_WAITING
    },
    GROWTH_REQUESTS,
    Aim {
        subject: OursFred,
        ..GROWTH_REQUESTS
    },
    Aim {
        what: "requests/s of each processor",
        figure: |round| Some(round.requests_per_s / round.processors),
        over: Over::Workload("device×1"),
        bound: Bound::AtLeast(0.9),
        stretch: Bound::None,
        workloads: &["device×2", "device×4", "device×8"],
        ..RATE
    },
    SERVER_SHARE,
    Aim {
        what: "requests/s at which the server is full",
        figure: |round| Some(1e6 / round.server_cpu?),
        workloads: MANY,
        ..SERVER_SHARE
    },
    Aim {
        subject: FloorToOurs,
        workloads: &["full/1024×2", "full/8192×2"],
        ..SERVER_SHARE
    },
    Aim {
        subject: FloorToOurs,
        over: Over::Workload("full/1024×2"),
        bound: Bound::AtLeast(0.9),
        stretch: Bound::None,
        workloads: &["full/8192×2"],
        ..RATE
    },
    Aim {
        what: "p50",
        figure: |round| Some(round.p50),
        subject: FloorToOurs,
        over: Over::Workload("full/1024×2"),
        workloads: &["full/8192×2"],
        ..SERVER_SHARE
    },
];

/// A line for each aim.
#[must_use]
pub fn verdicts(results: &[Results], idle: &[Idle]) -> Vec<String> {
    let loaded = AIMS.iter().map(|aim| aim.verdict(results));
    loaded.chain(idle_verdicts(idle)).collect()
}

/// Next to nothing is a thousandth of a processor, and no wake-up in most seconds.
fn idle_verdicts(idle: &[Idle]) -> [String; 4] {
    let figures = |which: fn(&Idle) -> Option<f64>| {
        let of_each = idle.iter().map(|idle| (idle.subject.name(), which(idle)));
        let known = of_each.filter_map(|(name, figure)| Some((name, figure?)));
        known.collect::<Vec<_>>()
    };
    let line = |what, bound, which| {
        let what = format!("{what} in a second");
        verdict(what, bound, Bound::None, &figures(which))
    };
    let (time, wake_ups) = (Bound::AtMost(1_000.0), Bound::AtMost(1.0));
    [
        line("idle batcher, µs of processor time", time, |idle| {
            idle.cpu[0]
        }),
        line("idle processor, µs of processor time", time, |idle| {
            idle.cpu[1]
        }),
        line("idle batcher, wake-ups", wake_ups, |idle| idle.wake_ups[0]),
        line("idle processor, wake-ups", wake_ups, |idle| {
            idle.wake_ups[1]
        }),
    ]
}

impl Aim {
    fn verdict(&self, results: &[Results]) -> String {
        let value = |each: &Results| match self.over {
            Over::Subject(other) => each.ratio(self.subject, other, self.figure),
            Over::Workload(name) => {
                let base = results.iter().find(|base| base.workload.name == name)?;
                each.growth(self.subject, base, self.figure)
            }
            Over::None => each.figure(self.subject, self.figure),
        };
        let values = results
            .iter()
            .filter(|results| self.workloads.contains(&results.workload.name))
            .filter_map(|results| Some((results.workload.name, value(results)?)));
        let values: Vec<_> = values.collect();
        verdict(self, self.bound, self.stretch, &values)
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.what, self.subject.name())?;
        match self.over {
            Over::Subject(other) => write!(f, " / {}", other.name())?,
            Over::Workload(name) => write!(f, " / its own with {name}")?,
            Over::None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::workload::Workload;

    fn round(requests_per_s: f64, server_cpu: f64) -> Round {
        Round {
            processors: 1.0,
            requests_per_s,
            p50: 0.0,
            p99: 0.0,
            p999: 0.0,
            callers_cpu: Some(1.0),
            processors_cpu: Some(1.0),
            server_cpu: Some(server_cpu),
            commands: 0.0,
            peak_memory: 0.0,
        }
    }

    fn results(name: &str) -> Results {
        let workload = Workload::ALL.into_iter().find(|each| each.name == name);
        Results::new(workload.expect("a workload of this name"))
    }

    /// Our rates and the floor's, round by round.
    fn rate_verdict(ours: &[f64], floor: &[f64]) -> String {
        let mut results = results("outstanding/1024");
        for (subject, rates) in [(OursRedis, ours), (FloorReplyStream, floor)] {
            for rate in rates {
                results.add(subject, round(*rate, 1.0));
            }
        }
        RATE.verdict(&[results])
    }

    #[test]
    fn what_counts_is_the_ratio_in_the_same_round() {
        let text =
            "requests/s, ours-redis / floor-reply-stream ≥ 0.8 (stretch ≥ 0.9): outstanding/1024";
        // The medians alone would say 2.
        let slowed = rate_verdict(&[80.0, 40.0, 8.0], &[100.0, 20.0, 10.0]);
        assert_eq!(slowed, format!("{:<12} {text} 0.80", "met"));
        let slower = rate_verdict(&[70.0, 7.0, 40.0], &[100.0, 10.0, 20.0]);
        assert_eq!(slower, format!("{:<12} {text} 0.70", "NOT MET"));
        let fast = rate_verdict(&[90.0, 9.0, 40.0], &[100.0, 10.0, 20.0]);
        assert_eq!(fast, format!("{:<12} {text} 0.90", "met, stretch"));
    }

    #[test]
    fn growth_is_over_the_same_round_of_the_smaller_workload() {
        let text = "processor time of all, ours-redis / its own with outstanding/64 ≤ 1.1";
        let verdict = |many: f64| {
            let [mut small, mut large] = ["outstanding/64", "outstanding/8192"].map(results);
            for slow in [1.0, 2.0, 4.0] {
                small.add(OursRedis, round(1.0, 8.0 * slow - 2.0));
                large.add(OursRedis, round(1.0, many * slow - 2.0));
            }
            GROWTH.verdict(&[large, small])
        };
        let flat = format!("{:<12} {text}: outstanding/8192 1.00", "met");
        assert_eq!(verdict(8.0), flat);
        let grown = format!("{:<12} {text}: outstanding/8192 1.25", "NOT MET");
        assert_eq!(verdict(10.0), grown);
    }

    #[test]
    fn an_aim_without_its_subjects_is_not_met() {
        for verdict in verdicts(&[], &[]) {
            assert!(verdict.starts_with("not measured "), "{verdict}");
        }
    }

    #[test]
    fn every_aim_names_workloads_that_there_are() {
        let all = Workload::ALL.into_iter().chain(Workload::TENTHS);
        let names: Vec<_> = all.map(|workload| workload.name).collect();
        for aim in AIMS {
            let over = match aim.over {
                Over::Workload(name) => Some(name),
                _ => None,
            };
            for name in aim.workloads.iter().chain(&over) {
                assert!(names.contains(name), "{name}");
            }
        }
    }
}
