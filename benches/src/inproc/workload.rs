//! What is asked of each subject: how many callers, and under which policy.

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, WhenIdle};

use crate::inproc::subject::Subject;

/// The most requests in a batch, for every subject.
pub const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// A number of callers, each of which sends its next request when it has its answer.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How it is called in the results.
    pub name: &'static str,
    /// How many callers send at the same time.
    pub callers: u64,
    /// How long a batch waits for company; `None` where what is there runs at once.
    pub window: Option<Duration>,
}

impl Workload {
    /// All workloads.
    pub const ALL: [Self; 5] = [
        Self::small("small/1", 1),
        Self::small("small/64", 64),
        Self::small("small/1024", 1024),
        Self::with_window("window-1ms/1", 1),
        Self::with_window("window-1ms/64", 64),
    ];

    const fn small(name: &'static str, callers: u64) -> Self {
        Self {
            name,
            callers,
            window: None,
        }
    }

    const fn with_window(name: &'static str, callers: u64) -> Self {
        Self {
            name,
            callers,
            window: Some(Duration::from_millis(1)),
        }
    }

    /// Who can do it: the floors have no window.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        let all = Subject::ALL.into_iter();
        all.filter(|subject| self.window.is_none() || subject.has_window())
            .collect()
    }

    /// The policy of the subjects that have one.
    #[must_use]
    pub fn policy(&self) -> BatchPolicy {
        let policy = BatchPolicy::default().batch_size(BATCH_SIZE);
        match self.window {
            None => policy.when_idle(WhenIdle::Run),
            Some(window) => policy.when_idle(WhenIdle::Wait).batch_time(window),
        }
    }

    /// One request in how many has its latency taken: seldom enough that reading the clock does
    /// not show, and often enough where a window lets only few through.
    #[must_use]
    pub fn sample_every(&self) -> u64 {
        if self.window.is_some() { 1 } else { 16 }
    }
}
