//! The Redis transport against the Python package itself, unmodified, in both directions and with
//! both client crates.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ::redis::FromRedisValue;
use dynamic_batcher::{
    BatchPolicy, BatchProcessor, Batcher, ErrorKind, IntoOutcome, Now, Result, WhenIdle,
};
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// Each of the tests below with each client crate.
macro_rules! with_both_clients {
    ($($test:ident,)*) => {
        mod redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::Peers::new(super::Client::Redis)).await;
                }
            )*
        }
        mod fred {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::Peers::new(super::Client::Fred)).await;
                }
            )*
        }
    };
}

with_both_clients! {
    python_callers_have_their_answers_from_rust_whatever_their_delay,
    python_callers_that_look_late_have_their_answers_although_the_processor_has_left,
    rust_callers_have_their_answers_from_python,
    both_languages_serve_both_on_one_stream,
    the_first_request_of_a_caller_is_answered_at_once,
    a_failed_request_of_a_python_caller_is_none_at_once,
    what_does_not_fit_fails_alone,
    entries_that_nobody_should_write_fail_alone,
    what_python_processors_leave_pending_keeps_no_request_from_being_taken_over,
    what_a_python_processor_trims_is_lost_at_once,
    what_a_python_processor_trims_is_lost_while_it_answers_others,
    json_values_come_back_as_python_wrote_them,
    raw_json_comes_back_as_python_wrote_it,
}

const WINDOW: Duration = Duration::from_millis(100);
/// How long anything may take that has no time of its own.
const LIMIT: Duration = Duration::from_secs(15);
/// Between two looks at what has to become so.
const PAUSE: Duration = Duration::from_millis(10);
/// What all Python processors call themselves.
const PYTHON_CONSUMER: &str = "processor";

async fn python_callers_have_their_answers_from_rust_whatever_their_delay(peers: Peers) {
    let processor = peers.processor(sum_values).await;
    let callers = |delay, callers, requests| {
        let peers = &peers;
        async move { check(delay, peers.python_sums(delay, callers, requests).await) }
    };
    tokio::join!(
        callers(0.01, 32, 10),
        callers(0.1, 32, 5),
        callers(1.0, 16, 2)
    );
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

async fn python_callers_that_look_late_have_their_answers_although_the_processor_has_left(
    peers: Peers,
) {
    const CALLERS: usize = 8;
    let processor = peers.processor(sum_values).await;
    let callers = peers.python_sums(1.0, CALLERS as i64, 1);
    let leave = async {
        eventually("all are answered", || {
            processor.status().answered == CALLERS
        })
        .await;
        // No time is left to wait for callers.
        let _ = processor.drain(Duration::from_millis(50)).await;
    };
    let (calls, ()) = tokio::join!(callers, leave);
    check(1.0, calls);
}

async fn rust_callers_have_their_answers_from_python(peers: Peers) {
    let _python = peers.python_processor(16, 0.1);
    let batcher = Batcher::new(peers.transport().await);
    rust_sums(&batcher, 32, 10).await;
    drop(batcher);
    peers.assert_nothing_left().await;
}

async fn both_languages_serve_both_on_one_stream(peers: Peers) {
    let _python = peers.python_processor(8, 0.05);
    peers.python_processor_is_up().await;
    let processors = [
        peers.processor(sum_values).await,
        peers.processor(sum_values).await,
    ];
    let batcher = Batcher::new(peers.transport().await);
    let python_callers = async { check(0.01, peers.python_sums(0.01, 24, 10).await) };
    tokio::join!(rust_sums(&batcher, 24, 20), python_callers);
    drop(batcher);
    let mut by_rust = 0;
    for processor in processors {
        by_rust += processor.status().answered;
        peers.drain(processor).await;
    }
    let all = 24 * 10 + 24 * 20;
    assert!((1..all).contains(&by_rust), "{by_rust} of {all} by Rust");
    peers.assert_nothing_left().await;
}

/// However fast the processor is: it answers only where the caller is ready to read.
async fn the_first_request_of_a_caller_is_answered_at_once(peers: Peers) {
    let policy = policy().when_idle(WhenIdle::Run);
    let processor = BatchProcessor::spawn(peers.transport().await, policy, sum_values);
    for number in 0..100 {
        let batcher = Batcher::new(peers.transport().await).timeout(LIMIT);
        let (outcome, time) = timed_sum(&batcher, number).await;
        outcome.unwrap_or_else(|error| panic!("caller {number}, after {time:?}: {error}"));
    }
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

async fn a_failed_request_of_a_python_caller_is_none_at_once(peers: Peers) {
    let processor: BatchProcessor<_, Sum> = peers
        .processor(|batch: Vec<Values>| {
            let outcomes = batch.into_iter().map(|Values { values }| match values[..] {
                [] => Err("nothing to sum"),
                [13] => panic!("thirteen"),
                _ => Ok(Sum {
                    sum: values.iter().sum(),
                }),
            });
            outcomes.collect::<Vec<_>>()
        })
        .await;
    let body = |values: &[i64]| json!({ "values": values });
    let failing = peers.python_callers(0.01, vec![vec![body(&[]), body(&[2, 3])]]);
    let calls = failing.await.concat();
    assert_eq!(calls[0].answer, Value::Null, "an error");
    assert_eq!(calls[1].answer, json!({ "sum": 5 }));
    let panicking = peers.python_callers(0.01, vec![vec![body(&[13]), body(&[1])]]);
    let calls = [calls, panicking.await.concat()].concat();
    assert_eq!(calls[2].answer, Value::Null, "a panic");
    assert_eq!(calls[3].answer, json!({ "sum": 1 }));
    for Call { answer, seconds } in calls {
        assert!(seconds < 1.0, "{answer} after {seconds} s");
    }
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

async fn what_does_not_fit_fails_alone(peers: Peers) {
    let processor = peers.processor(sum_values).await;
    let unfit = [
        json!({ "values": "one, two" }),
        json!({ "values": [1.5] }),
        json!({ "values": [9_223_372_036_854_775_808_u64] }),
        json!({}),
        json!(["values"]),
        json!(1),
        json!("\u{1f600}"),
    ];
    let callers = unfit.iter().cloned().map(|body| vec![body]);
    let callers = callers.chain([vec![json!({ "values": [1, 5, 2], "more": null })]]);
    let mut calls = peers.python_callers(0.01, callers.collect()).await.concat();
    let fit = calls.pop().expect("as many as were sent");
    assert_eq!(fit.answer, json!({ "sum": 8 }));
    for (body, Call { answer, seconds }) in unfit.iter().zip(calls) {
        assert_eq!(answer, Value::Null, "{body}");
        assert!(seconds < 1.0, "{body}: None after {seconds} s");
    }

    let anything: Batcher<Value, Sum> = Batcher::new(peers.transport().await);
    let fit = json!({ "values": [1, 5, 2] });
    let outcomes = anything.send_many(unfit.iter().cloned().chain([fit]).collect());
    let mut outcomes = outcomes.await;
    let fit = outcomes.pop().expect("as many as were sent");
    assert_eq!(fit.expect("an answer"), Sum { sum: 8 });
    for (body, outcome) in unfit.iter().zip(outcomes) {
        let error = outcome.expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::Decode, "{body}: {error}");
    }
    drop(anything);
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

async fn entries_that_nobody_should_write_fail_alone(peers: Peers) {
    const BODY: (&str, &[u8]) = ("body", br#"{"values":[1,5,2]}"#);
    let entries: [&[(&str, &[u8])]; 9] = [
        &[BODY],
        &[("other", b"1")],
        &[("body", b"")],
        &[("body", br#"{"values":[1"#)],
        &[("body", b"{\"values\":[\xff]}")],
        &[BODY, ("v", b"1")],
        &[BODY, ("v", b"1"), ("reply_to", b"request"), ("idem", b"1")],
        &[
            BODY,
            ("v", b"\xff"),
            ("reply_to", b"\xff"),
            ("idem", b"\xff"),
        ],
        &[BODY, ("other", b"\xff")],
    ];
    let answered = |number| number == 0 || number == entries.len() - 1;
    // They are there before the processor is, so that they share its batch.
    let transport = peers.transport().await;
    let add = |fields: &[(&str, &[u8])]| -> String {
        let mut add = ::redis::cmd("XADD");
        add.arg("request").arg("*");
        for (name, value) in fields {
            add.arg(name).arg(*value);
        }
        peers.ask(&add)
    };
    let ids = entries.map(add);
    let processor = BatchProcessor::spawn(transport, policy(), sum_values);
    for (number, (id, entry)) in ids.iter().zip(entries).enumerate() {
        let expected = if answered(number) {
            r#"{"sum":8}"#
        } else {
            "null"
        };
        // What the caller of the package does.
        let take = || peers.ask::<Option<String>>(::redis::cmd("GETDEL").arg(id));
        let response = found("a response", take).await;
        assert_eq!(response, expected, "{entry:?}");
    }
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

/// A Python processor acknowledges nothing: what it has answered stays pending on it.
async fn what_python_processors_leave_pending_keeps_no_request_from_being_taken_over(peers: Peers) {
    let transport = peers.transport().await;
    let add = || peers.ask::<String>(&command("XADD request * body {\"values\":[1,5,2]}"));
    let ids: Vec<_> = (0..200).map(|_| add()).collect();
    let read = |consumer, count| {
        let read = format!("XREADGROUP GROUP processor {consumer} COUNT {count} STREAMS request >");
        peers.ask::<::redis::Value>(&command(&read));
    };
    read(PYTHON_CONSUMER, 199);
    read("dead", 1);
    for (id, consumer) in ids
        .iter()
        .zip([PYTHON_CONSUMER; 199].iter().chain(&["dead"]))
    {
        let idle = format!("XCLAIM request processor {consumer} 0 {id} IDLE 40000 JUSTID");
        peers.ask::<::redis::Value>(&command(&idle));
    }
    let (last, answered) = ids.split_last().expect("there are some");
    peers.ask::<i64>(::redis::cmd("XDEL").arg("request").arg(answered));

    let _processor = BatchProcessor::spawn(transport, policy(), sum_values);
    let take = || peers.ask::<Option<String>>(::redis::cmd("GETDEL").arg(last));
    assert_eq!(found("it is taken over", take).await, r#"{"sum":8}"#);
}

/// A Python processor keeps some ten batches' worth of the stream, and loses the rest.
async fn what_a_python_processor_trims_is_lost_at_once(peers: Peers) {
    const REQUESTS: i64 = 100;
    let batcher = Batcher::new(peers.transport().await).timeout(LIMIT);
    let calls = join_all((0..REQUESTS).map(|number| timed_sum(&batcher, number)));
    let run = async {
        let length = || peers.length("request") == REQUESTS;
        eventually("all requests are on the stream", length).await;
        peers.python_processor(1, 0.1)
    };
    let (calls, _python) = tokio::join!(calls, run);
    check_lost(&calls);
    drop(batcher);
    peers.assert_nothing_left().await;
}

async fn what_a_python_processor_trims_is_lost_while_it_answers_others(peers: Peers) {
    let batcher = Batcher::new(peers.transport().await).timeout(LIMIT);
    let _python = peers.python_processor(1, 0.1);
    peers.python_processor_is_up().await;
    let many = join_all((0..100).map(|number| timed_sum(&batcher, number)));
    let others = async {
        loop {
            let _ = timed_sum(&batcher, 1).await;
        }
    };
    let calls = tokio::select! {
        calls = many => calls,
        () = others => unreachable!(),
    };
    check_lost(&calls);
}

/// Integers of 64 bits at most: a `Value` holds larger ones as floats.
async fn json_values_come_back_as_python_wrote_them(peers: Peers) {
    echo::<Value>(peers, 64).await;
}

async fn raw_json_comes_back_as_python_wrote_it(peers: Peers) {
    echo::<Box<RawValue>>(peers, 512).await;
}

async fn echo<T>(peers: Peers, bits: u32)
where
    T: DeserializeOwned + Serialize + Send + 'static,
{
    let processor = peers.processor(|batch: Vec<T>| batch).await;
    let mut python = peers.python("echo.py");
    python.args(["1", "1000"]).arg(bits.to_string());
    let changed = output(python.spawn().expect("Python starts")).await;
    assert_eq!(changed, "", "changed, or not refused");
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

#[derive(Clone, Copy)]
enum Client {
    Redis,
    Fred,
}

/// A server, and what is needed to put peers of both languages around it.
struct Peers {
    client: Client,
    server: RedisServer,
}

#[derive(Clone, Debug, Deserialize)]
struct Call {
    answer: Value,
    seconds: f64,
}

#[derive(Serialize, Deserialize)]
struct Values {
    values: Vec<i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    sum: i64,
}

fn sum_values(batch: Vec<Values>) -> Vec<Sum> {
    let sums = batch
        .into_iter()
        .map(|Values { values }| values.iter().sum());
    sums.map(|sum| Sum { sum }).collect()
}

fn policy() -> BatchPolicy {
    BatchPolicy::default().batch_time(WINDOW)
}

impl Peers {
    fn new(client: Client) -> Self {
        Self {
            client,
            server: RedisServer::start(None),
        }
    }

    async fn transport(&self) -> RedisTransport {
        let config = RedisConfig::default()
            .host("127.0.0.1")
            .port(self.server.port());
        let transport = match self.client {
            Client::Redis => RedisTransport::connect(config).await,
            Client::Fred => RedisTransport::connect_fred(config).await,
        };
        transport.expect("the server answers")
    }

    async fn processor<Req, Resp, R>(
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
    async fn drain<Req, Resp>(&self, processor: BatchProcessor<Req, Resp>) {
        let report = processor.drain(LIMIT).await.expect("it has not ended");
        assert!(report.ended, "{report:?}");
    }

    /// A Python process with one of the scripts beside this file, ended on drop.
    fn python(&self, script: &str) -> Command {
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
        python
    }

    /// Runs callers in one Python process: each sends its bodies one after the other.
    async fn python_callers(&self, delay: f64, callers: Vec<Vec<Value>>) -> Vec<Vec<Call>> {
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
    async fn python_sums(&self, delay: f64, callers: i64, requests: i64) -> Vec<Vec<Call>> {
        let bodies = |caller| {
            let body = move |request| json!({ "values": [caller * 1_000, request] });
            (0..requests).map(body).collect()
        };
        self.python_callers(delay, (0..callers).map(bodies).collect())
            .await
    }

    /// A Python processor that sums; ends on drop.
    fn python_processor(&self, batch_size: u32, batch_time: f64) -> Child {
        self.python("processor.py")
            .args([batch_size.to_string(), batch_time.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts")
    }

    /// Waits until the Python processor, the only one yet, reads.
    async fn python_processor_is_up(&self) {
        let stats = || self.ask::<String>(::redis::cmd("INFO").arg("commandstats"));
        let up = || stats().contains("cmdstat_xreadgroup:");
        eventually("the Python processor reads", up).await;
    }

    fn ask<T: FromRedisValue>(&self, command: &::redis::Cmd) -> T {
        let url = format!("redis://127.0.0.1:{}", self.server.port());
        let connection = ::redis::Client::open(url).and_then(|client| client.get_connection());
        let mut connection = connection.expect("the server is there");
        command.query(&mut connection).expect("an answer")
    }

    fn length(&self, stream: &str) -> i64 {
        self.ask(::redis::cmd("XLEN").arg(stream))
    }

    fn consumers(&self, stream: &str) -> Vec<String> {
        let mut consumers = ::redis::cmd("XINFO");
        consumers.arg("CONSUMERS").arg(stream).arg("processor");
        let consumers: Vec<HashMap<String, ::redis::Value>> = self.ask(&consumers);
        let names = consumers
            .into_iter()
            .map(|mut consumer| consumer.remove("name"));
        let names = names.flatten().map(::redis::from_redis_value);
        names.collect::<std::result::Result<_, _>>().expect("names")
    }

    /// Of all that went on, Redis holds no trace: but for what Python processors never acknowledge.
    async fn assert_nothing_left(&self) {
        const STREAMS: [&str; 3] = ["request", "response", "{request}:again"];
        let left = || {
            let mut left = self.ask::<Vec<String>>(::redis::cmd("KEYS").arg("*"));
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
fn command(words: &str) -> ::redis::Cmd {
    let mut command = ::redis::Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    command
}

/// The standard output of a process that has to succeed.
async fn output(process: Child) -> String {
    let output = process.wait_with_output().await.expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// Each Python caller has the sums of its own requests, none after a stall.
fn check(delay: f64, callers: Vec<Vec<Call>>) {
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

async fn timed_sum(batcher: &Batcher<Values, Sum>, number: i64) -> (Result<Sum>, Duration) {
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
fn check_lost(calls: &[(Result<Sum>, Duration)]) {
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
async fn rust_sums(batcher: &Batcher<Values, Sum>, callers: i64, requests: i64) {
    let call = async |caller| {
        for request in 0..requests {
            let (outcome, _) = timed_sum(batcher, caller * 1_000 + request).await;
            outcome.expect("an answer");
        }
    };
    join_all((0..callers).map(call)).await;
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    found(what, || is_so().then_some(())).await;
}

async fn found<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        sleep(PAUSE).await;
    }
}
