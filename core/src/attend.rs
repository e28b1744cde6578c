//! An instance at what it has to do next: run a batch, or recover.

use tracing::Span;

use crate::batch::{OpenBatch, RunBatch};
use crate::instance::Instance;
use crate::isolate;
use crate::policy::RunPolicy;

/// An instance that can take the next batch, or cannot yet.
pub(crate) struct Attended<I, Resp, T> {
    pub(crate) instance: I,
    /// What it has run, and the span of that.
    pub(crate) batch: Option<(RunBatch<Resp, T>, Span)>,
    /// The instance has to recover first: the batch was given up while it ran, or the handler has
    /// panicked. Its callers do not wait for that.
    pub(crate) recovers: bool,
}

/// Runs a batch on an instance; without one, waits until the instance can run any.
pub(crate) async fn attend<Req, Resp, I, T>(
    mut instance: I,
    policy: RunPolicy<Req>,
    batch: Option<OpenBatch<Req, T>>,
) -> Attended<I, Resp, T>
where
    I: Instance<Req, Resp>,
{
    let Some(OpenBatch {
        requests,
        tickets,
        context,
        reason,
        span,
    }) = batch
    else {
        instance.recover().await;
        return Attended {
            instance,
            batch: None,
            recovers: false,
        };
    };
    let ran = isolate::run(&mut instance, policy, requests, &context, &span).await;
    let recovers = ran.cut_short || !instance.is_usable();
    let batch = RunBatch {
        tickets,
        took: context.started().elapsed(),
        context,
        reason,
        ran,
    };
    Attended {
        recovers,
        instance,
        batch: Some((batch, span)),
    }
}
