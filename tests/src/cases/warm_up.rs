//! What a handler serves before the first request.

use std::time::Duration;

use dynamic_batcher::{BatchPolicy, Error, ErrorKind, Outcome, Phase, ProcessorPolicy};
use tokio::time::{Instant, sleep};

use crate::case::{Case, case};
use crate::controlled::Running;
use crate::payload::{Request, Response};
use crate::stage::{Stage, assert_answered, size, when_idle};

pub(crate) const CASES: &[Case] = &[
    case!(Forming, samples_run_before_the_first_request),
    case!(Forming, every_instance_is_warmed_up),
    case!(Forming, a_warm_up_has_no_time_limit).needs(|has| has.paused_clock),
    case!(G6, a_warm_up_that_fails_is_the_error_of_ready),
    case!(
        G6,
        what_a_processor_that_failed_to_warm_up_left_is_served_by_another
    ),
    case!(G8, a_drain_ends_a_warm_up),
];

/// A batch of one, then one of two.
fn samples() -> Vec<Vec<Request>> {
    vec![
        vec![Request::new(100)],
        vec![Request::new(101), Request::new(102)],
    ]
}

fn warmed(policy: BatchPolicy) -> ProcessorPolicy<Request> {
    policy.warm_up(samples)
}

/// In their order, and counted nowhere. What is sent meanwhile waits.
async fn samples_run_before_the_first_request(stage: Stage) {
    let (processor, mut controls) = stage.controlled(warmed(when_idle(4)));
    let sending = stage.send(1);
    for ids in [vec![100], vec![101, 102]] {
        let batch = controls.next().await;
        assert_eq!(batch.ids(), ids);
        assert_eq!(batch.context.id().sequence(), 0);
        stage.clock.settle().await;
        let status = processor.status();
        assert_eq!((status.phase, status.waiting), (Phase::Starting, 0));
        batch.answer();
    }
    processor.ready().await.expect("it is warm");
    let batch = controls.next().await;
    assert_eq!(batch.ids(), [1]);
    batch.answer();
    assert_answered(sending, 1).await;
    let totals = processor.status().totals;
    assert_eq!((totals.batches, totals.succeeded), (1, 1));
}

/// Side by side; the processor is ready when the last of them is.
async fn every_instance_is_warmed_up(stage: Stage) {
    let policy = when_idle(4).instances(size(2));
    let (processor, mut controls) = stage.controlled_each(warmed(policy));
    let first_of_each = [controls.next().await, controls.next().await];
    first_of_each.into_iter().for_each(Running::answer);
    controls.next().await.answer();
    let last = controls.next().await;
    assert_eq!(last.ids(), [101, 102]);
    stage.clock.settle().await;
    assert_eq!(processor.status().phase, Phase::Starting);
    last.answer();
    processor.ready().await.expect("both are warm");
}

async fn a_warm_up_has_no_time_limit(stage: Stage) {
    const LIMIT: Duration = Duration::from_millis(100);
    let policy = when_idle(1).run_timeout(LIMIT);
    let (processor, mut controls) = stage.controlled(warmed(policy));
    for _ in 0..2 {
        let batch = controls.next().await;
        sleep(LIMIT * 10).await;
        batch.answer();
    }
    processor.ready().await.expect("it may take its time");
}

/// However it fails: the batch, one of its requests, by a panic, by a wrong number of outputs.
async fn a_warm_up_that_fails_is_the_error_of_ready(stage: Stage) {
    let item = Error::handler("a bad sample");
    let each = vec![
        Ok(Response::to(&Request::new(100))),
        Err::<Response, _>(item),
    ];
    let failures: [(Outcome<Response>, ErrorKind); 3] = [
        (Outcome::failed(Error::handler("cold")), ErrorKind::Handler),
        (each.into(), ErrorKind::Handler),
        (
            Vec::<Response>::new().into(),
            ErrorKind::WrongNumberOfOutputs {
                expected: 2,
                actual: 0,
            },
        ),
    ];
    for (outcome, kind) in failures {
        let (processor, mut controls) = stage.controlled(warmed(when_idle(4)));
        controls.next().await.answer();
        controls.next().await.end_with(outcome);
        let error = processor.ready().await.expect_err("it failed");
        assert_eq!(error.kind(), kind, "{error}");
        let error = processor.ended().await.expect_err("it failed");
        assert_eq!(error.kind(), kind, "{error}");
    }

    let panics = |_| -> Vec<Response> { std::panic::resume_unwind(Box::new("on purpose")) };
    let source = stage.source.clone();
    let processor = dynamic_batcher::BatchProcessor::spawn(source, warmed(when_idle(4)), panics);
    let error = processor.ready().await.expect_err("it failed");
    assert_eq!(error.kind(), ErrorKind::Panic, "{error}");

    let empty = when_idle(4).warm_up(|| vec![Vec::new()]);
    let (processor, _controls) = stage.controlled(empty);
    let error = processor.ready().await.expect_err("it failed");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

/// It has read nothing, so nothing is lost.
async fn what_a_processor_that_failed_to_warm_up_left_is_served_by_another(stage: Stage) {
    let (processor, mut controls) = stage.controlled(warmed(when_idle(1)));
    let (_other, mut others) = stage.controlled(when_idle(1));
    let sending = stage.send(1);
    let batch = others.next().await;
    controls.next().await.fail(Error::handler("cold"));
    processor.ended().await.expect_err("it failed");
    batch.answer();
    assert_answered(sending, 1).await;
    let sending = stage.send(2);
    others.next().await.answer();
    assert_answered(sending, 2).await;
}

async fn a_drain_ends_a_warm_up(stage: Stage) {
    let (processor, mut controls) = stage.controlled(warmed(when_idle(1)));
    let _running = controls.next().await;
    let start = Instant::now();
    let report = processor.drain(Duration::from_secs(30)).await;
    let report = report.expect("it had not ended");
    assert!(report.ended && report.abandoned == 0, "{report:?}");
    stage.clock.assert_at_once(start);
    let error = processor.ready().await.expect_err("it has ended");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}
