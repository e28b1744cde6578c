//! What the observer `Metrics` counts and times, at a recorder that can be looked into.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::telemetry::{METRICS, MetricsConfig};
use dynamic_batcher::{
    Backlog, BatchPolicy, BatchProcessor, Batcher, ErrorKind, Observer as _, OnBatchError,
    SendOptions, WhenIdle,
};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport};
use metrics_util::debugging::DebugValue;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::book::{Book, gauge, values};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const FOUR: NonZeroUsize = NonZeroUsize::new(4).unwrap();

fn policy(book: &Book) -> BatchPolicy {
    BatchPolicy::default()
        .batch_size(FOUR)
        .when_idle(WhenIdle::Run)
        .observer(book.metrics.clone())
}

/// A batcher and a processor that are both told of, over a queue of at most `max_queue`.
fn start<F, R, M>(
    book: &Book,
    max_queue: usize,
    handler: F,
) -> (Batcher<i32, i32>, BatchProcessor<i32, i32>)
where
    F: Fn(Vec<i32>) -> R + Send + Sync + 'static,
    R: dynamic_batcher::IntoOutcome<i32, M> + 'static,
    M: 'static,
{
    let max_queue = NonZeroUsize::new(max_queue).expect("not zero");
    let transport = MemoryTransport::new(MemoryConfig::default().max_queue(max_queue));
    let batcher = Batcher::new(transport.clone()).observer(book.metrics.clone());
    (
        batcher,
        BatchProcessor::spawn(transport, policy(book), handler),
    )
}

/// A handler that waits for leave, one permit for each batch.
fn gated(gate: &Arc<Semaphore>) -> impl Fn(Vec<i32>) -> Gated + Send + Sync + 'static {
    let gate = Arc::clone(gate);
    move |batch| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            gate.acquire().await.expect("open").forget();
            batch
        })
    }
}

type Gated = std::pin::Pin<Box<dyn Future<Output = Vec<i32>> + Send>>;

#[test]
fn the_table_has_every_metric_and_every_value_of_its_label_from_the_start() {
    let book = Book::new();
    let found: Vec<_> = book.look().into_keys().collect();
    let mut expected: Vec<_> = METRICS
        .iter()
        .flat_map(|metric| match metric.label {
            None => vec![metric.name.to_owned()],
            Some((_, values)) => values
                .iter()
                .map(|value| format!("{}{{{value}}}", metric.name))
                .collect(),
        })
        .collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_counted_and_timed() {
    let book = Book::new();
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone()).observer(book.metrics.clone());
    let policy = policy(&book)
        .when_idle(WhenIdle::Wait)
        .batch_time(Duration::from_secs(3));
    let _processor = BatchProcessor::spawn(transport, policy, |batch: Vec<i32>| async {
        sleep(Duration::from_secs(5)).await;
        batch
    });
    let answers = batcher.send_many(vec![1, 2]).await;
    assert!(answers.iter().all(Result::is_ok));
    sleep(Duration::from_secs(1)).await;

    let looked = book.look();
    assert_eq!(values(&looked, "batch_size"), [2.0]);
    assert_eq!(values(&looked, "batch_fill_ratio"), [0.5]);
    assert_eq!(values(&looked, "gather_duration_seconds"), [3.0]);
    assert_eq!(values(&looked, "queue_duration_seconds"), [3.0, 3.0]);
    assert_eq!(values(&looked, "handler_duration_seconds"), [5.0]);
    assert_eq!(values(&looked, "request_duration_seconds"), [8.0, 8.0]);
    assert_eq!(values(&looked, "reply_duration_seconds"), [0.0]);
    let count = |name: &str| match looked[name] {
        DebugValue::Counter(count) => count,
        _ => panic!("{name} is no counter"),
    };
    assert_eq!(count("flush_total{window}"), 1);
    assert_eq!(count("batches_total{ok}"), 1);
    assert_eq!(count("requests_total{ok}"), 2);
}

#[tokio::test(start_paused = true)]
async fn how_requests_end_that_run() {
    let book = Book::new();
    let (batcher, _processor) = start(&book, 100, |batch: Vec<i32>| {
        let each = batch
            .iter()
            .map(|n| if *n < 0 { Err("negative") } else { Ok(*n) });
        each.collect::<Vec<_>>()
    });
    let _: Vec<_> = batcher.send_many(vec![1, -1, 2]).await;
    book.assert_requests([("ok", 2), ("item_error", 1)]);

    let (batcher, _processor) = start(&book, 100, |_: Vec<i32>| Err::<Vec<i32>, _>("broken"));
    let _: Vec<_> = batcher.send_many(vec![1, 2]).await;
    book.assert_requests([("batch_error", 2)]);

    let (batcher, _processor) = start(&book, 100, |_: Vec<i32>| Vec::<i32>::new());
    let _: Vec<_> = batcher.send_many(vec![1, 2]).await;
    book.assert_requests([("batch_error", 2)]);

    let (batcher, _processor) = start(&book, 100, |batch: Vec<i32>| -> Vec<i32> {
        panic!("a batch of {}", batch.len())
    });
    let _: Vec<_> = batcher.send_many(vec![1, 2, 3]).await;
    let all = book.look();
    assert_eq!(all["requests_total{panic}"], DebugValue::Counter(3));
    assert_eq!(all["batches_total{panic}"], DebugValue::Counter(1));
}

#[tokio::test(start_paused = true)]
async fn what_fails_its_batch_is_poison_once_it_is_found() {
    let book = Book::new();
    let transport = MemoryTransport::default();
    let batcher: Batcher<i32, i32> = Batcher::new(transport.clone()).observer(book.metrics.clone());
    let policy = policy(&book).on_batch_error(OnBatchError::Bisect);
    let _processor = BatchProcessor::spawn(transport, policy, |batch: Vec<i32>| {
        match batch.contains(&-1) {
            true => Err("negative"),
            false => Ok(batch),
        }
    });
    batcher.send_many(vec![1, 2, -1, 4]).await;
    book.assert_requests([("ok", 3), ("poison", 1)]);
}

#[tokio::test(start_paused = true)]
async fn how_calls_end_without_a_response() {
    let book = Book::new();
    let gate = Arc::new(Semaphore::new(0));
    let (batcher, processor) = start(&book, 3, gated(&gate));
    let send = |request| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.send(request).await })
    };
    let running = send(1);
    sleep(Duration::from_millis(1)).await;

    // One that the processor has read, and so takes out itself.
    let soon = SendOptions::default().timeout(Duration::from_millis(10));
    let expired = batcher.send_with(2, soon).await.expect_err("nothing ends");
    assert!(matches!(expired.kind(), ErrorKind::Timeout { .. }));
    tokio::time::timeout(Duration::from_millis(10), batcher.send(3))
        .await
        .expect_err("nothing ends");
    // They are in the processor's hands still, and no longer count: with these the queue is full.
    let waiting = [send(4), send(5)];
    sleep(Duration::from_millis(1)).await;
    batcher.send(6).await.expect_err("the queue is full");
    drop(processor);
    for lost in [running].into_iter().chain(waiting) {
        let outcome = lost.await.expect("no panic");
        outcome.expect_err("its processor is gone");
    }
    book.assert_requests([
        ("expired", 1),
        ("cancelled", 1),
        ("rejected", 1),
        ("lost", 3),
    ]);
}

#[tokio::test(start_paused = true)]
async fn what_a_processor_takes_out_is_its_own_to_count_where_callers_are_not_told_of() {
    for (count_skipped, expected) in [(false, 0), (true, 1)] {
        let config = MetricsConfig::default().count_skipped(count_skipped);
        let book = Book::with_config(config);
        let gate = Arc::new(Semaphore::new(0));
        let transport = MemoryTransport::default();
        let _processor = BatchProcessor::spawn(transport.clone(), policy(&book), gated(&gate));
        let batcher: Batcher<i32, i32> = Batcher::new(transport);
        let running = tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.send(1).await }
        });
        sleep(Duration::from_millis(1)).await;
        tokio::time::timeout(Duration::from_millis(10), batcher.send(2))
            .await
            .expect_err("nothing ends");
        gate.add_permits(2);
        running.await.expect("no panic").expect("answered");
        batcher.send(3).await.expect("answered");
        let counted = book.counters("requests_total");
        let cancelled = counted.get("requests_total{cancelled}");
        assert_eq!(
            cancelled.copied().unwrap_or_default(),
            expected,
            "{counted:?}"
        );
        assert_eq!(counted["requests_total{ok}"], 2);
    }
}

#[tokio::test(start_paused = true)]
async fn gauges_go_on_while_a_handler_does_not_end() {
    let book = Book::new();
    let gate = Arc::new(Semaphore::new(0));
    let (batcher, processor) = start(&book, 100, gated(&gate));
    let mut calls = Vec::new();
    for size in [1, 10] {
        let batcher = batcher.clone();
        let call = async move { batcher.send_many((0..size).collect()).await };
        calls.push(tokio::spawn(call));
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(30)).await;
    let looked = book.look();
    // Four that the processor has read and six in the queue.
    assert_eq!(gauge(&looked, "queue_items"), 10.0);
    assert_eq!(gauge(&looked, "batches_in_flight"), 1.0);
    let age = gauge(&looked, "queue_oldest_age_seconds");
    assert!((28.0..=30.1).contains(&age), "{age}");

    gate.add_permits(10);
    for call in calls {
        assert!(call.await.expect("no panic").iter().all(Result::is_ok));
    }
    sleep(Duration::from_millis(1)).await;
    let looked = book.look();
    for name in [
        "queue_items",
        "batches_in_flight",
        "queue_oldest_age_seconds",
    ] {
        assert_eq!(gauge(&looked, name), 0.0, "{name}");
    }
    drop(processor);
}

#[tokio::test(start_paused = true)]
async fn gauges_are_zero_when_the_processor_has_been_killed() {
    let book = Book::new();
    let gate = Arc::new(Semaphore::new(0));
    let transport = MemoryTransport::default();
    let batcher: Batcher<i32, i32> = Batcher::new(transport.clone());
    let (_processor, task) = BatchProcessor::pair(transport, policy(&book), gated(&gate));
    let task = tokio::spawn(task);
    let call = tokio::spawn(async move { batcher.send(1).await });
    sleep(Duration::from_secs(2)).await;
    assert_eq!(gauge(&book.look(), "batches_in_flight"), 1.0);
    task.abort();
    call.await
        .expect("no panic")
        .expect_err("its processor is gone");
    assert_eq!(gauge(&book.look(), "batches_in_flight"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_rate_a_part_is_recorded_and_counters_stay_exact() {
    const REQUESTS: usize = 2_000;
    let book = Book::with_config(MetricsConfig::default().sample_rate(TWO));
    let (batcher, _processor) = start(&book, REQUESTS, |batch: Vec<i32>| batch);
    let answers = batcher.send_many(vec![0; REQUESTS]).await;
    assert!(answers.iter().all(Result::is_ok));
    let looked = book.look();
    let recorded = values(&looked, "request_duration_seconds").len();
    assert!((2..100).contains(&recorded), "{recorded}");
    let sizes = values(&looked, "batch_size").len();
    assert!((2..100).contains(&sizes), "{sizes}");
    let ok = DebugValue::Counter(REQUESTS as u64);
    assert_eq!(looked["requests_total{ok}"], ok);
}

#[test]
fn what_transports_tell_is_counted() {
    let book = Book::new();
    book.metrics.redelivered(2);
    book.metrics.dead_letters(3);
    book.metrics.duplicates_dropped(4);
    book.metrics.commands_sent(5);
    let expected = [
        ("redeliveries_total", 2),
        ("dead_letters_total", 3),
        ("duplicates_dropped_total", 4),
        ("redis_commands_total", 5),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(book.counters(""), BTreeMap::from(expected));

    book.metrics.backlog(&Backlog::new(6, Some(7)));
    // A server that does not know any more.
    book.metrics.backlog(&Backlog::new(8, None));
    let looked = book.look();
    assert_eq!(gauge(&looked, "redis_pending_entries"), 8.0);
    assert!(gauge(&looked, "redis_lag").is_nan());
}
