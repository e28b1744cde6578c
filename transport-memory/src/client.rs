//! The caller's side: entering requests and waiting for their outcomes.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use dynamic_batcher::{CallMeta, Reply, Result, Transport};

use crate::config::MemoryConfig;
use crate::shared::{Entered, Shared};
use crate::slot::Slot;

/// The transport within one process: a queue that values are moved through.
///
/// Requests and responses are of any `Send + 'static` type; nothing is serialised or copied.
/// Clones are handles of the same queue. A clone given to a [`Batcher`](dynamic_batcher::Batcher)
/// sends, one given to a [`BatchProcessor`](dynamic_batcher::BatchProcessor) serves; any number of
/// each share it.
///
/// # Lifecycle
///
/// When the last handle is dropped (a processor keeps none), the processors finish what is there
/// and end. When the last processor goes, the requests that wait end at once with
/// [`Closed`](dynamic_batcher::ErrorKind::Closed), those that it was running too (with
/// [`Lost`](dynamic_batcher::ErrorKind::Lost) if other processors are left), and so does what is
/// sent afterwards, until another attaches. Before the first one attaches, requests wait.
///
/// # Deadlines
///
/// One timer ends every request at its deadline, whatever its processor is doing: to a
/// millisecond or two while fewer than a thousand requests wait, later by 50 ms at most. It is a
/// task on the runtime of the callers (one on each, if there are several), so a call has to be made
/// within a tokio runtime that keeps time, and that somebody drives; it is refused with
/// [`Config`](dynamic_batcher::ErrorKind::Config) elsewhere. (A runtime without time is found by a panic
/// of tokio's, which is caught: the program's panic hook sees it, and one built with `panic = "abort"`
/// ends.)
///
/// # Ordering
///
/// Requests are delivered in the order in which they were sent, those that a processor gave back
/// before the others.
///
/// # Examples
///
/// ```
/// use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
/// use dynamic_batcher_memory::MemoryTransport;
///
/// /// Neither `Clone` nor serialisable.
/// struct Ask(String);
///
/// # #[tokio::main]
/// # async fn main() -> dynamic_batcher::Result<()> {
/// let transport = MemoryTransport::default();
/// let batcher: Batcher<Ask, usize> = Batcher::new(transport.clone());
/// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
/// let _processor = BatchProcessor::spawn(transport, policy, |batch: Vec<Ask>| {
///     batch.iter().map(|ask| ask.0.len()).collect::<Vec<_>>()
/// });
/// assert_eq!(batcher.send(Ask("how long?".into())).await?, 9);
/// # Ok(())
/// # }
/// ```
pub struct MemoryTransport<Req, Resp>(Arc<Handle<Req, Resp>>);

/// What the clones of a transport share; its end is the end of the last of them.
struct Handle<Req, Resp>(Arc<Shared<Req, Resp>>);

impl<Req, Resp> MemoryTransport<Req, Resp> {
    /// Makes a transport of its own queue.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        Self(Arc::new(Handle(Arc::new(Shared::new(&config)))))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<Req, Resp>> {
        &self.0.0
    }
}

impl<Req, Resp> Default for MemoryTransport<Req, Resp> {
    fn default() -> Self {
        Self::new(MemoryConfig::default())
    }
}

impl<Req, Resp> Clone for MemoryTransport<Req, Resp> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Req, Resp> fmt::Debug for MemoryTransport<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport").finish_non_exhaustive()
    }
}

impl<Req, Resp> Drop for Handle<Req, Resp> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<Req, Resp> Transport<Req, Resp> for MemoryTransport<Req, Resp>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    fn call(&self, req: Req, meta: CallMeta) -> impl Future<Output = Result<Reply<Resp>>> + Send {
        Call {
            shared: self.shared(),
            meta,
            stage: Stage::New(req),
        }
    }

    fn call_many(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> impl Future<Output = Vec<Result<Reply<Resp>>>> + Send {
        CallMany {
            shared: self.shared(),
            meta,
            requests: Some(reqs),
            calls: Vec::new(),
            first_waiting: 0,
        }
    }
}

/// Asks for the outcome of a request that waits.
fn poll_outcome<Req, Resp>(
    slot: &Arc<Slot<Resp>>,
    shared: &Arc<Shared<Req, Resp>>,
    deadline: Instant,
    cx: &mut Context<'_>,
) -> Poll<Result<Reply<Resp>>>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    if let Poll::Ready(outcome) = slot.poll(cx) {
        return Poll::Ready(outcome);
    }
    match shared.ensure_timer(deadline) {
        Ok(()) => Poll::Pending,
        // Without a timer it could wait for ever.
        Err(error) => {
            shared.abandon([slot].into_iter());
            Poll::Ready(Err(error))
        }
    }
}

/// The future of a call, kept small: a batcher that does not know its transport allocates large ones.
/// Nothing in it is pinned.
struct Call<'a, Req, Resp> {
    shared: &'a Arc<Shared<Req, Resp>>,
    meta: CallMeta,
    stage: Stage<Req, Resp>,
}

enum Stage<Req, Resp> {
    New(Req),
    Waiting(Arc<Slot<Resp>>),
    Over,
}

impl<Req, Resp> Future for Call<'_, Req, Resp>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    type Output = Result<Reply<Resp>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.get_mut();
        if let Stage::Waiting(slot) = &call.stage {
            let outcome = poll_outcome(slot, call.shared, call.meta.deadline, cx);
            if outcome.is_ready() {
                call.stage = Stage::Over;
            }
            return outcome;
        }
        // A call is not polled after its outcome.
        let Stage::New(request) = mem::replace(&mut call.stage, Stage::Over) else {
            return Poll::Pending;
        };
        let slot = call.shared.enter(request, call.meta, cx.waker())?;
        // It has the waker already.
        call.stage = Stage::Waiting(slot);
        Poll::Pending
    }
}

impl<Req, Resp> Unpin for Call<'_, Req, Resp> {}

impl<Req, Resp> Drop for Call<'_, Req, Resp> {
    fn drop(&mut self) {
        if let Stage::Waiting(slot) = &self.stage {
            self.shared.abandon([slot].into_iter());
        }
    }
}

/// One of many calls.
enum OneOfMany<Resp> {
    Waiting(Arc<Slot<Resp>>),
    /// `None` once the outcome has been handed out.
    Ended(Option<Result<Reply<Resp>>>),
}

impl<Resp> OneOfMany<Resp> {
    fn new(entered: Entered<Resp>) -> Self {
        match entered {
            Ok(slot) => Self::Waiting(slot),
            Err(refused) => Self::Ended(Some(Err(refused))),
        }
    }

    fn waiting(&self) -> Option<&Arc<Slot<Resp>>> {
        match self {
            Self::Waiting(slot) => Some(slot),
            Self::Ended(_) => None,
        }
    }

    fn take(&mut self) -> Option<Result<Reply<Resp>>> {
        match self {
            Self::Waiting(_) => None,
            Self::Ended(outcome) => outcome.take(),
        }
    }
}

/// The future of many calls, which are looked at in order: only the first that still waits has the
/// waker, so that the whole costs one wake-up a batch or so, and one look at each.
struct CallMany<'a, Req, Resp> {
    shared: &'a Arc<Shared<Req, Resp>>,
    meta: CallMeta,
    /// `None` once they are sent.
    requests: Option<Vec<Req>>,
    calls: Vec<OneOfMany<Resp>>,
    first_waiting: usize,
}

impl<Req, Resp> Future for CallMany<'_, Req, Resp>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    type Output = Vec<Result<Reply<Resp>>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let many = self.get_mut();
        if let Some(requests) = many.requests.take() {
            let (entered, refused) = many.shared.enter_many(requests, many.meta);
            many.calls = entered.into_iter().map(OneOfMany::new).collect();
            // Where that panics, the calls are abandoned with this future.
            drop(refused);
        }
        while let Some(call) = many.calls.get_mut(many.first_waiting) {
            if let Some(slot) = call.waiting() {
                match poll_outcome(slot, many.shared, many.meta.deadline, cx) {
                    Poll::Ready(outcome) => *call = OneOfMany::Ended(Some(outcome)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            many.first_waiting += 1;
        }
        Poll::Ready(many.calls.iter_mut().filter_map(OneOfMany::take).collect())
    }
}

impl<Req, Resp> Unpin for CallMany<'_, Req, Resp> {}

impl<Req, Resp> Drop for CallMany<'_, Req, Resp> {
    fn drop(&mut self) {
        let mut waiting = self.calls.iter().filter_map(OneOfMany::waiting).peekable();
        if waiting.peek().is_some() {
            self.shared.abandon(waiting);
        }
    }
}
