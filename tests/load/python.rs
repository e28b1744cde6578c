//! Many requests between the two languages, each answer checked, with each client crate: more than a
//! test has time for. Needs what the tests against the Python package need, and starts a server of
//! its own for each run.
//!
//! `cargo run --release -p dynamic-batcher-conformance --example python_load` (`-- callers`,
//! `processor` or `overload` for one of its three parts). Ends with status 1 when an answer was wrong
//! or missing, or anything was left in Redis.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, ErrorKind};
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_conformance::faults::progress;
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::sleep;

const CLIENTS: [&str; 2] = ["redis", "fred"];
/// Longer than any answer takes that does not get lost.
const SLOW: Duration = Duration::from_secs(20);

#[derive(Serialize, Deserialize)]
struct Values {
    values: Vec<i64>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Sum {
    sum: i64,
}

/// What came of the requests, as the Python script prints it too.
#[derive(Default, Deserialize)]
struct Counts {
    answered: i64,
    wrong: i64,
    /// Of Python callers alone.
    #[serde(default)]
    none: i64,
    /// Of Rust callers alone: told that the request was lost, and any other error.
    #[serde(default)]
    lost: i64,
    #[serde(default)]
    errors: i64,
    slow: i64,
    longest: f64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.wrong += other.wrong;
        self.none += other.none;
        self.lost += other.lost;
        self.errors += other.errors;
        self.slow += other.slow;
        self.longest = self.longest.max(other.longest);
    }

    fn all(&self) -> i64 {
        self.answered + self.wrong + self.none + self.lost + self.errors
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let part = std::env::args().nth(1);
    let wanted = |name| part.as_deref().is_none_or(|part| part == name);
    let mut right = true;
    for client in CLIENTS {
        if wanted("callers") {
            right &= python_callers(client).await;
        }
        if wanted("processor") {
            let title = "256 Rust callers, one Python processor";
            right &= python_processor(title, client, 256, 20_480 / 256, 0..=0).await;
        }
        if wanted("overload") {
            // It keeps some 640 requests.
            let title = "2,000 Rust callers, more than it keeps";
            right &= python_processor(title, client, 2_000, 10, 1..=20_000).await;
        }
    }
    ExitCode::from(u8::from(!right))
}

/// 256 callers in four Python processes, two Rust processors.
async fn python_callers(client: &str) -> bool {
    const PROCESSES: i64 = 4;
    const CALLERS: i64 = 64;
    const REQUESTS: i64 = 391;
    let title = "256 Python callers, two Rust processors";
    progress::show(&format!("{client}: {title}"));
    let server = RedisServer::start(None);
    let policy = BatchPolicy::default().batch_time(Duration::from_millis(20));
    let mut processors = Vec::new();
    for _ in 0..2 {
        let transport = connect(&server, client).await;
        let processor = BatchProcessor::spawn(transport, policy.clone(), sum_values);
        processor.ready().await.expect("it starts");
        processors.push(processor);
    }
    let start = Instant::now();
    let processes = (0..PROCESSES).map(|process| {
        let mut python = python(&server, "load.py");
        python.args([CALLERS, REQUESTS, process * 1_000_000].map(|number| number.to_string()));
        python.stdout(Stdio::piped()).output()
    });
    let mut counts = Counts::default();
    for output in join_all(processes).await {
        let output = output.expect("it runs");
        counts.add(&serde_json::from_slice(&output.stdout).expect("its counts"));
    }
    let time = start.elapsed();
    for processor in processors {
        let report = processor.drain(SLOW).await.expect("it has not ended");
        assert!(report.ended, "{report:?}");
    }
    let all = counts.all() == PROCESSES * CALLERS * REQUESTS;
    let right = report(title, client, &counts, time) && counts.lost == 0 && all;
    nothing_left(&server).await && right
}

/// Rust callers, each with its requests one after the other, and a Python processor of the default
/// size. Of the requests so many may be lost, each with an error that says so.
async fn python_processor(
    title: &str,
    client: &str,
    callers: i64,
    requests: i64,
    lost: std::ops::RangeInclusive<i64>,
) -> bool {
    progress::show(&format!("{client}: {title}"));
    let server = RedisServer::start(None);
    let batcher = Batcher::new(connect(&server, client).await);
    let _python = python(&server, "processor.py")
        .args(["64", "0.1"])
        .spawn()
        .expect("Python starts");
    let start = Instant::now();
    let calls = (0..callers).map(|caller| {
        let batcher = batcher.clone();
        tokio::spawn(async move { call(&batcher, caller * 1_000, requests).await })
    });
    let mut counts = Counts::default();
    for call in join_all(calls).await {
        counts.add(&call.expect("no call panics"));
    }
    let time = start.elapsed();
    drop(batcher);
    let all = counts.all() == callers * requests;
    let right = report(title, client, &counts, time) && lost.contains(&counts.lost) && all;
    nothing_left(&server).await && right
}

async fn call(batcher: &Batcher<Values, Sum>, first: i64, requests: i64) -> Counts {
    let mut counts = Counts::default();
    for number in first..first + requests {
        let start = Instant::now();
        let values = vec![number, 5, 2];
        match batcher.send(Values { values }).await {
            Ok(Sum { sum }) if sum == number + 7 => counts.answered += 1,
            Ok(_) => counts.wrong += 1,
            Err(error) if error.kind() == ErrorKind::Lost => counts.lost += 1,
            Err(_) => counts.errors += 1,
        }
        counts.slow += i64::from(start.elapsed() > SLOW);
        counts.longest = counts.longest.max(start.elapsed().as_secs_f64());
    }
    counts
}

fn sum_values(batch: Vec<Values>) -> Vec<Sum> {
    let sums = batch
        .into_iter()
        .map(|Values { values }| values.iter().sum());
    sums.map(|sum| Sum { sum }).collect()
}

async fn connect(server: &RedisServer, client: &str) -> RedisTransport {
    let config = RedisConfig::default().host("127.0.0.1");
    let config = config.port(server.port());
    let transport = match client {
        "redis" => RedisTransport::connect(config).await,
        _ => RedisTransport::connect_fred(config).await,
    };
    transport.expect("the server answers")
}

fn python(server: &RedisServer, script: &str) -> Command {
    let interpreter = std::env::var_os("DYNAMIC_BATCHER_TEST_PYTHON")
        .expect("DYNAMIC_BATCHER_TEST_PYTHON names no Python with the package");
    let mut python = Command::new(interpreter);
    python
        .arg(format!("{}/it/python/{script}", env!("CARGO_MANIFEST_DIR")))
        .env_clear()
        .env("REDIS__HOST", "127.0.0.1")
        .env("REDIS__PORT", server.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    python
}

/// Prints what came of the requests; whether it was right, but for those that were lost.
fn report(title: &str, client: &str, counts: &Counts, time: Duration) -> bool {
    println!("{title}, client {client}");
    println!("  answered    {}", counts.answered);
    println!("  wrong       {}", counts.wrong);
    println!("  None        {}", counts.none);
    println!("  lost        {}", counts.lost);
    println!("  errors      {}", counts.errors);
    println!("  over {SLOW:?}    {}", counts.slow);
    println!("  longest     {:.2} s", counts.longest);
    let rate = counts.all() as f64 / time.as_secs_f64();
    println!("  requests/s  {rate:.0}, for {:.0} s", time.as_secs_f64());
    counts.wrong + counts.none + counts.errors + counts.slow == 0
}

/// Waits until what is finished has been cleaned up, and prints what is in Redis then: the streams
/// `request`, `response` and `{request}:again`, empty.
async fn nothing_left(server: &RedisServer) -> bool {
    let url = format!("redis://127.0.0.1:{}", server.port());
    let client = redis::Client::open(url).expect("an address");
    let mut connection = client.get_connection().expect("the server is there");
    let mut look = || {
        let mut found = redis::pipe();
        found.cmd("XLEN").arg("request");
        found.cmd("XPENDING").arg("request").arg("processor");
        found.cmd("DBSIZE");
        let found: (i64, Vec<redis::Value>, i64) = found.query(&mut connection).expect("an answer");
        let (length, pending, keys) = found;
        let pending: i64 = pending
            .into_iter()
            .next()
            .map_or(0, |count| redis::from_redis_value(count).expect("a count"));
        [length, pending, keys]
    };
    let start = Instant::now();
    while look() != [0, 0, 3] && start.elapsed() < SLOW {
        sleep(Duration::from_millis(50)).await;
    }
    let [length, pending, keys] = look();
    println!("  left: XLEN {length}, XPENDING {pending}, DBSIZE {keys}\n");
    [length, pending, keys] == [0, 0, 3]
}
