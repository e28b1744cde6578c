//! The six forms of a handler, each for a good request and, where it can, for a bad one.

use dynamic_batcher::{BatchProcessor, ErrorKind, IntoOutcome};

use crate::case::{Case, case};
use crate::payload::{Request, Response};
use crate::stage::{Stage, answer_all, assert_answered, error_of, when_idle};

pub(crate) const CASES: &[Case] = &[
    case!(G6, a_handler_may_return_responses),
    case!(G6, a_handler_may_return_results),
    case!(G6, a_handler_may_return_a_result_for_the_batch),
    case!(G6, a_handler_may_return_a_future_of_responses),
    case!(G6, a_handler_may_return_a_future_of_results),
    case!(G6, a_handler_may_return_a_future_of_a_result_for_the_batch),
];

const GOOD: u64 = 1;
const BAD: u64 = 2;

type Each = Vec<Result<Response, &'static str>>;
type Whole = Result<Vec<Response>, Box<dyn std::error::Error + Send + Sync>>;

#[expect(clippy::needless_pass_by_value, reason = "has the form of a handler")]
fn each(batch: Vec<Request>) -> Each {
    let each = batch.iter().map(|request| match request.id {
        BAD => Err("bad"),
        _ => Ok(Response::to(request)),
    });
    each.collect()
}

fn whole(batch: Vec<Request>) -> Whole {
    if batch.iter().any(|request| request.id == BAD) {
        return Err("bad".into());
    }
    Ok(answer_all(batch))
}

async fn assert_serves<R, M>(
    stage: Stage,
    handler: impl Fn(Vec<Request>) -> R + Send + Sync + 'static,
    can_refuse: bool,
) where
    R: IntoOutcome<Response, M> + 'static,
    M: 'static,
{
    let _processor = BatchProcessor::spawn(stage.source.clone(), when_idle(1), handler);
    assert_answered(stage.send(GOOD), GOOD).await;
    if can_refuse {
        let error = error_of(stage.send(BAD)).await;
        assert_eq!(error.kind(), ErrorKind::Handler);
        assert_eq!(error.to_string(), "the handler failed: bad");
    }
}

async fn a_handler_may_return_responses(stage: Stage) {
    assert_serves(stage, answer_all, false).await;
}

async fn a_handler_may_return_results(stage: Stage) {
    assert_serves(stage, each, true).await;
}

async fn a_handler_may_return_a_result_for_the_batch(stage: Stage) {
    assert_serves(stage, whole, true).await;
}

async fn a_handler_may_return_a_future_of_responses(stage: Stage) {
    assert_serves(stage, |batch| async { answer_all(batch) }, false).await;
}

async fn a_handler_may_return_a_future_of_results(stage: Stage) {
    assert_serves(stage, |batch| async { each(batch) }, true).await;
}

async fn a_handler_may_return_a_future_of_a_result_for_the_batch(stage: Stage) {
    assert_serves(stage, |batch| async { whole(batch) }, true).await;
}
