//! What stands in Redis, written and read for the benchmarks of this repository: no part of the
//! interface.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamic_batcher::{BatchId, BatchInfo, CallMeta, CloseReason, Result};
use tokio::sync::oneshot;

use crate::command::Command;
use crate::commands;
use crate::entry::{Entry, StreamId};
use crate::idem::Idem;
use crate::outstanding::{Outcome, Outstanding};
use crate::reply::{self, Outgoing};
use crate::request::{self, Request};
use crate::texts::{END, Texts};
use crate::value::Value;

const STREAM: &str = "request";
const REPLY_STREAM: &str = "{request}:reply:0123456789abcdef0123456789abcdef";
const SCRIPT: &str = "0123456789abcdef0123456789abcdef01234567";
const TIMEOUT: Duration = Duration::from_secs(100);

/// Writes the command that adds requests with these bodies; how long it is.
#[must_use]
pub fn write_requests(bodies: &[Vec<u8>]) -> usize {
    let mut command = commands::admit(Some(SCRIPT), STREAM, REPLY_STREAM, 65_536);
    command.push(request::further_field(false));
    for (idem, body) in (1..).zip(bodies) {
        request::write(&mut command, body, idem, TIMEOUT);
    }
    command.iter().map(<[u8]>::len).sum()
}

/// What a read of a stream gives, before it is looked at.
#[derive(Clone, Debug)]
pub struct Read(Value);

impl Read {
    /// Requests with these bodies, an entry each.
    #[must_use]
    pub fn of_requests(bodies: &[Vec<u8>]) -> Self {
        let timeout = TIMEOUT.as_millis().to_string();
        let entries = (1_u64..).zip(bodies).map(|(idem, body)| {
            let idem = idem.to_string();
            let [body_name, version, one, reply_to, idem_name, timeout_name] = request::SAME;
            let fields: [&[u8]; 10] = [
                body_name,
                body,
                version,
                one,
                reply_to,
                REPLY_STREAM.as_bytes(),
                idem_name,
                idem.as_bytes(),
                timeout_name,
                timeout.as_bytes(),
            ];
            entry(&format!("1732435200000-{idem}"), fields)
        });
        Self::of(STREAM, entries.collect())
    }

    /// The replies of one batch, in one entry.
    #[must_use]
    pub fn of_replies(bodies: &[Vec<u8>]) -> Self {
        let commands = replies(bodies);
        let fields = commands.iter().flat_map(|command| command.iter());
        Self::of(REPLY_STREAM, vec![entry("1732435200000-0", fields)])
    }

    fn of(stream: &str, entries: Vec<Value>) -> Self {
        let stream = text(stream);
        Self(Value::list_of(vec![Value::list_of(vec![
            stream,
            Value::list_of(entries),
        ])]))
    }

    /// Reads it as a processor reads requests; how many bytes of bodies there are.
    ///
    /// # Errors
    ///
    /// When an entry is no request.
    pub fn parse(self) -> Result<usize> {
        let mut bytes = 0;
        let known: Arc<str> = REPLY_STREAM.into();
        for (_, entries) in Entry::by_stream(self.0)? {
            for entry in entries {
                let is_known = |name: &[u8]| (name == known.as_bytes()).then(|| Arc::clone(&known));
                let (_, request) = Request::parse(&entry, is_known);
                bytes += request?.body.len();
            }
        }
        Ok(bytes)
    }

    /// Reads it as a caller reads replies, and ends the calls that wait.
    ///
    /// # Errors
    ///
    /// When it is no read of a stream.
    pub fn route(self, calls: &Calls) -> Result<()> {
        for (_, entries) in Entry::by_stream(self.0)? {
            for entry in entries {
                let replies = reply::parse(&entry.fields);
                let count = replies.len();
                calls.outstanding.end_all(replies);
                calls.outstanding.drained(count);
            }
        }
        Ok(())
    }
}

fn text(text: impl AsRef<[u8]>) -> Value {
    Value::Text(Bytes::copy_from_slice(text.as_ref()))
}

fn entry<'a>(id: &str, fields: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let (mut reply, mut count) = (Vec::new(), 0);
    for field in fields {
        reply.extend_from_slice(format!("${}\r\n", field.len()).as_bytes());
        reply.extend_from_slice(field);
        reply.extend_from_slice(END);
        count += 1;
    }
    let reply = reply.into();
    Value::list_of(vec![
        text(id),
        Value::Texts(Texts::Together { reply, count }),
    ])
}

/// Writes the command that tells one caller the responses of a batch; how long it is.
#[must_use]
pub fn write_replies(bodies: &[Vec<u8>]) -> usize {
    let commands = replies(bodies);
    let lengths = commands.iter().flat_map(|command| command.iter());
    lengths.map(<[u8]>::len).sum()
}

fn replies(bodies: &[Vec<u8>]) -> Vec<Command> {
    let idems: Vec<_> = (1_u64..).map(Idem::Number).take(bodies.len()).collect();
    let outgoing = (0..).zip(&idems).zip(bodies);
    let outgoing = outgoing.map(|((position, idem), body)| Outgoing {
        id: StreamId::MIN,
        reply_to: REPLY_STREAM,
        idem,
        outcome: Ok(body.clone()),
        position,
        queued: Duration::from_micros(300),
    });
    let outgoing: Vec<_> = outgoing.collect();
    let id = BatchId::new(7, 1);
    let ran = Duration::from_micros(20);
    let batch = BatchInfo::new(id, bodies.len(), CloseReason::Full, ran);
    let parts = reply::parts(&outgoing).into_iter();
    let parts = parts.map(|(_, part)| reply::write(Command::new("XADD"), Some(&batch), part));
    parts.collect()
}

/// Calls that wait for their replies.
pub struct Calls {
    outstanding: Outstanding,
    outcomes: Vec<oneshot::Receiver<Outcome>>,
}

impl Calls {
    /// So many.
    #[must_use]
    pub fn wait(count: usize) -> Self {
        let outstanding = Outstanding::new(65_536);
        let enter = |_| outstanding.enter(CallMeta::new(TIMEOUT)).1;
        let outcomes = (0..count).map(enter).collect();
        Self {
            outstanding,
            outcomes,
        }
    }

    /// How many have their response.
    #[must_use]
    pub fn answered(&mut self) -> usize {
        let outcomes = self.outcomes.iter_mut().map(|call| call.try_recv());
        outcomes
            .filter(|outcome| matches!(outcome, Ok(Ok(_))))
            .count()
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}
