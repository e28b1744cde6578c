//! Callers that no longer wait: their requests are not started, and the others' are unharmed.

use crate::case::{Case, case};
use crate::payload::Request;
use crate::stage::{
    Stage, abandon, assert_all_answered, assert_answered, until, when_full, when_idle,
};

pub(crate) const CASES: &[Case] = &[
    case!(Abandonment, a_request_dropped_in_the_queue_is_not_run),
    case!(Abandonment, a_request_dropped_after_it_was_read_is_not_run)
        .needs(|has| has.sees_abandonment_after_read),
    case!(Abandonment, a_dropped_request_leaves_room_in_its_batch)
        .needs(|has| has.sees_abandonment_after_read),
    case!(Abandonment, a_dropped_request_leaves_room_in_the_queue)
        .needs(|has| has.bounded_queue)
        .max_queue(4),
    case!(
        Abandonment,
        a_caller_that_leaves_during_the_run_harms_nobody
    ),
    case!(Abandonment, dropping_a_send_many_abandons_all_its_items),
    case!(Abandonment, a_send_that_is_not_polled_sends_nothing),
];

/// Half of the callers leave before a processor is there: it sees the other half.
async fn a_request_dropped_in_the_queue_is_not_run(stage: Stage) {
    let (mut staying, mut leaving) = (Vec::new(), Vec::new());
    for id in 0..10 {
        let callers = if id % 2 == 0 {
            &mut staying
        } else {
            &mut leaving
        };
        callers.push(stage.send(id));
        stage.clock.settle().await;
    }
    for sending in leaving {
        abandon(sending).await;
    }
    stage.clock.settle().await;
    let (_processor, mut controls) = stage.controlled(when_full(5));
    let batch = controls.next().await;
    assert_eq!(batch.ids(), [0, 2, 4, 6, 8]);
    batch.answer();
    assert_all_answered(staying, [0, 2, 4, 6, 8]).await;
}

/// The same when the processor has read all of them, while its handler is busy.
async fn a_request_dropped_after_it_was_read_is_not_run(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_idle(4));
    let first = stage.send(0);
    let batch = controls.next().await;
    let mut sendings = Vec::new();
    for id in 1..5 {
        sendings.push(stage.send(id));
        until(|| processor.status().waiting == sendings.len()).await;
    }
    abandon(sendings.remove(2)).await;
    abandon(sendings.remove(0)).await;
    stage.clock.settle().await;
    batch.answer();
    let batch = controls.next().await;
    assert_eq!(batch.ids(), [2, 4]);
    batch.answer();
    assert_answered(first, 0).await;
    assert_all_answered(sendings, [2, 4]).await;
}

/// Two of a full batch leave: two others take their places.
async fn a_dropped_request_leaves_room_in_its_batch(stage: Stage) {
    let (processor, mut controls) = stage.controlled(when_full(4));
    let first = stage.send_each(0..4);
    let batch = controls.next().await;
    let mut sendings = Vec::new();
    for id in 4..8 {
        sendings.push(stage.send(id));
        until(|| processor.status().waiting == sendings.len()).await;
    }
    for id in 8..10 {
        sendings.push(stage.send(id));
        stage.clock.settle().await;
    }
    abandon(sendings.remove(3)).await;
    abandon(sendings.remove(1)).await;
    stage.clock.settle().await;
    batch.answer();
    let batch = controls.next().await;
    assert_eq!(batch.ids(), [4, 6, 8, 9]);
    batch.answer();
    assert_all_answered(first, 0..4).await;
    assert_all_answered(sendings, [4, 6, 8, 9]).await;
}

/// Those who have left do not count against the queue's limit.
async fn a_dropped_request_leaves_room_in_the_queue(stage: Stage) {
    let mut sendings = stage.send_each(0..4);
    stage.clock.settle().await;
    for sending in sendings.split_off(2) {
        abandon(sending).await;
    }
    stage.clock.settle().await;
    sendings.extend(stage.send_each(4..6));
    stage.clock.settle().await;
    let _processor = stage.answering(when_idle(4));
    assert_all_answered(sendings, [0, 1, 4, 5]).await;
}

/// A batch goes on as it started: its other callers and the next batch see nothing of it.
async fn a_caller_that_leaves_during_the_run_harms_nobody(stage: Stage) {
    let (_processor, mut controls) = stage.controlled(when_full(3));
    let mut sendings = Vec::new();
    for id in 0..3 {
        sendings.push(stage.send(id));
        stage.clock.settle().await;
    }
    let batch = controls.next().await;
    abandon(sendings.remove(1)).await;
    batch.answer();
    assert_all_answered(sendings, [0, 2]).await;

    let sendings = stage.send_each(3..6);
    controls.next().await.answer();
    assert_all_answered(sendings, 3..6).await;
}

/// One future stands for all of its items.
async fn dropping_a_send_many_abandons_all_its_items(stage: Stage) {
    let batcher = stage.batcher.clone();
    let many =
        tokio::spawn(async move { batcher.send_many((0..5).map(Request::new).collect()).await });
    stage.clock.settle().await;
    many.abort();
    assert!(many.await.is_err());
    stage.clock.settle().await;
    let living = stage.send(7);
    let (_processor, mut controls) = stage.controlled(when_idle(8));
    let batch = controls.next().await;
    assert_eq!(batch.ids(), [7]);
    batch.answer();
    assert_answered(living, 7).await;
}

/// A future does nothing until it is polled.
async fn a_send_that_is_not_polled_sends_nothing(stage: Stage) {
    let batcher = stage.batcher.clone();
    let unpolled = batcher.send(Request::new(1));
    let living = stage.send(2);
    stage.clock.settle().await;
    let (_processor, mut controls) = stage.controlled(when_idle(8));
    let batch = controls.next().await;
    assert_eq!(batch.ids(), [2]);
    drop(unpolled);
    batch.answer();
    assert_answered(living, 2).await;
}
