//! A full queue: who is refused, who is not, and what becomes of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dynamic_batcher::{BatchProcessor, ErrorKind};
use tokio::time::{Instant, sleep};

use crate::case::{Case, case};
use crate::payload::{Request, Response};
use crate::stage::{
    Processor, Stage, answer_all, assert_all_answered, assert_answered, error_of, send, until,
    when_full, when_idle,
};

pub(crate) const CASES: &[Case] = &[
    case!(G7, a_send_to_a_full_queue_is_refused)
        .needs(|has| has.bounded_queue)
        .max_queue(3),
    case!(G7, running_requests_count_too)
        .needs(|has| has.bounded_queue)
        .max_queue(3),
    case!(G7, after_an_answer_there_is_room_again)
        .needs(|has| has.bounded_queue)
        .max_queue(3),
    case!(G7, who_was_told_of_the_deadline_leaves_room)
        .needs(|has| has.bounded_queue && has.paused_clock)
        .max_queue(3),
    case!(G7, of_many_requests_those_beyond_the_limit_are_refused)
        .needs(|has| has.bounded_queue)
        .max_queue(3),
    case!(G7, where_sends_wait_a_full_queue_refuses_nobody)
        .needs(|has| has.waits_when_full)
        .max_queue(3)
        .waits_when_full(),
    case!(G7, a_send_that_waits_for_room_ends_at_its_deadline)
        .needs(|has| has.waits_when_full)
        .max_queue(3)
        .waits_when_full(),
    case!(G7, who_comes_back_when_told_to_is_let_in)
        .needs(|has| has.bounded_queue && has.paused_clock)
        .max_queue(100),
    case!(G7, a_burst_before_anything_was_measured_is_served_soon)
        .needs(|has| has.bounded_queue && has.paused_clock)
        .max_queue(100),
];

fn retry_after(error: &dynamic_batcher::Error) -> Duration {
    let ErrorKind::QueueFull { retry_after } = error.kind() else {
        panic!("not the queue's limit: {error}");
    };
    assert!(retry_after > Duration::ZERO);
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), Some(retry_after));
    retry_after
}

/// At once, with a time to come back; and those inside lose nothing.
async fn a_send_to_a_full_queue_is_refused(stage: Stage) {
    let sendings = stage.send_each(0..3);
    stage.clock.settle().await;
    let start = Instant::now();
    let refused = stage.batcher.send(Request::new(3)).await;
    stage.clock.assert_at_once(start);
    retry_after(&refused.expect_err("no room"));
    let _processor = stage.answering(when_idle(2));
    assert_all_answered(sendings, 0..3).await;
}

/// The limit bounds what is in the transport, not what is in one of its queues.
async fn running_requests_count_too(stage: Stage) {
    let (_processor, mut controls) = stage.controlled(when_idle(1));
    let sendings = stage.send_each(0..3);
    let batch = controls.next().await;
    stage.clock.settle().await;
    let refused = stage.batcher.send(Request::new(3)).await;
    retry_after(&refused.expect_err("no room"));
    batch.answer();
    controls.next().await.answer();
    controls.next().await.answer();
    assert_all_answered(sendings, 0..3).await;
}

/// Who comes back finds it.
async fn after_an_answer_there_is_room_again(stage: Stage) {
    let sendings = stage.send_each(0..3);
    stage.clock.settle().await;
    let refused = stage.batcher.send(Request::new(3)).await;
    let pause = retry_after(&refused.expect_err("no room"));
    let _processor = stage.answering(when_idle(2));
    assert_all_answered(sendings, 0..3).await;
    sleep(pause).await;
    assert_answered(stage.send(3), 3).await;
}

/// Also while a processor has the requests, for a batch that is not full yet.
async fn who_was_told_of_the_deadline_leaves_room(stage: Stage) {
    let window = Duration::from_secs(5);
    let processor = stage.answering(when_full(4).batch_time(window));
    let batcher = stage.batcher.clone().timeout(Duration::from_secs(1));
    let sendings = (0..3).map(|id| send(&batcher, id)).collect::<Vec<_>>();
    until(|| processor.status().waiting == 3).await;
    for sending in sendings {
        let kind = error_of(sending).await.kind();
        assert!(matches!(kind, ErrorKind::Timeout { started: false, .. }));
    }
    assert_eq!(processor.status().waiting, 3);
    let sendings = stage.send_each(3..6);
    stage.clock.settle().await;
    let refused = stage.batcher.send(Request::new(6)).await;
    retry_after(&refused.expect_err("no room"));
    // Its window is over.
    assert_all_answered(sendings, 3..6).await;
}

/// Each item is let in or refused for itself.
async fn of_many_requests_those_beyond_the_limit_are_refused(stage: Stage) {
    let batcher = stage.batcher.clone();
    let sending =
        tokio::spawn(async move { batcher.send_many((0..5).map(Request::new).collect()).await });
    stage.clock.settle().await;
    let _processor = stage.answering(when_idle(5));
    let results = sending.await.expect("the sending task lives");
    for (id, result) in (0..3).zip(&results) {
        let response = result.as_ref().expect("let in");
        assert_eq!(response, &Response::to(&Request::new(id)));
    }
    assert_eq!(results.len(), 5);
    for result in &results[3..] {
        retry_after(result.as_ref().expect_err("beyond the limit"));
    }
}

/// Twice as many as there is room for wait, and all are answered.
async fn where_sends_wait_a_full_queue_refuses_nobody(stage: Stage) {
    let sendings = stage.send_each(0..6);
    stage.clock.settle().await;
    let _processor = stage.answering(when_idle(2));
    assert_all_answered(sendings, 0..6).await;
}

/// Waiting for room is waiting.
async fn a_send_that_waits_for_room_ends_at_its_deadline(stage: Stage) {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let _inside = stage.send_each(0..3);
    stage.clock.settle().await;
    let start = Instant::now();
    let outside = send(&stage.batcher.clone().timeout(TIMEOUT), 4);
    let error = error_of(outside).await;
    stage.clock.assert_at(start, TIMEOUT);
    assert!(
        matches!(error.kind(), ErrorKind::Timeout { started: false, .. }),
        "{error}"
    );
}

/// Serves 10 requests every 20 ms.
fn working(stage: &Stage) -> Processor {
    let handler = |batch: Vec<Request>| async move {
        sleep(Duration::from_millis(20)).await;
        answer_all(batch)
    };
    BatchProcessor::spawn(stage.source.clone(), when_idle(10), handler)
}

/// Twice as many callers as there is room for, each sending again and again: of those who were
/// refused and come back when they were told to, at least nine in ten are let in.
async fn who_comes_back_when_told_to_is_let_in(stage: Stage) {
    const CALLERS: u64 = 200;
    const TIME: Duration = Duration::from_secs(30);
    let _processor = working(&stage);
    let end = Instant::now() + TIME;
    let came_back = Arc::new(AtomicUsize::new(0));
    let let_in = Arc::new(AtomicUsize::new(0));
    let served = Arc::new(AtomicUsize::new(0));
    let callers = (0..CALLERS).map(|id| {
        let batcher = stage.batcher.clone();
        let (came_back, let_in) = (Arc::clone(&came_back), Arc::clone(&let_in));
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let mut was_refused = false;
            while Instant::now() < end {
                came_back.fetch_add(usize::from(was_refused), Ordering::Relaxed);
                let pause = match batcher.send(Request::new(id)).await {
                    Ok(response) => {
                        assert_eq!(response, Response::to(&Request::new(id)));
                        served.fetch_add(1, Ordering::Relaxed);
                        None
                    }
                    Err(error) => Some(retry_after(&error)),
                };
                if was_refused && pause.is_none() {
                    let_in.fetch_add(1, Ordering::Relaxed);
                }
                was_refused = pause.is_some();
                sleep(pause.unwrap_or_default()).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("only ever refused for want of room");
    }
    let (came_back, let_in) = (
        came_back.load(Ordering::Relaxed),
        let_in.load(Ordering::Relaxed),
    );
    assert!(
        came_back > 1000,
        "only {came_back} came back: this is no overload"
    );
    assert!(
        let_in * 10 >= came_back * 9,
        "{let_in} of {came_back} were let in"
    );
    // The processor had work all the time: 10 every 20 ms.
    let served = served.load(Ordering::Relaxed);
    assert!(served >= 14_000, "only {served} of 15000 were served");
}

/// Twice what there is room for, all at once, on a transport that knows no rate yet. The work of
/// 400 ms is done in 2 s if all come back when they are told to.
async fn a_burst_before_anything_was_measured_is_served_soon(stage: Stage) {
    let _processor = working(&stage);
    let start = Instant::now();
    let callers = (0..200).map(|id| {
        let batcher = stage.batcher.clone();
        tokio::spawn(async move {
            while let Err(error) = batcher.send(Request::new(id)).await {
                sleep(retry_after(&error)).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("only ever refused for want of room");
    }
    let took = start.elapsed();
    assert!(took <= Duration::from_secs(2), "took {took:?}");
}
