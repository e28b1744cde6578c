//! What is the same for every client crate: one connection for all, made anew after it failed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dynamic_batcher::{Error, ErrorKind, Result};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{Client, Dedicated};
use crate::command::Command;
use crate::value::Value;

/// The longest that opening a connection may take: resolving the name, the handshakes, logging in.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The longest silence while replies are awaited on the shared connection. Nothing blocks there, so
/// that a server that needs longer is gone, or has a queue that nobody waits for.
const REPLY_LIMIT: Duration = Duration::from_secs(10);

/// The slowest rate, in bytes a second, at which commands are taken to go out where what moves is not
/// seen. How large a reply will be nobody knows: it has the limit alone to be complete.
const SLOWEST: u64 = 1_000_000;

/// A connection as a client crate makes it. It is never repaired: once it failed it fails for
/// ever. Dropped, it is closed.
#[async_trait]
pub(crate) trait Connection: Sized + Send + Sync + 'static {
    /// Where to connect to, and how.
    type Options: Send + Sync + 'static;

    /// Opens a connection. Nothing is tried twice, and no time is limited here.
    async fn open(options: &Self::Options) -> Result<Self>;

    /// Sends commands together, in order, and waits for their replies. As [`Client::send`], without a
    /// limit.
    async fn send(&self, commands: &[Command]) -> Result<Vec<Value>>;

    /// When bytes last moved on it; `None` where the crate does not show that.
    fn last_active(&self) -> Option<Instant>;
}

/// A client: its options, and the connection that everybody shares, which the first to need one
/// opens and the first to see it fail, or lead to a replica, puts away.
pub(crate) struct Shared<C: Connection> {
    options: C::Options,
    slot: Mutex<Slot<C>>,
    /// How many attempts to connect have failed, to be read before waiting for the slot.
    failures: AtomicU64,
}

struct Slot<C> {
    connection: Option<Arc<Open<C>>>,
    /// Of the last attempt that failed.
    error: Option<Error>,
}

impl<C: Connection> Shared<C> {
    /// Opens the first connection.
    pub(super) async fn open(options: C::Options) -> Result<Self> {
        let connection = open::<C>(&options).await?;
        Ok(Self {
            options,
            slot: Mutex::new(Slot {
                connection: Some(Arc::new(connection)),
                error: None,
            }),
            failures: AtomicU64::new(0),
        })
    }

    async fn connection(&self) -> Result<Arc<Open<C>>> {
        let failures = self.failures.load(Ordering::Acquire);
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok(Arc::clone(connection));
        }
        // An attempt that failed while this call waited for it is this call's too: otherwise a
        // thousand callers would wait for a thousand attempts, one after the other.
        if let Some(error) = &slot.error
            && self.failures.load(Ordering::Acquire) != failures
        {
            return Err(error.clone());
        }
        match open::<C>(&self.options).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                slot.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                slot.error = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Puts the connection away, unless somebody has and a new one is there.
    async fn put_away(&self, failed: &Arc<Open<C>>) {
        let mut slot = self.slot.lock().await;
        slot.connection
            .take_if(|connection| Arc::ptr_eq(connection, failed));
    }
}

#[async_trait]
impl<C: Connection> Client for Shared<C> {
    async fn send(&self, commands: &[Command]) -> Result<Vec<Value>> {
        let connection = self.connection().await?;
        let replies = connection.send(commands, REPLY_LIMIT).await;
        // After a failover what was the primary is a replica, and the address leads to the new one.
        let leave = match &replies {
            Ok(replies) => replies.iter().any(is_read_only),
            Err(_) => true,
        };
        if leave {
            self.put_away(&connection).await;
        }
        replies
    }

    async fn dedicated(&self) -> Result<Box<dyn Dedicated>> {
        Ok(Box::new(Own(open::<C>(&self.options).await?)))
    }
}

fn is_read_only(reply: &Value) -> bool {
    matches!(reply, Value::Refused(refusal) if refusal.code == "READONLY")
}

struct Own<C>(Open<C>);

#[async_trait]
impl<C: Connection> Dedicated for Own<C> {
    async fn send(&mut self, command: Command, limit: Duration) -> Result<Value> {
        only(self.0.send(&[command], limit).await?)
    }
}

/// An open connection, and how long replies are awaited on it.
struct Open<C> {
    connection: C,
    /// The bytes of the commands whose replies are awaited.
    awaited: AtomicU64,
}

impl<C: Connection> Open<C> {
    /// Sends commands and waits for their replies, until a `limit` has passed in silence.
    async fn send(&self, commands: &[Command], limit: Duration) -> Result<Vec<Value>> {
        let replies = self.connection.send(commands);
        if self.connection.last_active().is_some() {
            return self.while_active(limit, replies).await;
        }
        let awaited = Awaited::new(&self.awaited, commands);
        let going_out = Duration::from_millis(awaited.before * 1_000 / SLOWEST);
        within(limit + going_out, "no reply", replies).await
    }

    /// Waits until nothing has moved for the limit: a reply that is on its way takes the time it takes.
    async fn while_active<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = pin!(work);
        let mut silent_since = Instant::now();
        loop {
            if let Ok(result) = timeout_at(silent_since + limit, &mut work).await {
                return result;
            }
            match self.connection.last_active() {
                Some(last) if last > silent_since => silent_since = last,
                _ => return Err(too_late(limit, "no reply")),
            }
        }
    }
}

/// Commands whose replies are awaited.
struct Awaited<'a> {
    all: &'a AtomicU64,
    bytes: u64,
    /// All that have to go out before a reply to these can come, in bytes.
    before: u64,
}

impl<'a> Awaited<'a> {
    fn new(all: &'a AtomicU64, commands: &[Command]) -> Self {
        let bytes = commands.iter().map(|command| command.bytes.len() as u64);
        let bytes = bytes.sum();
        let before = all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        Self { all, bytes, before }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

async fn open<C: Connection>(options: &C::Options) -> Result<Open<C>> {
    within(CONNECT_LIMIT, "no connection", async {
        let connection = C::open(options).await?;
        // The first to ask for the password when none was given, and to notice that what answers
        // is no Redis.
        only(connection.send(&[Command::new("PING")]).await?)?.accepted()?;
        Ok(Open {
            connection,
            awaited: AtomicU64::new(0),
        })
    })
    .await
}

fn only(mut replies: Vec<Value>) -> Result<Value> {
    replies
        .pop()
        .ok_or_else(|| Error::new(ErrorKind::Connection, "a command had no reply"))
}

async fn within<T>(
    limit: Duration,
    missing: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(too_late(limit, missing)),
    }
}

fn too_late(limit: Duration, missing: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("{missing} within {limit:?}"))
}

#[cfg(test)]
mod tests;
