//! A closure as a handler: told of `spawn_blocking` where it holds its thread, and helped out.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{block_in_place, yield_now};
use tokio::time::Instant;

use crate::handler::{BatchContext, Handler, IntoOutcome, Outcome};

/// One that holds its thread longer than this is told of `spawn_blocking`.
const WARN_AFTER: Duration = Duration::from_millis(100);

/// After a call that took as long as this the next ones are expected to: late by this is in time.
const SLOW: Duration = Duration::from_millis(10);

/// For so long. A first call may be slow alone.
const SLOW_FOR: Duration = Duration::from_secs(60);

/// A closure that all instances of a processor share.
pub(crate) struct Closure<F, M>(Arc<Shared<F>>, PhantomData<fn() -> M>);

struct Shared<F> {
    function: F,
    warned: AtomicBool,
    /// It is called on threads of a runtime that can do without one of them.
    can_step_aside: bool,
    made: Instant,
    /// Until when it is expected to be slow, in milliseconds after it was made.
    slow_until: AtomicU64,
}

impl<F, M> Closure<F, M> {
    /// `on_worker` says that it will be called by tasks of a runtime with threads of its own, and from
    /// nowhere else.
    pub(crate) fn new(function: F, on_worker: bool) -> Self {
        let shared = Shared {
            function,
            warned: AtomicBool::new(false),
            can_step_aside: on_worker,
            made: Instant::now(),
            slow_until: AtomicU64::new(0),
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
        let called = Instant::now();
        let steps_aside = self.can_step_aside && self.is_slow(called);
        let returned = if steps_aside {
            block_in_place(|| (self.function)(batch))
        } else {
            (self.function)(batch)
        };
        self.note(called, called.elapsed());
        (returned, steps_aside)
    }

    fn is_slow(&self, now: Instant) -> bool {
        self.since_made(now) < self.slow_until.load(Ordering::Relaxed)
    }

    fn note(&self, called: Instant, held: Duration) {
        if held < SLOW {
            return;
        }
        let until = self.since_made(called + held + SLOW_FOR);
        self.slow_until.store(until, Ordering::Relaxed);
        if held > WARN_AFTER && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a batch handler held its thread of the runtime for {held:?}: \
                 start it with `spawn_blocking`, which gives it a thread of its own"
            );
        }
    }

    fn since_made(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.made);
        u64::try_from(after.as_millis()).unwrap_or(u64::MAX)
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
