//! The seam to the client crates: commands go out, replies come back, and no more.
//!
//! What a command means, and what its reply says, stands elsewhere, once; a client file only sends
//! and receives, so that a difference between two of them is a difference of I/O.

use std::time::Duration;

use async_trait::async_trait;
use dynamic_batcher::{Backoff, Observer, Result};
use tokio::time::{Instant, sleep};

use crate::command::Command;
use crate::commands;
use crate::value::Value;

#[cfg(any(feature = "client-redis", feature = "client-fred"))]
mod connection;
#[cfg(feature = "client-fred")]
pub(crate) mod fred;
pub(crate) mod observed;
#[cfg(feature = "client-redis")]
pub(crate) mod redis;
#[cfg(test)]
mod repeating;
#[cfg(feature = "client-redis")]
mod resp;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

/// One client of one server.
#[async_trait]
pub(crate) trait Client: Send + Sync + 'static {
    /// Sends commands in one pipeline on the shared connection and waits for their replies, in
    /// order, for as long as the connection is not silent. A command that the server refuses is a
    /// reply like any other. After a connection failed, the next call makes a new one.
    ///
    /// Fails with kind `Connection` when the connection does: which of the commands arrived is then
    /// not known. None is sent twice.
    async fn send(&self, commands: &[Command]) -> Result<Vec<Value>>;

    /// Opens a connection of its own, for commands that block.
    async fn dedicated(&self) -> Result<Box<dyn Dedicated>>;

    /// Who is told of what is sent, and of what comes of it.
    fn observer(&self) -> Option<&dyn Observer> {
        None
    }
}

/// Sends one command; its reply.
pub(crate) async fn send_one(client: &dyn Client, command: Command) -> Result<Value> {
    let reply = client.send(&[command]).await?.pop();
    Ok(reply.unwrap_or(Value::Nil))
}

/// Sends commands of which none may be refused.
pub(crate) async fn send_accepted(client: &dyn Client, commands: &[Command]) -> Result<()> {
    for reply in client.send(commands).await? {
        reply.accepted()?;
    }
    Ok(())
}

/// Sends commands; those that the server refuses because it is full once more, [though it
/// is](commands::though_full). Their replies, in order.
pub(crate) async fn send_though_full(
    client: &dyn Client,
    commands: &[Command],
) -> Result<Vec<Value>> {
    let mut replies = client.send(commands).await?;
    let (refused, again): (Vec<_>, Vec<_>) = replies
        .iter_mut()
        .zip(commands)
        .filter(|(reply, _)| reply.is_out_of_memory())
        .map(|(reply, command)| (reply, commands::though_full(command.clone())))
        .unzip();
    if !again.is_empty() {
        let got = client.send(&again).await?;
        refused
            .into_iter()
            .zip(got)
            .for_each(|(reply, got)| *reply = got);
    }
    Ok(replies)
}

/// Sends commands that may be repeated, those without success again and again, for so long: while
/// the connection fails, or the server refuses them for a reason that passes. They make room, or are
/// followed by what does: if it is full they are sent though it is. Their replies, in order.
pub(crate) async fn send_repeatedly(
    client: &dyn Client,
    mut commands: Vec<Command>,
    patience: Duration,
) -> Result<Vec<Value>> {
    const FIRST_PAUSE: Duration = Duration::from_millis(20);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);
    debug_assert!(commands.iter().all(Command::may_be_repeated));
    let start = Instant::now();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut replies = vec![Value::Nil; commands.len()];
    let mut missing: Vec<usize> = (0..commands.len()).collect();
    loop {
        let sent = client.send(&commands).await;
        let pause = backoff.next_pause();
        let last = start.elapsed() + pause >= patience;
        match sent {
            Err(error) if last => return Err(error),
            Err(error) => tracing::debug!("sending failed, trying again in {pause:?}: {error}"),
            Ok(got) => {
                let mut again = Vec::new();
                let sent = std::mem::take(&mut missing).into_iter().zip(commands);
                for ((place, command), reply) in sent.zip(got) {
                    match &reply {
                        Value::Refused(refusal) if refusal.passes() && !last => {
                            tracing::debug!("{refusal}, trying again in {pause:?}");
                            missing.push(place);
                            again.push(if refusal.is_out_of_memory() {
                                commands::though_full(command)
                            } else {
                                command
                            });
                        }
                        _ => replies[place] = reply,
                    }
                }
                if missing.is_empty() {
                    return Ok(replies);
                }
                commands = again;
            }
        }
        sleep(pause).await;
    }
}

/// About the most bytes in one pipeline: whatever else goes over the connection waits for as long as
/// they take.
pub(crate) const PIPELINE_BYTES: usize = 4 << 20;

/// How many go in one pipeline of what has these lengths in bytes, at least one.
pub(crate) fn pipeline_len(lengths: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = |length: &usize| {
        let is_first = bytes == 0;
        bytes += (*length).max(1);
        is_first || bytes <= PIPELINE_BYTES
    };
    lengths.take_while(fits).count()
}

/// A connection for one command at a time. Dropped, it is closed, also while a command blocks.
#[async_trait]
pub(crate) trait Dedicated: Send + Sync + 'static {
    /// Sends a command and waits for its reply, for as long as no `limit` passes in silence (the
    /// time that the command itself blocks is in it). Where the client crate does not show what
    /// moves, it is the limit for the whole reply, beside the time to send what goes before it.
    ///
    /// Fails with kind `Connection` when the connection does, or the limit passes; the connection
    /// is of no use then.
    async fn send(&mut self, command: Command, limit: Duration) -> Result<Value>;
}
