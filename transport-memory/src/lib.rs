//! The in-process transport of `dynamic-batcher`: a queue that values are moved through.
//!
//! No server, no serialisation, no copy of a payload; any `Send + 'static` type. For services that
//! batch within one process, and for unit tests of code that is to run over another transport: all
//! behave alike, and the transport is one line.
//!
//! - [`spawn`]: batcher and running processor in one call, for the commonest use.
//! - [`MemoryTransport`]: the transport, whose clones are given to batchers and processors.
//! - [`MemoryConfig`]: how many requests it takes, and what happens to more.
//!
//! # Overload
//!
//! A full queue refuses ([`OnFull::Reject`]) with
//! [`QueueFull`](dynamic_batcher::ErrorKind::QueueFull), and tells each refused caller a time after
//! which to try again, from the measured rate at which requests leave: 100 ms for each until there is one,
//! so that who is refused at the very beginning may be so once more. From then on who keeps to it finds
//! room nine times in ten and better, even while others push: those times form a line, and newcomers do
//! not overtake it: while the next of those times is still to come, they are refused from half of
//! [`max_queue`](MemoryConfig#structfield.max_queue) on. With [`OnFull::Wait`] nobody is refused, and
//! the queue has no limit.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod config;
mod queue;
mod recv;
mod shared;
mod sleepers;
mod slot;
mod source;
mod timer;

pub use client::MemoryTransport;
pub use config::MemoryConfig;
pub use dynamic_batcher::OnFull;
pub use source::{MemoryConsumer, MemoryTicket};

use dynamic_batcher::{BatchProcessor, Batcher, IntoOutcome, ProcessorPolicy};

/// Gives a batcher and a running processor for a policy and a function: the whole of dynamic
/// batching within one process in one call.
///
/// The function has one of the forms that [`BatchProcessor::spawn`] takes. For anything beyond
/// (a queue limit, several processors, a blocking function, a handler with state) make a
/// [`MemoryTransport`] and give a clone of it to each side.
///
/// # Panics
///
/// As [`BatchProcessor::spawn`]: outside a tokio runtime.
///
/// # Examples
///
/// ```
/// use dynamic_batcher::{BatchPolicy, WhenIdle};
///
/// # #[tokio::main]
/// # async fn main() -> dynamic_batcher::Result<()> {
/// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
/// let (batcher, processor) = dynamic_batcher_memory::spawn(policy, |batch: Vec<f64>| {
///     batch.into_iter().map(f64::sqrt).collect::<Vec<_>>()
/// });
/// assert_eq!(batcher.send(9.0).await?, 3.0);
/// # drop(processor);
/// # Ok(())
/// # }
/// ```
pub fn spawn<Req, Resp, F, R, M>(
    policy: impl Into<ProcessorPolicy<Req>>,
    handler: F,
) -> (Batcher<Req, Resp>, BatchProcessor<Req, Resp>)
where
    Req: Send + 'static,
    Resp: Send + 'static,
    F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
    R: IntoOutcome<Resp, M> + 'static,
    M: 'static,
{
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    (batcher, BatchProcessor::spawn(transport, policy, handler))
}
