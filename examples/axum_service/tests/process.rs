//! The service as a process: how it ends, and with processors that are other processes.
#![cfg(unix)]

mod http;
mod program;

use std::net::SocketAddr;

use dynamic_batcher_conformance::RedisServer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use http::{ask, get_json};
use program::{LIMIT, Program, eventually};

const GOOD: &str = r#"{"key": "a", "values": [1, 5, 2]}"#;

/// A request on a task of its own.
fn post(address: SocketAddr) -> JoinHandle<(u16, Value)> {
    tokio::spawn(async move {
        let answer = ask(address, "POST", "/batch/a", GOOD).await;
        let (status, body) = answer.expect("an answer");
        (status, serde_json::from_str(&body).expect("JSON"))
    })
}

/// Waits until the processor has a request that waits for company.
async fn one_waits(address: SocketAddr) {
    eventually("a request waits", async || {
        let (_, metrics) = ask(address, "GET", "/metrics", "").await.expect("metrics");
        metrics.contains("dynamic_batcher_queue_items{batcher=\"sum\"} 1\n")
    })
    .await;
}

/// Also what would have waited for company for a minute more, and though a page watches.
#[tokio::test]
async fn what_was_sent_before_sigterm_is_answered() {
    let window = [("DYNAMIC_BATCHER__BATCH_TIME", "60")];
    let (mut service, address) = Program::service(&["--timeout", "90"], &window).await;
    let mut page = watch(address).await;
    let sent = post(address);
    one_waits(address).await;

    service.signal("TERM").await;
    assert_eq!(service.line().await, "finishing");
    let (status, answer) = sent.await.expect("it does not panic");
    assert_eq!((status, &answer["values_sum"]), (200, &json!({ "sum": 8 })));
    assert_eq!(service.line().await, "finished");
    assert_eq!(service.ended().await.code(), Some(0));
    assert!(TcpStream::connect(address).await.is_err());
    let end = page.read_to_end(&mut Vec::new()).await;
    end.expect("the events have ended in good order");
}

/// A page that has seen an event, and sees more.
async fn watch(address: SocketAddr) -> TcpStream {
    let mut events = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET /live HTTP/1.1\r\nhost: {address}\r\n\r\n");
    events.write_all(request.as_bytes()).await.expect("asked");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(r#""settings""#) {
        let read = timeout(LIMIT, events.read_buf(&mut seen)).await;
        let read = read.expect("an event in time").expect("it is read");
        assert!(read > 0, "no event has come");
    }
    events
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (mut service, address) = Program::service(&[], &[]).await;
    let slow = json!({ "function": { "takes_ms": 2000, "fails": "batch", "fail_percent": 0 } });
    let set = ask(address, "PUT", "/control", &slow.to_string()).await;
    assert_eq!(set.expect("an answer").0, 200);
    let sent = tokio::spawn(async move { ask(address, "POST", "/batch/a", GOOD).await });
    one_waits(address).await;
    service.signal("INT").await;
    assert_eq!(service.line().await, "finishing");
    service.signal("TERM").await;
    assert_eq!(service.ended().await.code(), Some(1));
    sent.abort();
}

#[tokio::test]
async fn what_is_wrong_with_the_arguments_is_said() {
    let mut service = Program::start("axum_service", &["--listen", "here"], &[]);
    assert_eq!(service.ended().await.code(), Some(2));
}

/// Over either client crate; the page learns of the batches from the replies.
#[tokio::test]
async fn processors_may_be_other_processes() {
    let server = RedisServer::start(None);
    let port = server.port().to_string();
    let variables = [
        ("REDIS__HOST", "127.0.0.1"),
        ("REDIS__PORT", port.as_str()),
        ("DYNAMIC_BATCHER__BATCH_TIME", "0.01"),
    ];
    let mut processor = Program::start("redis_processor", &[], &variables);
    assert_eq!(processor.line().await, "ready");
    for client in ["redis", "fred"] {
        let (mut service, address) = Program::service(&["--transport", client], &variables).await;
        let (status, answer) = post(address).await.expect("it does not panic");
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["values_sum"], json!({ "sum": 8 }));
        assert_eq!(get_json(address, "/control").await["batching"], Value::Null);
        service.signal("TERM").await;
        assert_eq!(service.ended().await.code(), Some(0));
    }
}

/// Over either client crate. It is alive all the same: to start it again would be of no use.
#[tokio::test]
async fn without_redis_it_is_not_ready() {
    let mut server = RedisServer::start(None);
    let port = server.port().to_string();
    let variables = [("REDIS__HOST", "127.0.0.1"), ("REDIS__PORT", port.as_str())];
    for client in ["redis", "fred"] {
        let (_service, address) = Program::service(&["--transport", client], &variables).await;
        let get = async |path| ask(address, "GET", path, "").await.expect("an answer");
        assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
        server.kill();
        let (status, body) = get("/readyz").await;
        assert_eq!(status, 503, "{body}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["error"]["kind"], "not_ready");
        assert_eq!(get("/healthz").await.0, 200);
        server.restart();
        eventually("it is ready again", async || get("/readyz").await.0 == 200).await;
    }
}
