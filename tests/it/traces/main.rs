//! Traces from callers to processors, as OpenTelemetry has them: in one process, and over Redis to
//! another.
#![allow(
    clippy::unwrap_used,
    reason = "clippy permits it in tests, and takes what helps them for something else"
)]

mod processor;
mod spans;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use dynamic_batcher::{Batcher, SendOptions};
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_conformance::faults::Client;
use libtest_mimic::{Arguments, Trial};
use redis::aio::MultiplexedConnection;
use tokio::time::{sleep, timeout};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use tracing::{Instrument as _, info_span};

use crate::processor::{Config, LIMIT, Processor, STREAM, echo, policy};
use crate::spans::{Ended, Place, Spans, named, note_everywhere, one};

const CLIENTS: [(&str, Client); 2] = [("redis", Client::Redis), ("fred", Client::Fred)];
/// By this time a trial has ended or has failed.
const WATCHDOG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if let Some(config) = Config::of_this_process() {
        block_on(processor::run(config));
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let mut trials = vec![trial(
        "memory::a_batch_has_a_link_to_each_of_its_callers".into(),
        a_batch_has_a_link_to_each_of_its_callers,
    )];
    for (name, client) in CLIENTS {
        for (to, processor) in CLIENTS {
            trials.push(trial(
                format!("{name}::a_trace_goes_to_another_process_with_{to}"),
                move || a_trace_goes_to_another_process(client, processor),
            ));
        }
        trials.push(trial(
            format!("{name}::what_is_no_traceparent_harms_no_request"),
            move || what_is_no_traceparent_harms_no_request(client),
        ));
        trials.push(trial(
            format!("{name}::an_entry_has_the_field_only_where_somebody_listens_to_its_call"),
            move || an_entry_has_the_field_only_where_somebody_listens_to_its_call(client),
        ));
    }
    trials
}

fn trial<F: Future<Output = ()>>(name: String, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    let run = || {
        block_on(async { timeout(WATCHDOG, test()).await })
            .map_err(|_| format!("hung: not ended after {WATCHDOG:?}").into())
    };
    Trial::test(name, run)
}

/// Runs all on this thread, so that whoever listens to its spans hears all.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Two calls, each from a span of its own.
async fn call_twice(batcher: &Batcher<u32, u32>) {
    let call = |n| batcher.send(n).instrument(info_span!("caller"));
    let (one, two) = tokio::join!(call(1), call(2));
    assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
}

/// Each call is within its caller's trace, the batch has a link to each, and each names the batch.
fn assert_joined(callers: &[Ended], processors: &[Ended]) {
    let batch = one(processors, "batch");
    assert_eq!(batch.parent, None);
    assert!(batch.batch_id.is_some());

    let (mut sends, callers) = (named(callers, "send"), named(callers, "caller"));
    assert_eq!((sends.len(), callers.len()), (2, 2));
    for caller in callers {
        let is_within = |send: &&Ended| send.parent.as_ref() == Some(&caller.place);
        let send = sends.remove(sends.iter().position(is_within).unwrap());
        assert_ne!(send.place.trace_id, batch.place.trace_id);
        assert!(batch.links.contains(&send.place), "{batch:?}");
        assert_eq!(send.batch_id, batch.batch_id);
    }
    assert_eq!(batch.links.len(), 2);

    let handler = one(processors, "handler");
    let reply = one(processors, "reply");
    for child in [handler, reply] {
        assert_eq!(child.parent.as_ref(), Some(&batch.place), "{}", child.name);
    }
    let own = one(processors, "own");
    assert_eq!(own.parent.as_ref(), Some(&handler.place));
}

async fn a_batch_has_a_link_to_each_of_its_callers() {
    let spans = Spans::listen();
    let (batcher, processor) = dynamic_batcher_memory::spawn(policy(2.try_into().unwrap()), echo);
    call_twice(&batcher).await;
    processor.drain(LIMIT).await.unwrap();
    let spans = spans.ended();
    assert_joined(&spans, &spans);
}

async fn a_trace_goes_to_another_process(caller: Client, processor: Client) {
    let server = RedisServer::start(None);
    let processor = Processor::start(processor, &server, 2);
    let spans = Spans::listen();
    call_twice(&batcher(caller, &server).await).await;
    let processors = processor.spans().await;
    let callers = spans.ended();
    // What they know of each other has come over Redis.
    assert!(named(&callers, "batch").is_empty() && named(&processors, "send").is_empty());
    assert_joined(&callers, &processors);
}

async fn batcher(client: Client, server: &RedisServer) -> Batcher<u32, u32> {
    let transport = client.connect(processor::redis(server.port())).await;
    Batcher::new(transport.unwrap())
}

async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let url = format!("redis://127.0.0.1:{}", server.port());
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Looks again and again, until it is there.
async fn found<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, found).await.expect("it comes")
}

/// Adds an entry as a caller in Python does; its answer.
async fn add(redis: &mut MultiplexedConnection, further: &[(&str, &[u8])]) -> String {
    let mut add = redis::cmd("XADD");
    add.arg(STREAM).arg("*").arg("body").arg("7").arg(further);
    let id: String = add.query_async(redis).await.unwrap();
    let take = redis::cmd("GETDEL").arg(&id).take();
    found(async || take.query_async(redis).await.unwrap()).await
}

async fn what_is_no_traceparent_harms_no_request(client: Client) {
    let server = RedisServer::start(None);
    let processor = Processor::start(client, &server, 1);
    let mut redis = connect(&server).await;
    let known = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let none = "00-00000000000000000000000000000000-0000000000000000-00";
    let values: [&[u8]; 5] = [b"", b"garbage", b"\xff\xfe", none.as_bytes(), &[b'0'; 4096]];
    assert_eq!(add(&mut redis, &[]).await, "7");
    for value in values {
        assert_eq!(add(&mut redis, &[("traceparent", value)]).await, "7");
    }
    assert_eq!(
        add(&mut redis, &[("traceparent", known.as_bytes())]).await,
        "7"
    );

    let spans = processor.spans().await;
    let batches = named(&spans, "batch");
    let (last, others) = batches.split_last().unwrap();
    assert_eq!(others.len(), 1 + values.len());
    assert!(others.iter().all(|batch| batch.links.is_empty()));
    let place = Place {
        trace_id: known[3..35].into(),
        span_id: known[36..52].into(),
    };
    assert_eq!(last.links, [place]);
}

async fn an_entry_has_the_field_only_where_somebody_listens_to_its_call(client: Client) {
    note_everywhere();
    let server = RedisServer::start(None);
    let batcher = batcher(client, &server).await;
    let mut redis = connect(&server).await;
    let mut entries = async |count: usize| {
        let range = redis::cmd("XRANGE").arg(STREAM).arg("-").arg("+").take();
        let entries = found(async || {
            let entries: Vec<(String, HashMap<String, String>)> =
                range.query_async(&mut redis).await.unwrap();
            (entries.len() == count).then_some(entries)
        });
        let fields = entries.await.into_iter().map(|(_, fields)| fields);
        fields.collect::<Vec<_>>()
    };
    let send = |n| batcher.send_with(n, SendOptions::default().timeout(LIMIT));

    let one = {
        let call = send(1);
        tokio::select! {
            _ = call => unreachable!("nobody answers"),
            entries = entries(1) => entries,
        }
    };
    assert!(!one[0].contains_key("traceparent"), "{one:?}");
    assert_eq!(entries(0).await, []);

    // One pipeline with both.
    let spans = Spans::listen();
    let both = {
        let unheard = send(2).with_subscriber(NoSubscriber::new());
        let calls = async { tokio::join!(unheard, send(3)) };
        tokio::select! {
            _ = calls => unreachable!("nobody answers"),
            entries = entries(2) => entries,
        }
    };
    let spans = spans.ended();
    let Place { trace_id, span_id } = &named(&spans, "send")[0].place;
    let mut known = both[0].clone();
    known.insert("body".into(), "3".into());
    known.insert("idem".into(), both[1]["idem"].clone());
    known.insert("timeout_ms".into(), both[1]["timeout_ms"].clone());
    known.insert("traceparent".into(), format!("00-{trace_id}-{span_id}-01"));
    assert_eq!(both[0]["body"], "2");
    assert!(!both[0].contains_key("traceparent"), "{both:?}");
    assert_eq!(both[1], known);
}
