//! What is asked of each subject: which job, by how many callers, with or without a window.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::inproc::subject::Subject;

/// The most requests in a batch, for every subject.
pub const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// The most callers of a workload.
pub(crate) const MOST_CALLERS: u64 = 1024;

/// The window of the subjects that have one, where there is to be one.
const WINDOW: Duration = Duration::from_millis(1);

/// What becomes of requests that are too few for a full batch, while nothing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They run.
    AtOnce,
    /// They wait for company, for so long.
    Window(Duration),
}

/// What the batches are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Next to nothing.
    Small,
    /// 1 ms and 10 µs for each request, one batch at a time, as a device takes.
    Costly,
    /// A picture of 602,112 bytes, which the answer gives back.
    Image,
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// So many callers each send their next request when they have their answer.
    Callers(u64),
    /// So many in a second, in bursts, whether or not the earlier ones have been answered.
    Bursts(u32),
    /// A million, of so many callers, to see whether the last ones are as fast as the first.
    LongRun(u64),
    /// None any more.
    Idle,
}

/// One thing that is measured of several subjects.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How it is called in the results.
    pub name: &'static str,
    /// What the batches are for.
    pub task: Task,
    /// How requests come.
    pub pattern: Pattern,
    /// Whether there is a window.
    pub mode: Mode,
}

impl Workload {
    /// All workloads. The rate of the bursts is one that the slowest subject bears.
    pub const ALL: [Self; 13] = [
        Self::new("small/1", Pattern::Callers(1)),
        Self::new("small/64", Pattern::Callers(64)),
        Self::new("small/1024", Pattern::Callers(MOST_CALLERS)),
        Self::new("window-1ms/1", Pattern::Callers(1)).windowed(),
        Self::new("window-1ms/64", Pattern::Callers(64)).windowed(),
        Self::new("window-1ms/1024", Pattern::Callers(MOST_CALLERS)).windowed(),
        Self::new("costly/256", Pattern::Callers(256)).of(Task::Costly),
        Self::new("costly/64", Pattern::Callers(64)).of(Task::Costly),
        Self::new("image/64", Pattern::Callers(64)).of(Task::Image),
        Self::new("bursts/20000", Pattern::Bursts(20_000)),
        Self::new("growth/64", Pattern::LongRun(64)),
        Self::new("idle", Pattern::Idle),
        Self::new("idle-1ms", Pattern::Idle).windowed(),
    ];

    const fn new(name: &'static str, pattern: Pattern) -> Self {
        Self {
            name,
            task: Task::Small,
            pattern,
            mode: Mode::AtOnce,
        }
    }

    const fn windowed(self) -> Self {
        let mode = Mode::Window(WINDOW);
        Self { mode, ..self }
    }

    const fn of(self, task: Task) -> Self {
        Self { task, ..self }
    }

    /// Who is measured.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        let all = Subject::ALL.into_iter();
        all.filter(|subject| self.is_for(*subject)).collect()
    }

    fn is_for(&self, subject: Subject) -> bool {
        if matches!(self.pattern, Pattern::LongRun(_) | Pattern::Idle) {
            return subject == Subject::OursErased;
        }
        if subject == Subject::OursMetrics {
            // Its bound is the same without metrics, where that does next to nothing else.
            let callers = matches!(self.pattern, Pattern::Callers(_));
            return callers && self.task == Task::Small && self.mode == Mode::AtOnce;
        }
        let can_wait = self.mode == Mode::AtOnce || subject.has_window();
        can_wait
            && match self.task {
                Task::Small => true,
                // Its bound is the ideal rate.
                Task::Costly => subject != Subject::FloorDirect,
                // To write and read a picture is the whole of its time.
                Task::Image => subject != Subject::OursCoded,
            }
    }

    /// One request in how many has its latency taken: seldom enough that reading the clock does
    /// not show, and often enough where few come through.
    #[must_use]
    pub fn sample_every(&self) -> u64 {
        let few = self.mode != Mode::AtOnce || self.task == Task::Costly;
        if few { 1 } else { 16 }
    }
}
