//! A caller or a processor in a process of its own, as its test sees it.

use std::io::{BufReader, Write as _};
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dynamic_batcher::Result;
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::ledger::End;
use super::signal::{Signal, signal};

/// How long a peer may take to do what it is told, where nothing else is said.
const LIMIT: Duration = Duration::from_secs(20);

/// A client crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// `redis`.
    #[default]
    Redis,
    /// `fred`.
    Fred,
}

impl Client {
    /// Connects with this client crate.
    ///
    /// # Errors
    ///
    /// Those of [`RedisTransport::connect`].
    pub async fn connect(self, config: RedisConfig) -> Result<RedisTransport> {
        match self {
            Self::Redis => RedisTransport::connect(config).await,
            Self::Fred => RedisTransport::connect_fred(config).await,
        }
    }
}

/// What a peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It serves.
    #[default]
    Processor,
    /// It sends, one request after the other in each of its tasks.
    Caller,
}

/// What a peer is and does: the one argument of its process, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PeerConfig {
    /// What it is.
    pub role: Role,
    /// With which client crate.
    pub client: Client,
    /// The port of the server, or of a proxy, on the loopback.
    pub port: u16,
    /// [`RedisConfig::lease`].
    pub lease: Duration,
    /// [`RedisConfig::grace`].
    pub grace: Duration,
    /// [`RedisConfig::max_deliveries`].
    pub max_deliveries: NonZeroU32,
    /// A processor's batch size.
    pub batch_size: NonZeroUsize,
    /// A processor's batch time.
    pub batch_time: Duration,
    /// A processor's run timeout.
    pub run_timeout: Option<Duration>,
    /// How long a processor's batch takes at least.
    pub pause: Duration,
    /// The number of a caller's first request; those after it count up.
    pub first_id: i64,
    /// How many tasks of a caller send.
    pub tasks: usize,
    /// How long each of them rests after each request.
    pub rest: Duration,
    /// How long a caller waits for a response.
    pub timeout: Duration,
}

impl Default for PeerConfig {
    fn default() -> Self {
        const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(16).unwrap();
        let config = RedisConfig::default();
        Self {
            role: Role::default(),
            client: Client::default(),
            port: 0,
            lease: Duration::from_secs(1),
            grace: Duration::from_secs(3),
            max_deliveries: config.max_deliveries,
            batch_size: BATCH_SIZE,
            batch_time: Duration::from_millis(5),
            run_timeout: None,
            pause: Duration::from_millis(20),
            first_id: 0,
            tasks: 16,
            rest: Duration::ZERO,
            timeout: Duration::from_secs(30),
        }
    }
}

impl PeerConfig {
    /// The transport's part of it.
    #[must_use]
    pub fn redis(&self) -> RedisConfig {
        RedisConfig::default()
            .host("127.0.0.1")
            .port(self.port)
            .lease(self.lease)
            .grace(self.grace)
            .max_deliveries(self.max_deliveries)
    }
}

/// What a peer says, each in a line of its standard output, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// It is at work.
    Ready,
    /// A processor starts a batch of these requests.
    Runs(Vec<i64>),
    /// A caller sends this request.
    Sent(i64),
    /// A request of a caller has ended.
    Ended(End),
    /// A processor was drained, or a caller has stopped: the last message.
    Left {
        /// How many running requests were given up.
        abandoned: usize,
        /// How many were given back.
        released: usize,
        /// Whether all ended by the deadline.
        ended: bool,
        /// How long it took.
        took: Duration,
    },
}

/// A peer at work, killed on drop.
#[derive(Debug)]
pub struct Peer {
    process: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<Message>>>,
}

impl Peer {
    /// Starts a peer: `program` is one that passes its argument to [`run`](super::role::run).
    ///
    /// # Panics
    ///
    /// When there is no such program.
    #[must_use]
    pub fn start(mut program: Command, config: &PeerConfig) -> Self {
        let config = serde_json::to_string(config).expect("numbers and words");
        program.arg(config).stdin(Stdio::piped());
        program.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = program.spawn().expect("there is such a program");
        let stdout = process.stdout.take().expect("it is piped");
        let said = Arc::default();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || hear(BufReader::new(stdout), &heard));
        Self {
            stdin: process.stdin.take(),
            process,
            said,
        }
    }

    /// Waits until it is at work.
    ///
    /// # Panics
    ///
    /// When it does not come to that.
    pub async fn ready(&self) {
        let is_ready = |message: &Message| matches!(message, Message::Ready);
        self.heard("it is ready", LIMIT, |said| said.iter().any(is_ready))
            .await;
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Kills it: it can do nothing more.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Sends it a signal, if its process has not ended.
    pub fn signal(&mut self, which: Signal) {
        if !self.has_ended() {
            signal(self.pid(), which);
        }
    }

    /// Tells a processor to drain by this deadline, or a caller to finish what it has sent.
    pub fn leave(&mut self, deadline: Duration) {
        if let Some(stdin) = &mut self.stdin {
            // It may have ended before.
            let _ = writeln!(stdin, "{}", deadline.as_millis());
        }
    }

    /// Waits until it has left; what it says last.
    ///
    /// # Panics
    ///
    /// When it has not within the limit.
    pub async fn left(&self, limit: Duration) -> Message {
        let has_left = |said: &[Message]| matches!(said.last(), Some(Message::Left { .. }));
        self.heard("it has left", limit, has_left).await;
        let said = self.said();
        said.last().cloned().expect("it was heard")
    }

    /// Takes what it has said since the last time.
    #[must_use]
    pub fn take_said(&self) -> Vec<Message> {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All that it has said and nobody has taken.
    #[must_use]
    pub fn said(&self) -> Vec<Message> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The requests that a processor has started, in order, each as often as it was.
    #[must_use]
    pub fn has_run(&self) -> Vec<i64> {
        let runs = self.said().into_iter().filter_map(|message| match message {
            Message::Runs(ids) => Some(ids),
            _ => None,
        });
        runs.flatten().collect()
    }

    /// Waits until what it has said is as it should be.
    ///
    /// # Panics
    ///
    /// When that is not so within the limit.
    pub async fn heard(&self, what: &str, limit: Duration, is_so: impl Fn(&[Message]) -> bool) {
        let start = Instant::now();
        loop {
            let said = self.said();
            if is_so(&said) {
                return;
            }
            assert!(
                start.elapsed() < limit,
                "not within {limit:?}: {what}, but {:?}",
                said.last()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Keeps what a peer says until it ends. Killed, it may leave half a line.
fn hear(stdout: impl std::io::BufRead, said: &Mutex<Vec<Message>>) {
    for line in stdout.lines() {
        let message = line.ok().and_then(|line| serde_json::from_str(&line).ok());
        if let Some(message) = message {
            said.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(message);
        }
    }
}
