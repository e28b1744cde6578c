//! Transports that break one promise each: the in-process transport with a fault built in.

use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::{
    Answer, BatchInfo, CallMeta, Consumer, Delivery, Reply, Result, Source, Transport,
};
use dynamic_batcher_conformance::{Capabilities, Fixture, OpenOptions, Request, Response};
use dynamic_batcher_memory::{MemoryConsumer, MemoryTicket, MemoryTransport};
use tokio::time::Instant;

use crate::fixtures::{Memory, in_process};

/// What is wrong with a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Two callers get each other's response.
    SwappedAnswers,
    /// What is given back is neither delivered again nor ended.
    LostRelease,
    /// Each request is delivered twice.
    DoubledDelivery,
    /// Timeouts come a second late.
    LateDeadline,
    /// An error does not reach its caller.
    SwallowedError,
    /// Nobody learns that a caller has gone.
    UnseenAbandonment,
    /// Nobody learns that a handler has started.
    UnseenStart,
    /// More is delivered than was asked for.
    GreedyRead,
    /// The window counts from the delivery.
    ForgottenEnqueueTime,
    /// A read that is dropped takes what it would have found with it.
    LossyRead,
    /// All requests seem to have come in the same place of the same batch.
    WrongPosition,
    /// Consumers keep the transport open.
    ConsumerKeepsHandle,
}

/// The in-process transport with a fault.
#[derive(Clone)]
pub(crate) struct Faulty {
    inner: MemoryTransport<Request, Response>,
    fault: Fault,
}

impl Transport<Request, Response> for Faulty {
    async fn call(&self, request: Request, mut meta: CallMeta) -> Result<Reply<Response>> {
        if self.fault == Fault::LateDeadline {
            meta.deadline += Duration::from_secs(1);
        }
        let mut reply = self.inner.call(request, meta).await?;
        if self.fault == Fault::WrongPosition
            && let Some(info) = &mut reply.info
        {
            info.position = 0;
        }
        Ok(reply)
    }
}

impl Source<Request, Response> for Faulty {
    type Consumer = FaultyConsumer;

    fn attach(&self) -> FaultyConsumer {
        let keeps_handle = self.fault == Fault::ConsumerKeepsHandle;
        FaultyConsumer {
            inner: self.inner.attach(),
            fault: self.fault,
            _handle: keeps_handle.then(|| self.inner.clone()),
        }
    }
}

pub(crate) struct FaultyConsumer {
    inner: MemoryConsumer<Request, Response>,
    fault: Fault,
    _handle: Option<MemoryTransport<Request, Response>>,
}

/// `None` for the second delivery of a request.
type Ticket = Option<MemoryTicket<Request, Response>>;

impl Consumer<Request, Response> for FaultyConsumer {
    type Ticket = Ticket;

    async fn recv(
        &self,
        into: &mut Vec<Delivery<Request, Ticket>>,
        max: usize,
        wait: Duration,
    ) -> Result<bool> {
        let max = match self.fault {
            Fault::GreedyRead => max * 2,
            _ => max,
        };
        let mut found = Vec::new();
        let open = self.inner.recv(&mut found, max, wait).await?;
        if self.fault == Fault::LossyRead {
            tokio::task::yield_now().await;
        }
        for Delivery {
            payload,
            ticket,
            mut meta,
            ..
        } in found
        {
            if self.fault == Fault::ForgottenEnqueueTime {
                meta.enqueued = Instant::now();
            }
            if self.fault == Fault::DoubledDelivery {
                into.push(Delivery::new(payload.clone(), None, meta));
            }
            into.push(Delivery::new(payload, Some(ticket), meta));
        }
        Ok(open)
    }

    fn is_abandoned(&self, ticket: &Ticket) -> bool {
        let seen = self.fault != Fault::UnseenAbandonment;
        seen && ticket
            .as_ref()
            .is_some_and(|ticket| self.inner.is_abandoned(ticket))
    }

    fn start<'a>(&self, tickets: impl Iterator<Item = &'a Ticket>, at: Instant) {
        if self.fault != Fault::UnseenStart {
            self.inner.start(tickets.flatten(), at);
        }
    }

    async fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        mut answers: Vec<Answer<Response, Ticket>>,
    ) -> Result<()> {
        if self.fault == Fault::SwappedAnswers
            && let [first, second, ..] = &mut answers[..]
        {
            std::mem::swap(&mut first.outcome, &mut second.outcome);
        }
        let mut sent = Vec::new();
        for Answer {
            ticket,
            outcome,
            queued,
            ..
        } in answers
        {
            if self.fault == Fault::SwallowedError && outcome.is_err() {
                std::mem::forget(ticket);
            } else if let Some(ticket) = ticket {
                sent.push(Answer::new(ticket, outcome, queued));
            }
        }
        self.inner.reply(batch, sent).await
    }

    async fn release(&self, deliveries: Vec<Delivery<Request, Ticket>>) -> Result<()> {
        if self.fault == Fault::LostRelease {
            std::mem::forget(deliveries);
            return Ok(());
        }
        let given_back = deliveries.into_iter().filter_map(|delivery| {
            let ticket = delivery.ticket?;
            Some(Delivery::new(delivery.payload, ticket, delivery.meta))
        });
        self.inner.release(given_back.collect()).await
    }
}

pub(crate) struct FaultyMemory(pub(crate) Fault);

impl Fixture for FaultyMemory {
    type Transport = Faulty;
    type Source = Faulty;

    fn name(&self) -> &str {
        "faulty"
    }

    fn capabilities(&self) -> Capabilities {
        in_process()
    }

    async fn open(&self, options: OpenOptions) -> (Faulty, Faulty) {
        let (inner, _) = Memory.open(options).await;
        let faulty = Faulty {
            inner,
            fault: self.0,
        };
        (faulty.clone(), faulty)
    }
}
