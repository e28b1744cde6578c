//! How long a processor may take to leave, once it serves no more.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::control::{Control, Order};

/// How long a processor that was stopped, has failed, or has no deadline may take to give back what it
/// holds and leave.
const LIMIT: Duration = Duration::from_secs(5);

/// The time that a processor leaves in. Orders that come meanwhile can shorten it, and never give more.
pub(crate) struct Leave<'a> {
    control: &'a Control,
    by: Instant,
    is_stopped: bool,
}

impl<'a> Leave<'a> {
    /// Begins now, and ends with the drain, where one was ordered: of a processor that has failed by the
    /// [`LIMIT`] at the latest.
    pub(crate) fn new(control: &'a Control) -> Self {
        let soon = Instant::now() + LIMIT;
        let by = match control.finish_by() {
            Some(by) if control.failure().is_none() => by,
            by => by.map_or(soon, |by| by.min(soon)),
        };
        Self {
            control,
            by,
            is_stopped: false,
        }
    }

    /// What `work` gives, if it is through in time; else it is dropped.
    pub(crate) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut end = pin!(sleep_until(self.by));
        poll_fn(|cx| {
            self.control.listen(cx);
            self.heed_orders();
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            // Work that is never idle leaves tokio's timer no budget.
            if self.by <= Instant::now() {
                return Poll::Ready(None);
            }
            if self.by < end.deadline() {
                end.as_mut().reset(self.by);
            }
            end.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    fn heed_orders(&mut self) {
        match self.control.order() {
            Order::Stop if !self.is_stopped => {
                self.is_stopped = true;
                self.by = self.by.min(Instant::now() + LIMIT);
            }
            Order::Drain(deadline) => self.by = self.by.min(deadline),
            Order::Serve | Order::Stop => {}
        }
    }
}
