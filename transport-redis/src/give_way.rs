//! How a task lets others go first.

use std::future::poll_fn;
use std::mem;
use std::task::Poll;

/// Goes behind the tasks that wait for this worker. Tokio's `yield_now` comes back before some of them: as
/// soon as the worker looks at its timers and sockets, which it does every 61 tasks. An idle worker is
/// woken, and may take some of them.
///
/// Cancel-safe.
pub(crate) async fn give_way() {
    let mut has_waited = false;
    poll_fn(|cx| match mem::replace(&mut has_waited, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
