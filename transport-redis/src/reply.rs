//! Replies as they stand on a caller's reply stream: one entry for all of a batch's to that caller.

use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::{BatchId, BatchInfo, CloseReason, Error, ErrorKind, ItemInfo, Reply, Result};
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::entry::{StreamId, unreadable};
use crate::idem::Idem;
use crate::numbers;
use crate::texts::Texts;

/// The batch that an entry's replies come from.
const BATCH: &str = "batch";
/// An entry is split beyond this many bytes.
const MOST_BYTES: usize = 1 << 20;
/// And beyond this many replies: a script cannot pass on several thousand arguments.
const MOST_REPLIES: usize = 1_000;

/// One reply to a caller.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    /// The request's.
    pub(crate) id: StreamId,
    /// The caller's reply stream.
    pub(crate) reply_to: &'a str,
    /// The caller's name for the request.
    pub(crate) idem: &'a Idem,
    pub(crate) outcome: Result<Vec<u8>>,
    pub(crate) position: u32,
    pub(crate) queued: Duration,
}

/// What the field `batch` says. Of the lists, the n-th place belongs to the n-th reply.
#[derive(Serialize, Deserialize)]
struct Batch {
    processor: u32,
    sequence: u64,
    size: usize,
    reason: String,
    ran_us: u64,
    positions: Vec<u32>,
    queued_us: Vec<u64>,
}

/// An error. Kinds of a later version are read as `handler`.
#[derive(Serialize, Deserialize)]
struct Failure {
    kind: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actual: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    millis: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deliveries: Option<u32>,
}

/// Replies, those to the same caller one behind the other, as they are divided among entries: each with the
/// caller's reply stream.
pub(crate) fn parts<'r, 'a>(replies: &'r [Outgoing<'a>]) -> Vec<(&'a str, &'r [Outgoing<'a>])> {
    let mut parts = Vec::new();
    let mut rest = replies;
    while let Some(Outgoing { reply_to, .. }) = rest.first() {
        let mut bytes = 0;
        let fits = |reply: &&Outgoing<'_>| {
            let first = bytes == 0;
            // About so much: an error has its kind and its numbers beside its text.
            let outcome = match &reply.outcome {
                Ok(json) => json.len(),
                Err(error) => 256 + error.detail().len(),
            };
            bytes += reply.idem.max_len() + outcome;
            reply.reply_to == *reply_to && (first || bytes <= MOST_BYTES)
        };
        let count = rest.iter().take(MOST_REPLIES).take_while(fits).count();
        let (part, others) = rest.split_at(count);
        parts.push((*reply_to, part));
        rest = others;
    }
    parts
}

/// Completes a command that adds an entry, with these replies.
pub(crate) fn write(
    mut command: Command,
    batch: Option<&BatchInfo>,
    replies: &[Outgoing<'_>],
) -> Command {
    if let Some(batch) = batch {
        let json = serde_json::to_vec(&Batch {
            processor: batch.id.processor(),
            sequence: batch.id.sequence(),
            size: batch.size,
            reason: batch.reason.to_string(),
            ran_us: micros(batch.ran),
            positions: replies.iter().map(|reply| reply.position).collect(),
            queued_us: replies.iter().map(|reply| micros(reply.queued)).collect(),
        });
        // Numbers and text alone: it always serialises, and without it the replies still count.
        if let Ok(json) = json {
            command.push(BATCH);
            command.push(json);
        }
    }
    for reply in replies {
        reply.idem.push_to(&mut command);
        match &reply.outcome {
            Ok(json) => command.push_joined(b"+", json),
            Err(error) => {
                let json = serde_json::to_vec(&Failure::of(error)).unwrap_or_default();
                command.push_joined(b"-", &json);
            }
        }
    }
    command
}

/// The replies of an entry, each with the caller's name for its request. What cannot be read is the
/// error of that one request.
pub(crate) fn parse(fields: &Texts) -> Vec<(u64, Result<Reply<Vec<u8>>>)> {
    let mut batch = None;
    let mut replies = Vec::new();
    for (name, value) in fields.pairs() {
        if name == BATCH.as_bytes() {
            batch = serde_json::from_slice::<Batch>(value).ok();
            continue;
        }
        // A name that is no number of ours is nobody's.
        if let Some(idem) = numbers::read(name) {
            replies.push((idem, value));
        }
    }
    let info = batch.and_then(|batch| Some((batch.info()?, batch)));
    let replies = replies
        .into_iter()
        .enumerate()
        .map(|(index, (idem, value))| {
            let outcome = match value.split_first() {
                Some((b'+', json)) => Ok(json.to_vec()),
                Some((b'-', json)) => Err(Failure::read(json)),
                _ => Err(unreadable("a reply begins with neither `+` nor `-`")),
            };
            let info = info.as_ref().and_then(|(info, batch)| {
                let position = *batch.positions.get(index)?;
                let queued = Duration::from_micros(*batch.queued_us.get(index)?);
                Some(ItemInfo::new(Arc::clone(info), position, queued))
            });
            (idem, outcome.map(|value| Reply::new(value, info)))
        });
    replies.collect()
}

impl Batch {
    fn info(&self) -> Option<Arc<BatchInfo>> {
        const REASONS: [CloseReason; 5] = [
            CloseReason::Full,
            CloseReason::Window,
            CloseReason::Idle,
            CloseReason::Drain,
            CloseReason::LastAttempt,
        ];
        let reason = REASONS
            .into_iter()
            .find(|reason| reason.to_string() == self.reason)?;
        let id = BatchId::new(self.processor, self.sequence);
        let ran = Duration::from_micros(self.ran_us);
        Some(Arc::new(BatchInfo::new(id, self.size, reason, ran)))
    }
}

impl Failure {
    fn of(error: &Error) -> Self {
        let mut failure = Self {
            kind: String::new(),
            message: error.detail().to_owned(),
            expected: None,
            actual: None,
            millis: None,
            deliveries: None,
        };
        failure.kind = match error.kind() {
            ErrorKind::Timeout { queued, started } => {
                failure.millis = Some(millis(queued));
                if started {
                    "timeout_started"
                } else {
                    "timeout"
                }
            }
            ErrorKind::QueueFull { retry_after } => {
                failure.millis = Some(millis(retry_after));
                "queue_full"
            }
            ErrorKind::Panic => "panic",
            ErrorKind::HandlerTimeout { run_timeout } => {
                failure.millis = Some(millis(run_timeout));
                "handler_timeout"
            }
            ErrorKind::WrongNumberOfOutputs { expected, actual } => {
                failure.expected = Some(expected);
                failure.actual = Some(actual);
                "wrong_number_of_outputs"
            }
            ErrorKind::Encode => "encode",
            ErrorKind::Decode => "decode",
            ErrorKind::Undeliverable { deliveries } => {
                failure.deliveries = Some(deliveries);
                "undeliverable"
            }
            ErrorKind::Lost => "lost",
            ErrorKind::Connection => "connection",
            ErrorKind::Closed => "closed",
            ErrorKind::Config => "config",
            _ => "handler",
        }
        .to_owned();
        failure
    }

    fn read(json: &[u8]) -> Error {
        let Ok(failure) = serde_json::from_slice::<Self>(json) else {
            return unreadable("an error reply is not the JSON that it should be");
        };
        let duration = Duration::from_millis(failure.millis.unwrap_or_default());
        let kind = match failure.kind.as_str() {
            kind @ ("timeout" | "timeout_started") => ErrorKind::Timeout {
                queued: duration,
                started: kind == "timeout_started",
            },
            "queue_full" => ErrorKind::QueueFull {
                retry_after: duration,
            },
            "panic" => ErrorKind::Panic,
            "handler_timeout" => ErrorKind::HandlerTimeout {
                run_timeout: duration,
            },
            "wrong_number_of_outputs" => ErrorKind::WrongNumberOfOutputs {
                expected: failure.expected.unwrap_or_default(),
                actual: failure.actual.unwrap_or_default(),
            },
            "encode" => ErrorKind::Encode,
            "decode" => ErrorKind::Decode,
            "undeliverable" => ErrorKind::Undeliverable {
                deliveries: failure.deliveries.unwrap_or_default(),
            },
            "lost" => ErrorKind::Lost,
            "connection" => ErrorKind::Connection,
            "closed" => ErrorKind::Closed,
            "config" => ErrorKind::Config,
            _ => ErrorKind::Handler,
        };
        Error::new(kind, failure.message)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
