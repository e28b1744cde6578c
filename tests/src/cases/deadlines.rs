//! Every send ends by its timeout, whatever is the matter.

use std::time::Duration;

use dynamic_batcher::{BatchProcessor, Error, ErrorKind, SendOptions};
use tokio::time::{Instant, sleep};

use crate::case::{Case, case};
use crate::payload::{Request, Response};
use crate::stage::{
    Stage, answer_all, assert_answered, error_of, send, until, when_full, when_idle,
};

pub(crate) const CASES: &[Case] = &[
    case!(G1, an_unserved_request_ends_at_its_deadline),
    case!(G1, a_running_request_ends_at_its_deadline),
    case!(G1, a_started_request_is_told_so).needs(|has| has.knows_what_has_started),
    case!(G1, a_request_behind_a_busy_handler_ends_at_its_deadline),
    case!(G1, a_request_read_and_not_started_is_told_so).needs(|has| has.knows_what_has_started),
    case!(G1, an_expired_request_is_not_run),
    case!(G1, a_send_may_have_a_timeout_of_its_own),
    case!(G1, a_handler_busy_for_a_minute_delays_no_deadline).needs(|has| has.paused_clock),
    case!(G1, a_handler_that_blocks_its_thread_delays_no_deadline).blocks_threads(),
    case!(G1, each_of_many_deadlines_is_kept),
    case!(G1, a_timeout_of_nothing_ends_at_once),
    case!(G1, a_timeout_without_end_is_a_timeout),
    case!(G1, send_many_ends_at_its_deadline),
    case!(G2, an_answer_after_the_deadline_reaches_nobody),
];

const TIMEOUT: Duration = Duration::from_secs(4);

fn is_timeout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Timeout { .. })
}

fn assert_not_started(error: &Error) {
    let ErrorKind::Timeout { started, queued } = error.kind() else {
        panic!("not a timeout: {error}");
    };
    assert!(!started, "nothing had started it: {error}");
    assert!(
        queued >= TIMEOUT,
        "it was queued until its deadline, not for {queued:?}"
    );
}

/// Nobody ever processes it.
async fn an_unserved_request_ends_at_its_deadline(stage: Stage) {
    let batcher = stage.batcher.clone().timeout(TIMEOUT);
    let start = Instant::now();
    let error = batcher.send(Request::new(1)).await.expect_err("unserved");
    stage.clock.assert_at(start, TIMEOUT);
    assert_not_started(&error);
}

/// Its handler does not return. Nobody is told that such a request has not run.
async fn a_running_request_ends_at_its_deadline(stage: Stage) {
    let (_processor, mut controls) = stage.controlled(when_idle(1));
    let start = Instant::now();
    let sending = send(&stage.batcher.clone().timeout(TIMEOUT), 1);
    let _stuck = controls.next().await;
    let error = error_of(sending).await;
    stage.clock.assert_at(start, TIMEOUT);
    let ErrorKind::Timeout { started, .. } = error.kind() else {
        panic!("not a timeout: {error}");
    };
    assert!(started, "it runs: {error}");
}

/// The timeout of a request that a handler is at says so, and how long it was queued before.
async fn a_started_request_is_told_so(stage: Stage) {
    let sending = send(&stage.batcher.clone().timeout(TIMEOUT), 1);
    sleep(TIMEOUT / 3).await;
    let (_processor, mut controls) = stage.controlled(when_idle(1));
    let _stuck = controls.next().await;
    let error = error_of(sending).await;
    let ErrorKind::Timeout { started, queued } = error.kind() else {
        panic!("not a timeout: {error}");
    };
    assert!(started, "{error}");
    assert!(
        queued >= TIMEOUT / 3 && queued < TIMEOUT * 2 / 3,
        "queued for {queued:?}"
    );
}

/// One is read ahead and one still in the queue while the handler is stuck.
async fn a_request_behind_a_busy_handler_ends_at_its_deadline(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_idle(1));
    let running = stage.send(0);
    let stuck = controls.next().await;

    let batcher = stage.batcher.clone().timeout(TIMEOUT);
    let start = Instant::now();
    let read_ahead = send(&batcher, 1);
    until(|| processor.status().waiting == 1).await;
    let queued = send(&batcher, 2);
    for sending in [read_ahead, queued] {
        let error = error_of(sending).await;
        stage.clock.assert_at(start, TIMEOUT);
        assert!(is_timeout(&error), "{error}");
    }
    stuck.answer();
    assert_answered(running, 0).await;
}

/// It can be sent again without fear that it ran.
async fn a_request_read_and_not_started_is_told_so(stage: Stage) {
    let processor = stage.answering(when_full(9));
    let sending = send(&stage.batcher.clone().timeout(TIMEOUT), 1);
    until(|| processor.status().waiting == 1).await;
    assert_not_started(&error_of(sending).await);
}

/// A request whose time is up is in no batch, even if it had been read before.
async fn an_expired_request_is_not_run(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_idle(2));
    let running = stage.send(0);
    let first = controls.next().await;

    let batcher = stage.batcher.clone().timeout(TIMEOUT);
    let expiring: Vec<_> = (1..6).map(|id| send(&batcher, id)).collect();
    until(|| processor.status().waiting == 2).await;
    for sending in expiring {
        error_of(sending).await;
    }
    let living = stage.send(7);
    stage.clock.settle().await;
    first.answer();
    let next = controls.next().await;
    assert_eq!(next.ids(), [7]);
    next.answer();
    assert_answered(running, 0).await;
    assert_answered(living, 7).await;
}

/// `SendOptions` wins over the batcher's timeout, either way.
async fn a_send_may_have_a_timeout_of_its_own(stage: Stage) {
    let batcher = stage.batcher.clone().timeout(TIMEOUT);
    let start = Instant::now();
    let timed = |timeout| {
        let batcher = &batcher;
        async move {
            let options = SendOptions::default().timeout(timeout);
            batcher
                .send_with(Request::new(1), options)
                .await
                .expect_err("unserved");
            start.elapsed()
        }
    };
    let short = TIMEOUT / 3;
    let long = TIMEOUT * 2;
    let plain = async {
        batcher.send(Request::new(2)).await.expect_err("unserved");
        start.elapsed()
    };
    let (short_took, plain_took, long_took) = tokio::join!(timed(short), plain, timed(long));
    for (took, timeout) in [
        (short_took, short),
        (plain_took, TIMEOUT),
        (long_took, long),
    ] {
        let tolerated = timeout..=timeout + stage.clock.tolerance().min(short / 2);
        assert!(tolerated.contains(&took), "{took:?} for {timeout:?}");
    }
}

/// Deadlines do not depend on the handler's coming to an end.
async fn a_handler_busy_for_a_minute_delays_no_deadline(stage: Stage) {
    const BUSY: Duration = Duration::from_secs(60);
    let handler = |batch: Vec<Request>| async move {
        sleep(BUSY).await;
        answer_all(batch)
    };
    let _processor = BatchProcessor::spawn(stage.source.clone(), when_full(2), handler);
    let start = Instant::now();
    let patient = stage.send(1);
    let batcher = stage.batcher.clone().timeout(Duration::from_secs(10));
    let error = batcher.send(Request::new(2)).await.expect_err("too slow");
    stage.clock.assert_at(start, Duration::from_secs(10));
    assert!(is_timeout(&error), "{error}");
    assert_answered(patient, 1).await;
    stage.clock.assert_at(start, BUSY);
}

/// A function that blocks has a thread of its own, and nothing else waits for it.
async fn a_handler_that_blocks_its_thread_delays_no_deadline(stage: Stage) {
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let handler = move |batch: Vec<Request>| -> Vec<Response> {
        // Ends when the case lets go of the other half.
        let _ = blocked.lock().expect("not poisoned").recv();
        answer_all(batch)
    };
    let _processor = BatchProcessor::spawn_blocking(stage.source.clone(), when_idle(1), handler);
    let batcher = stage.batcher.clone().timeout(TIMEOUT);
    let start = Instant::now();
    let sendings: Vec<_> = (0..3).map(|id| send(&batcher, id)).collect();
    for sending in sendings {
        assert!(is_timeout(&error_of(sending).await));
        stage.clock.assert_at(start, TIMEOUT);
    }
    drop(unblock);
    assert_answered(stage.send(4), 4).await;
}

/// Many requests with as many deadlines, not in their order.
async fn each_of_many_deadlines_is_kept(stage: Stage) {
    let start = Instant::now();
    let calls = (0..500_u64).map(|id| {
        let timeout = Duration::from_millis(100 + (id * 37) % 1000);
        let options = SendOptions::default().timeout(timeout);
        let batcher = stage.batcher.clone();
        let call = tokio::spawn(async move {
            let error = batcher.send_with(Request::new(id), options).await;
            (error.expect_err("unserved"), start.elapsed())
        });
        (timeout, call)
    });
    for (timeout, call) in calls.collect::<Vec<_>>() {
        let (error, took) = call.await.expect("the sending task lives");
        assert!(is_timeout(&error), "{error}");
        let tolerated = timeout..=timeout + stage.clock.tolerance();
        assert!(tolerated.contains(&took), "{took:?} for {timeout:?}");
    }
}

/// No time at all: the error comes at once.
async fn a_timeout_of_nothing_ends_at_once(stage: Stage) {
    let start = Instant::now();
    let options = SendOptions::default().timeout(Duration::ZERO);
    let error = stage.batcher.send_with(Request::new(1), options).await;
    assert!(is_timeout(&error.expect_err("no time was given")));
    stage.clock.assert_at(start, Duration::ZERO);
}

/// The longest duration that there is overflows nothing.
async fn a_timeout_without_end_is_a_timeout(stage: Stage) {
    let _processor = stage.answering(when_idle(4));
    let options = SendOptions::default().timeout(Duration::MAX);
    let response = stage.batcher.send_with(Request::new(1), options).await;
    assert_eq!(response.expect("answered"), Response::to(&Request::new(1)));
}

/// Of many requests, those answered are answered and the others end at the deadline.
async fn send_many_ends_at_its_deadline(stage: Stage) {
    let (_processor, mut controls) = stage.controlled(when_full(2));
    let batcher = stage.batcher.clone().timeout(TIMEOUT);
    let start = Instant::now();
    let sending =
        tokio::spawn(async move { batcher.send_many((0..5).map(Request::new).collect()).await });
    controls.next().await.answer();
    let _stuck = controls.next().await;
    let results = sending.await.expect("the sending task lives");
    stage.clock.assert_at(start, TIMEOUT);
    assert!(results[..2].iter().all(Result::is_ok));
    for result in &results[2..] {
        assert!(is_timeout(result.as_ref().expect_err("not answered")));
    }
}

/// The handler was too late for one caller: that harms neither the next caller nor the processor.
async fn an_answer_after_the_deadline_reaches_nobody(stage: Stage) {
    let (_processor, mut controls) = stage.controlled(when_idle(1));
    let late = send(&stage.batcher.clone().timeout(TIMEOUT), 1);
    let batch = controls.next().await;
    assert!(is_timeout(&error_of(late).await));
    let next = stage.send(2);
    stage.clock.settle().await;
    batch.answer();
    controls.next().await.answer();
    assert_answered(next, 2).await;
}
