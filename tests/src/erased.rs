//! A source without its type: object-safe twins of `Source` and `Consumer`.
//!
//! Library code has no use for them, since a processor is generic over its source and erases
//! itself. The suite has: its cases start processors of many kinds, and compiling each of them for
//! each transport would take minutes.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::{Answer, BatchInfo, Consumer, Delivery, Result, Source};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::payload::{Request, Response};

type AnyDelivery = Delivery<Request, AnyTicket>;
type AnyAnswer = Answer<Response, AnyTicket>;

#[derive(Clone)]
pub(crate) struct AnySource(Arc<dyn BoxedSource>);

pub(crate) struct AnyConsumer(Box<dyn BoxedConsumer>);

pub(crate) struct AnyTicket(Box<dyn Any + Send>);

impl AnySource {
    pub(crate) fn new(source: impl Source<Request, Response>) -> Self {
        Self(Arc::new(source))
    }
}

impl Source<Request, Response> for AnySource {
    type Consumer = AnyConsumer;

    fn attach(&self) -> AnyConsumer {
        self.0.attach_boxed()
    }
}

impl Consumer<Request, Response> for AnyConsumer {
    type Ticket = AnyTicket;

    async fn recv(&self, into: &mut Vec<AnyDelivery>, max: usize, wait: Duration) -> Result<bool> {
        self.0.recv_boxed(into, max, wait).await
    }

    fn is_abandoned(&self, ticket: &AnyTicket) -> bool {
        self.0.is_abandoned_boxed(ticket)
    }

    fn close(&self) {
        self.0.close_boxed();
    }

    fn start<'a>(&self, mut tickets: impl Iterator<Item = &'a AnyTicket>, at: Instant) {
        self.0.start_boxed(&mut tickets, at);
    }

    fn reply(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<AnyAnswer>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.0.reply_boxed(batch, answers)
    }

    fn release(&self, deliveries: Vec<AnyDelivery>) -> impl Future<Output = Result<()>> + Send {
        self.0.release_boxed(deliveries)
    }

    fn detach(self) -> impl Future<Output = Result<()>> + Send {
        self.0.detach_boxed()
    }
}

trait BoxedSource: Send + Sync {
    fn attach_boxed(&self) -> AnyConsumer;
}

impl<S: Source<Request, Response>> BoxedSource for S {
    fn attach_boxed(&self) -> AnyConsumer {
        AnyConsumer(Box::new(self.attach()))
    }
}

trait BoxedConsumer: Send + Sync {
    fn recv_boxed<'a>(
        &'a self,
        into: &'a mut Vec<AnyDelivery>,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<bool>>;
    fn is_abandoned_boxed(&self, ticket: &AnyTicket) -> bool;
    fn close_boxed(&self);
    fn start_boxed(&self, tickets: &mut dyn Iterator<Item = &AnyTicket>, at: Instant);
    fn reply_boxed(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<AnyAnswer>,
    ) -> BoxFuture<'_, Result<()>>;
    fn release_boxed(&self, deliveries: Vec<AnyDelivery>) -> BoxFuture<'_, Result<()>>;
    fn detach_boxed(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

impl<C: Consumer<Request, Response>> BoxedConsumer for C {
    fn recv_boxed<'a>(
        &'a self,
        into: &'a mut Vec<AnyDelivery>,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<bool>> {
        let received = async move {
            let mut found = Vec::new();
            let open = self.recv(&mut found, max, wait).await?;
            into.extend(found.into_iter().map(|delivery| {
                let ticket = AnyTicket(Box::new(delivery.ticket));
                Delivery::new(delivery.payload, ticket, delivery.meta)
            }));
            Ok(open)
        };
        received.boxed()
    }

    fn is_abandoned_boxed(&self, ticket: &AnyTicket) -> bool {
        self.is_abandoned(borrowed::<C>(ticket))
    }

    fn close_boxed(&self) {
        self.close();
    }

    fn start_boxed(&self, tickets: &mut dyn Iterator<Item = &AnyTicket>, at: Instant) {
        self.start(tickets.map(borrowed::<C>), at);
    }

    fn reply_boxed(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<AnyAnswer>,
    ) -> BoxFuture<'_, Result<()>> {
        let typed = answers
            .into_iter()
            .map(|answer| Answer::new(owned::<C>(answer.ticket), answer.outcome, answer.queued));
        self.reply(batch, typed.collect()).boxed()
    }

    fn release_boxed(&self, deliveries: Vec<AnyDelivery>) -> BoxFuture<'_, Result<()>> {
        let typed = deliveries.into_iter().map(|delivery| {
            Delivery::new(delivery.payload, owned::<C>(delivery.ticket), delivery.meta)
        });
        self.release(typed.collect()).boxed()
    }

    fn detach_boxed(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        (*self).detach().boxed()
    }
}

const FOREIGN: &str = "a ticket goes back to the kind of consumer that it came from";

fn borrowed<C: Consumer<Request, Response>>(ticket: &AnyTicket) -> &C::Ticket {
    ticket.0.downcast_ref().expect(FOREIGN)
}

fn owned<C: Consumer<Request, Response>>(ticket: AnyTicket) -> C::Ticket {
    *ticket.0.downcast().expect(FOREIGN)
}
