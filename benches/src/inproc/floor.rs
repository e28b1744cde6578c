//! The least that the job can cost: a bare channel and no channel at all.

use std::thread;

use dynamic_batcher::DEFAULT_TIMEOUT;
use tokio::sync::{mpsc, oneshot};
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use crate::inproc::drive::Ask;
use crate::inproc::job::Job;
use crate::inproc::workload::BATCH_SIZE;

type Asked<J> = (<J as Job>::Request, oneshot::Sender<<J as Job>::Response>);

/// A channel of requests, each with a oneshot sender for its answer, and one task, or for a handler
/// that holds it one thread, which takes what is there: no deadlines, no limit, no handler's errors or
/// panics.
///
/// The channel is unbounded, which is the faster of tokio's: the number of callers is the bound.
/// Answers are sent as they are made, without the two lists of a batch.
pub(crate) struct Channel<J: Job>(mpsc::UnboundedSender<Asked<J>>);

impl<J: Job> Channel<J> {
    /// What answers ends with the last client.
    pub(crate) fn spawn() -> Self {
        let (requests, mut inbox) = mpsc::unbounded_channel();
        let mut batch = Vec::with_capacity(BATCH_SIZE.get());
        if J::BLOCKS {
            thread::spawn(move || {
                while inbox.blocking_recv_many(&mut batch, BATCH_SIZE.get()) > 0 {
                    Self::answer(&mut batch);
                }
            });
        } else {
            tokio::spawn(async move {
                while inbox.recv_many(&mut batch, BATCH_SIZE.get()).await > 0 {
                    Self::answer(&mut batch);
                }
            });
        }
        Self(requests)
    }

    fn answer(batch: &mut Vec<Asked<J>>) {
        J::enter(batch.len());
        for (request, caller) in batch.drain(..) {
            // A caller may be gone at the end of a run.
            let _ = caller.send(J::serve(request));
        }
    }
}

impl<J: Job> Clone for Channel<J> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<J: Job> Ask<J> for Channel<J> {
    async fn ask(&mut self, request: J::Request) -> J::Response {
        let (caller, answered) = oneshot::channel();
        if self.0.send((request, caller)).is_err() {
            panic!("the floor's task lives as long as its clients");
        }
        answered.await.expect("the floor's task answers")
    }
}

/// The channel with a timeout round each call. The fair floor: every call of ours has a deadline.
pub(crate) struct WithTimeout<J: Job>(pub(crate) Channel<J>);

impl<J: Job> Clone for WithTimeout<J> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<J: Job> Ask<J> for WithTimeout<J> {
    async fn ask(&mut self, request: J::Request) -> J::Response {
        let answered = timeout(DEFAULT_TIMEOUT, self.0.ask(request));
        answered.await.expect("the floor's task answers in time")
    }
}

/// The handler, called by the caller itself with its one request.
#[derive(Clone)]
pub(crate) struct Direct;

impl<J: Job> Ask<J> for Direct {
    async fn ask(&mut self, request: J::Request) -> J::Response {
        // As everything of tokio's that could wait does: a task that never gives way would keep its
        // worker from the timer, and from the other callers.
        consume_budget().await;
        J::enter(1);
        J::serve(request)
    }
}
