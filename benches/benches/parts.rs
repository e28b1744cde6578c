//! The parts of the way, each by itself, for a batch of 64: `cargo bench -p dynamic-batcher-benches`.
//!
//! Times are of a whole batch. They find what a change of one part does to it; what it does to the
//! whole way is what `inproc` and `wire` measure.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dynamic_batcher::bench::Forming;
use dynamic_batcher::{
    Answer, BatchPolicy, CallMeta, Consumer as _, Decode, Delivery, Encode, Json, Source as _,
    Transport as _, WhenIdle,
};
use dynamic_batcher_memory::MemoryTransport;
use dynamic_batcher_redis::bench::{Calls, Read, write_replies, write_requests};
use futures_util::future::{join, join_all};

#[path = "../src/wire/payload.rs"]
mod payload;
use payload::{Sum, Values};

const BATCH: u64 = 64;
const TIMEOUT: Duration = Duration::from_secs(100);

fn requests() -> Vec<Values> {
    (0..BATCH).map(|count| Values::new(7, count)).collect()
}

fn encoded<T>(values: &[T]) -> Vec<Vec<u8>>
where
    Json: Encode<T>,
{
    let encode = |value| {
        let mut json = Vec::new();
        Json.encode(value, &mut json).expect("numbers are JSON");
        json
    };
    values.iter().map(encode).collect()
}

fn decode<T>(bodies: &[Vec<u8>]) -> Vec<T>
where
    Json: Decode<T>,
{
    let decode = |json: &Vec<u8>| Json.decode(json).expect("it was encoded");
    bodies.iter().map(decode).collect()
}

fn responses() -> Vec<Sum> {
    requests().iter().map(Values::sum).collect()
}

fn former(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("former");
    group.throughput(Throughput::Elements(BATCH));
    let policy = BatchPolicy::default().when_idle(WhenIdle::Wait);
    let mut forming = Forming::new(&policy);
    let meta = CallMeta::new(TIMEOUT);
    assert_eq!(forming.batch(BATCH, meta), 64);
    group.bench_function("a full batch", |bencher| {
        bencher.iter(|| forming.batch(black_box(BATCH), meta));
    });
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(BATCH));
    let (requests, responses) = (requests(), responses());
    let (asked, answered) = (encoded(&requests), encoded(&responses));
    assert_eq!(decode::<Sum>(&answered), responses);
    group.bench_function("encode requests", |bencher| {
        bencher.iter(|| encoded(black_box(&requests)));
    });
    group.bench_function("decode requests", |bencher| {
        bencher.iter(|| decode::<Values>(black_box(&asked)));
    });
    group.bench_function("encode responses", |bencher| {
        bencher.iter(|| encoded(black_box(&responses)));
    });
    group.bench_function("decode responses", |bencher| {
        bencher.iter(|| decode::<Sum>(black_box(&answered)));
    });
}

fn redis(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("redis");
    group.throughput(Throughput::Elements(BATCH));
    let (asked, answered) = (encoded(&requests()), encoded(&responses()));
    let asked_bytes: usize = asked.iter().map(Vec::len).sum();
    let requests = Read::of_requests(&asked);
    assert_eq!(requests.clone().parse().expect("requests"), asked_bytes);
    let replies = Read::of_replies(&answered);
    let mut calls = Calls::wait(64);
    replies.clone().route(&calls).expect("replies");
    assert_eq!(calls.answered(), 64);
    group.bench_function("build requests", |bencher| {
        bencher.iter(|| write_requests(black_box(&asked)));
    });
    group.bench_function("parse requests", |bencher| {
        let read = || requests.clone();
        bencher.iter_batched(read, Read::parse, BatchSize::SmallInput);
    });
    group.bench_function("build replies", |bencher| {
        bencher.iter(|| write_replies(black_box(&answered)));
    });
    group.bench_function("parse and route replies", |bencher| {
        let read = || (replies.clone(), Calls::wait(64));
        let route = |(read, calls): (Read, Calls)| {
            read.route(&calls).expect("replies");
            calls
        };
        bencher.iter_batched(read, route, BatchSize::SmallInput);
    });
}

/// The queue and the slots, through the traits and on one thread: calls made, read, answered and
/// received, without a run loop between.
fn memory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory");
    group.throughput(Throughput::Elements(BATCH));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let transport = MemoryTransport::<u64, u64>::default();
    let consumer = transport.attach();
    let round_trip = async || {
        let meta = CallMeta::new(TIMEOUT);
        let calls = join_all((0..BATCH).map(|request| transport.call(request, meta)));
        let serve = async {
            let mut batch = Vec::new();
            let received = consumer.recv(&mut batch, 64, TIMEOUT).await;
            received.expect("the calls were made before");
            let answer = |each: Delivery<u64, _>| Answer::new(each.ticket, each.payload, TIMEOUT);
            let answers = batch.into_iter().map(answer).collect();
            consumer.reply(None, answers).await
        };
        let (answered, replied) = join(calls, serve).await;
        replied.expect("replies in a process arrive");
        answered
    };
    let answered = runtime.block_on(round_trip());
    assert!(
        (0..)
            .zip(answered)
            .all(|(asked, reply)| { reply.expect("an answer").value == asked })
    );
    group.bench_function("queue and slots", |bencher| {
        bencher.iter(|| runtime.block_on(round_trip()));
    });
}

criterion_group! {
    name = parts;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = former, codec, redis, memory
}
criterion_main!(parts);
