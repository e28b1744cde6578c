//! A handler by remote control: the case decides when each batch ends, and how, so that
//! interleavings are forced and not waited for.

use dynamic_batcher::{BatchContext, Error, Handler, Outcome};
use tokio::sync::{mpsc, oneshot};

use crate::payload::{Request, Response};
use crate::stage::answer_all;

/// The handler. Its clones report to the same [`Controls`].
#[derive(Clone)]
pub(crate) struct Controlled(mpsc::UnboundedSender<Running>);

/// Where the batches that have started arrive.
pub(crate) struct Controls(mpsc::UnboundedReceiver<Running>);

/// A batch that runs until it is told how to end. If it is dropped untold, it runs for ever.
pub(crate) struct Running {
    pub(crate) requests: Vec<Request>,
    pub(crate) context: BatchContext,
    end: oneshot::Sender<Outcome<Response>>,
}

impl Controlled {
    pub(crate) fn pair() -> (Self, Controls) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Controls(receiver))
    }
}

impl Handler<Request, Response> for Controlled {
    async fn run(&mut self, requests: Vec<Request>, context: &BatchContext) -> Outcome<Response> {
        let (end, ended) = oneshot::channel();
        let running = Running {
            requests,
            context: context.clone(),
            end,
        };
        // A case that no longer looks wants no end of it.
        let _ = self.0.send(running);
        match ended.await {
            Ok(outcome) => outcome,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Controls {
    /// Waits for the next batch to start.
    pub(crate) async fn next(&mut self) -> Running {
        self.0.recv().await.expect("the handler lives")
    }

    /// A batch that has started already.
    pub(crate) fn started(&mut self) -> Option<Running> {
        self.0.try_recv().ok()
    }
}

impl Running {
    /// The numbers of its requests, in order.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.requests.iter().map(|request| request.id).collect()
    }

    /// Ends it with the right responses.
    pub(crate) fn answer(self) {
        let outcome = answer_all(self.requests).into();
        // Its processor may have given it up.
        let _ = self.end.send(outcome);
    }

    /// Ends it with an error for all its requests.
    pub(crate) fn fail(self, error: Error) {
        self.end_with(Outcome::failed(error));
    }

    /// Ends it as told.
    pub(crate) fn end_with(self, outcome: Outcome<Response>) {
        let _ = self.end.send(outcome);
    }
}
