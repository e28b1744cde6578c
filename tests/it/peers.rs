//! What the tests against the Python package put round a server: peers of both languages.

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, ErrorKind, IntoOutcome, Now, Result};
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use futures_util::future::join_all;
use redis::FromRedisValue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::sleep;

pub(crate) const WINDOW: Duration = Duration::from_millis(100);
/// How long anything may take that has no time of its own.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);
/// Between two looks at what has to become so.
const PAUSE: Duration = Duration::from_millis(10);
/// What all Python processors call themselves.
pub(crate) const PYTHON_CONSUMER: &str = "processor";

#[derive(Clone, Copy)]
pub(crate) enum Client {
    Redis,
    Fred,
}

/// A server, and what is needed to put peers of both languages around it.
pub(crate) struct Peers {
    pub(crate) client: Client,
    pub(crate) server: RedisServer,
    /// Where Python processes find another redis-py than the one installed with the package.
    redis_py: Option<OsString>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Call {
    pub(crate) answer: Value,
    pub(crate) seconds: f64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Values {
    pub(crate) values: Vec<i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) sum: i64,
}

pub(crate) fn sum_values(batch: Vec<Values>) -> Vec<Sum> {
    let sums = batch
        .into_iter()
        .map(|Values { values }| values.iter().sum());
    sums.map(|sum| Sum { sum }).collect()
}

pub(crate) fn policy() -> BatchPolicy {
    BatchPolicy::default().batch_time(WINDOW)
}

impl Peers {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            server: RedisServer::start(None),
            redis_py: None,
        }
    }

    /// From here on Python processes use the oldest redis-py that the package works with.
    pub(crate) fn use_old_redis_py(&mut self) {
        let old = std::env::var_os("DYNAMIC_BATCHER_TEST_OLD_REDIS_PY");
        self.redis_py = Some(old.expect("there is no older redis-py: run ./scripts/test"));
    }

    /// The major version of the redis-py that Python processes use.
    pub(crate) async fn redis_py(&self) -> u32 {
        let version = output(self.python("redis_py.py").spawn().expect("Python starts")).await;
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok());
        major.unwrap_or_else(|| panic!("no version: {version:?}"))
    }

    pub(crate) async fn transport(&self) -> RedisTransport {
        self.connect(self.config()).await
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::default()
            .host("127.0.0.1")
            .port(self.server.port())
    }

    pub(crate) async fn connect(&self, config: RedisConfig) -> RedisTransport {
        let transport = match self.client {
            Client::Redis => RedisTransport::connect(config).await,
            Client::Fred => RedisTransport::connect_fred(config).await,
        };
        transport.expect("the server answers")
    }

    pub(crate) async fn processor<Req, Resp, R>(
        &self,
        handler: impl Fn(Vec<Req>) -> R + Send + Sync + 'static,
    ) -> BatchProcessor<Req, Resp>
    where
        Req: DeserializeOwned + Send + 'static,
        Resp: Serialize + Send + 'static,
        R: IntoOutcome<Resp, Now> + 'static,
    {
        let processor = BatchProcessor::spawn(self.transport().await, policy(), handler);
        processor.ready().await.expect("it starts");
        processor
    }

    /// Ends a processor once its Python callers have seen their answers.
    pub(crate) async fn drain<Req, Resp>(&self, processor: BatchProcessor<Req, Resp>) {
        let report = processor.drain(LIMIT).await.expect("it has not ended");
        assert!(report.ended, "{report:?}");
    }

    /// A Python process with one of the scripts beside this file, ended on drop.
    pub(crate) fn python(&self, script: &str) -> Command {
        let interpreter = std::env::var_os("DYNAMIC_BATCHER_TEST_PYTHON")
            .expect("there is no Python package to test with: run ./scripts/test");
        let mut python = Command::new(interpreter);
        python
            .arg(format!("{}/it/python/{script}", env!("CARGO_MANIFEST_DIR")))
            .env_clear()
            .env("REDIS__HOST", "127.0.0.1")
            .env("REDIS__PORT", self.server.port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(directory) = &self.redis_py {
            python.env("PYTHONPATH", directory);
        }
        python
    }

    /// Runs callers in one Python process: each sends its bodies one after the other.
    pub(crate) async fn python_callers(
        &self,
        delay: f64,
        callers: Vec<Vec<Value>>,
    ) -> Vec<Vec<Call>> {
        let mut process = self.python("callers.py").spawn().expect("Python starts");
        // One that stalls does so for a tenth of the default.
        let work = json!({ "delay": delay, "timeout": 10, "callers": callers }).to_string();
        let mut stdin = process.stdin.take().expect("it is piped");
        stdin.write_all(work.as_bytes()).await.expect("it reads");
        drop(stdin);
        let output = output(process).await;
        let calls = output.lines().last().expect("a line");
        serde_json::from_str(calls).expect("answers")
    }

    /// The same with bodies to sum; the answer's place says what is right: see [`check`].
    pub(crate) async fn python_sums(
        &self,
        delay: f64,
        callers: i64,
        requests: i64,
    ) -> Vec<Vec<Call>> {
        let bodies = |caller| {
            let body = move |request| json!({ "values": [caller * 1_000, request] });
            (0..requests).map(body).collect()
        };
        self.python_callers(delay, (0..callers).map(bodies).collect())
            .await
    }

    /// A Python processor that sums; ends on drop.
    pub(crate) fn python_processor(&self, batch_size: u32, batch_time: f64) -> Child {
        self.python("processor.py")
            .args([batch_size.to_string(), batch_time.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts")
    }

    /// Waits until the Python processor, the only one yet, reads.
    pub(crate) async fn python_processor_is_up(&self) {
        let stats = || self.ask::<String>(redis::cmd("INFO").arg("commandstats"));
        let up = || stats().contains("cmdstat_xreadgroup:");
        eventually("the Python processor reads", up).await;
    }

    pub(crate) fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let url = format!("redis://127.0.0.1:{}", self.server.port());
        let connection = redis::Client::open(url).and_then(|client| client.get_connection());
        let mut connection = connection.expect("the server is there");
        command.query(&mut connection).expect("an answer")
    }

    pub(crate) fn length(&self, stream: &str) -> i64 {
        self.ask(redis::cmd("XLEN").arg(stream))
    }

    pub(crate) fn consumers(&self, stream: &str) -> Vec<String> {
        let mut consumers = redis::cmd("XINFO");
        consumers.arg("CONSUMERS").arg(stream).arg("processor");
        let consumers: Vec<HashMap<String, redis::Value>> = self.ask(&consumers);
        let names = consumers
            .into_iter()
            .map(|mut consumer| consumer.remove("name"));
        let names = names.flatten().map(redis::from_redis_value);
        names.collect::<std::result::Result<_, _>>().expect("names")
    }

    /// Of all that went on, Redis holds no trace: but for what Python processors never acknowledge.
    pub(crate) async fn assert_nothing_left(&self) {
        const STREAMS: [&str; 4] = ["request", "response", "{request}:again", "{request}:dead"];
        let left = || {
            let mut left = self.ask::<Vec<String>>(redis::cmd("KEYS").arg("*"));
            left.retain(|key| !STREAMS.contains(&&**key));
            for stream in STREAMS {
                if self.length(stream) > 0 {
                    left.push(format!("entries of {stream}"));
                }
            }
            for stream in ["request", "{request}:again"] {
                let ours = self.consumers(stream).into_iter();
                left.extend(ours.filter(|name| name != PYTHON_CONSUMER));
            }
            left
        };
        let start = Instant::now();
        while !left().is_empty() {
            assert!(start.elapsed() < LIMIT, "left in Redis: {:?}", left());
            sleep(PAUSE).await;
        }
    }
}

/// A command of words without spaces.
pub(crate) fn command(words: &str) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    command
}

/// The standard output of a process that has to succeed.
pub(crate) async fn output(process: Child) -> String {
    let output = process.wait_with_output().await.expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// Each Python caller has the sums of its own requests, none after a stall.
pub(crate) fn check(delay: f64, callers: Vec<Vec<Call>>) {
    let limit = delay * 3.0 + WINDOW.as_secs_f64() + 3.0;
    for (caller, calls) in (0_i64..).zip(callers) {
        for (request, Call { answer, seconds }) in (0_i64..).zip(calls) {
            let sum = caller * 1_000 + request;
            assert_eq!(answer, json!({ "sum": sum }), "after {seconds} s");
            assert!(
                seconds < limit,
                "a call took {seconds} s with delay {delay}"
            );
        }
    }
}

pub(crate) async fn timed_sum(
    batcher: &Batcher<Values, Sum>,
    number: i64,
) -> (Result<Sum>, Duration) {
    let start = Instant::now();
    let values = vec![number, 1];
    let outcome = batcher.send(Values { values }).await;
    match &outcome {
        Ok(Sum { sum }) => assert_eq!(*sum, number + 1),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Lost, "{error}"),
    }
    (outcome, start.elapsed())
}

/// Some were lost, and all were told long before their timeout.
pub(crate) fn check_lost(calls: &[(Result<Sum>, Duration)]) {
    let lost = calls.iter().filter(|(outcome, _)| outcome.is_err()).count();
    assert!((1..calls.len()).contains(&lost), "{lost} are lost");
    let slowest = calls
        .iter()
        .map(|(_, time)| *time)
        .max()
        .unwrap_or_default();
    assert!(slowest < Duration::from_secs(8), "known after {slowest:?}");
}

/// Rust callers, each with its requests one after the other: all are answered.
pub(crate) async fn rust_sums(batcher: &Batcher<Values, Sum>, callers: i64, requests: i64) {
    let call = async |caller| {
        for request in 0..requests {
            let (outcome, _) = timed_sum(batcher, caller * 1_000 + request).await;
            outcome.expect("an answer");
        }
    };
    join_all((0..callers).map(call)).await;
}

pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    found(what, || is_so().then_some(())).await;
}

pub(crate) async fn found<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        sleep(PAUSE).await;
    }
}
