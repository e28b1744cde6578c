//! Each route and each status, without a socket.

use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use dynamic_batcher::{BatchPolicy, WhenIdle};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::work::{Behaviour, Fails};

const TIMEOUT: Duration = Duration::from_secs(3);
const GOOD: &str = r#"{"key": "a", "values": [1, 5, 2]}"#;

type Transport = MemoryTransport<Values, Sum>;

/// A service whose processor runs what is there.
fn serving(transport: Transport) -> Arc<Service> {
    let policy = BatchPolicy::default()
        .when_idle(WhenIdle::Run)
        .run_timeout(TIMEOUT / 3);
    Arc::new(Service::with_processor(transport, policy, TIMEOUT))
}

/// A service whose processors are elsewhere, and none is there.
fn unserved(config: MemoryConfig) -> Arc<Service> {
    let transport = Transport::new(config);
    Arc::new(Service::without_processor(transport, TIMEOUT))
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn message(&self) -> String {
        let json = self.json();
        json["error"]["message"].as_str().expect("text").to_owned()
    }
}

async fn ask(service: &Arc<Service>, method: &str, path: &str, body: impl Into<Body>) -> Got {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = request.body(body.into()).expect("a request");
    let router = router(Arc::clone(service), true);
    let response = router.oneshot(request).await.expect("infallible");
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = to_bytes(response.into_body(), usize::MAX).await;
    let body = String::from_utf8(body.expect("a body").into()).expect("text");
    Got {
        status,
        headers,
        body,
    }
}

async fn post(service: &Arc<Service>, body: impl Into<Body>) -> Got {
    ask(service, "POST", "/batch/a", body).await
}

#[tokio::test(start_paused = true)]
async fn a_request_gets_its_sum() {
    let service = serving(Transport::default());
    let got = post(&service, GOOD).await;
    assert_eq!(got.status, 200);
    let json = got.json();
    let fields: Vec<_> = json.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["elapsed", "key", "values", "values_sum"]);
    assert_eq!(json["key"], "a");
    assert_eq!(json["values"], json!([1, 5, 2]));
    assert_eq!(json["values_sum"], json!({ "sum": 8 }));
    assert!(json["elapsed"].is_f64());
}

#[tokio::test(start_paused = true)]
async fn the_most_that_is_allowed_has_a_sum() {
    let service = serving(Transport::default());
    for value in [MAX_VALUE, -MAX_VALUE] {
        let body = json!({ "key": "a", "values": vec![value; MAX_VALUES] });
        let got = post(&service, body.to_string()).await;
        let sum = value * i64::try_from(MAX_VALUES).expect("small");
        assert_eq!(got.json()["values_sum"]["sum"], sum);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_valid_is_said() {
    let service = serving(Transport::default());
    let many = json!({ "key": "a", "values": vec![0; MAX_VALUES + 1] }).to_string();
    let beyond = json!({ "key": "a", "values": [MAX_VALUE + 1] }).to_string();
    let large = format!(r#"{{"key": "a", "values": [{}0]}}"#, " ".repeat(MAX_BODY));
    let cases = [
        (400, "{", "EOF while parsing"),
        (422, r#"{"values": [1]}"#, "missing field `key`"),
        (
            422,
            r#"{"key": "a", "values": ["1"]}"#,
            "values[0]: invalid type: string",
        ),
        (
            422,
            r#"{"key": "a", "values": [1.5]}"#,
            "invalid type: floating point",
        ),
        (
            422,
            r#"{"key": "b", "values": [1]}"#,
            r#"the key is "a" in the path and "b" in the body"#,
        ),
        (422, &many, "there are 1001 values, allowed is 1000"),
        (
            422,
            &beyond,
            "a value is 9007199254740992, allowed is -9007199254740991 to 9007199254740991",
        ),
        (413, &large, "the body is too large, allowed is 65536 bytes"),
    ];
    for (status, body, text) in cases {
        let got = post(&service, body.to_owned()).await;
        assert_eq!(got.status, status, "{text}: {}", got.body);
        assert!(got.message().contains(text), "{text}: {}", got.body);
        assert_eq!(got.json()["error"]["kind"], "invalid");
    }

    let key = "k".repeat(MAX_KEY + 1);
    let body = json!({ "key": key, "values": [] }).to_string();
    let got = ask(&service, "POST", &format!("/batch/{key}"), body).await;
    assert_eq!(
        (got.status, got.message()),
        (422, "the key has 101 bytes, allowed is 100".into())
    );
    for (status, method, path) in [
        (400, "POST", "/batch/%ff"),
        (404, "GET", "/nothing"),
        (405, "GET", "/batch/a"),
    ] {
        let got = ask(&service, method, path, GOOD).await;
        assert_eq!(
            (got.status, &got.json()["error"]["kind"]),
            (status, &json!("invalid"))
        );
    }
    let plain = Request::post("/batch/a")
        .body(Body::from(GOOD))
        .expect("a request");
    let response = router(Arc::clone(&service), true)
        .oneshot(plain)
        .await
        .expect("infallible");
    assert_eq!(response.status(), 415);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_429() {
    let one = std::num::NonZeroUsize::MIN;
    let service = unserved(MemoryConfig::default().max_queue(one));
    let mut first = pin!(post(&service, GOOD));
    let is_in_queue = first.as_mut().now_or_never().is_none();
    assert!(is_in_queue);
    let refused = post(&service, GOOD).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error"]["kind"], "queue_full");
    let pause = refused.headers[header::RETRY_AFTER].to_str().expect("text");
    assert!(pause.parse::<u64>().expect("a number") >= 1, "{pause}");
    let first = first.await;
    assert_eq!(first.status, 504, "{}", first.body);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_serves_is_504() {
    let got = post(&unserved(MemoryConfig::default()), GOOD).await;
    assert_eq!(
        (got.status, &got.json()["error"]["kind"]),
        (504, &json!("timeout"))
    );
}

/// A service that fails as told, always.
fn failing(takes_ms: u64, fails: Fails) -> Arc<Service> {
    let service = serving(Transport::default());
    let here = service.here.as_ref().expect("it has a processor");
    here.summing.behave(Behaviour {
        takes_ms,
        fails,
        fail_percent: 100.0,
    });
    service
}

#[tokio::test(start_paused = true)]
async fn what_the_function_fails_is_500_and_the_service_goes_on() {
    for (fails, kind) in [
        (Fails::Request, "handler"),
        (Fails::Batch, "handler"),
        (Fails::Panic, "panic"),
    ] {
        let service = failing(0, fails);
        let got = post(&service, GOOD).await;
        assert_eq!(
            (got.status, &got.json()["error"]["kind"]),
            (500, &json!(kind))
        );
        assert!(got.message().contains("on purpose"), "{}", got.body);
        let here = service.here.as_ref().expect("it has a processor");
        here.summing.behave(Behaviour::default());
        assert_eq!(post(&service, GOOD).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_runs_too_long_is_504() {
    let got = post(&failing(60_000, Fails::Request), GOOD).await;
    assert_eq!(
        (got.status, &got.json()["error"]["kind"]),
        (504, &json!("handler_timeout"))
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_processor_it_is_503_and_neither_ready_nor_alive() {
    let service = serving(Transport::default());
    let here = service.here.as_ref().expect("it has a processor");
    here.processor.ready().await.expect("it runs");
    assert_eq!(ask(&service, "GET", "/healthz", "").await.status, 200);
    assert_eq!(ask(&service, "GET", "/readyz", "").await.status, 200);
    here.processor.drain(TIMEOUT).await.expect("drained");
    let got = post(&service, GOOD).await;
    assert_eq!(
        (got.status, &got.json()["error"]["kind"]),
        (503, &json!("closed"))
    );
    for (path, kind) in [("/healthz", "dead"), ("/readyz", "not_ready")] {
        let got = ask(&service, "GET", path, "").await;
        assert_eq!(
            (got.status, &got.json()["error"]["kind"]),
            (503, &json!(kind))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_to_end_is_alive_and_not_ready_and_hurries() {
    let policy = BatchPolicy::default().batch_time(TIMEOUT * 2);
    let service = Service::with_processor(Transport::default(), policy, TIMEOUT);
    let service = Arc::new(service);
    let (got, ()) = tokio::join!(post(&service, GOOD), async {
        let here = service.here.as_ref().expect("it has a processor");
        let waits = async {
            while here.processor.status().waiting == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waits = tokio::time::timeout(TIMEOUT, waits).await;
        waits.expect("the request waits for company");
        service.stop();
    });
    assert_eq!(got.status, 200, "{}", got.body);
    assert_eq!(ask(&service, "GET", "/healthz", "").await.status, 200);
    assert_eq!(ask(&service, "GET", "/readyz", "").await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn settings_are_put_in_force_or_refused() {
    let service = serving(Transport::default());
    let set = json!({
        "batching": { "batch_size": 7, "batch_time_ms": 2.5, "when_idle": "wait" },
        "function": { "takes_ms": 1, "fails": "panic", "fail_percent": 0.5 },
        "load": { "per_second": 3 },
    });
    let got = ask(&service, "PUT", "/control", set.to_string()).await;
    assert_eq!((got.status, got.json()), (200, set.clone()));
    let policy = service
        .here
        .as_ref()
        .expect("it has a processor")
        .processor
        .policy();
    assert_eq!(policy.batch_size.get(), 7);
    assert_eq!(policy.batch_time, Duration::from_micros(2500));

    for (refused, text) in [
        (
            json!({ "load": { "per_second": 20_001 } }),
            "per_second is 20001, allowed is 0 to 20000",
        ),
        (
            json!({
                "batching": { "batch_size": 0, "batch_time_ms": 1, "when_idle": "run" },
                "function": { "takes_ms": 9, "fails": "batch", "fail_percent": 1 },
            }),
            "batch_size is 0, allowed is 1 to 1024",
        ),
        (json!({ "speed": 1 }), "unknown field `speed`"),
    ] {
        let got = ask(&service, "PUT", "/control", refused.to_string()).await;
        assert_eq!(got.status, 422);
        assert!(got.message().contains(text), "{}", got.body);
        assert_eq!(ask(&service, "GET", "/control", "").await.json(), set);
    }

    let elsewhere = unserved(MemoryConfig::default());
    let got = ask(&elsewhere, "PUT", "/control", set.to_string()).await;
    assert_eq!(
        (got.status, &got.json()["error"]["kind"]),
        (409, &json!("invalid"))
    );
    assert_eq!(
        ask(&elsewhere, "GET", "/control", "").await.json(),
        json!({ "batching": null, "function": null, "load": { "per_second": 0 } })
    );
}

#[tokio::test(start_paused = true)]
async fn metrics_count_requests_and_batches() {
    let service = serving(Transport::default());
    post(&service, GOOD).await;
    post(&service, "{").await;
    let text = ask(&service, "GET", "/metrics", "").await.body;
    for line in [
        r#"http_requests_total{route="/batch/{key}",status="200"}"#,
        r#"http_requests_total{route="/batch/{key}",status="400"}"#,
        r#"http_request_duration_seconds_bucket{route="/batch/{key}",le="0.5"}"#,
        r#"dynamic_batcher_requests_total{batcher="sum",outcome="ok"}"#,
        r#"dynamic_batcher_flush_total{batcher="sum",reason="idle"}"#,
        r#"dynamic_batcher_batch_size_bucket{batcher="sum",le="64"}"#,
        r#"dynamic_batcher_queue_items{batcher="sum"}"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_can_be_left_out() {
    let service = serving(Transport::default());
    let got = ask(&service, "GET", "/", "").await;
    assert_eq!(got.status, 200);
    assert_eq!(
        got.headers[header::CONTENT_TYPE],
        "text/html; charset=utf-8"
    );
    for path in ["/", "/live", "/control"] {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let without = router(Arc::clone(&service), false);
        let response = without.oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), 404, "{path}");
    }
}

/// With the batches that replies tell of, where there is no processor.
#[tokio::test(start_paused = true)]
async fn events_tell_of_batches() {
    let elsewhere = Transport::default();
    let _processor = dynamic_batcher::BatchProcessor::spawn_handler(
        elsewhere.clone(),
        BatchPolicy::default().when_idle(WhenIdle::Run),
        crate::work::Summing::default(),
    );
    for service in [
        serving(Transport::default()),
        Arc::new(Service::without_processor(elsewhere, TIMEOUT)),
    ] {
        let start = tokio::time::Instant::now();
        let mut events = service.feed.watch();
        let running = tokio::spawn(Arc::clone(&service).run());
        post(&service, GOOD).await;
        let batch = loop {
            let event = tokio::time::timeout(TIMEOUT, next(&mut events)).await;
            let event = event.expect("in time").expect("it goes on");
            assert!(start.elapsed() < TIMEOUT, "no event tells of the batch");
            let event: Value = serde_json::from_str(&event).expect("JSON");
            if let Some(batch) = event["tick"]["batches"].get(0) {
                assert_eq!(event["tick"]["answered"], 1);
                break batch.clone();
            }
        };
        assert_eq!(
            (&batch["size"], &batch["reason"]),
            (&json!(1), &json!("idle"))
        );
        service.stop();
        running.await.expect("it ends");
    }
}
