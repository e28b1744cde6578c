//! A transport without its type: what a [`Batcher`](crate::Batcher) holds by default.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use stackfuture::StackFuture;

use crate::error::Result;
use crate::meta::{CallMeta, Reply};
use crate::transport::Transport;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The largest future of a call that takes no memory of its own, in bytes: in process, one with a
/// request of 32 bytes. More would be moved with each call, of whichever transport.
const INLINE: usize = size_of::<CallMeta>() + 48;

type CallFuture<'a, T> = StackFuture<'a, T, INLINE>;

/// Any [`Transport`] behind one pointer, so that code that sends need not name it.
///
/// A call whose future is small costs nothing for that: in process, one with a request of at most 32
/// bytes, aligned as a pointer is or less, and over Redis any. Any other costs one allocation, as does a
/// `call_many`. Clones share the transport.
pub struct AnyTransport<Req, Resp>(Arc<dyn ErasedTransport<Req, Resp>>);

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
        self.0.call_erased(req, meta)
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
        self.0.call_many_erased(reqs, meta)
    }
}

/// The object-safe twin of [`Transport`]: the same methods, their futures without their types.
trait ErasedTransport<Req, Resp>: Send + Sync {
    fn call_erased(&self, req: Req, meta: CallMeta) -> CallFuture<'_, Result<Reply<Resp>>>;

    fn call_many_erased(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> BoxFuture<'_, Vec<Result<Reply<Resp>>>>;
}

impl<Req, Resp, T> ErasedTransport<Req, Resp> for T
where
    Req: Send + 'static,
    Resp: Send + 'static,
    T: Transport<Req, Resp>,
{
    fn call_erased(&self, req: Req, meta: CallMeta) -> CallFuture<'_, Result<Reply<Resp>>> {
        StackFuture::from_or_box(self.call(req, meta))
    }

    fn call_many_erased(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> BoxFuture<'_, Vec<Result<Reply<Resp>>>> {
        Box::pin(self.call_many(reqs, meta))
    }
}
