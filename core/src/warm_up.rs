//! Sample batches that a processor's handlers serve before its first request.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, select, try_join_all};
use tokio::task::yield_now;
use tokio::time::Instant;
use tracing::Span;

use crate::control::{Control, Order};
use crate::error::{Error, ErrorKind, Result};
use crate::handler::{BatchContext, Outputs};
use crate::instance::{Instance, catch};
use crate::isolate::call;
use crate::meta::{BatchId, CallMeta};
use crate::policy::Samples;

/// Warms all instances up, if there are samples. Returns early when there is another order than to
/// serve.
pub(crate) async fn warm_up<Req, Resp, I>(
    instances: &mut [I],
    samples: Option<&Samples<Req>>,
    control: &Control,
) -> Result<()>
where
    I: Instance<Req, Resp>,
{
    let Some(samples) = samples else {
        return Ok(());
    };
    let ordered = poll_fn(|cx| {
        control.listen(cx);
        match control.order() {
            Order::Serve => Poll::Pending,
            Order::Drain(_) | Order::Stop => Poll::Ready(()),
        }
    });
    let instances = instances.iter_mut();
    let warm = try_join_all(instances.map(|instance| warm_up_one(instance, samples)));
    match select(ordered, warm).await {
        Either::Left(_) => Ok(()),
        Either::Right((warm, _)) => warm.map(|_| ()),
    }
}

async fn warm_up_one<Req, Resp, I>(instance: &mut I, samples: &Samples<Req>) -> Result<()>
where
    I: Instance<Req, Resp>,
{
    instance.recover().await;
    if !instance.is_usable() {
        return Err(Error::new(ErrorKind::Panic, "while it was made"));
    }
    for batch in catch(|| samples())? {
        if batch.is_empty() {
            let text = "a sample batch of warm_up is empty, allowed is one request or more";
            return Err(Error::new(ErrorKind::Config, text));
        }
        let metas = batch.iter().map(|_| CallMeta::new(Duration::MAX)).collect();
        let context = BatchContext::new(BatchId::new(0, 0), Instant::now(), metas);
        match call(instance, Ok(batch), &context, None, &Span::none())
            .await
            .outputs
        {
            Outputs::All(_) => {}
            Outputs::Each(outputs) => {
                for output in outputs {
                    output?;
                }
            }
            Outputs::Failed(error) => return Err(error),
        }
        // As between two other batches, others have their turn.
        yield_now().await;
    }
    Ok(())
}
