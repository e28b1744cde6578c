//! A transport of your own: a channel of requests that carry the sender of their answer.
//!
//! `cargo run --example own_transport`
//!
//! A batcher and a processor work over anything that implements `Transport` and `Source`. This one
//! is built of tokio's channels alone and keeps all that those traits ask for.
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchInfo, BatchPolicy, BatchProcessor, Batcher, CallMeta, Consumer, Delivery, Error,
    ErrorKind, ItemInfo, Reply, Result, Source, Transport,
};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// A request on its way. It is sent as the processor receives it.
type Sent<Req, Resp> = Delivery<Req, Ticket<Resp>>;

/// The processor's end of one call.
#[derive(Debug)]
pub struct Ticket<Resp> {
    /// `None` once the call has ended.
    reply: Option<oneshot::Sender<Result<Reply<Resp>>>>,
    /// When its handler started; the caller reads it at its deadline.
    started: Arc<OnceLock<Instant>>,
    processors: watch::Receiver<Option<usize>>,
}

/// The handle for both sides. The queue is closed when the last clone is dropped.
#[derive(Debug)]
pub struct ChannelTransport<Req, Resp> {
    requests: mpsc::UnboundedSender<Sent<Req, Resp>>,
    shared: Arc<Shared<Req, Resp>>,
}

/// One processor's side. It holds no sender of requests, so it does not keep the queue open.
#[derive(Debug)]
pub struct ChannelConsumer<Req, Resp>(Arc<Shared<Req, Resp>>);

#[derive(Debug)]
struct Shared<Req, Resp> {
    queue: Mutex<Queue<Req, Resp>>,
    given_back: mpsc::UnboundedSender<Sent<Req, Resp>>,
    /// How many are attached; `None` before the first, when requests wait for it.
    processors: watch::Sender<Option<usize>>,
}

#[derive(Debug)]
struct Queue<Req, Resp> {
    fresh: mpsc::UnboundedReceiver<Sent<Req, Resp>>,
    given_back: mpsc::UnboundedReceiver<Sent<Req, Resp>>,
}

impl<Req: Send + 'static, Resp: Send + 'static> Transport<Req, Resp>
    for ChannelTransport<Req, Resp>
{
    async fn call(&self, req: Req, meta: CallMeta) -> Result<Reply<Resp>> {
        let closed = || Error::new(ErrorKind::Closed, "no processor is left");
        let mut processors = self.shared.processors.subscribe();
        if *processors.borrow() == Some(0) {
            return Err(closed());
        }
        let (reply, answer) = oneshot::channel();
        let started = Arc::new(OnceLock::new());
        let ticket = Ticket {
            reply: Some(reply),
            started: Arc::clone(&started),
            processors: processors.clone(),
        };
        // The receiver lives in what `self` shares, so sending cannot fail.
        let _ = self.requests.send(Delivery::new(Ok(req), ticket, meta));
        // However this ends, and if it is dropped, `answer` goes: so the ticket knows.
        tokio::select! {
            biased;
            Ok(outcome) = answer => outcome,
            _ = processors.wait_for(|count| *count == Some(0)) => Err(closed()),
            () = sleep_until(meta.deadline) => {
                let until = started.get().unwrap_or(&meta.deadline);
                let queued = until.duration_since(meta.enqueued);
                Err(Error::timeout(queued, started.get().is_some(), ""))
            }
        }
    }
}

impl<Req: Send + 'static, Resp: Send + 'static> Source<Req, Resp> for ChannelTransport<Req, Resp> {
    type Consumer = ChannelConsumer<Req, Resp>;

    fn attach(&self) -> Self::Consumer {
        let processors = &self.shared.processors;
        processors.send_modify(|count| *count = Some(count.unwrap_or(0) + 1));
        ChannelConsumer(Arc::clone(&self.shared))
    }
}

impl<Req: Send + 'static, Resp: Send + 'static> Consumer<Req, Resp> for ChannelConsumer<Req, Resp> {
    type Ticket = Ticket<Resp>;

    async fn recv(
        &self,
        into: &mut Vec<Delivery<Req, Self::Ticket>>,
        max: usize,
        _wait: Duration,
    ) -> Result<bool> {
        // One consumer at a time waits for requests, the others wait for their turn at the lock.
        let mut queue = self.0.queue.lock().await;
        let Queue { fresh, given_back } = &mut *queue;
        // What was given back is older, so it goes first.
        let first = tokio::select! {
            biased;
            Some(delivery) = given_back.recv() => delivery,
            delivery = fresh.recv() => match delivery {
                Some(delivery) => delivery,
                None => return Ok(false),
            },
        };
        // Nothing is awaited from here on, so nothing is lost if this future is dropped.
        let next = || given_back.try_recv().or_else(|_| fresh.try_recv()).ok();
        let more = std::iter::from_fn(next).take(max - 1);
        into.extend(std::iter::once(first).chain(more));
        Ok(true)
    }

    fn is_abandoned(&self, ticket: &Self::Ticket) -> bool {
        ticket.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn start<'a>(&self, tickets: impl Iterator<Item = &'a Self::Ticket>, at: Instant) {
        tickets.for_each(|ticket| {
            ticket.started.get_or_init(|| at);
        });
    }

    async fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<Answer<Resp, Self::Ticket>>,
    ) -> Result<()> {
        for (position, mut answer) in (0..).zip(answers) {
            let info = |batch| ItemInfo::new(batch, position, answer.queued);
            let info = batch.clone().map(info);
            answer
                .ticket
                .end(answer.outcome.map(|value| Reply::new(value, info)));
        }
        Ok(())
    }

    async fn release(&self, deliveries: Vec<Delivery<Req, Self::Ticket>>) -> Result<()> {
        for delivery in deliveries {
            // As above, the receiver is there.
            let _ = self.0.given_back.send(delivery);
        }
        Ok(())
    }
}

impl<Resp> Ticket<Resp> {
    fn end(&mut self, outcome: Result<Reply<Resp>>) {
        if let Some(reply) = self.reply.take() {
            // Fails when the caller has gone, which is no error.
            let _ = reply.send(outcome);
        }
    }
}

impl<Resp> Drop for Ticket<Resp> {
    /// The request went to the handler and is gone, so it cannot be delivered again. Its processor
    /// still counts as attached if it is going too: tickets go before their consumer.
    fn drop(&mut self) {
        let others_left = *self.processors.borrow() > Some(1);
        let kind = if others_left {
            ErrorKind::Lost
        } else {
            ErrorKind::Closed
        };
        self.end(Err(Error::new(kind, "its processor went away")));
    }
}

impl<Req, Resp> Drop for ChannelConsumer<Req, Resp> {
    fn drop(&mut self) {
        let processors = &self.0.processors;
        processors.send_modify(|count| *count = count.map(|count| count - 1));
    }
}

impl<Req, Resp> Default for ChannelTransport<Req, Resp> {
    fn default() -> Self {
        let (requests, fresh) = mpsc::unbounded_channel();
        let (given_back, returned) = mpsc::unbounded_channel();
        let queue = Queue {
            fresh,
            given_back: returned,
        };
        Self {
            requests,
            shared: Arc::new(Shared {
                queue: Mutex::new(queue),
                given_back,
                processors: watch::Sender::new(None),
            }),
        }
    }
}

impl<Req, Resp> Clone for ChannelTransport<Req, Resp> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let transport = ChannelTransport::default();
    let batcher: Batcher<u64, u64> = Batcher::new(transport.clone());
    let policy = BatchPolicy::default().batch_time(Duration::from_millis(5));
    let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<u64>| {
        println!("a batch of {}", batch.len());
        batch.into_iter().map(|n| n * n).collect::<Vec<_>>()
    });

    for (number, square) in (0..).zip(batcher.send_many((0..100).collect()).await) {
        assert_eq!(square?, number * number);
    }
    println!("100 numbers squared, each answer checked");

    processor.drain(Duration::from_secs(5)).await?;
    let error = batcher
        .send(1)
        .await
        .expect_err("nobody is there to answer");
    println!("after the last processor has left: {error}");
    Ok(())
}
