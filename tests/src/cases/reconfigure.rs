//! What changes while a processor works: another policy, between two batches.

use std::time::Duration;

use dynamic_batcher::{CloseReason, ErrorKind, WhenIdle};
use tokio::time::{Instant, sleep};

use crate::case::{Case, case};
use crate::stage::{
    FOR_EVER, Reports, Stage, abandon, assert_all_answered, assert_answered, error_of, size, until,
    when_full, when_idle,
};

pub(crate) const CASES: &[Case] = &[
    case!(Forming, a_new_window_holds_for_the_open_batch),
    case!(Forming, a_processor_told_not_to_wait_runs_the_open_batch),
    case!(Forming, a_smaller_batch_size_divides_what_waits),
    case!(Forming, a_smaller_batch_size_reads_less_ahead),
    case!(Forming, a_larger_batch_size_reads_on),
    case!(Forming, a_new_run_timeout_holds_from_the_next_batch),
    case!(G1, a_batch_that_ends_with_a_change_is_answered),
];

/// Counted from the sending, as the old one was.
async fn a_new_window_holds_for_the_open_batch(stage: Stage) {
    const WINDOW: Duration = Duration::from_secs(3);
    let (reports, mut ended) = Reports::pair();
    let processor = stage.answering(when_full(4).observer(reports));
    let start = Instant::now();
    let sendings = stage.send_each(0..2);
    until(|| processor.status().waiting == 2).await;
    sleep(WINDOW / 3).await;
    let policy = processor.policy().batch_time(WINDOW);
    processor.reconfigure(policy).expect("it can change");
    assert_all_answered(sendings, 0..2).await;
    stage.clock.assert_at(start, WINDOW);
    assert_eq!(ended.recv().await, Some((2, CloseReason::Window)));
}

/// The observer is the new policy's too.
async fn a_processor_told_not_to_wait_runs_the_open_batch(stage: Stage) {
    let (reports, mut ended) = Reports::pair();
    let processor = stage.answering(when_full(4));
    let sendings = stage.send_each(0..2);
    until(|| processor.status().waiting == 2).await;
    let start = Instant::now();
    let policy = processor
        .policy()
        .when_idle(WhenIdle::Run)
        .observer(reports);
    processor.reconfigure(policy).expect("it can change");
    assert_all_answered(sendings, 0..2).await;
    stage.clock.assert_at_once(start);
    assert_eq!(ended.recv().await, Some((2, CloseReason::Idle)));
}

/// What waits is more than a batch may hold now: it runs in several, and the rest waits on.
async fn a_smaller_batch_size_divides_what_waits(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_full(8));
    let mut sendings = Vec::new();
    for id in 0..5 {
        sendings.push(stage.send(id));
        until(|| processor.status().waiting == sendings.len()).await;
    }
    let policy = processor.policy().batch_size(size(2));
    processor.reconfigure(policy).expect("it can change");
    for ids in [[0, 1], [2, 3]] {
        let batch = controls.next().await;
        assert_eq!(batch.ids(), ids);
        batch.answer();
    }
    stage.clock.settle().await;
    assert!(controls.started().is_none(), "one is no full batch");
    sendings.push(stage.send(5));
    let batch = controls.next().await;
    assert_eq!(batch.ids(), [4, 5]);
    batch.answer();
    assert_all_answered(sendings, 0..6).await;
}

/// What it had asked for by the old size, it wants no more.
async fn a_smaller_batch_size_reads_less_ahead(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_full(8));
    processor.ready().await.expect("runs");
    stage.clock.settle().await;
    let policy = processor.policy().batch_size(size(2));
    processor.reconfigure(policy).expect("it can change");
    stage.clock.settle().await;
    let sendings = stage.send_each(0..8);
    let first = controls.next().await;
    until(|| processor.status().waiting == 2).await;
    stage.clock.settle().await;
    assert_eq!(processor.status().waiting, 2);
    first.answer();
    for _ in 0..3 {
        controls.next().await.answer();
    }
    assert_all_answered(sendings, 0..8).await;
}

/// While a batch of the old size runs, the next is filled up to the new one.
async fn a_larger_batch_size_reads_on(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_full(1));
    let sendings = stage.send_each(0..9);
    let batch = controls.next().await;
    until(|| processor.status().waiting == 1).await;
    let policy = processor.policy().batch_size(size(4));
    processor.reconfigure(policy).expect("it can change");
    until(|| processor.status().waiting == 4).await;
    batch.answer();
    for _ in 0..2 {
        let batch = controls.next().await;
        assert_eq!(batch.ids().len(), 4);
        batch.answer();
    }
    assert_all_answered(sendings, 0..9).await;
}

/// A batch that runs ends by the limit that it was started with.
async fn a_new_run_timeout_holds_from_the_next_batch(stage: Stage) {
    const LIMIT: Duration = Duration::from_secs(1);
    let (processor, mut controls) = stage.controlled(when_idle(1).run_timeout(FOR_EVER));
    let first = stage.send(1);
    let batch = controls.next().await;
    let policy = processor.policy().run_timeout(LIMIT);
    processor.reconfigure(policy).expect("it can change");
    sleep(LIMIT + stage.clock.tolerance()).await;
    batch.answer();
    assert_answered(first, 1).await;

    let start = Instant::now();
    let second = stage.send(2);
    let _running = controls.next().await;
    let error = error_of(second).await;
    let kind = ErrorKind::HandlerTimeout { run_timeout: LIMIT };
    assert_eq!(error.kind(), kind, "{error}");
    stage.clock.assert_at(start, LIMIT);
}

/// Although a full batch, which would have started first, is none any more.
async fn a_batch_that_ends_with_a_change_is_answered(stage: Stage) {
    let instances = size(2);
    let (processor, mut controls) = stage.controlled_each(when_full(2).instances(instances));
    let first = stage.send_each(0..2);
    let batch = controls.next().await;
    let second = stage.send_each(2..4);
    let other = controls.next().await;
    let third = stage.send_each(4..6);
    until(|| processor.status().waiting == 2).await;

    batch.answer();
    let policy = processor.policy().batch_size(size(4));
    processor.reconfigure(policy).expect("it can change");
    assert_all_answered(first, 0..2).await;

    other.answer();
    assert_all_answered(second, 2..4).await;
    // Some transports have them run before the change is there.
    for sending in third {
        abandon(sending).await;
    }
}
