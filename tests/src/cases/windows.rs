//! When a batch is closed, and with how many requests.

use std::time::Duration;

use dynamic_batcher::{BatchPolicy, CloseReason, WhenIdle};
use tokio::time::{Instant, sleep, sleep_until};

use crate::case::{Case, case};
use crate::stage::{
    Reports, Stage, assert_all_answered, assert_answered, until, when_full, when_idle,
};

pub(crate) const CASES: &[Case] = &[
    case!(Forming, a_full_batch_runs_at_once),
    case!(Forming, a_part_batch_runs_when_its_window_ends),
    case!(Forming, a_window_counts_from_the_sending),
    case!(Forming, a_late_request_joins_the_open_batch),
    case!(Forming, a_lone_request_runs_at_once_on_an_idle_processor),
    case!(Forming, without_a_window_what_is_there_runs),
    case!(Forming, no_batch_is_above_its_size),
    case!(Forming, the_open_batch_grows_while_the_instance_is_busy),
    case!(Forming, one_batch_is_read_ahead_and_no_more),
];

const WINDOW: Duration = Duration::from_secs(3);

fn window(batch_size: usize) -> BatchPolicy {
    when_full(batch_size).batch_time(WINDOW)
}

/// `batch_size` requests need no window to end.
async fn a_full_batch_runs_at_once(stage: Stage) {
    let (reports, mut ended) = Reports::pair();
    let _processor = stage.answering(when_full(4).observer(reports));
    let start = Instant::now();
    assert_all_answered(stage.send_each(0..4), 0..4).await;
    stage.clock.assert_at_once(start);
    assert_eq!(ended.recv().await, Some((4, CloseReason::Full)));
}

/// Too few requests wait for company as long as the window lasts.
async fn a_part_batch_runs_when_its_window_ends(stage: Stage) {
    let (reports, mut ended) = Reports::pair();
    let _processor = stage.answering(window(4).observer(reports));
    let start = Instant::now();
    assert_all_answered(stage.send_each(0..3), 0..3).await;
    stage.clock.assert_at(start, WINDOW);
    assert_eq!(ended.recv().await, Some((3, CloseReason::Window)));
}

/// The time before a processor was there counts too.
async fn a_window_counts_from_the_sending(stage: Stage) {
    let start = Instant::now();
    let sending = stage.send(1);
    sleep(WINDOW * 6 / 10).await;
    let _processor = stage.answering(window(4));
    assert_answered(sending, 1).await;
    let took = start.elapsed();
    assert!(
        took + stage.clock.grain() >= WINDOW,
        "{took:?} is before the window's end"
    );
    assert!(
        took < WINDOW + stage.clock.at_once(),
        "{took:?}: the window was counted from the attaching"
    );
}

/// The window is the oldest request's; a later one does not prolong it.
async fn a_late_request_joins_the_open_batch(stage: Stage) {
    let (reports, mut ended) = Reports::pair();
    let _processor = stage.answering(window(4).observer(reports));
    let start = Instant::now();
    let first = stage.send(1);
    sleep_until(start + WINDOW / 2).await;
    let second = stage.send(2);
    assert_all_answered([first, second], [1, 2]).await;
    let took = start.elapsed();
    assert!(
        took + stage.clock.grain() >= WINDOW && took < WINDOW + stage.clock.at_once(),
        "{took:?}"
    );
    assert_eq!(ended.recv().await, Some((2, CloseReason::Window)));
}

/// `WhenIdle::Run` waits for nobody.
async fn a_lone_request_runs_at_once_on_an_idle_processor(stage: Stage) {
    let (reports, mut ended) = Reports::pair();
    let _processor = stage.answering(when_idle(4).observer(reports));
    let start = Instant::now();
    assert_answered(stage.send(1), 1).await;
    stage.clock.assert_at_once(start);
    assert_eq!(ended.recv().await, Some((1, CloseReason::Idle)));
}

/// A window of zero is none, also where an idle instance would wait.
async fn without_a_window_what_is_there_runs(stage: Stage) {
    let policy = when_full(4)
        .batch_time(Duration::ZERO)
        .when_idle(WhenIdle::Wait);
    let _processor = stage.answering(policy);
    let start = Instant::now();
    assert_answered(stage.send(1), 1).await;
    stage.clock.assert_at_once(start);
}

/// However many wait, a batch holds `batch_size` at the most, and the batches hold them all.
async fn no_batch_is_above_its_size(stage: Stage) {
    let (reports, mut ended) = Reports::pair();
    let sendings = stage.send_each(0..50);
    stage.clock.settle().await;
    let processor = stage.answering(window(8).observer(reports));
    assert_all_answered(sendings, 0..50).await;
    drop(processor);
    let mut total = 0;
    while let Some((size, _)) = ended.recv().await {
        assert!(size <= 8, "a batch of {size}");
        total += size;
    }
    assert_eq!(total, 50);
}

/// What comes while a batch runs gathers, up to `batch_size`, and needs no window then.
async fn the_open_batch_grows_while_the_instance_is_busy(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_idle(4));
    let first = stage.send(0);
    let batch = controls.next().await;
    let mut rest = Vec::new();
    for id in 1..5 {
        rest.push(stage.send(id));
        until(|| processor.status().waiting == rest.len()).await;
    }
    batch.answer();
    let batch = controls.next().await;
    assert_eq!(batch.ids(), [1, 2, 3, 4]);
    batch.answer();
    assert_answered(first, 0).await;
    assert_all_answered(rest, 1..5).await;
}

/// The next batch is read while one runs; what is beyond it stays for other processors.
async fn one_batch_is_read_ahead_and_no_more(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_full(4));
    let sendings = stage.send_each(0..20);
    let batch = controls.next().await;
    until(|| processor.status().waiting == 4).await;
    stage.clock.settle().await;
    let status = processor.status();
    assert_eq!((status.running, status.waiting), (4, 4));

    batch.answer();
    for _ in 0..4 {
        controls.next().await.answer();
    }
    assert_all_answered(sendings, 0..20).await;
}
