//! A closure as a handler: told of `spawn_blocking` where it holds its thread, and helped out.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::{block_in_place, yield_now};
use tokio::time::Instant;

use crate::handler::{BatchContext, Handler, IntoOutcome, Outcome};

/// One that holds its thread longer than this is told of `spawn_blocking`.
const WARN_AFTER: Duration = Duration::from_millis(100);

/// After a call that took as long as this the next ones are expected to: late by this is in time.
const SLOW: Duration = Duration::from_millis(10);

/// Until so many have taken less than this: a first call may be slow alone.
const QUICK_CALLS: u32 = 100;
const QUICK: Duration = Duration::from_millis(1);

/// A closure that all instances of a processor share.
pub(crate) struct Closure<F, M>(Arc<Shared<F>>, PhantomData<fn() -> M>);

struct Shared<F> {
    function: F,
    warned: AtomicBool,
    /// It is called by tasks of a runtime with threads of its own, which can do without one of them, and
    /// from nowhere else.
    on_worker: bool,
    /// How many quick calls are to come before it is not expected to be slow any more.
    slow_for: AtomicU32,
}

impl<F, M> Closure<F, M> {
    pub(crate) fn new(function: F, on_worker: bool) -> Self {
        let shared = Shared {
            function,
            warned: AtomicBool::new(false),
            on_worker,
            slow_for: AtomicU32::new(0),
        };
        Self(Arc::new(shared), PhantomData)
    }
}

impl<F, M> Clone for Closure<F, M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<F> Shared<F> {
    /// Calls the function; whether the runtime has had to do without this thread meanwhile.
    fn call<Req, R>(&self, batch: Vec<Req>) -> (R, bool)
    where
        F: Fn(Vec<Req>) -> R,
    {
        // Noted where it panics, too.
        let _noted = Noted {
            shared: self,
            called: Instant::now(),
        };
        let steps_aside = self.on_worker && self.slow_for.load(Ordering::Relaxed) > 0;
        let returned = if steps_aside {
            block_in_place(|| (self.function)(batch))
        } else {
            (self.function)(batch)
        };
        (returned, steps_aside)
    }

    fn note(&self, held: Duration) {
        let slow_for = self.slow_for.load(Ordering::Relaxed);
        if held >= SLOW {
            self.slow_for.store(QUICK_CALLS, Ordering::Relaxed);
        } else if held < QUICK && slow_for > 0 {
            // Instances may do so at the same time: one of their calls counts then.
            self.slow_for.store(slow_for - 1, Ordering::Relaxed);
        }
        if held > WARN_AFTER && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a batch handler held its thread of the runtime for {held:?}: \
                 start it with `spawn_blocking`, which gives it a thread of its own"
            );
        }
    }
}

/// Notes at its end how long a call took.
struct Noted<'a, F> {
    shared: &'a Shared<F>,
    called: Instant,
}

impl<F> Drop for Noted<'_, F> {
    fn drop(&mut self) {
        self.shared.note(self.called.elapsed());
    }
}

impl<Req, Resp, F, R, M> Handler<Req, Resp> for Closure<F, M>
where
    Req: Send,
    F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
    R: IntoOutcome<Resp, M>,
    M: 'static,
{
    async fn run(&mut self, batch: Vec<Req>, _: &BatchContext) -> Outcome<Resp> {
        let (returned, stepped_aside) = self.0.call(batch);
        if stepped_aside {
            // This thread is none of the runtime's workers any more: callers that are woken here would run
            // elsewhere at once, and not all of them before the next batch.
            yield_now().await;
        }
        returned.into_outcome().await
    }
}
