//! The timer for the deadlines of all requests in a transport.
//!
//! A task that sleeps until the earliest deadline, ends what has expired, and ends itself when it
//! then finds no request. It is not set for each request: it looks at all of them when the deadline
//! that it was set for comes, which with the usual timeouts is long after that request was
//! answered. Each runtime that waits on the transport has one, mostly a single one: a timer on a
//! runtime that nobody drives would keep the others' callers waiting.

use std::cell::Cell;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::sync::Notify;
use tokio::task;
use tokio::time::{Instant, sleep, timeout_at};

use dynamic_batcher::{Error, ErrorKind, Result};

use crate::shared::Shared;

thread_local! {
    /// The runtime of which this thread was seen to be a worker. One that has workers drives its timer
    /// itself, whatever its tasks wait for. To ask tokio which runtime a call is on costs two writes to what
    /// all the threads of that runtime read.
    static WORKS_FOR: Cell<Option<Id>> = const { Cell::new(None) };
}

/// The timers of a transport, kept under the queue's lock.
#[derive(Default)]
pub(crate) struct Timers(Vec<Timer>);

struct Timer {
    runtime: Id,
    /// When it looks next.
    armed: Instant,
    /// It has looked before, and not again until this.
    rests_until: Option<Instant>,
    signal: Arc<Notify>,
}

/// What is to be done, when the lock is free, so that a deadline is kept.
pub(crate) enum Arm {
    /// A timer is set for it.
    Set,
    /// Its timer has been set earlier, and has to be told.
    Wake(Arc<Notify>),
    /// There is no timer on this runtime: start one that this wakes.
    Start(Arc<Notify>),
}

impl Timers {
    /// Whether the timer of the current task's runtime is known to look by `deadline`. If not, it is to be
    /// found out which runtime that is.
    pub(crate) fn is_set_here(&self, deadline: Instant) -> bool {
        let Some(runtime) = WORKS_FOR.get() else {
            return false;
        };
        let mut timers = self.0.iter();
        // A thread that works for one runtime may also block on another.
        timers.any(|timer| timer.runtime == runtime && timer.armed <= deadline)
            && task::try_id().is_some()
    }

    /// Has the timer on `runtime` look by `deadline`.
    pub(crate) fn arm(&mut self, runtime: Id, deadline: Instant) -> Arm {
        let Some(timer) = self.0.iter_mut().find(|timer| timer.runtime == runtime) else {
            let signal = Arc::new(Notify::new());
            self.0.push(Timer {
                runtime,
                armed: deadline,
                rests_until: None,
                signal: Arc::clone(&signal),
            });
            return Arm::Start(signal);
        };
        let at = timer
            .rests_until
            .map_or(deadline, |rest| deadline.max(rest));
        if at >= timer.armed {
            return Arm::Set;
        }
        timer.armed = at;
        Arm::Wake(Arc::clone(&timer.signal))
    }

    /// When the timer on `runtime` looks next.
    pub(crate) fn armed(&self, runtime: Id) -> Option<Instant> {
        let timer = self.0.iter().find(|timer| timer.runtime == runtime)?;
        Some(timer.armed)
    }

    /// Sets the timer on `runtime`, which has just looked at `requests` of which the earliest
    /// expires at `next`; removes it when there is none.
    pub(crate) fn looked(
        &mut self,
        runtime: Id,
        now: Instant,
        requests: usize,
        next: Option<Instant>,
    ) {
        let Some(next) = next else {
            self.remove(runtime);
            return;
        };
        if let Some(timer) = self.0.iter_mut().find(|timer| timer.runtime == runtime) {
            let rests_until = now + pace(requests);
            timer.rests_until = Some(rests_until);
            timer.armed = next.max(rests_until);
        }
    }

    pub(crate) fn remove(&mut self, runtime: Id) {
        self.0.retain(|timer| timer.runtime != runtime);
    }

    /// Has all of them look whether the transport is still there.
    pub(crate) fn wake_all(&self) {
        self.0.iter().for_each(|timer| timer.signal.notify_one());
    }
}

/// The shortest time between two looks at `requests`: a look at one takes some 10 ns, so that the
/// timer uses a few hundredths of a core at most; never so long that a deadline is missed by much.
fn pace(requests: usize) -> Duration {
    const LONGEST: Duration = Duration::from_millis(50);
    let requests = u64::try_from(requests).unwrap_or(u64::MAX);
    Duration::from_micros(requests).min(LONGEST)
}

/// The runtime that the current task is on.
///
/// # Errors
///
/// `Config` when there is none, and so nothing that could end a call at its deadline.
pub(crate) fn current_runtime() -> Result<Handle> {
    let current = Handle::try_current();
    if task::try_id().is_some() {
        let has_workers =
            |runtime: &&Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        let works_for = current.as_ref().ok().filter(has_workers);
        WORKS_FOR.set(works_for.map(Handle::id));
    }
    current.map_err(|error| Error::with_source(ErrorKind::Config, error))
}

/// Starts a timer's task.
///
/// # Errors
///
/// `Config` when the runtime keeps no time, or has been shut down.
pub(crate) fn start<Req, Resp>(
    shared: &Arc<Shared<Req, Resp>>,
    runtime: &Handle,
    signal: Arc<Notify>,
) -> Result<()>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    // tokio has no other way to ask: a timer cannot be made on a runtime without time.
    if catch_unwind(|| drop(sleep(Duration::ZERO))).is_err() {
        // Calls that took it for set learn the same.
        shared.timer_died(runtime.id());
        return Err(Error::new(
            ErrorKind::Config,
            "the runtime keeps no time and deadlines need it, build it with `enable_time`",
        ));
    }
    let guard = Guard {
        shared: Some(Arc::downgrade(shared)),
        runtime: runtime.id(),
    };
    let mut task = runtime.spawn(run(guard, signal));
    // It may be through already; but to be cancelled before it began takes a runtime that runs
    // nothing any more.
    match Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(error)) if error.is_cancelled() => Err(Error::new(
            ErrorKind::Config,
            "the runtime has been shut down, and deadlines need one that runs",
        )),
        _ => Ok(()),
    }
}

async fn run<Req, Resp>(mut guard: Guard<Req, Resp>, signal: Arc<Notify>) {
    while let Some(shared) = guard.shared.as_ref().and_then(Weak::upgrade) {
        let Some(next) = shared.look(guard.runtime, Instant::now()) else {
            break;
        };
        drop(shared);
        // Either way it asks again what time it is set for.
        let _ = timeout_at(next, signal.notified()).await;
    }
    guard.shared = None;
}

/// If the task is dropped with its runtime, has the calls that wait polled: on the runtime that
/// they are on, each has a timer started if there is none.
struct Guard<Req, Resp> {
    shared: Option<Weak<Shared<Req, Resp>>>,
    runtime: Id,
}

impl<Req, Resp> Drop for Guard<Req, Resp> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take().and_then(|shared| shared.upgrade()) {
            shared.timer_died(self.runtime);
        }
    }
}
