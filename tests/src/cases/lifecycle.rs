//! How processors come and go, and what that means to callers.

use std::time::Duration;

use dynamic_batcher::{BatchProcessor, Error, ErrorKind, Phase};
use tokio::time::{Instant, sleep};

use crate::case::{Case, case};
use crate::payload::Request;
use crate::stage::{
    Stage, abandon, answer_all, assert_all_answered, assert_answered, error_of, until, when_full,
    when_idle,
};

pub(crate) const CASES: &[Case] = &[
    case!(G8, a_processor_tells_where_it_is_in_its_life),
    case!(G8, a_processor_tells_what_it_does_and_has_done),
    case!(G8, a_dropped_handle_stops_its_processor),
    case!(G8, a_detached_processor_goes_on),
    case!(G8, what_a_dropped_processor_had_read_is_served_by_another),
    case!(G1, what_a_dropped_processor_was_running_ends),
    case!(G1, the_last_processor_closes_its_callers).needs(|has| has.closes_with_last_processor),
    case!(G1, a_dropped_task_closes_its_callers).needs(|has| has.closes_with_last_processor),
    case!(
        G1,
        after_the_last_processor_calls_are_refused_until_another_comes
    )
    .needs(|has| has.closes_with_last_processor),
    case!(G8, the_last_batcher_ends_the_processors).needs(|has| has.closes_with_last_batcher),
];

/// `ready`, `is_alive`, `status`.
async fn a_processor_tells_where_it_is_in_its_life(stage: Stage) {
    let (processor, task) = BatchProcessor::pair(stage.source.clone(), when_full(2), answer_all);
    assert_eq!(processor.status().phase, Phase::Starting);
    assert!(processor.is_alive());
    let task = tokio::spawn(task);
    processor.ready().await.expect("runs");
    assert_eq!(processor.status().phase, Phase::Running);

    assert_all_answered(stage.send_each(0..2), 0..2).await;
    let status = processor.status();
    assert_eq!((status.answered, status.running), (2, 0));

    task.abort();
    processor.ended().await.expect("nothing failed");
    assert!(!processor.is_alive());
    assert_eq!(processor.status().phase, Phase::Ended);
    let ready = processor.ready().await;
    assert_eq!(ready.expect_err("it has ended").kind(), ErrorKind::Closed);
}

/// Each number of `status`, while it is not zero.
async fn a_processor_tells_what_it_does_and_has_done(stage: Stage) {
    const QUEUED: Duration = Duration::from_secs(1);
    let (processor, mut controls) = stage.controlled(when_idle(2));
    let first = stage.send(0);
    let batch = controls.next().await;
    let status = processor.status();
    assert_eq!((status.running, status.running_batches), (1, 1));
    assert_eq!((status.waiting, status.oldest), (0, None));

    let sendings = stage.send_each(1..3);
    // Over a wire it counts from when a request was there, a little later than its sending.
    until(|| processor.status().waiting == 2).await;
    sleep(QUEUED).await;
    let oldest = processor.status().oldest.expect("two wait");
    let limit = QUEUED + stage.clock.tolerance();
    assert!(QUEUED <= oldest && oldest < limit, "{oldest:?}");

    batch.answer();
    controls.next().await.fail(Error::handler("on purpose"));
    assert_answered(first, 0).await;
    for sending in sendings {
        error_of(sending).await;
    }
    let third = stage.send(3);
    let _running = controls.next().await;
    let waiting = stage.send(4);
    until(|| processor.status().waiting == 1).await;
    let status = processor.status();
    assert_eq!(status.answered, 3);
    let totals = status.totals;
    assert_eq!((totals.batches, totals.failed_batches), (2, 1));
    assert_eq!((totals.succeeded, totals.failed), (1, 2));

    drop(processor);
    [third, waiting].iter().for_each(|sending| sending.abort());
}

/// The handler's future is dropped, and others are let into what it held.
async fn a_dropped_handle_stops_its_processor(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_idle(1));
    drop(processor);
    let sending = stage.send(1);
    let _other = stage.answering(when_idle(1));
    stage.clock.settle().await;
    assert!(controls.started().is_none(), "it went on without a handle");
    sending.abort();
}

async fn a_detached_processor_goes_on(stage: Stage) {
    stage.answering(when_idle(1)).detach();
    stage.clock.settle().await;
    assert_answered(stage.send(1), 1).await;
}

/// Not started yet, so another processor can have it.
async fn what_a_dropped_processor_had_read_is_served_by_another(stage: Stage) {
    let (processor, _controls) = stage.controlled(when_full(4));
    let sendings = stage.send_each(0..2);
    until(|| processor.status().waiting == 2).await;
    let _other = stage.answering(when_full(2));
    drop(processor);
    assert_all_answered(sendings, 0..2).await;
}

/// It may have run, so it is not run again unless the transport says so; but its caller does not
/// wait for its timeout.
async fn what_a_dropped_processor_was_running_ends(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_idle(1));
    let sending = stage.send(1);
    let _running = controls.next().await;
    let _other = stage.answering(when_idle(1));
    drop(processor);
    // A transport that can deliver it again has it answered by the other processor.
    if let Err(error) = sending.await.expect("the sending task lives") {
        assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    }
}

/// Those that wait and those that run, all at once.
async fn the_last_processor_closes_its_callers(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_idle(1));
    let sendings = stage.send_each(0..4);
    let _running = controls.next().await;
    until(|| processor.status().waiting == 1).await;
    let start = Instant::now();
    drop(processor);
    for sending in sendings {
        let error = error_of(sending).await;
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    stage.clock.assert_at_once(start);
}

/// The same when its task is dropped where it stands.
async fn a_dropped_task_closes_its_callers(stage: Stage) {
    let (processor, task) = BatchProcessor::pair(stage.source.clone(), when_full(9), answer_all);
    let task = tokio::spawn(task);
    let sendings = stage.send_each(0..4);
    until(|| processor.status().waiting == 4).await;
    let start = Instant::now();
    task.abort();
    for sending in sendings {
        assert_eq!(error_of(sending).await.kind(), ErrorKind::Closed);
    }
    stage.clock.assert_at_once(start);
}

async fn after_the_last_processor_calls_are_refused_until_another_comes(stage: Stage) {
    let processor = stage.answering(when_idle(4));
    assert_answered(stage.send(0), 0).await;
    drop(processor);
    stage.clock.settle().await;
    let error = stage.batcher.send(Request::new(1)).await;
    assert_eq!(
        error.expect_err("nobody is there").kind(),
        ErrorKind::Closed
    );
    let _other = stage.answering(when_idle(4));
    assert_answered(stage.send(2), 2).await;
}

/// A batch that runs is finished first.
async fn the_last_batcher_ends_the_processors(stage: Stage) {
    let (busy, mut controls) = stage.controlled(when_idle(1));
    let sending = stage.send(1);
    let batch = controls.next().await;
    let idle = stage.answering(when_full(4));
    idle.ready().await.expect("runs");
    abandon(sending).await;
    let clock = stage.clock;
    drop(stage);
    idle.ended().await.expect("nothing failed");
    clock.settle().await;
    assert!(busy.is_alive(), "it left its batch alone");
    batch.answer();
    busy.ended().await.expect("nothing failed");
}
