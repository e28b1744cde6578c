//! What the traits ask of a transport, asked of its consumer directly, without a processor.

use std::time::Duration;

use dynamic_batcher::{Answer, Consumer, Delivery, Error, ErrorKind, SendOptions, Source};
use futures_util::FutureExt as _;
use futures_util::future::poll_immediate;
use tokio::time::{Instant, timeout};

use crate::case::{Case, case};
use crate::erased::{AnyConsumer, AnyTicket};
use crate::payload::{Request, Response};
use crate::stage::{Stage, abandon, assert_all_answered, assert_answered, error_of};

pub(crate) const CASES: &[Case] = &[
    case!(
        Contract,
        a_delivery_says_when_it_was_sent_and_until_when_it_is_awaited
    ),
    case!(Contract, recv_gives_no_more_than_asked_for),
    case!(Contract, a_dropped_recv_loses_nothing),
    case!(Contract, a_dropped_recv_hands_its_turn_on).needs(|has| has.paused_clock),
    case!(Contract, consumers_share_the_requests),
    case!(
        Contract,
        all_sleeping_consumers_are_woken_when_there_is_work_for_all
    ),
    case!(Contract, a_dropped_ticket_leaves_no_caller_hanging),
    case!(Contract, what_is_released_is_delivered_to_another_at_once),
    case!(Contract, an_answer_for_a_caller_that_is_gone_is_no_error),
    case!(Contract, an_abandoned_request_is_known_to_be)
        .needs(|has| has.sees_abandonment_after_read),
    case!(Contract, an_error_arrives_with_its_kind_and_text),
    case!(Contract, a_consumer_that_leaves_leaves_the_others_alone),
    case!(Contract, the_last_handle_closes_the_consumers).needs(|has| has.closes_with_last_batcher),
];

const WAIT: Duration = Duration::from_secs(5);

type AnyDelivery = Delivery<Request, AnyTicket>;

/// Receives until `count` requests are there.
async fn take(consumer: &AnyConsumer, count: usize) -> Vec<AnyDelivery> {
    let mut found = Vec::new();
    while found.len() < count {
        let max = count - found.len();
        let open = consumer
            .recv(&mut found, max, WAIT)
            .await
            .expect("readable");
        assert!(open || found.len() == count, "it closed");
    }
    found
}

async fn take_one(consumer: &AnyConsumer) -> AnyDelivery {
    take(consumer, 1).await.remove(0)
}

async fn reply(consumer: &AnyConsumer, ticket: AnyTicket, outcome: Result<Response, Error>) {
    let answer = Answer::new(ticket, outcome, Duration::ZERO);
    consumer.reply(None, vec![answer]).await.expect("answered");
}

/// Answers each delivery rightly.
async fn answer(consumer: &AnyConsumer, deliveries: Vec<AnyDelivery>) {
    for delivery in deliveries {
        let response = Response::to(&delivery.payload.expect("decoded"));
        reply(consumer, delivery.ticket, Ok(response)).await;
    }
}

async fn a_delivery_says_when_it_was_sent_and_until_when_it_is_awaited(stage: Stage) {
    const TIMEOUT: Duration = Duration::from_secs(40);
    let consumer = stage.source.attach();
    let batcher = stage.batcher.clone();
    let options = SendOptions::default().timeout(TIMEOUT);
    let sent = Instant::now();
    let sending = tokio::spawn(async move { batcher.send_with(Request::new(1), options).await });
    let delivery = take_one(&consumer).await;
    let tolerance = stage.clock.at_once();
    let queued = delivery.meta.enqueued.saturating_duration_since(sent);
    assert!(queued <= tolerance, "{queued:?}");
    let awaited = delivery.meta.deadline.saturating_duration_since(sent);
    assert!(
        awaited + tolerance >= TIMEOUT && awaited <= TIMEOUT + tolerance,
        "{awaited:?}"
    );
    assert_eq!(
        (delivery.meta.attempt, delivery.meta.last_attempt),
        (1, false)
    );
    answer(&consumer, vec![delivery]).await;
    assert_answered(sending, 1).await;
}

async fn recv_gives_no_more_than_asked_for(stage: Stage) {
    let consumer = stage.source.attach();
    let sendings = stage.send_each(0..10);
    stage.clock.settle().await;
    let mut received = Vec::new();
    while received.len() < 10 {
        let mut found = Vec::new();
        consumer.recv(&mut found, 3, WAIT).await.expect("readable");
        assert!(found.len() <= 3, "{} instead of 3", found.len());
        received.append(&mut found);
    }
    answer(&consumer, received).await;
    assert_all_answered(sendings, 0..10).await;
}

/// Polled and dropped again and again, before and after requests come.
async fn a_dropped_recv_loses_nothing(stage: Stage) {
    let consumer = stage.source.attach();
    let mut received = Vec::new();
    let mut sendings = Vec::new();
    for id in 0..60 {
        let recv = consumer.recv(&mut received, 2, WAIT);
        match id % 3 {
            0 => drop(recv.now_or_never()),
            1 => drop(timeout(Duration::from_millis(1), recv).await),
            _ => drop(recv),
        }
        sendings.push(stage.send(id));
        if id % 2 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let rest = 60 - received.len();
    received.extend(take(&consumer, rest).await);
    answer(&consumer, received).await;
    assert_all_answered(sendings, 0..60).await;
}

/// Woken by a request and dropped before it looked: another consumer has the request.
async fn a_dropped_recv_hands_its_turn_on(stage: Stage) {
    let (leaving, staying) = (stage.source.attach(), stage.source.attach());
    let mut found = Vec::new();
    let mut recv = Box::pin(leaving.recv(&mut found, 1, WAIT));
    assert!(
        poll_immediate(&mut recv).await.is_none(),
        "nothing was sent"
    );
    let taking = tokio::spawn(async move {
        let taken = take(&staying, 1).await;
        (staying, taken)
    });
    stage.clock.settle().await;
    let sending = stage.send(1);
    stage.clock.settle().await;
    drop(recv);
    let (staying, taken) = taking.await.expect("the taking task lives");
    answer(&staying, taken).await;
    assert_answered(sending, 1).await;
    drop(leaving);
}

/// Each request goes to one of them.
async fn consumers_share_the_requests(stage: Stage) {
    let consumers = [stage.source.attach(), stage.source.attach()];
    let sendings = stage.send_each(0..8);
    stage.clock.settle().await;
    let mut ids = Vec::new();
    for consumer in &consumers {
        let deliveries = take(consumer, 4).await;
        ids.extend(
            deliveries
                .iter()
                .map(|each| each.payload.as_ref().expect("decoded").id),
        );
        answer(consumer, deliveries).await;
    }
    ids.sort_unstable();
    assert_eq!(ids, Vec::from_iter(0..8));
    assert_all_answered(sendings, 0..8).await;
}

/// Requests that come at once wake more than one.
async fn all_sleeping_consumers_are_woken_when_there_is_work_for_all(stage: Stage) {
    let consumers = [0, 1, 2].map(|_| stage.source.attach());
    let taking = consumers.map(|consumer| {
        tokio::spawn(async move {
            let taken = take(&consumer, 1).await;
            (consumer, taken)
        })
    });
    stage.clock.settle().await;
    let batcher = stage.batcher.clone();
    let requests = (0..3).map(Request::new).collect();
    let sending = tokio::spawn(async move { batcher.send_many(requests).await });
    // None takes a second one: all three have to take one before the first is answered.
    let mut all_taken = Vec::new();
    for taken in taking {
        all_taken.push(taken.await.expect("the taking task lives"));
    }
    for (consumer, taken) in all_taken {
        answer(&consumer, taken).await;
    }
    let results = sending.await.expect("the sending task lives");
    assert!(results.iter().all(Result::is_ok));
}

/// Its call ends with an error that says so, or another consumer gets the request.
async fn a_dropped_ticket_leaves_no_caller_hanging(stage: Stage) {
    let (careless, other) = (stage.source.attach(), stage.source.attach());
    let mut sending = stage.send(1);
    drop(take_one(&careless).await);
    tokio::select! {
        outcome = &mut sending => {
            let error = outcome.expect("the sending task lives").expect_err("nobody answered");
            assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
        }
        again = take_one(&other) => {
            answer(&other, vec![again]).await;
            assert_answered(sending, 1).await;
        }
    }
}

/// With the same payload, and not as another attempt: nobody had started it.
async fn what_is_released_is_delivered_to_another_at_once(stage: Stage) {
    let (giving, taking) = (stage.source.attach(), stage.source.attach());
    let sendings = stage.send_each(0..3);
    let deliveries = take(&giving, 3).await;
    giving.release(deliveries).await.expect("given back");
    let start = Instant::now();
    let again = take(&taking, 3).await;
    stage.clock.assert_at_once(start);
    let mut payloads: Vec<_> = again
        .iter()
        .map(|each| each.payload.clone().expect("decoded"))
        .collect();
    payloads.sort_unstable_by_key(|request| request.id);
    assert_eq!(payloads, [0, 1, 2].map(Request::new));
    assert!(again.iter().all(|each| each.meta.attempt == 1));
    answer(&taking, again).await;
    assert_all_answered(sendings, 0..3).await;
}

/// Nor do those who still wait get it.
async fn an_answer_for_a_caller_that_is_gone_is_no_error(stage: Stage) {
    let consumer = stage.source.attach();
    let leaving = stage.send(0);
    let mut deliveries = vec![take_one(&consumer).await];
    let staying = stage.send(1);
    deliveries.push(take_one(&consumer).await);
    abandon(leaving).await;
    answer(&consumer, deliveries).await;
    assert_answered(staying, 1).await;
}

async fn an_abandoned_request_is_known_to_be(stage: Stage) {
    let consumer = stage.source.attach();
    let leaving = stage.send(0);
    let abandoned = take_one(&consumer).await;
    let staying = stage.send(1);
    let awaited = take_one(&consumer).await;
    assert!(!consumer.is_abandoned(&abandoned.ticket));
    abandon(leaving).await;
    stage.clock.settle().await;
    assert!(consumer.is_abandoned(&abandoned.ticket));
    assert!(!consumer.is_abandoned(&awaited.ticket));
    // Given back or answered, it goes to nobody.
    consumer.release(vec![abandoned]).await.expect("given back");
    answer(&consumer, vec![awaited]).await;
    assert_answered(staying, 1).await;
}

/// Every kind that a processor can give.
async fn an_error_arrives_with_its_kind_and_text(stage: Stage) {
    let kinds = [
        ErrorKind::Handler,
        ErrorKind::Panic,
        ErrorKind::HandlerTimeout {
            run_timeout: Duration::from_millis(1500),
        },
        ErrorKind::WrongNumberOfOutputs {
            expected: 3,
            actual: 2,
        },
        ErrorKind::Encode,
        ErrorKind::Decode,
        ErrorKind::Lost,
        ErrorKind::Undeliverable { deliveries: 3 },
    ];
    let consumer = stage.source.attach();
    for kind in kinds {
        let sending = stage.send(1);
        let delivery = take_one(&consumer).await;
        let error = Error::new(kind, "because of \u{1f525}, \"quoted\"");
        reply(&consumer, delivery.ticket, Err(error.clone())).await;
        let arrived = error_of(sending).await;
        assert_eq!(arrived.kind(), kind);
        assert_eq!(arrived.to_string(), error.to_string());
    }
}

/// Those who wait are not closed, nor are the other consumers.
async fn a_consumer_that_leaves_leaves_the_others_alone(stage: Stage) {
    let (leaving, staying) = (stage.source.attach(), stage.source.attach());
    let sending = stage.send(1);
    leaving.detach().await.expect("left");
    answer(&staying, take(&staying, 1).await).await;
    assert_answered(sending, 1).await;
    let dropped = stage.source.attach();
    let sending = stage.send(2);
    drop(dropped);
    answer(&staying, take(&staying, 1).await).await;
    assert_answered(sending, 2).await;
}

/// Also those that are asleep. What the consumers gave does not keep the transport open.
async fn the_last_handle_closes_the_consumers(stage: Stage) {
    let consumers = [stage.source.attach(), stage.source.attach()];
    let waiting = consumers.map(|consumer| {
        tokio::spawn(async move {
            let mut found = Vec::new();
            while consumer.recv(&mut found, 1, WAIT).await.expect("readable") {}
            found.len()
        })
    });
    stage.clock.settle().await;
    drop((stage.batcher, stage.source));
    for consumer in waiting {
        assert_eq!(consumer.await.expect("the consumer's task lives"), 0);
    }
}
