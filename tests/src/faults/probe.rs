//! Looks into Redis beside everybody: what is there, and what should not be there any more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, RedisResult};
use tokio::time::sleep;

const REQUEST: &str = "request";
const AGAIN: &str = "{request}:again";
const DEAD: &str = "{request}:dead";
const REPLIES: &str = "{request}:reply:";
const GROUP: &str = "processor";
/// What all Python processors call themselves. They acknowledge nothing.
const PYTHON_CONSUMER: &str = "processor";
/// The longest that keys may live on by themselves, in seconds: the reply stream of a caller that
/// died, the response for a Python caller that did not take it.
const REPLY_EXPIRY: i64 = 60;
const RESPONSE_EXPIRY: i64 = 600;

/// Commands to one server, each on a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    port: u16,
}

/// A consumer of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// How many entries are pending on it.
    pub pending: i64,
}

impl Probe {
    /// A probe of the server at a port of the loopback.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    /// Sends one command.
    ///
    /// # Errors
    ///
    /// When the server is not there, or refuses.
    pub fn try_ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let mut connection = redis::Client::open(url)?.get_connection()?;
        command.query(&mut connection)
    }

    /// Sends one command that must not be refused.
    ///
    /// # Panics
    ///
    /// When it is.
    #[allow(
        clippy::must_use_candidate,
        reason = "a command may be sent for what it does"
    )]
    pub fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.try_ask(command).expect("an answer")
    }

    /// The same, with a command of words without spaces.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[allow(
        clippy::must_use_candidate,
        reason = "a command may be sent for what it does"
    )]
    pub fn say<T: FromRedisValue>(&self, words: &str) -> T {
        let mut command = Cmd::new();
        command.arg(words.split(' ').collect::<Vec<_>>());
        self.ask(&command)
    }

    /// How many entries a stream has.
    #[must_use]
    pub fn length(&self, stream: &str) -> i64 {
        self.say(&format!("XLEN {stream}"))
    }

    /// The consumers of the processors' group on a stream; none where there is no such group.
    #[must_use]
    pub fn consumers(&self, stream: &str) -> Vec<Consumer> {
        let mut command = redis::cmd("XINFO");
        command.arg("CONSUMERS").arg(stream).arg(GROUP);
        let consumers: Vec<HashMap<String, redis::Value>> =
            self.try_ask(&command).unwrap_or_default();
        let read = |mut fields: HashMap<String, redis::Value>| {
            Some(Consumer {
                name: redis::from_redis_value(fields.remove("name")?).ok()?,
                pending: redis::from_redis_value(fields.remove("pending")?).ok()?,
            })
        };
        consumers.into_iter().filter_map(read).collect()
    }

    /// Everything that is left of finished requests and dead peers, in words. What expires by
    /// itself in due time is not counted.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for key in self.say::<Vec<String>>("KEYS *") {
            let expiry = self.say::<i64>(&format!("TTL {key}"));
            let permitted = match &*key {
                REQUEST | AGAIN | DEAD | "response" => continue,
                reply if reply.starts_with(REPLIES) => REPLY_EXPIRY,
                _ => RESPONSE_EXPIRY,
            };
            // -2: it has expired in this moment.
            if expiry == -1 || expiry > permitted {
                left.push(format!("the key {key}, expiring in {expiry} s"));
            }
        }
        for stream in [REQUEST, AGAIN, DEAD] {
            let length = self.length(stream);
            if length > 0 {
                left.push(format!("{length} entries of {stream}"));
            }
            for Consumer { name, pending } in self.consumers(stream) {
                if name != PYTHON_CONSUMER {
                    left.push(format!("the consumer {name} on {stream} with {pending}"));
                }
            }
        }
        left
    }

    /// Waits until nothing is left but the consumers of processors that are still there, so many at
    /// most. What dead ones have left is cleaned up by the living alone.
    ///
    /// # Panics
    ///
    /// When something else still is at the limit.
    pub async fn is_clean(&self, living: usize, limit: Duration) {
        let left = self.left_after(living, limit).await;
        assert!(left.is_empty(), "left in Redis: {left:#?}");
    }

    /// The same; what still is left at the limit.
    pub async fn left_after(&self, living: usize, limit: Duration) -> Vec<String> {
        let start = Instant::now();
        loop {
            let left = self.leftovers();
            let are_idle = |stream: &str| {
                let idle = format!(" on {stream} with 0");
                let idle = left.iter().filter(|text| text.ends_with(&idle)).count();
                if idle <= living { idle } else { 0 }
            };
            if are_idle(REQUEST) + are_idle(AGAIN) == left.len() {
                return Vec::new();
            }
            if start.elapsed() >= limit {
                return left;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
