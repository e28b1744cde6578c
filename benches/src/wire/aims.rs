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

const SERVER_TIME: Aim = Aim {
    what: "the server's processor time",
    figure: |round| round.server_cpu,
    bound: Bound::AtMost(1.2),
    stretch: Bound::AtMost(1.05),
    ..RATE
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
    SERVER_TIME,
    Aim {
        over: Over::Subject(FloorCut),
        bound: Bound::None,
        stretch: Bound::None,
        ..SERVER_TIME
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
mod tests;
