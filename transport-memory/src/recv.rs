//! A processor's read: what waits in the queue, or, when there is nothing, the next that comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use dynamic_batcher::{Delivery, Result};

use crate::sleepers::Sleeper;
use crate::source::{Attachment, MemoryTicket};

/// Appends to `into` when it is ready, so that dropping it loses nothing.
pub(crate) struct Recv<'a, Req, Resp> {
    shared: &'a Arc<Attachment<Req, Resp>>,
    into: &'a mut Vec<Delivery<Req, MemoryTicket<Req, Resp>>>,
    max: usize,
    asleep: Option<Sleeper>,
}

impl<'a, Req, Resp> Recv<'a, Req, Resp> {
    pub(crate) fn new(
        shared: &'a Arc<Attachment<Req, Resp>>,
        into: &'a mut Vec<Delivery<Req, MemoryTicket<Req, Resp>>>,
        max: usize,
    ) -> Self {
        Self {
            shared,
            into,
            max,
            asleep: None,
        }
    }
}

impl<Req, Resp> Future for Recv<'_, Req, Resp> {
    /// False when nothing will ever come again.
    type Output = Result<bool>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let recv = self.get_mut();
        // What nobody waits for is dropped when the lock is free.
        let mut gone = Vec::new();
        let mut queue = recv.shared.lock();
        let before = recv.into.len();
        while recv.into.len() - before < recv.max
            && let Some(next) = queue.take()
        {
            match next {
                Ok((payload, meta, key)) => {
                    let ticket = MemoryTicket::new(Arc::clone(recv.shared), key);
                    recv.into.push(Delivery::new(Ok(payload), ticket, meta));
                }
                Err(nobody_waits) => gone.push(nobody_waits),
            }
        }
        let closed = queue.is_closed() && queue.is_empty();
        if recv.into.len() == before && !closed {
            let (sleeper, before) = queue.sleepers.enter(recv.asleep, cx.waker());
            recv.asleep = Some(sleeper);
            drop(queue);
            drop(before);
            return Poll::Pending;
        }
        let asleep = recv.asleep.take();
        let left = asleep.and_then(|sleeper| queue.sleepers.leave(sleeper));
        let other = queue.next_sleeper();
        drop(queue);
        drop(left);
        other.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(!closed))
    }
}

impl<Req, Resp> Drop for Recv<'_, Req, Resp> {
    /// What it was woken for is another's.
    fn drop(&mut self) {
        let Some(sleeper) = self.asleep else {
            return;
        };
        let mut queue = self.shared.lock();
        let left = queue.sleepers.leave(sleeper);
        let other = match &left {
            Some(_) => None,
            None => queue.next_sleeper(),
        };
        drop(queue);
        drop(left);
        other.into_iter().for_each(Waker::wake);
    }
}

impl<Req, Resp> Unpin for Recv<'_, Req, Resp> {}
