//! What the author of a transport provides: how to open one, and what it can know.

use std::num::NonZeroUsize;
use std::sync::Arc;

use dynamic_batcher::{Source, Transport};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::erased::AnySource;
use crate::payload::{Request, Response};

/// A transport under test.
pub trait Fixture: Send + Sync + 'static {
    /// The caller's side. The suite erases its type, so it runs through
    /// [`AnyTransport`](dynamic_batcher::AnyTransport) as most programs do.
    type Transport: Transport<Request, Response>;
    /// Where the suite's processors attach; may be of the same type.
    type Source: Source<Request, Response>;

    /// The first part of the trials' names.
    fn name(&self) -> &str;

    /// What this transport can know and do. A case that needs more is listed as ignored.
    fn capabilities(&self) -> Capabilities;

    /// Opens a transport that is empty and shares nothing with any other: each case gets its own,
    /// on a runtime of its own. The fixture must not keep a handle of it.
    ///
    /// # Panics
    ///
    /// May panic when it cannot: the case fails with that text.
    fn open(
        &self,
        options: OpenOptions,
    ) -> impl Future<Output = (Self::Transport, Self::Source)> + Send;
}

/// How a case wants its transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The most requests that may be in it, waiting or running. `None`: the transport's default.
    /// Asked for only if it has [`bounded_queue`](Capabilities::bounded_queue).
    pub max_queue: Option<NonZeroUsize>,
    /// What a send meets when that many are there.
    pub when_full: WhenFull,
}

/// What a send meets when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused.
    #[default]
    Reject,
    /// It waits. Asked for only if the transport has
    /// [`waits_when_full`](Capabilities::waits_when_full).
    Wait,
}

/// What a transport can know and do beyond what every transport must. The default is none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// All its time is tokio's, and nothing of it happens outside the runtime: its cases run on a
    /// paused clock, where hours take no time and times are exact. Not so with sockets, beside
    /// which a paused clock fires timeouts early.
    pub paused_clock: bool,
    /// It knows when no processor is attached any more, and ends its calls with `Closed` then.
    pub closes_with_last_processor: bool,
    /// It knows when no caller's handle is left, and ends its processors then.
    pub closes_with_last_batcher: bool,
    /// A processor can learn that a caller is gone after having read its request.
    pub sees_abandonment_after_read: bool,
    /// It can tell a caller whose time is up whether its request had been started by the processor
    /// that had read it. A transport that cannot says of all of them that they were.
    pub knows_what_has_started: bool,
    /// Responses come with the batch that they came from.
    pub gives_batch_info: bool,
    /// A handler's error arrives as the value that it was, not as its text alone.
    pub keeps_error_source: bool,
    /// [`OpenOptions::max_queue`] works: sends beyond it are refused with `QueueFull`.
    pub bounded_queue: bool,
    /// [`WhenFull::Wait`] works.
    pub waits_when_full: bool,
}

/// A fixture without its types: cases are compiled once, not once for each transport.
pub(crate) trait AnyFixture: Send + Sync {
    fn name(&self) -> &str;
    fn capabilities(&self) -> Capabilities;
    fn open(&self, options: OpenOptions) -> BoxFuture<'_, (Batcher, AnySource)>;
}

/// What the cases send with.
pub(crate) type Batcher = dynamic_batcher::Batcher<Request, Response>;

impl<F: Fixture> AnyFixture for F {
    fn name(&self) -> &str {
        Fixture::name(self)
    }

    fn capabilities(&self) -> Capabilities {
        Fixture::capabilities(self)
    }

    fn open(&self, options: OpenOptions) -> BoxFuture<'_, (Batcher, AnySource)> {
        let opened = Fixture::open(self, options);
        let erased =
            opened.map(|(transport, source)| (Batcher::new(transport), AnySource::new(source)));
        erased.boxed()
    }
}

pub(crate) type SharedFixture = Arc<dyn AnyFixture>;
