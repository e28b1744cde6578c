//! A processor in a process of its own, which has spans of its own: this program, started again.

use std::num::NonZeroUsize;
use std::process::Stdio;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor};
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_conformance::faults::Client;
use dynamic_batcher_redis::RedisConfig;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tracing::info_span;

use crate::spans::{Ended, Spans};

pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const STREAM: &str = "request";
/// The variable that makes a processor of this program: its [`Config`] as JSON.
const VARIABLE: &str = "DYNAMIC_BATCHER_TEST_TRACED_PROCESSOR";

#[derive(Serialize, Deserialize)]
pub(crate) struct Config {
    client: Client,
    port: u16,
    batch_size: NonZeroUsize,
}

impl Config {
    /// What this process has been told to be, if it is a processor.
    pub(crate) fn of_this_process() -> Option<Self> {
        let json = std::env::var(VARIABLE).ok()?;
        Some(serde_json::from_str(&json).expect("it was written here"))
    }
}

/// A processor at work, killed on drop.
pub(crate) struct Processor(Child);

impl Processor {
    pub(crate) fn start(client: Client, server: &RedisServer, batch_size: usize) -> Self {
        let config = Config {
            client,
            port: server.port(),
            batch_size: batch_size.try_into().unwrap(),
        };
        let program = std::env::current_exe().expect("this program has a path");
        let process = Command::new(program)
            .env(VARIABLE, serde_json::to_string(&config).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        Self(process.expect("this program can be started again"))
    }

    /// Lets it end; all its spans.
    pub(crate) async fn spans(self) -> Vec<Ended> {
        // Closes its standard input.
        let output = self.0.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{}", output.status);
        serde_json::from_slice(&output.stdout).expect("its spans")
    }
}

/// What the process does: it answers until standard input is closed, and then writes its spans to
/// standard output.
pub(crate) async fn run(config: Config) {
    let spans = Spans::listen();
    let policy = policy(config.batch_size);
    let transport = config.client.connect(redis(config.port)).await.unwrap();
    let processor = BatchProcessor::spawn(transport, policy, echo);
    let read = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(read).await.unwrap().unwrap();
    processor.drain(LIMIT).await.unwrap();
    serde_json::to_writer(std::io::stdout(), &spans.ended()).unwrap();
}

pub(crate) fn redis(port: u16) -> RedisConfig {
    RedisConfig::default()
        .host("127.0.0.1")
        .port(port)
        .stream_key_request(STREAM)
}

/// Waits until a batch is full.
pub(crate) fn policy(batch_size: NonZeroUsize) -> BatchPolicy {
    BatchPolicy::default()
        .batch_size(batch_size)
        .batch_time(LIMIT)
}

pub(crate) fn echo(batch: Vec<u32>) -> Vec<u32> {
    let _own = info_span!("own").entered();
    batch
}
