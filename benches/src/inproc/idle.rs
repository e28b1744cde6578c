//! What a batcher and a processor use when there is nothing to do.

use std::thread::sleep;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::closed_loop::Load;
use crate::inproc::drive::{Ask, ClosedLoop, Drive};
use crate::inproc::job::Job;
use crate::processor_time::{processor_time, processor_time_of_this_thread};

/// Serves some requests, so that what begins with the first of them has begun, and then none.
pub(crate) struct Idle {
    pub(crate) length: Duration,
}

/// What happened while nothing was to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idleness {
    /// How often a worker of the runtime woke and went back to sleep.
    pub(crate) wake_ups: u64,
    /// What all threads but the one that looked had; `None` where the system does not say.
    pub(crate) processor_time: Option<Duration>,
}

impl Drive for Idle {
    type Output = Idleness;

    async fn drive<J: Job, A: Ask<J>>(self, ask: A) -> Idleness {
        let served = ClosedLoop {
            callers: 64,
            load: Load::Counted { each: 100 },
        };
        served.drive::<J, A>(ask.clone()).await;
        // This thread runs no tasks: the runtime's workers do, and they come to rest.
        sleep(self.length / 4);
        let before = Idleness::until_now();
        sleep(self.length);
        let after = Idleness::until_now();
        drop(ask);
        Idleness {
            wake_ups: after.wake_ups - before.wake_ups,
            processor_time: after
                .processor_time
                .zip(before.processor_time)
                .map(|(after, before)| after.saturating_sub(before)),
        }
    }
}

impl Idleness {
    fn until_now() -> Self {
        let metrics = Handle::current().metrics();
        let workers = 0..metrics.num_workers();
        let all = processor_time(std::process::id());
        let this = processor_time_of_this_thread();
        Self {
            wake_ups: workers
                .map(|worker| metrics.worker_park_count(worker))
                .sum(),
            processor_time: all.zip(this).map(|(all, this)| all.saturating_sub(this)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::spin_loop;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_worker_that_wakes_is_seen() {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let before = Idleness::until_now().wake_ups;
            while Idleness::until_now().wake_ups <= before {
                tokio::spawn(async {}).await.unwrap();
            }
        });
    }

    #[test]
    fn another_thread_that_works_is_seen() {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).build().unwrap();
        runtime.block_on(async {
            // Nothing to be seen where the system does not say.
            let Some(before) = Idleness::until_now().processor_time else {
                return;
            };
            while Idleness::until_now().processor_time <= Some(before) {
                tokio::spawn(async { (0..1_000_000).for_each(|_| spin_loop()) })
                    .await
                    .unwrap();
            }
        });
    }
}
