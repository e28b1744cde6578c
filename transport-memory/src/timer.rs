//! One timer for the deadlines of all requests in a transport.
//!
//! A task that sleeps until the earliest deadline, ends what has expired, and ends itself when no
//! request is left. It is not set for each request: it looks at all of them when the deadline that
//! it was set for comes, which with the usual timeouts is long after that request was answered.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use dynamic_batcher::{Error, ErrorKind, Result};

use crate::shared::Shared;

/// The shortest time between two looks at `requests`: a look at one takes some 10 ns, so that the
/// timer uses a few hundredths of a core at most; never so long that a deadline is missed by much.
pub(crate) fn pace(requests: usize) -> Duration {
    const LONGEST: Duration = Duration::from_millis(50);
    let requests = u64::try_from(requests).unwrap_or(u64::MAX);
    Duration::from_micros(requests).min(LONGEST)
}

/// Starts the timer's task if none runs.
///
/// # Errors
///
/// `Config` when there is no tokio runtime to run it.
pub(crate) fn ensure<Req, Resp>(shared: &Arc<Shared<Req, Resp>>) -> Result<()>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    let runtime =
        Handle::try_current().map_err(|error| Error::with_source(ErrorKind::Config, error))?;
    if !shared.timer_runs.swap(true, Ordering::AcqRel) {
        let guard = Guard(Some(Arc::downgrade(shared)));
        runtime.spawn(run(guard, Arc::clone(&shared.timer)));
    }
    Ok(())
}

async fn run<Req, Resp>(mut guard: Guard<Req, Resp>, signal: Arc<tokio::sync::Notify>) {
    loop {
        let Some(shared) = guard.0.as_ref().and_then(Weak::upgrade) else {
            break;
        };
        let Some(next) = shared.expire(Instant::now()) else {
            // `expire` has noted, under its lock, that no timer runs.
            break;
        };
        drop(shared);
        // Either way it is time to look again.
        let _ = timeout_at(next, signal.notified()).await;
    }
    guard.0 = None;
}

/// If the task is dropped with its runtime, has the calls that wait polled: on the runtime that
/// they are on, the first one starts a timer again.
struct Guard<Req, Resp>(Option<Weak<Shared<Req, Resp>>>);

impl<Req, Resp> Drop for Guard<Req, Resp> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take().and_then(|shared| shared.upgrade()) {
            shared.timer_died();
        }
    }
}
