//! The processor as a process, ended by signals as a service manager or a terminal sends them.
#![cfg(unix)]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use dynamic_batcher::Batcher;
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Each of the tests below with each client crate.
macro_rules! with_both_clients {
    ($($test:ident,)*) => {
        with_both_clients!(redis: $($test,)*);
        with_both_clients!(fred: $($test,)*);
    };
    ($client:ident: $($test:ident,)*) => {
        mod $client {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(stringify!($client)).await;
                }
            )*
        }
    };
}

with_both_clients! {
    what_a_service_manager_sends_drains,
    ctrl_c_drains,
    a_second_signal_ends_at_once,
}

async fn what_a_service_manager_sends_drains(client: &str) {
    drains("TERM", client).await;
}

async fn ctrl_c_drains(client: &str) {
    drains("INT", client).await;
}

/// A request that waits for its window, which would be open for longer than the test may last, is
/// answered, and nothing is left.
async fn drains(signal: &str, client: &str) {
    let server = RedisServer::start(None);
    let mut processor = Processor::start(&server, client).await;
    let config = RedisConfig::default().host("127.0.0.1");
    let transport = RedisTransport::connect(config.port(server.port())).await;
    let batcher: Batcher<Value, Value> = Batcher::new(transport.expect("the server is there"));
    let call = tokio::spawn(async move { batcher.send(json!({ "values": [1, 5, 2] })).await });
    let pending = || {
        let summary = ask(&server, &["XPENDING", "request", "processor"]);
        matches!(summary, ::redis::Value::Array(parts) if parts[0] == ::redis::Value::Int(1))
    };
    eventually("the processor has the request", pending).await;
    assert!(!call.is_finished(), "it was to wait");

    send(signal, processor.pid()).await;
    assert_eq!(processor.line().await, "draining");
    let answer = call.await.expect("the call does not panic");
    assert_eq!(answer.expect("an answer"), json!({ "sum": 8 }));
    let report = processor.line().await;
    assert!(
        report.contains("answered: 1") && report.contains("ended: true"),
        "{report}"
    );
    let status = processor.status().await;
    assert_eq!(status.code(), Some(0), "{status}");
    let consumers = ask(&server, &["XINFO", "CONSUMERS", "request", "processor"]);
    assert_eq!(consumers, ::redis::Value::Array(Vec::new()));
}

async fn a_second_signal_ends_at_once(client: &str) {
    let server = RedisServer::start(None);
    let mut processor = Processor::start(&server, client).await;
    // A drain needs the server: while that stands still it goes on for all its time.
    send("STOP", pid(&server)).await;
    send("TERM", processor.pid()).await;
    assert_eq!(processor.line().await, "draining");
    send("TERM", processor.pid()).await;
    let status = processor.status().await;
    assert_eq!(status.code(), Some(1), "{status}");
}

/// The process of the example, killed on drop.
struct Processor {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Processor {
    async fn start(server: &RedisServer, client: &str) -> Self {
        let mut process = Command::new(program())
            .args(["--client", client])
            .env("REDIS__HOST", "127.0.0.1")
            .env("REDIS__PORT", server.port().to_string())
            .env("DYNAMIC_BATCHER__BATCH_TIME", "60")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let output = process.stdout.take().expect("it is piped");
        let lines = BufReader::new(output).lines();
        let mut processor = Self { process, lines };
        assert_eq!(processor.line().await, "ready");
        processor
    }

    async fn line(&mut self) -> String {
        let line = timeout(LIMIT, self.lines.next_line()).await;
        let line = line
            .expect("it prints in time")
            .expect("its output is read");
        line.expect("it has not ended")
    }

    async fn status(&mut self) -> std::process::ExitStatus {
        let status = timeout(LIMIT, self.process.wait()).await;
        status.expect("it ends in time").expect("it is a child")
    }

    fn pid(&self) -> u32 {
        self.process.id().expect("it has not ended")
    }
}

/// The example, which cargo builds beside the tests of its package.
fn program() -> PathBuf {
    let mut directory = std::env::current_exe().expect("this program has a path");
    directory.pop();
    directory.pop();
    let program = directory.join("examples").join("redis_processor");
    let command = "cargo test --package dynamic-batcher-redis-examples";
    assert!(
        program.exists(),
        "the example is not built: run `{command}`"
    );
    program
}

async fn send(signal: &str, pid: u32) {
    let mut kill = Command::new("kill");
    let sent = kill.args(["-s", signal, &pid.to_string()]).status().await;
    assert!(sent.expect("there is a command `kill`").success());
}

fn pid(server: &RedisServer) -> u32 {
    let info = ask(server, &["INFO", "server"]);
    let info: String = ::redis::from_redis_value(info).expect("text");
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("process_id:"));
    pid.and_then(|pid| pid.trim().parse().ok())
        .expect("a number")
}

fn ask(server: &RedisServer, words: &[&str]) -> ::redis::Value {
    let url = format!("redis://127.0.0.1:{}", server.port());
    let connection = ::redis::Client::open(url).and_then(|client| client.get_connection());
    let mut connection = connection.expect("the server is there");
    let mut command = ::redis::Cmd::new();
    command
        .arg(words)
        .query(&mut connection)
        .expect("an answer")
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let come = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        timeout(LIMIT, come).await.is_ok(),
        "not within {LIMIT:?}: {what}"
    );
}
