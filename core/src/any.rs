//! A transport without its type: what a [`Batcher`](crate::Batcher) holds by default.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::Result;
use crate::meta::{CallMeta, Reply};
use crate::transport::Transport;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any [`Transport`] behind one pointer, so that code that sends need not name it.
///
/// Costs one allocation a call, and one for all of a `call_many`. Clones share the transport.
pub struct AnyTransport<Req, Resp>(Arc<dyn BoxedTransport<Req, Resp>>);

impl<Req: 'static, Resp: 'static> AnyTransport<Req, Resp> {
    /// Erases the type of `transport`.
    #[must_use]
    pub fn new(transport: impl Transport<Req, Resp>) -> Self
    where
        Req: Send,
        Resp: Send,
    {
        Self(Arc::new(transport))
    }
}

impl<Req, Resp> Clone for AnyTransport<Req, Resp> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Req, Resp> fmt::Debug for AnyTransport<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyTransport").finish_non_exhaustive()
    }
}

impl<Req: 'static, Resp: 'static> Transport<Req, Resp> for AnyTransport<Req, Resp> {
    fn call(&self, req: Req, meta: CallMeta) -> impl Future<Output = Result<Reply<Resp>>> + Send {
        self.0.call_boxed(req, meta)
    }

    fn call_many(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> impl Future<Output = Vec<Result<Reply<Resp>>>> + Send
    where
        Req: Send,
        Resp: Send,
    {
        self.0.call_many_boxed(reqs, meta)
    }
}

/// The object-safe twin of [`Transport`]: the same methods with boxed futures.
trait BoxedTransport<Req, Resp>: Send + Sync {
    fn call_boxed(&self, req: Req, meta: CallMeta) -> BoxFuture<'_, Result<Reply<Resp>>>;

    fn call_many_boxed(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> BoxFuture<'_, Vec<Result<Reply<Resp>>>>;
}

impl<Req, Resp, T> BoxedTransport<Req, Resp> for T
where
    Req: Send + 'static,
    Resp: Send + 'static,
    T: Transport<Req, Resp>,
{
    fn call_boxed(&self, req: Req, meta: CallMeta) -> BoxFuture<'_, Result<Reply<Resp>>> {
        Box::pin(self.call(req, meta))
    }

    fn call_many_boxed(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> BoxFuture<'_, Vec<Result<Reply<Resp>>>> {
        Box::pin(self.call_many(reqs, meta))
    }
}
