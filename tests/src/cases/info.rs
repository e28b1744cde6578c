//! What a caller learns of the batch that served it.

use std::collections::HashSet;
use std::time::Duration;

use dynamic_batcher::{BatchProcessor, CloseReason, ItemInfo, SendOptions};
use tokio::time::sleep;

use crate::case::{Case, case};
use crate::payload::{Request, Response};
use crate::stage::{Stage, answer_all, when_full, when_idle};

pub(crate) const CASES: &[Case] = &[
    case!(Info, the_requests_of_a_batch_are_told_the_same_batch).needs(|has| has.gives_batch_info),
    case!(Info, batches_are_told_apart).needs(|has| has.gives_batch_info),
    case!(Info, a_position_is_the_place_in_the_batch).needs(|has| has.gives_batch_info),
    case!(Info, a_request_learns_how_long_it_queued_and_its_batch_ran)
        .needs(|has| has.gives_batch_info),
    case!(Info, the_handler_sees_the_batch_that_its_callers_see).needs(|has| has.gives_batch_info),
];

/// Sends requests of these numbers at once; gives what is told of each.
pub(super) async fn infos(stage: &Stage, ids: std::ops::Range<u64>) -> Vec<ItemInfo> {
    let requests: Vec<_> = ids.map(Request::new).collect();
    let expected = answer_all(requests.clone());
    let replies = stage
        .batcher
        .send_many_for_replies(requests, SendOptions::default())
        .await;
    let infos = replies.into_iter().zip(expected).map(|(reply, right)| {
        let reply = reply.expect("answered");
        assert_eq!(reply.value, right);
        reply.info.expect("this transport tells")
    });
    infos.collect()
}

async fn the_requests_of_a_batch_are_told_the_same_batch(stage: Stage) {
    let _processor = stage.answering(when_full(4));
    let infos = infos(&stage, 0..4).await;
    for info in &infos {
        assert_eq!(info.batch, infos[0].batch);
    }
    assert_eq!(infos[0].batch.size, 4);
    assert_eq!(infos[0].batch.reason, CloseReason::Full);
}

/// Among the batches of a processor, and of all processors.
async fn batches_are_told_apart(stage: Stage) {
    let mut ids = HashSet::new();
    for _ in 0..2 {
        let processor = stage.answering(when_full(2));
        for info in infos(&stage, 0..6).await {
            ids.insert(info.batch.id);
        }
        processor
            .drain(Duration::from_secs(5))
            .await
            .expect("drained");
    }
    assert_eq!(ids.len(), 6);
}

/// From 0, each once, in the order in which the handler saw the requests.
async fn a_position_is_the_place_in_the_batch(stage: Stage) {
    let numbering = |batch: Vec<Request>| -> Vec<Response> {
        let numbered = (0..).zip(&batch).map(|(position, request)| Response {
            id: position,
            text: request.id.to_string(),
        });
        numbered.collect()
    };
    let _processor = BatchProcessor::spawn(stage.source.clone(), when_full(5), numbering);
    let requests = (0..5).map(Request::new).collect();
    let replies = stage
        .batcher
        .send_many_for_replies(requests, SendOptions::default())
        .await;
    let mut positions = HashSet::new();
    for (id, reply) in replies.into_iter().enumerate() {
        let reply = reply.expect("answered");
        let position = reply.info.expect("this transport tells").position;
        assert_eq!(reply.value.id, u64::from(position));
        assert_eq!(reply.value.text, id.to_string());
        positions.insert(position);
    }
    assert_eq!(positions, (0..5).collect());
}

async fn a_request_learns_how_long_it_queued_and_its_batch_ran(stage: Stage) {
    const WINDOW: Duration = Duration::from_millis(1000);
    const RUN: Duration = Duration::from_millis(700);
    let handler = |batch: Vec<Request>| async move {
        sleep(RUN).await;
        answer_all(batch)
    };
    let policy = when_full(4).batch_time(WINDOW);
    let _processor = BatchProcessor::spawn(stage.source.clone(), policy, handler);
    let info = infos(&stage, 0..1).await.remove(0);
    let tolerance = stage.clock.at_once();
    assert_eq!(info.batch.size, 1);
    assert_eq!(info.batch.reason, CloseReason::Window);
    assert!(
        info.queued + stage.clock.grain() >= WINDOW && info.queued <= WINDOW + tolerance,
        "{info:?}"
    );
    assert!(
        info.batch.ran >= RUN && info.batch.ran <= RUN + tolerance,
        "{info:?}"
    );
}

/// `BatchContext` and `ItemInfo` speak of the same batch.
async fn the_handler_sees_the_batch_that_its_callers_see(stage: Stage) {
    let (_processor, mut controls) = stage.controlled(when_idle(1));
    let batcher = stage.batcher.clone();
    let options = SendOptions::default().timeout(Duration::from_secs(40));
    let sending =
        tokio::spawn(async move { batcher.send_for_reply(Request::new(1), options).await });
    let batch = controls.next().await;
    let context = batch.context.clone();
    batch.answer();
    let reply = sending
        .await
        .expect("the sending task lives")
        .expect("answered");
    let info = reply.info.expect("this transport tells");
    assert_eq!(info.batch.id, context.id());
    assert_eq!(info.batch.size, context.len());
    assert_eq!(context.attempt(0), Some(1));
    assert_eq!(context.attempt(1), None);
    let left = context.deadline(0).expect("of the request").elapsed();
    assert_eq!(left, Duration::ZERO, "its deadline is still to come");
}
