//! What one case plays on: an open transport, and the means to put processors to work on it.

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{
    BatchPolicy, BatchProcessor, BatchReport, CloseReason, Observer, ProcessorPolicy, Result,
    WhenIdle,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::controlled::{Controlled, Controls};
use crate::erased::AnySource;
use crate::fixture::Batcher;
use crate::payload::{Request, Response};

pub(crate) type Processor = BatchProcessor<Request, Response>;

/// Longer than any case takes: for windows that must not be what closes a batch.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3600);

/// An open transport. A case that wants to drop its last handle takes it apart.
pub(crate) struct Stage {
    pub(crate) batcher: Batcher,
    pub(crate) source: AnySource,
    pub(crate) clock: Clock,
}

/// The clock that a case runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    Paused,
    Real,
}

impl Clock {
    /// How late something may be that is due. On a paused clock the 100 ms that are promised; on
    /// the real one a busy machine's share is added.
    pub(crate) fn tolerance(self) -> Duration {
        match self {
            Self::Paused => Duration::from_millis(100),
            Self::Real => Duration::from_secs(3),
        }
    }

    /// How early something may be that is due: what says when a request was sent may be as coarse, in
    /// a server's milliseconds.
    pub(crate) fn grain(self) -> Duration {
        match self {
            Self::Paused => Duration::ZERO,
            Self::Real => Duration::from_millis(50),
        }
    }

    /// How late something may be that happens at once: less than anything a case waits for.
    pub(crate) fn at_once(self) -> Duration {
        match self {
            Self::Paused => Duration::from_millis(10),
            Self::Real => Duration::from_millis(2500),
        }
    }

    /// Lets everything happen that can happen now. On a paused clock a sleep ends only when all
    /// tasks wait, which makes this exact; a transport on real time has to use the time it gets.
    pub(crate) async fn settle(self) {
        let time = match self {
            Self::Paused => Duration::from_millis(2),
            Self::Real => Duration::from_millis(300),
        };
        sleep(time).await;
    }

    pub(crate) fn assert_at_once(self, since: Instant) {
        let took = since.elapsed();
        assert!(took <= self.at_once(), "took {took:?} instead of no time");
    }

    /// Asserts that `due` has passed since `since`, and not by much.
    pub(crate) fn assert_at(self, since: Instant, due: Duration) {
        let took = since.elapsed();
        assert!(
            took + self.grain() >= due,
            "{took:?} is before its time, {due:?}"
        );
        assert!(
            took <= due + self.tolerance(),
            "{took:?} is too late for {due:?}"
        );
    }
}

impl Stage {
    /// Starts a processor whose batches the case ends one by one.
    pub(crate) fn controlled(
        &self,
        policy: impl Into<ProcessorPolicy<Request>>,
    ) -> (Processor, Controls) {
        let (handler, controls) = Controlled::pair();
        let source = self.source.clone();
        (
            BatchProcessor::spawn_handler(source, policy, handler),
            controls,
        )
    }

    /// Starts a processor with `policy.instances` instances whose batches the case ends.
    pub(crate) fn controlled_each(
        &self,
        policy: impl Into<ProcessorPolicy<Request>>,
    ) -> (Processor, Controls) {
        let (handler, controls) = Controlled::pair();
        let source = self.source.clone();
        let processor = BatchProcessor::spawn_each(source, policy, move |_| handler.clone());
        (processor, controls)
    }

    /// Starts a processor that answers at once.
    pub(crate) fn answering(&self, policy: BatchPolicy) -> Processor {
        BatchProcessor::spawn(self.source.clone(), policy, answer_all)
    }

    /// Sends the request number `id` from a task of its own.
    pub(crate) fn send(&self, id: u64) -> Sending {
        send(&self.batcher, id)
    }

    /// Sends requests of these numbers, each from a task of its own.
    pub(crate) fn send_each(&self, ids: impl IntoIterator<Item = u64>) -> Vec<Sending> {
        ids.into_iter().map(|id| self.send(id)).collect()
    }
}

/// A call on a task of its own.
pub(crate) type Sending = JoinHandle<Result<Response>>;

pub(crate) fn send(batcher: &Batcher, id: u64) -> Sending {
    let batcher = batcher.clone();
    tokio::spawn(async move { batcher.send(Request::new(id)).await })
}

/// Asserts that the call ends with the response to the request number `id`.
pub(crate) async fn assert_answered(sending: Sending, id: u64) {
    let response = sending.await.expect("the sending task lives");
    assert_eq!(response.expect("answered"), Response::to(&Request::new(id)));
}

/// Asserts that the calls end with the responses to the requests of these numbers.
pub(crate) async fn assert_all_answered(
    sendings: impl IntoIterator<Item = Sending>,
    ids: impl IntoIterator<Item = u64>,
) {
    for (sending, id) in sendings.into_iter().zip(ids) {
        assert_answered(sending, id).await;
    }
}

/// The error that the call ends with.
pub(crate) async fn error_of(sending: Sending) -> dynamic_batcher::Error {
    sending
        .await
        .expect("the sending task lives")
        .expect_err("the call was to fail")
}

/// Gives up the call, and waits until it is gone.
pub(crate) async fn abandon(sending: Sending) {
    sending.abort();
    assert!(sending.await.is_err_and(|end| end.is_cancelled()));
}

/// The right responses.
#[expect(clippy::needless_pass_by_value, reason = "has the form of a handler")]
pub(crate) fn answer_all(batch: Vec<Request>) -> Vec<Response> {
    batch.iter().map(Response::to).collect()
}

/// As the settings want it.
pub(crate) fn size(size: usize) -> NonZeroUsize {
    NonZeroUsize::new(size).expect("not zero")
}

/// A policy whose windows do not run out: a batch is closed when it holds `batch_size`.
pub(crate) fn when_full(batch_size: usize) -> BatchPolicy {
    BatchPolicy::default()
        .batch_size(size(batch_size))
        .batch_time(FOR_EVER)
}

/// A policy of no waiting: an idle instance runs what is there.
pub(crate) fn when_idle(batch_size: usize) -> BatchPolicy {
    when_full(batch_size).when_idle(WhenIdle::Run)
}

/// Tells the case of each batch that has ended: its size and why it was closed.
pub(crate) struct Reports(mpsc::UnboundedSender<(usize, CloseReason)>);

impl Reports {
    pub(crate) fn pair() -> (Self, mpsc::UnboundedReceiver<(usize, CloseReason)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }
}

impl Observer for Reports {
    fn batch_ended(&self, report: &BatchReport<'_>) {
        // The case may have seen enough.
        let _ = self.0.send((report.info.size, report.info.reason));
    }
}

/// Waits until `condition` holds. What has not come after this long, by the case's clock, will not.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    const LONGEST: Duration = Duration::from_secs(40);
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < LONGEST,
            "what was waited for has not come"
        );
        sleep(Duration::from_millis(1)).await;
    }
}
