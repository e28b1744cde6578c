//! `tower-batch-control`: a tower service that is given single requests, and is told when to flush.
//!
//! Its documentation and the example in its tests: the inner service keeps what it is given, and runs
//! it when it is flushed, on another thread when it computes; `max_batches` "is an upper bound on the
//! number of batches in the queue, and the number of concurrently executing batches", so as many as
//! its queue takes, or 1 where one may run at a time. A batch of 64 is flushed when it is full, anything
//! less after `max_latency`, which cannot be switched off; zero is the least. Where its example boxes
//! each answer and sends one result to all, here each caller has a oneshot, and nothing is boxed.

use std::future::poll_fn;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use tokio::task::{JoinHandle, spawn_blocking};
use tower_batch_control::{Batch, BatchControl, RequestWeight};
use tower_service::Service;

use crate::inproc::drive::{Ask, Drive};
use crate::inproc::job::Job;
use crate::inproc::workload::{BATCH_SIZE, Mode};

/// Its own limit of batches in the queue.
const MOST_BATCHES: usize = 64;

pub(crate) async fn run<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let max_latency = match mode {
        Mode::AtOnce => Duration::ZERO,
        Mode::Window(window) => window,
    };
    let max_batches = if J::BLOCKS { 1 } else { MOST_BATCHES };
    let gather = Gather::<J>::new();
    let batch = Batch::new(gather, BATCH_SIZE.get(), max_batches, max_latency);
    drive.drive::<J, _>(batch).await
}

/// A request, of a type of this crate.
pub(crate) struct Item<T>(T);

impl<T> RequestWeight for Item<T> {}

/// What is to be run at the next flush.
struct Gather<J: Job> {
    requests: Vec<J::Request>,
    callers: Vec<oneshot::Sender<J::Response>>,
}

impl<J: Job> Gather<J> {
    fn new() -> Self {
        Self {
            requests: Vec::with_capacity(BATCH_SIZE.get()),
            callers: Vec::with_capacity(BATCH_SIZE.get()),
        }
    }

    /// The handler, and its answers to those who wait.
    fn run(self) {
        for (response, caller) in J::handle(self.requests).into_iter().zip(self.callers) {
            // A caller may be gone at the end of a run.
            let _ = caller.send(response);
        }
    }
}

impl<J: Job> Service<BatchControl<Item<J::Request>>> for Gather<J> {
    /// `None` of a flush.
    type Response = Option<J::Response>;
    type Error = RecvError;
    type Future = Answer<J::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, control: BatchControl<Item<J::Request>>) -> Answer<J::Response> {
        match control {
            BatchControl::Item(Item(request)) => {
                let (caller, answered) = oneshot::channel();
                self.requests.push(request);
                self.callers.push(caller);
                Answer::Item(answered)
            }
            BatchControl::Flush => {
                let batch = replace(self, Self::new());
                if J::BLOCKS {
                    return Answer::Flushing(spawn_blocking(|| batch.run()));
                }
                batch.run();
                Answer::Flushed
            }
        }
    }
}

/// The answer to a request or to a flush.
enum Answer<T> {
    Item(oneshot::Receiver<T>),
    Flushing(JoinHandle<()>),
    Flushed,
}

impl<T> Future for Answer<T> {
    type Output = Result<Option<T>, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Item(answered) => Pin::new(answered).poll(cx).map_ok(Some),
            Self::Flushing(task) => {
                ready!(Pin::new(task).poll(cx)).expect("the handler does not panic");
                Poll::Ready(Ok(None))
            }
            Self::Flushed => Poll::Ready(Ok(None)),
        }
    }
}

impl<J: Job> Ask<J> for Batch<Gather<J>, Item<J::Request>> {
    async fn ask(&mut self, request: J::Request) -> J::Response {
        let ready = poll_fn(|cx| self.poll_ready(cx)).await;
        ready.expect("the worker lives as long as its clients");
        let answered = self.call(Item(request)).await;
        let answered = answered.expect("the worker answers");
        answered.expect("what was asked was no flush")
    }
}
