//! The service under load, while one of two processors is killed with what it holds: each request is
//! answered, with what it asked for, and nothing stays in Redis.
//!
//! It takes the lease of a processor, 30 s, and some more.
#![cfg(unix)]

mod program;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_conformance::faults::Probe;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use program::{LIMIT, Program, eventually, within};

/// More than the processor that is killed can hold: a batch that runs and one that it has read ahead.
const CONNECTIONS: usize = 32;
const BATCH_SIZE: (&str, &str) = ("DYNAMIC_BATCHER__BATCH_SIZE", "8");
/// Answers after which all that was on its way to Redis has come there.
const SOME: u64 = 200;
/// Within this others have taken over what a killed processor held, and answered it: a lease of 30 s,
/// a third of it until they look, and some for a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(55);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_processor_costs_no_request() {
    let server = RedisServer::start(None);
    let probe = Probe::new(server.port());
    let port = server.port().to_string();
    let variables = [
        ("REDIS__HOST", "127.0.0.1"),
        ("REDIS__PORT", port.as_str()),
        ("DYNAMIC_BATCHER__BATCH_TIME", "0.01"),
    ];
    let mut killed = processor(&[&variables[..], &[BATCH_SIZE]].concat()).await;
    let arguments = ["--transport", "redis", "--timeout", "60"];
    let (mut service, address) = Program::service(&arguments, &variables).await;
    let load = Load::start(address);
    load.answers(SOME).await;
    let [consumer] = &*probe.consumers("request") else {
        panic!("there is one processor");
    };
    let _other = processor(&variables).await;
    eventually("both serve", async || probe.consumers("request").len() == 2).await;

    let held = stop_holding(&killed, &consumer.name, probe, &load).await;
    killed.signal("KILL").await;
    assert_eq!(killed.ended().await.code(), None, "a signal has ended it");
    let at_the_kill = load.answered();
    load.answers(2 * SOME).await;
    eventually("all the others go on", async || {
        load.waiting_since(&at_the_kill) == held
    })
    .await;
    within(TAKEN_OVER, "what it held is answered", async || {
        load.waiting_since(&at_the_kill) == 0
    })
    .await;
    load.answers(SOME).await;
    load.end().await;

    service.signal("TERM").await;
    assert_eq!(service.ended().await.code(), Some(0));
    eventually("no request is left", async || {
        let pending = probe
            .consumers("request")
            .into_iter()
            .map(|each| each.pending);
        (probe.length("request"), pending.sum::<i64>()) == (0, 0)
    })
    .await;
    assert_eq!(probe.length("{request}:dead"), 0, "no request was given up");
}

async fn processor(variables: &[(&str, &str)]) -> Program {
    let mut processor = Program::start("redis_processor", &[], variables);
    assert_eq!(processor.line().await, "ready");
    processor
}

/// Stops the processor that is this consumer, where it is, when it holds requests: so many, while
/// others are answered.
async fn stop_holding(processor: &Program, consumer: &str, probe: Probe, load: &Load) -> usize {
    let stopped = async {
        loop {
            processor.signal("STOP").await;
            load.answers(SOME).await;
            let look = format!("XPENDING request processor - + {CONNECTIONS} {consumer}");
            let held: Vec<(String, String, i64, i64)> = probe.say(&look);
            if !held.is_empty() {
                return held.len();
            }
            // It was between two batches.
            processor.signal("CONT").await;
            load.answers(1).await;
        }
    };
    let held = timeout(LIMIT, stopped).await;
    held.expect("it is stopped in time with what it holds")
}

/// Connections, each of which sends one request after the other.
struct Load {
    /// How many requests were answered, of each connection.
    answered: Arc<[AtomicU64]>,
    ends: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let answered: Arc<[AtomicU64]> = (0..CONNECTIONS).map(|_| AtomicU64::new(0)).collect();
        let ends = Arc::new(AtomicBool::new(false));
        let sender = |number: usize| {
            let (answered, ends) = (Arc::clone(&answered), Arc::clone(&ends));
            tokio::spawn(async move {
                let client = Client::builder(TokioExecutor::new()).build_http();
                while !ends.load(Ordering::Relaxed) {
                    let turn = answered[number].load(Ordering::Relaxed);
                    send(&client, address, number, turn).await;
                    answered[number].store(turn + 1, Ordering::Relaxed);
                }
            })
        };
        let senders = (0..CONNECTIONS).map(sender).collect();
        Self {
            answered,
            ends,
            senders,
        }
    }

    /// How many requests were answered until now, of each connection.
    fn answered(&self) -> Vec<u64> {
        let failed = self.senders.iter().any(JoinHandle::is_finished);
        assert!(!failed, "a request was not answered rightly");
        let counts = self.answered.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Waits until so many more requests are answered.
    async fn answers(&self, more: u64) {
        let total = || self.answered().iter().sum::<u64>();
        let until = total() + more;
        let what = format!("{more} more requests are answered");
        eventually(&what, async || total() >= until).await;
    }

    /// On how many connections no request was answered since there were so many answers.
    fn waiting_since(&self, then: &[u64]) -> usize {
        let now = self.answered();
        now.iter()
            .zip(then)
            .filter(|(now, then)| now == then)
            .count()
    }

    /// Ends when all that was sent is answered.
    async fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        for sender in self.senders {
            let ended = timeout(LIMIT, sender).await;
            ended.expect("an answer in time").expect("the right one");
        }
    }
}

/// Sends a request that is like no other, which has to have its own answer.
async fn send(client: &Client<HttpConnector, Body>, address: SocketAddr, number: usize, turn: u64) {
    let key = number.to_string();
    let values = json!([number, turn, 1_000_000]);
    let body = json!({ "key": key, "values": values });
    let request = Request::post(format!("http://{address}/batch/{key}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())
        .expect("a request");
    let response = client.request(request).await.expect("an answer");
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), usize::MAX).await;
    let body = body.expect("a whole answer");
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    let sum = number as u64 + turn + 1_000_000;
    assert_eq!(
        (&answer["key"], &answer["values"], &answer["values_sum"]),
        (&json!(key), &values, &json!({ "sum": sum }))
    );
}
