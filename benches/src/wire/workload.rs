//! What is asked of each subject: how many requests on their way, of how many processors.

use std::num::NonZeroUsize;

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

/// A number of requests that are on their way all the time.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How it is called in the results.
    pub name: &'static str,
    /// How many callers send their next request when they have their answer.
    pub callers: u64,
    /// How many processes answer.
    pub processors: usize,
    /// Who is measured.
    pub subjects: &'static [Subject],
}

const RUST: &[Subject] = &[
    Subject::FloorDocumented,
    Subject::FloorReplyStream,
    Subject::OursRedis,
    Subject::OursFred,
];

const RUST_AND_PYTHON: &[Subject] = &[
    Subject::FloorDocumented,
    Subject::FloorReplyStream,
    Subject::OursRedis,
    Subject::OursFred,
    Subject::RustToPython,
    Subject::PythonToRust,
    Subject::PythonToPython,
];

/// No more than this: a Python processor drops what is beyond ten batches.
const PYTHON: &[Subject] = &[
    Subject::RustToPython,
    Subject::PythonToRust,
    Subject::PythonToPython,
];

impl Workload {
    /// All workloads.
    pub const ALL: [Self; 7] = [
        Self::new("outstanding/1", 1, 1, RUST),
        Self::new("outstanding/64", 64, 1, RUST_AND_PYTHON),
        Self::new("outstanding/512", 512, 1, PYTHON),
        Self::new("outstanding/1024", 1024, 1, RUST),
        Self::new("outstanding/1024×2", 1024, 2, RUST),
        Self::new("outstanding/1024×4", 1024, 4, RUST),
        Self::new("outstanding/8192", 8192, 1, RUST),
    ];

    const fn new(
        name: &'static str,
        callers: u64,
        processors: usize,
        subjects: &'static [Subject],
    ) -> Self {
        Self {
            name,
            callers,
            processors,
            subjects,
        }
    }
}
