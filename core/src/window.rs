//! A timer that keeps a batch's window to a few tenths of a millisecond.
//!
//! tokio's timer rounds up to whole milliseconds, twice: a window of 1 ms takes 2. So tokio's
//! timer sleeps until shortly before the end, and a timer thread (`futures-timer`'s, started when
//! first needed, asleep when nothing is due) wakes the processor for the last stretch. tokio's
//! stays armed for the end too, and it alone counts as time: under a paused clock the thread's
//! wake-up finds that nothing is due yet.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_timer::Delay;
use tokio::time::{Instant, Sleep};

/// How long before the end the timer thread takes over: tokio is never later than this.
const LAST_STRETCH: Duration = Duration::from_millis(3);

#[derive(Default)]
pub(crate) struct WindowTimer {
    coarse: Option<(Instant, Pin<Box<Sleep>>)>,
    fine: Option<(Instant, Delay)>,
}

impl WindowTimer {
    /// Ready once it is `due`. May be asked for another instant at any time.
    pub(crate) fn poll_until(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            if now >= due {
                return Poll::Ready(());
            }
            let left = due - now;
            let woken = if left > LAST_STRETCH {
                self.poll_coarse(due - LAST_STRETCH, cx)
            } else {
                // Both are polled, so that both have the waker.
                let coarse = self.poll_coarse(due, cx);
                self.poll_fine(due, left, cx) | coarse
            };
            if !woken {
                return Poll::Pending;
            }
        }
    }

    /// Whether the coarse timer fired; it is then disarmed. One that is armed for an earlier
    /// instant stays so: under load windows come and go by the thousand and few run out, so it is
    /// cheaper to be woken once in vain than to set the timer for each.
    fn poll_coarse(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let (armed, sleep) = self
            .coarse
            .get_or_insert_with(|| (at, Box::pin(tokio::time::sleep_until(at))));
        if *armed > at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
            *armed = at;
        }
        sleep.as_mut().poll(cx).is_ready()
    }

    /// As [`poll_coarse`](Self::poll_coarse), by the timer thread, which counts in real time.
    fn poll_fine(&mut self, at: Instant, left: Duration, cx: &mut Context<'_>) -> bool {
        let (armed, delay) = self.fine.get_or_insert_with(|| (at, Delay::new(left)));
        if *armed > at {
            delay.reset(left);
            *armed = at;
        }
        if Pin::new(&mut *delay).poll(cx).is_pending() {
            return false;
        }
        if *armed <= Instant::now() {
            // Fired, and rightly; for the next window it is armed anew.
            self.fine = None;
            return true;
        }
        // Fired before its time: the clock is paused, and tokio's timer will tell.
        false
    }
}
