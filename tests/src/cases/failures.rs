//! A handler that fails: its batch's callers learn how, and the next batch is served.

use std::error::Error as _;
use std::fmt;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dynamic_batcher::{BatchProcessor, Error, ErrorKind, IntoOutcome, Now};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::case::{Case, case};
use crate::payload::{Request, Response};
use crate::stage::{
    Processor, Stage, answer_all, assert_all_answered, assert_answered, error_of, when_full,
    when_idle,
};

pub(crate) const CASES: &[Case] = &[
    case!(G6, a_panic_fails_its_batch_alone),
    case!(G6, a_panic_after_an_await_fails_its_batch_alone),
    case!(G6, a_panic_on_a_thread_fails_its_batch_alone).blocks_threads(),
    case!(G6, too_few_outputs_fail_their_batch_alone),
    case!(G6, too_many_outputs_fail_their_batch_alone),
    case!(G6, an_error_for_the_batch_reaches_all_its_callers),
    case!(G6, an_error_keeps_its_source).needs(|has| has.keeps_error_source),
    case!(G6, an_error_for_an_item_reaches_its_caller_alone),
    case!(G6, a_handler_that_runs_too_long_is_given_up),
    case!(
        G6,
        a_run_that_panics_as_it_is_given_up_costs_its_handler_alone
    ),
    case!(G6, a_failing_batch_leaves_the_one_beside_it_alone),
];

/// A handler that does `fail` with its first batch and serves the others.
fn failing_once<R>(
    stage: &Stage,
    fail: impl Fn(Vec<Request>) -> R + Send + Sync + 'static,
    serve: impl Fn(Vec<Request>) -> R + Send + Sync + 'static,
) -> Processor
where
    R: IntoOutcome<Response, Now> + 'static,
{
    let batches = AtomicUsize::new(0);
    let handler = move |batch| match batches.fetch_add(1, Ordering::Relaxed) {
        0 => fail(batch),
        _ => serve(batch),
    };
    BatchProcessor::spawn(stage.source.clone(), when_full(3), handler)
}

/// Sends a batch that is to fail and one that is not; gives the three errors.
async fn errors_of_the_first_batch(stage: &Stage) -> [Error; 3] {
    let [a, b, c] = [0, 1, 2].map(|id| stage.send(id));
    let errors = [error_of(a).await, error_of(b).await, error_of(c).await];
    assert_all_answered(stage.send_each(3..6), 3..6).await;
    errors
}

fn assert_all(errors: [Error; 3], kind: ErrorKind, text: &str) {
    for error in errors {
        assert_eq!(error.kind(), kind);
        assert_eq!(error.to_string(), text);
    }
}

/// A panic as `panic!` makes it, without the report on the console: this one is meant.
pub(super) fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"))
}

async fn assert_panic_fails_its_batch_alone(stage: &Stage) {
    let errors = errors_of_the_first_batch(stage).await;
    assert_all(errors, ErrorKind::Panic, "the handler panicked: on purpose");
}

async fn a_panic_fails_its_batch_alone(stage: Stage) {
    let _processor = failing_once(&stage, |_| panic_quietly(), answer_all);
    assert_panic_fails_its_batch_alone(&stage).await;
}

async fn a_panic_after_an_await_fails_its_batch_alone(stage: Stage) {
    let handler = |batch: Vec<Request>| async move {
        yield_now().await;
        if batch.iter().any(|request| request.id == 0) {
            panic_quietly();
        }
        answer_all(batch)
    };
    let _processor = BatchProcessor::spawn(stage.source.clone(), when_full(3), handler);
    assert_panic_fails_its_batch_alone(&stage).await;
}

async fn a_panic_on_a_thread_fails_its_batch_alone(stage: Stage) {
    let handler = |batch: Vec<Request>| {
        if batch.iter().any(|request| request.id == 0) {
            panic_quietly();
        }
        answer_all(batch)
    };
    let _processor = BatchProcessor::spawn_blocking(stage.source.clone(), when_full(3), handler);
    assert_panic_fails_its_batch_alone(&stage).await;
}

/// Which output belongs to whom is not known then, so all callers are told, with both numbers.
async fn too_few_outputs_fail_their_batch_alone(stage: Stage) {
    let one_short = |mut batch: Vec<Request>| {
        batch.pop();
        answer_all(batch)
    };
    let _processor = failing_once(&stage, one_short, answer_all);
    let errors = errors_of_the_first_batch(&stage).await;
    let kind = ErrorKind::WrongNumberOfOutputs {
        expected: 3,
        actual: 2,
    };
    let text = "the handler returned 2 outputs for a batch of 3 requests";
    assert_all(errors, kind, text);
}

async fn too_many_outputs_fail_their_batch_alone(stage: Stage) {
    let one_more = |mut batch: Vec<Request>| {
        batch.push(Request::new(9));
        let answers = answer_all(batch).into_iter().map(Ok::<_, String>);
        answers.collect::<Vec<_>>()
    };
    let serve = |batch| answer_all(batch).into_iter().map(Ok).collect();
    let _processor = failing_once(&stage, one_more, serve);
    let errors = errors_of_the_first_batch(&stage).await;
    let kind = ErrorKind::WrongNumberOfOutputs {
        expected: 3,
        actual: 4,
    };
    let text = "the handler returned 4 outputs for a batch of 3 requests";
    assert_all(errors, kind, text);
}

async fn an_error_for_the_batch_reaches_all_its_callers(stage: Stage) {
    let fail = |_| Err("no device".to_owned());
    let _processor = failing_once(&stage, fail, |batch| Ok(answer_all(batch)));
    let errors = errors_of_the_first_batch(&stage).await;
    assert_all(errors, ErrorKind::Handler, "the handler failed: no device");
}

#[derive(Debug, PartialEq)]
struct OwnError(u64);

impl fmt::Display for OwnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "own error {}", self.0)
    }
}

impl std::error::Error for OwnError {}

/// The handler's own error can be had back from a caller's.
async fn an_error_keeps_its_source(stage: Stage) {
    let _processor = failing_once(&stage, |_| Err(OwnError(7)), |batch| Ok(answer_all(batch)));
    for error in errors_of_the_first_batch(&stage).await {
        let source = error.source().and_then(|source| source.downcast_ref());
        assert_eq!(source, Some(&OwnError(7)), "{error:?}");
    }
}

async fn an_error_for_an_item_reaches_its_caller_alone(stage: Stage) {
    let handler = |batch: Vec<Request>| -> Vec<Result<Response, String>> {
        let each = batch.iter().map(|request| match request.id {
            1 => Err("not this one".to_owned()),
            _ => Ok(Response::to(request)),
        });
        each.collect()
    };
    let _processor = BatchProcessor::spawn(stage.source.clone(), when_full(3), handler);
    let [first, bad, last] = [0, 1, 2].map(|id| stage.send(id));
    let error = error_of(bad).await;
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert_eq!(error.to_string(), "the handler failed: not this one");
    assert_all_answered([first, last], [0, 2]).await;
}

/// A policy's `run_timeout` ends the batch for its callers, and the instance serves the next one.
async fn a_handler_that_runs_too_long_is_given_up(stage: Stage) {
    const LIMIT: Duration = Duration::from_secs(4);
    let (_processor, mut controls) = stage.controlled(when_full(3).run_timeout(LIMIT));
    let sendings = stage.send_each(0..3);
    let stuck = controls.next().await;
    let start = Instant::now();
    for sending in sendings {
        let error = error_of(sending).await;
        let kind = ErrorKind::HandlerTimeout { run_timeout: LIMIT };
        assert_eq!(error.kind(), kind);
    }
    let took = start.elapsed();
    let most = LIMIT + stage.clock.tolerance();
    assert!(took >= LIMIT * 9 / 10 && took <= most, "{took:?}");

    let sendings = stage.send_each(3..6);
    controls.next().await.answer();
    assert_all_answered(sendings, 3..6).await;
    drop(stuck);
}

/// What a run holds may panic as it is dropped.
async fn a_run_that_panics_as_it_is_given_up_costs_its_handler_alone(stage: Stage) {
    struct Held;
    impl Drop for Held {
        fn drop(&mut self) {
            panic_quietly();
        }
    }
    const LIMIT: Duration = Duration::from_secs(1);
    let policy = when_idle(1).run_timeout(LIMIT);
    let _processor =
        BatchProcessor::spawn(stage.source.clone(), policy, |batch: Vec<Request>| async {
            if batch.iter().any(|request| request.id == 0) {
                let _held = Held;
                pending::<()>().await;
            }
            answer_all(batch)
        });
    let error = error_of(stage.send(0)).await;
    let kind = ErrorKind::HandlerTimeout { run_timeout: LIMIT };
    assert_eq!(error.kind(), kind);
    assert_answered(stage.send(1), 1).await;
}

/// Two batches run in one processor; one fails, the other does not notice.
async fn a_failing_batch_leaves_the_one_beside_it_alone(stage: Stage) {
    const TWO: std::num::NonZeroUsize = std::num::NonZeroUsize::new(2).expect("not zero");
    let (_processor, mut controls) = stage.controlled_each(when_idle(1).instances(TWO));
    let well = stage.send(0);
    let running = controls.next().await;
    let bad = stage.send(1);
    controls.next().await.fail(Error::handler("no device"));
    assert_eq!(error_of(bad).await.kind(), ErrorKind::Handler);
    running.answer();
    assert_all_answered([well], [0]).await;
}
