//! Responses reach their callers, in the right order and once.

use std::collections::HashSet;
use std::time::Duration;

use dynamic_batcher::{BatchProcessor, SendOptions};

use crate::case::{Case, case};
use crate::payload::{Request, Response};
use crate::stage::{Stage, answer_all, assert_all_answered, when_full, when_idle};

pub(crate) const CASES: &[Case] = &[
    case!(G2, every_caller_gets_its_own_response),
    case!(G2, order_is_kept_within_a_batch),
    case!(G2, each_request_is_served_once_by_several_processors),
    case!(G2, payloads_arrive_unchanged),
    case!(G2, send_many_keeps_the_order_over_several_batches),
    case!(G2, send_many_gives_each_item_its_own_outcome),
    case!(G2, send_many_of_nothing_is_nothing),
    case!(G2, requests_wait_for_the_first_processor),
];

/// Many concurrent callers and small batches: each gets the response to its own request.
async fn every_caller_gets_its_own_response(stage: Stage) {
    let policy = when_full(7).batch_time(Duration::from_millis(5));
    let _processor = stage.answering(policy);
    let sendings = stage.send_each(0..500);
    assert_all_answered(sendings, 0..500).await;
}

/// The handler sees the requests in the order in which they were sent.
async fn order_is_kept_within_a_batch(stage: Stage) {
    let (_processor, mut controls) = stage.controlled(when_full(8));
    let sending = stage.batcher.send_many((0..8).map(Request::new).collect());
    let serving = async {
        let batch = controls.next().await;
        let ids = batch.ids();
        batch.answer();
        ids
    };
    let (results, ids) = tokio::join!(sending, serving);
    assert_eq!(ids, Vec::from_iter(0..8));
    assert!(results.iter().all(Result::is_ok));
}

/// Processors share the requests of a source; none is served twice.
async fn each_request_is_served_once_by_several_processors(stage: Stage) {
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let processors = [5, 3, 1].map(|batch_size| {
        let seen = seen.clone();
        let handler = move |batch: Vec<Request>| {
            for request in &batch {
                seen.send(request.id).expect("the case looks");
            }
            async move {
                // So that the other processors have their turn.
                tokio::task::yield_now().await;
                answer_all(batch)
            }
        };
        BatchProcessor::spawn(stage.source.clone(), when_idle(batch_size), handler)
    });
    assert_all_answered(stage.send_each(0..300), 0..300).await;
    stage.clock.settle().await;
    drop((seen, processors));
    let mut served = HashSet::new();
    while let Some(id) = requests.recv().await {
        assert!(served.insert(id), "request {id} was served twice");
    }
    assert_eq!(served.len(), 300);
}

/// Texts of all kinds, and numbers at their limits.
async fn payloads_arrive_unchanged(stage: Stage) {
    let _processor = stage.answering(when_idle(4));
    let texts = [
        String::new(),
        "\0\u{1}\t\r\n\"\\/".to_owned(),
        "\u{feff}Grüße, \u{1f600} \u{10ffff}".to_owned(),
        "x".repeat(1 << 20),
    ];
    for (text, id) in texts.into_iter().zip([0, 1, i64::MAX as u64, u64::MAX]) {
        let request = Request { id, text };
        let response = stage.batcher.send(request.clone()).await.expect("answered");
        assert_eq!(response, Response::to(&request));
    }
}

/// What is more than a batch is split, and the results come in the order of the requests.
async fn send_many_keeps_the_order_over_several_batches(stage: Stage) {
    let (_processor, mut controls) = stage.controlled(when_idle(10));
    let batcher = stage.batcher.clone();
    let sending =
        tokio::spawn(async move { batcher.send_many((0..25).map(Request::new).collect()).await });
    let mut served = 0;
    while served < 25 {
        let batch = controls.next().await;
        assert!(batch.requests.len() <= 10);
        served += batch.requests.len();
        batch.answer();
    }
    let results = sending.await.expect("the sending task lives");
    let answered: Vec<_> = results
        .into_iter()
        .map(|result| result.expect("answered"))
        .collect();
    assert_eq!(answered, answer_all((0..25).map(Request::new).collect()));
}

/// An item's error is its own.
async fn send_many_gives_each_item_its_own_outcome(stage: Stage) {
    let refuse_odd = |batch: Vec<Request>| -> Vec<Result<Response, String>> {
        let each = batch.iter().map(|request| match request.id % 2 {
            0 => Ok(Response::to(request)),
            _ => Err(format!("{} is odd", request.id)),
        });
        each.collect()
    };
    let _processor = BatchProcessor::spawn(stage.source.clone(), when_idle(4), refuse_odd);
    let requests = (0..10).map(Request::new).collect();
    let results = stage
        .batcher
        .send_many_for_replies(requests, SendOptions::default())
        .await;
    assert_eq!(results.len(), 10);
    for (id, result) in (0..).zip(results) {
        match result {
            Ok(reply) => {
                assert_eq!(id % 2, 0);
                assert_eq!(reply.value, Response::to(&Request::new(id)));
            }
            Err(error) => assert_eq!(
                error.to_string(),
                format!("the handler failed: {id} is odd")
            ),
        }
    }
}

/// No requests, no results, no waiting.
async fn send_many_of_nothing_is_nothing(stage: Stage) {
    assert!(stage.batcher.send_many(Vec::new()).await.is_empty());
}

/// What is sent before any processor is there is served when one comes.
async fn requests_wait_for_the_first_processor(stage: Stage) {
    let sendings = stage.send_each(0..5);
    stage.clock.settle().await;
    assert!(sendings.iter().all(|sending| !sending.is_finished()));
    let _processor = stage.answering(when_idle(2));
    assert_all_answered(sendings, 0..5).await;
}
