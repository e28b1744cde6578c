//! What is asked of each subject: how many requests on their way, of how many processors.

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, WhenIdle};

use crate::wire::subject::Subject;

/// The most requests in a batch, for every subject: the Python package's default.
pub(crate) const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What the processors of the library do: run what is there, in batches that form while others run.
/// The floors take what is there too. A window would make a lone caller wait for company, and the
/// figures would be the window's.
pub(crate) fn policy() -> BatchPolicy {
    let policy = BatchPolicy::default().batch_size(BATCH_SIZE);
    policy.when_idle(WhenIdle::Run)
}

/// What a processor does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    /// Next to nothing, so that what is measured is the way there and back.
    Sum,
    /// The same, after it has waited as for a device of its own.
    Device,
}

impl Handler {
    /// How a processor's process is told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Device => "device",
        }
    }

    /// The handler of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Sum, Self::Device]
            .into_iter()
            .find(|each| each.name() == name)
    }

    /// How long the device takes for a batch of so many.
    pub(crate) fn device_time(items: usize) -> Duration {
        const BATCH: Duration = Duration::from_millis(5);
        const ITEM: Duration = Duration::from_micros(100);
        BATCH + ITEM * u32::try_from(items).unwrap_or(u32::MAX)
    }
}

/// A number of requests that are on their way all the time.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How it is called in the results.
    pub name: &'static str,
    /// How many callers send their next request when they have their answer.
    pub callers: u64,
    /// How many other callers do so beside them, in a fleet of their own, so that about as many
    /// requests always wait ahead. They count in what is answered and what it costs; latencies are
    /// those of the first ones.
    pub(crate) waiting: u64,
    /// How many processes answer.
    pub processors: usize,
    /// What these do with a batch.
    pub(crate) handler: Handler,
    /// Who is measured.
    pub subjects: &'static [Subject],
}

const RUST: &[Subject] = &[
    Subject::FloorDocumented,
    Subject::FloorReplyStream,
    Subject::OursRedis,
    Subject::OursFred,
];

const ONE_PROCESSOR: &[Subject] = &[
    Subject::FloorDocumented,
    Subject::FloorReplyStream,
    Subject::FloorCut,
    Subject::OursRedis,
    Subject::OursFred,
];

const RUST_AND_PYTHON: &[Subject] = &[
    Subject::FloorDocumented,
    Subject::FloorReplyStream,
    Subject::FloorCut,
    Subject::OursRedis,
    Subject::OursFred,
    Subject::FloorToPython,
    Subject::RustToPython,
    Subject::PythonToFloor,
    Subject::PythonToRust,
    Subject::PythonToPython,
];

/// No more than this: a Python processor drops what is beyond ten batches.
const PYTHON: &[Subject] = &[
    Subject::RustToPython,
    Subject::PythonToRust,
    Subject::PythonToPython,
];

const GROWTH: &[Subject] = &[
    Subject::FloorReplyStream,
    Subject::OursRedis,
    Subject::OursFred,
];
const OURS: &[Subject] = &[Subject::OursRedis, Subject::OursFred];
const SCALE: &[Subject] = &[Subject::OursRedis];
/// The raw caller takes so little that the server is full before the machine is.
const FULL: &[Subject] = &[Subject::FloorToOurs];

impl Workload {
    /// All workloads that run for a time, each next to those that it is compared with.
    pub const ALL: [Self; 15] = [
        Self::new("outstanding/1", 1, 1, RUST),
        Self::new("outstanding/64", 64, 1, RUST_AND_PYTHON),
        Self::new("outstanding/64+10000", 64, 1, OURS).with_waiting(10_000),
        Self::new("outstanding/512", 512, 1, PYTHON),
        Self::new("outstanding/1024", 1024, 1, ONE_PROCESSOR),
        Self::new("outstanding/8192", 8192, 1, ONE_PROCESSOR),
        Self::new("outstanding/1024×2", 1024, 2, RUST),
        Self::new("outstanding/1024×4", 1024, 4, RUST),
        Self::new("outstanding/1024×8", 1024, 8, GROWTH),
        Self::new("device×1", 2048, 1, SCALE).with_device(),
        Self::new("device×2", 2048, 2, SCALE).with_device(),
        Self::new("device×4", 2048, 4, SCALE).with_device(),
        Self::new("device×8", 2048, 8, SCALE).with_device(),
        Self::new("full/1024×2", 1024, 2, FULL),
        Self::new("full/8192×2", 8192, 2, FULL),
    ];

    /// The two ends of a long run: its first tenth and its last one.
    pub const TENTHS: [Self; 2] = [
        Self::new("requests/first", 1_000, 1, OURS),
        Self::new("requests/last", 1_000, 1, OURS),
    ];

    /// No load at all.
    pub const IDLE: Self = Self::new("idle", 0, 1, OURS);

    /// Its subjects whose names are `chosen`.
    pub(crate) fn chosen(&self, chosen: impl Fn(&str) -> bool) -> impl Iterator<Item = Subject> {
        let subjects = self.subjects.iter().copied();
        subjects.filter(move |subject| chosen(subject.name()))
    }

    const fn new(
        name: &'static str,
        callers: u64,
        processors: usize,
        subjects: &'static [Subject],
    ) -> Self {
        Self {
            name,
            callers,
            waiting: 0,
            processors,
            handler: Handler::Sum,
            subjects,
        }
    }

    const fn with_waiting(mut self, waiting: u64) -> Self {
        self.waiting = waiting;
        self
    }

    const fn with_device(mut self) -> Self {
        self.handler = Handler::Device;
        self
    }
}
