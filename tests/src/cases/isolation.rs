//! A bad request that fails its whole batch: where the policy says so it is found, and the others
//! are served.

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{
    BatchContext, BatchProcessor, BatchReport, Error, ErrorKind, Handler, Observer, OnBatchError,
    Outcome, ProcessorPolicy,
};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::failures::panic_quietly;
use super::info::infos;
use crate::case::{Case, case};
use crate::payload::{Request, Response};
use crate::stage::{Stage, answer_all, assert_all_answered, error_of, when_full};

pub(crate) const CASES: &[Case] = &[
    case!(G6, a_bad_request_that_fails_its_batch_is_found),
    case!(G6, a_bad_request_that_panics_is_found),
    case!(G6, a_bad_request_that_panics_on_a_thread_is_found).blocks_threads(),
    case!(G6, a_bad_request_that_spoils_the_number_of_outputs_is_found),
    case!(G6, a_bad_request_is_found_one_by_one),
    case!(G6, several_bad_requests_are_found),
    case!(G6, by_default_a_bad_request_fails_its_batch),
    case!(G6, an_observer_is_told_of_the_runs),
    case!(G6, each_run_of_a_batch_has_its_time),
    case!(G8, a_drain_gives_up_a_batch_that_runs_in_parts),
    case!(Info, a_batch_that_ran_in_parts_is_one_batch).needs(|has| has.gives_batch_info),
];

const SIZE: u64 = 8;
/// The number of the bad request.
const BAD: u64 = 5;

fn policy(on_batch_error: OnBatchError) -> ProcessorPolicy<Request> {
    when_full(SIZE as usize).on_batch_error(on_batch_error)
}

fn has_bad(batch: &[Request]) -> bool {
    batch.iter().any(|request| request.id == BAD)
}

/// Fails each batch with the bad request.
fn refuse_bad(batch: Vec<Request>) -> Result<Vec<Response>, String> {
    match has_bad(&batch) {
        true => Err(format!("bad among {}", batch.len())),
        false => Ok(answer_all(batch)),
    }
}

fn panic_at_bad(batch: Vec<Request>) -> Vec<Response> {
    if has_bad(&batch) {
        panic_quietly();
    }
    answer_all(batch)
}

fn leave_out_bad(mut batch: Vec<Request>) -> Vec<Response> {
    batch.retain(|request| request.id != BAD);
    answer_all(batch)
}

/// Sends a batch with one bad request; asserts that the others are answered and gives its error.
async fn error_of_the_bad_one(stage: &Stage) -> Error {
    let mut sendings = stage.send_each(0..SIZE);
    let bad = sendings.remove(BAD as usize);
    let error = error_of(bad).await;
    let others = (0..SIZE).filter(|id| *id != BAD);
    assert_all_answered(sendings, others).await;
    error
}

async fn a_bad_request_that_fails_its_batch_is_found(stage: Stage) {
    let source = stage.source.clone();
    let _processor = BatchProcessor::spawn(source, policy(OnBatchError::Bisect), refuse_bad);
    let error = error_of_the_bad_one(&stage).await;
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert_eq!(error.to_string(), "the handler failed: bad among 1");
}

/// Serves batches until it has panicked.
struct Fragile {
    panicked: bool,
}

impl Handler<Request, Response> for Fragile {
    async fn run(&mut self, batch: Vec<Request>, _: &BatchContext) -> Outcome<Response> {
        assert!(!self.panicked, "is made anew after a panic");
        self.panicked = has_bad(&batch);
        yield_now().await;
        panic_at_bad(batch).into()
    }
}

async fn a_bad_request_that_panics_is_found(stage: Stage) {
    let _processor =
        BatchProcessor::spawn_each(stage.source.clone(), policy(OnBatchError::Bisect), |_| {
            Fragile { panicked: false }
        });
    let error = error_of_the_bad_one(&stage).await;
    assert_eq!(error.kind(), ErrorKind::Panic);
    assert_eq!(error.to_string(), "the handler panicked: on purpose");
}

async fn a_bad_request_that_panics_on_a_thread_is_found(stage: Stage) {
    let source = stage.source.clone();
    let policy = policy(OnBatchError::Bisect);
    let _processor = BatchProcessor::spawn_blocking(source, policy, panic_at_bad);
    let error = error_of_the_bad_one(&stage).await;
    assert_eq!(error.kind(), ErrorKind::Panic);
    assert_eq!(error.to_string(), "the handler panicked: on purpose");
}

/// Here the instance is a task of its own.
async fn a_bad_request_that_spoils_the_number_of_outputs_is_found(stage: Stage) {
    const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");
    let policy = when_full(SIZE as usize)
        .instances(TWO)
        .on_batch_error(OnBatchError::Bisect);
    let _processor = BatchProcessor::spawn(stage.source.clone(), policy, leave_out_bad);
    let error = error_of_the_bad_one(&stage).await;
    let kind = ErrorKind::WrongNumberOfOutputs {
        expected: 1,
        actual: 0,
    };
    assert_eq!(error.kind(), kind);
}

async fn a_bad_request_is_found_one_by_one(stage: Stage) {
    let source = stage.source.clone();
    let _processor = BatchProcessor::spawn(source, policy(OnBatchError::Singles), refuse_bad);
    let error = error_of_the_bad_one(&stage).await;
    assert_eq!(error.to_string(), "the handler failed: bad among 1");
}

async fn several_bad_requests_are_found(stage: Stage) {
    let even_are_bad = |batch: Vec<Request>| {
        let ids: Vec<_> = batch.iter().map(|request| request.id).collect();
        match ids.iter().any(|id| id % 2 == 0) {
            true => Err(format!("bad: {ids:?}")),
            false => Ok(answer_all(batch)),
        }
    };
    let source = stage.source.clone();
    let _processor = BatchProcessor::spawn(source, policy(OnBatchError::Bisect), even_are_bad);
    for (sending, id) in stage.send_each(0..SIZE).into_iter().zip(0..) {
        if id % 2 == 0 {
            let text = error_of(sending).await.to_string();
            assert_eq!(text, format!("the handler failed: bad: [{id}]"));
        } else {
            assert_all_answered([sending], [id]).await;
        }
    }
}

async fn by_default_a_bad_request_fails_its_batch(stage: Stage) {
    let source = stage.source.clone();
    let _processor = BatchProcessor::spawn(source, policy(OnBatchError::FailAll), refuse_bad);
    for sending in stage.send_each(0..SIZE) {
        let text = error_of(sending).await.to_string();
        assert_eq!(text, "the handler failed: bad among 8");
    }
}

/// Tells of each batch what failed it, how often it was run again, and how many requests failed.
struct Reruns(mpsc::UnboundedSender<(Option<ErrorKind>, usize, usize)>);

impl Observer for Reruns {
    fn batch_ended(&self, report: &BatchReport<'_>) {
        // The case may have seen enough.
        let _ = self.0.send((report.error, report.reruns, report.failed));
    }
}

async fn an_observer_is_told_of_the_runs(stage: Stage) {
    let (sender, mut reports) = mpsc::unbounded_channel();
    let policy = when_full(SIZE as usize)
        .observer(Reruns(sender))
        .on_batch_error(OnBatchError::Singles);
    let _processor = BatchProcessor::spawn(stage.source.clone(), policy, refuse_bad);
    error_of_the_bad_one(&stage).await;
    let report = reports.recv().await.expect("the processor lives");
    assert_eq!(report, (Some(ErrorKind::Handler), SIZE as usize, 1));

    let sendings = stage.send_each(SIZE..SIZE * 2);
    assert_all_answered(sendings, SIZE..SIZE * 2).await;
    assert_eq!(reports.recv().await, Some((None, 0, 0)));
}

/// A policy's `run_timeout` is that of each run. One that passes it is the last, and the instance
/// serves the next batch.
async fn each_run_of_a_batch_has_its_time(stage: Stage) {
    const LIMIT: Duration = Duration::from_secs(4);
    let policy = when_full(4)
        .run_timeout(LIMIT)
        .on_batch_error(OnBatchError::Singles);
    let (_processor, mut controls) = stage.controlled(policy);
    let mut sendings: Vec<_> = stage.send_each(0..4).into_iter().map(Some).collect();
    let mut sending_of = |ids: &[u64]| sendings[ids[0] as usize].take().expect("runs alone once");
    let whole = controls.next().await;
    sleep(LIMIT * 2 / 3).await;
    whole.fail(Error::handler("too many"));
    let first = controls.next().await;
    let answered = sending_of(&first.ids());
    let id = first.ids();
    sleep(LIMIT * 2 / 3).await;
    first.answer();
    let stuck = controls.next().await;

    let kind = ErrorKind::HandlerTimeout { run_timeout: LIMIT };
    assert_eq!(error_of(sending_of(&stuck.ids())).await.kind(), kind);
    assert_all_answered([answered], id).await;
    for not_run_again in sendings.into_iter().flatten() {
        let text = error_of(not_run_again).await.to_string();
        assert_eq!(text, "the handler failed: too many");
    }
    let sendings = stage.send_each(4..8);
    controls.next().await.answer();
    assert_all_answered(sendings, 4..8).await;
    drop(stuck);
}

/// To a drain its parts are one batch that runs for long.
async fn a_drain_gives_up_a_batch_that_runs_in_parts(stage: Stage) {
    const DEADLINE: Duration = Duration::from_secs(2);
    let (processor, mut controls) = stage.controlled(policy(OnBatchError::Singles));
    let sendings = stage.send_each(0..SIZE);
    controls.next().await.fail(Error::handler("too many"));
    controls.next().await.answer();
    let stuck = controls.next().await;
    let start = Instant::now();
    let report = processor.drain(DEADLINE).await.expect("drained");
    let took = start.elapsed();
    assert!(took <= DEADLINE + stage.clock.tolerance(), "{took:?}");
    assert!(report.ended);
    let abandoned = SIZE as usize;
    assert_eq!((report.answered, report.abandoned), (0, abandoned));
    drop((stuck, sendings));
}

/// Its callers learn of the batch that was closed, not of the parts that it ran in.
async fn a_batch_that_ran_in_parts_is_one_batch(stage: Stage) {
    let at_most_two = |batch: Vec<Request>| match batch.len() {
        0..=2 => Ok(answer_all(batch)),
        _ => Err("too many"),
    };
    let source = stage.source.clone();
    let _processor = BatchProcessor::spawn(source, policy(OnBatchError::Bisect), at_most_two);
    let infos = infos(&stage, 0..SIZE).await;
    let mut positions: Vec<_> = infos.iter().map(|info| info.position).collect();
    positions.sort_unstable();
    assert!(positions.into_iter().eq(0..SIZE as u32));
    for info in &infos {
        assert_eq!(info.batch, infos[0].batch);
    }
    assert_eq!(infos[0].batch.size, SIZE as usize);
}
