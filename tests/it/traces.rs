//! Traces from callers to processors, in one process and over Redis, as OpenTelemetry has them.
#![allow(
    clippy::unwrap_used,
    reason = "clippy permits it in tests, and takes what helps them for something else"
)]

use std::collections::HashMap;
use std::sync::Once;
use std::thread;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, SendOptions, WhenIdle};
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use opentelemetry::trace::{SpanId, TraceId, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

const LIMIT: Duration = Duration::from_secs(10);
const STREAM: &str = "request";

/// Asks `tracing` to note spans on any thread: it takes the no of a thread without a subscriber, if
/// that is the first to come by a span, for the others' answer, too.
fn note_everywhere() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let keeps_none = tracing_subscriber::registry();
        tracing::subscriber::set_global_default(keeps_none).expect("nothing else sets it");
    });
}

/// The spans of one thread, which has a runtime of its own: like a process.
struct Spans {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    _guard: DefaultGuard,
}

impl Spans {
    fn listen() -> Self {
        note_everywhere();
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            exporter,
            provider,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    fn ended(self) -> Vec<SpanData> {
        self.provider.force_flush().unwrap();
        self.exporter.get_finished_spans().unwrap()
    }
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn place(span: &SpanData) -> (TraceId, SpanId) {
    (span.span_context.trace_id(), span.span_context.span_id())
}

fn links(span: &SpanData) -> Vec<(TraceId, SpanId)> {
    let links = span.links.iter().map(|link| &link.span_context);
    links.map(|to| (to.trace_id(), to.span_id())).collect()
}

fn policy() -> BatchPolicy {
    BatchPolicy::default()
        .batch_size(2.try_into().unwrap())
        .batch_time(LIMIT)
}

/// Two calls, each from a span of its own.
async fn call_twice(batcher: &Batcher<u32, u32>) {
    let call = |n| batcher.send(n).instrument(info_span!("caller"));
    let (one, two) = tokio::join!(call(1), call(2));
    assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
}

/// Each call is within its caller's trace, and the batch's trace has a link to each.
fn assert_joined(callers: &[SpanData], processors: &[SpanData]) {
    let sends = named(callers, "send");
    assert_eq!(sends.len(), 2);
    for send in &sends {
        let caller = named(callers, "caller")
            .into_iter()
            .find(|caller| caller.span_context.span_id() == send.parent_span_id);
        assert_eq!(place(caller.unwrap()).0, place(send).0);
    }
    assert_ne!(place(sends[0]).0, place(sends[1]).0);

    let batches = named(processors, "batch");
    assert_eq!(batches.len(), 1);
    let batch = batches[0];
    assert_eq!(batch.parent_span_id, SpanId::INVALID);
    let linked = links(batch);
    assert_eq!(linked.len(), 2);
    assert!(sends.iter().all(|send| linked.contains(&place(send))));
    for name in ["handler", "reply"] {
        let child = named(processors, name)[0];
        assert_eq!(child.parent_span_id, batch.span_context.span_id(), "{name}");
    }
    let handler = named(processors, "handler")[0].span_context.span_id();
    assert_eq!(named(processors, "own")[0].parent_span_id, handler);
}

fn echo(batch: Vec<u32>) -> Vec<u32> {
    let _own = info_span!("own").entered();
    batch
}

#[tokio::test]
async fn a_batch_in_this_process_has_a_link_to_each_of_its_callers() {
    let spans = Spans::listen();
    let (batcher, processor) = dynamic_batcher_memory::spawn(policy(), echo);
    call_twice(&batcher).await;
    processor.drain(LIMIT).await.unwrap();
    let spans = spans.ended();
    assert_joined(&spans, &spans);
}

fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig::default()
        .host("127.0.0.1")
        .port(server.port())
        .stream_key_request(STREAM)
}

async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let url = format!("redis://127.0.0.1:{}", server.port());
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// A processor on a thread of its own, with spans of its own.
struct Processor {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<Vec<SpanData>>,
}

impl Processor {
    fn start(config: RedisConfig, policy: BatchPolicy) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let spans = Spans::listen();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let transport = RedisTransport::connect(config).await.unwrap();
                let processor = BatchProcessor::spawn(transport, policy, echo);
                stopped.await.unwrap();
                processor.drain(LIMIT).await.unwrap();
            });
            drop(runtime);
            spans.ended()
        });
        Self { stop, thread }
    }

    async fn spans(self) -> Vec<SpanData> {
        self.stop.send(()).unwrap();
        let thread = tokio::task::spawn_blocking(|| self.thread.join());
        thread.await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_trace_goes_over_redis() {
    let server = RedisServer::start(None);
    let processor = Processor::start(config(&server), policy());
    let spans = Spans::listen();
    let transport = RedisTransport::connect(config(&server)).await.unwrap();
    call_twice(&Batcher::new(transport)).await;
    let processors = processor.spans().await;
    let callers = spans.ended();
    // What they know of each other has come over Redis.
    assert!(named(&callers, "batch").is_empty() && named(&processors, "send").is_empty());
    assert_joined(&callers, &processors);
}

/// Adds an entry as a caller in Python does; its answer.
async fn add(redis: &mut MultiplexedConnection, further: &[(&str, &[u8])]) -> String {
    let mut add = redis::cmd("XADD");
    add.arg(STREAM).arg("*").arg("body").arg("7").arg(further);
    let id: String = add.query_async(redis).await.unwrap();
    let answered = async {
        loop {
            let answer: Option<String> = redis::cmd("GETDEL")
                .arg(&id)
                .query_async(redis)
                .await
                .unwrap();
            match answer {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(LIMIT, answered).await.unwrap()
}

#[tokio::test]
async fn what_is_no_traceparent_harms_no_request() {
    let server = RedisServer::start(None);
    let run = BatchPolicy::default().when_idle(WhenIdle::Run);
    let processor = Processor::start(config(&server), run);
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
    assert!(others.iter().all(|batch| links(batch).is_empty()));
    let trace_id = TraceId::from_hex(&known[3..35]).unwrap();
    let span_id = SpanId::from_hex(&known[36..52]).unwrap();
    assert_eq!(links(last), [(trace_id, span_id)]);
}

#[tokio::test]
async fn an_entry_has_the_field_only_where_somebody_listens_to_its_call() {
    note_everywhere();
    let server = RedisServer::start(None);
    let transport = RedisTransport::connect(config(&server)).await.unwrap();
    let batcher: Batcher<u32, u32> = Batcher::new(transport);
    let mut redis = connect(&server).await;
    let mut entries = async |count: usize| {
        let read = async {
            loop {
                let range = redis::cmd("XRANGE").arg(STREAM).arg("-").arg("+").take();
                let entries: Vec<(String, HashMap<String, String>)> =
                    range.query_async(&mut redis).await.unwrap();
                if entries.len() == count {
                    return entries;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let entries = tokio::time::timeout(LIMIT, read).await.unwrap();
        let fields = entries.into_iter().map(|(_, fields)| fields);
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
    let (trace_id, span_id) = place(named(&spans, "send")[0]);
    let mut known = both[0].clone();
    known.insert("body".into(), "3".into());
    known.insert("idem".into(), both[1]["idem"].clone());
    known.insert("timeout_ms".into(), both[1]["timeout_ms"].clone());
    known.insert("traceparent".into(), format!("00-{trace_id}-{span_id}-01"));
    assert_eq!(both[0]["body"], "2");
    assert!(!both[0].contains_key("traceparent"), "{both:?}");
    assert_eq!(both[1], known);
}
