//! A few futures of one type, polled together, whose memory is used again.

use std::pin::Pin;
use std::task::{Context, Poll};

/// The batches that run, or the replies on their way: as many as there are instances or so, which
/// makes polling each of them cheaper than keeping a waker for each.
pub(crate) struct Slots<F> {
    slots: Vec<Pin<Box<Option<F>>>>,
    busy: usize,
}

impl<F: Future> Slots<F> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            busy: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.busy == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.busy
    }

    pub(crate) fn insert(&mut self, future: F) {
        self.busy += 1;
        let free = self.slots.iter_mut().find(|slot| slot.is_none());
        match free {
            Some(slot) => slot.as_mut().set(Some(future)),
            None => self.slots.push(Box::pin(Some(future))),
        }
    }

    /// Drops the futures that have not ended.
    pub(crate) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.as_mut().set(None);
        }
        self.busy = 0;
    }

    /// The output of one that has ended. Pending when none has, or none is there.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.busy == 0 {
            return Poll::Pending;
        }
        for slot in &mut self.slots {
            let Some(future) = slot.as_mut().as_pin_mut() else {
                continue;
            };
            if let Poll::Ready(output) = future.poll(cx) {
                slot.as_mut().set(None);
                self.busy -= 1;
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    }
}
