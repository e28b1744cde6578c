//! The processor's side: taking requests and ending them.

use std::fmt;
use std::future::ready;
use std::iter;
use std::ops::Deref;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use dynamic_batcher::{
    Answer, BatchInfo, Consumer, Delivery, Error, ErrorKind, ItemInfo, Result, Source,
};

use crate::client::MemoryTransport;
use crate::recv::Recv;
use crate::shared::Shared;
use crate::slot::Slot;

impl<Req, Resp> Source<Req, Resp> for MemoryTransport<Req, Resp>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    type Consumer = MemoryConsumer<Req, Resp>;

    fn attach(&self) -> Self::Consumer {
        let shared = Arc::clone(self.shared());
        shared.lock().attach();
        MemoryConsumer(Arc::new(Attachment(shared)))
    }
}

/// One processor's hold on a [`MemoryTransport`].
pub struct MemoryConsumer<Req, Resp>(Arc<Attachment<Req, Resp>>);

/// What a consumer shares with its tickets, and counts them: the count of the transport's handles is
/// beside what the callers write.
pub(crate) struct Attachment<Req, Resp>(Arc<Shared<Req, Resp>>);

impl<Req, Resp> Deref for Attachment<Req, Resp> {
    type Target = Shared<Req, Resp>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A request that a processor has. Dropped without an answer, it ends its call.
pub struct MemoryTicket<Req, Resp>(
    /// `None` once it was answered or given back.
    Option<Unsettled<Req, Resp>>,
);

struct Unsettled<Req, Resp> {
    shared: Arc<Attachment<Req, Resp>>,
    key: usize,
    /// The call, between its removal from the queue and its answer.
    ended: Option<Arc<Slot<Resp>>>,
}

impl<Req, Resp> MemoryTicket<Req, Resp> {
    pub(crate) fn new(shared: Arc<Attachment<Req, Resp>>, key: usize) -> Self {
        Self(Some(Unsettled {
            shared,
            key,
            ended: None,
        }))
    }

    fn key(&self) -> Option<usize> {
        self.0.as_ref().map(|unsettled| unsettled.key)
    }

    fn settle(mut self) -> Option<Unsettled<Req, Resp>> {
        self.0.take()
    }
}

impl<Req, Resp> MemoryConsumer<Req, Resp> {
    /// Puts deliveries back, the first one first.
    fn put_back(&self, deliveries: Vec<Delivery<Req, MemoryTicket<Req, Resp>>>) {
        let count = deliveries.len();
        let mut failed = Vec::new();
        let mut gone = Vec::new();
        let others: Vec<_> = {
            let mut queue = self.0.lock();
            for delivery in deliveries.into_iter().rev() {
                match delivery.payload {
                    Ok(payload) => {
                        if let Some(Unsettled { key, .. }) = delivery.ticket.settle() {
                            gone.extend(queue.put_back(payload, key).err());
                        }
                    }
                    Err(error) => {
                        let queued = delivery.meta.enqueued.elapsed();
                        failed.push(Answer::new(delivery.ticket, Err(error), queued));
                    }
                }
            }
            // Whoever is woken may be held up by its handler: each request wakes another.
            iter::from_fn(|| queue.next_sleeper()).take(count).collect()
        };
        others.into_iter().for_each(Waker::wake);
        drop(gone);
        if !failed.is_empty() {
            self.end(None, failed);
        }
    }

    /// Ends requests, each with its answer.
    fn end(
        &self,
        batch: Option<&Arc<BatchInfo>>,
        mut answers: Vec<Answer<Resp, MemoryTicket<Req, Resp>>>,
    ) {
        {
            let mut queue = self.0.lock();
            for Answer { ticket, .. } in &mut answers {
                if let Some(unsettled) = &mut ticket.0 {
                    unsettled.ended = queue.end(unsettled.key);
                }
            }
            queue.drained(answers.len());
        }
        // Dropped last: a response may take its time, or panic.
        let mut unread = Vec::new();
        for (position, answer) in (0..).zip(answers) {
            let Some(slot) = answer.ticket.settle().and_then(|unsettled| unsettled.ended) else {
                continue;
            };
            let batch = batch.filter(|_| slot.meta.wants_info);
            let info = batch.map(|batch| ItemInfo::new(Arc::clone(batch), position, answer.queued));
            unread.extend(slot.complete(answer.outcome, info));
        }
    }
}

impl<Req, Resp> Consumer<Req, Resp> for MemoryConsumer<Req, Resp>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    type Ticket = MemoryTicket<Req, Resp>;

    async fn recv(
        &self,
        into: &mut Vec<Delivery<Req, Self::Ticket>>,
        max: usize,
        _wait: Duration,
    ) -> Result<bool> {
        Recv::new(&self.0, into, max).await
    }

    fn queued(&self) -> usize {
        self.0.lock().queued()
    }

    fn is_abandoned(&self, ticket: &Self::Ticket) -> bool {
        let key = ticket.key();
        key.is_some_and(|key| self.0.is_abandoned(key))
    }

    fn start<'a>(&self, tickets: impl Iterator<Item = &'a Self::Ticket>, at: Instant) {
        let mut queue = self.0.lock();
        let keys = tickets.filter_map(MemoryTicket::key);
        keys.for_each(|key| queue.start(key, at));
    }

    /// Ready when it returns: nothing is awaited.
    fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<Answer<Resp, Self::Ticket>>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.end(batch.as_ref(), answers);
        ready(Ok(()))
    }

    /// Ready when it returns: nothing is awaited.
    fn release(
        &self,
        deliveries: Vec<Delivery<Req, Self::Ticket>>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.put_back(deliveries);
        ready(Ok(()))
    }
}

impl<Req, Resp> Drop for MemoryConsumer<Req, Resp> {
    fn drop(&mut self) {
        self.0.detach();
    }
}

impl<Req, Resp> Unsettled<Req, Resp> {
    #[cold]
    fn lost(self) {
        let (slot, consumers) = {
            let mut queue = self.shared.lock();
            // One that has ended has left its key to another.
            let slot = self.ended.or_else(|| queue.end(self.key));
            (slot, queue.consumers())
        };
        let Some(slot) = slot else {
            return;
        };
        // Its own processor may still be counted: it lets its tickets go before its consumer.
        let kind = if consumers > 1 {
            ErrorKind::Lost
        } else {
            ErrorKind::Closed
        };
        let error = Error::new(kind, "its processor went away before it had answered");
        slot.fail(error);
    }
}

impl<Req, Resp> Drop for MemoryTicket<Req, Resp> {
    #[inline]
    fn drop(&mut self) {
        if let Some(unsettled) = self.0.take() {
            unsettled.lost();
        }
    }
}

impl<Req, Resp> fmt::Debug for MemoryConsumer<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryConsumer").finish_non_exhaustive()
    }
}

impl<Req, Resp> fmt::Debug for MemoryTicket<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTicket").finish_non_exhaustive()
    }
}
