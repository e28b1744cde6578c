//! Adds requests to the stream, as far as there is room, in one step.

use std::sync::Mutex;
use std::sync::PoisonError;

use dynamic_batcher::{Error, Result};
use tokio::time::Instant;

use crate::client::Client;
use crate::command::Command;
use crate::commands;
use crate::entry::StreamId;
use crate::request;
use crate::submit::Request;
use crate::value::Value;

/// Where a caller's requests go, and how.
pub(crate) struct Admit {
    pub(crate) request_stream: String,
    pub(crate) reply_stream: String,
    pub(crate) max_queue: usize,
    /// The name under which the server knows the script, once it does: sent by its text, it would be
    /// hashed each time.
    script: Mutex<Option<String>>,
}

/// What the server made of requests.
pub(crate) enum Admitted {
    /// It has added so many, the first ones; the queue is full.
    Ids(Vec<StreamId>),
    /// Its memory is full.
    NoMemory(String),
    /// It does not know the script any more.
    Unknown,
    /// It has added none, for a reason that passes.
    NotNow(Error),
}

impl Admit {
    pub(crate) fn new(request_stream: String, reply_stream: String, max_queue: usize) -> Self {
        Self {
            request_stream,
            reply_stream,
            max_queue,
            script: Mutex::new(None),
        }
    }

    /// Adds requests. Fails with kind `Connection` when it is worth while to send them again; whether
    /// they have arrived is not known then.
    pub(crate) async fn send(&self, client: &dyn Client, requests: &[Request]) -> Result<Admitted> {
        let mut pipeline = Vec::with_capacity(2);
        let known = self.script().clone();
        if known.is_none() {
            pipeline.push(commands::load_admit());
        }
        pipeline.push(self.command(known.as_deref(), requests));
        let mut replies = client.send(&pipeline).await?;
        let reply = replies.pop().unwrap_or(Value::Nil);
        if let Some(loaded) = replies.pop() {
            // Where it may not be kept there it goes by its text, as now.
            *self.script() = loaded
                .text()
                .ok()
                .and_then(|text| String::from_utf8(text.into()).ok());
        }
        match reply {
            Value::Refused(refusal) if refusal.code == "NOSCRIPT" => {
                *self.script() = None;
                Ok(Admitted::Unknown)
            }
            Value::Refused(refusal) if refusal.is_out_of_memory() => {
                Ok(Admitted::NoMemory(format!("{refusal}")))
            }
            Value::Refused(refusal) if refusal.passes() => Ok(Admitted::NotNow(refusal.into())),
            reply => Ok(Admitted::Ids(added(reply.list()?, requests.len())?)),
        }
    }

    fn command(&self, known: Option<&str>, requests: &[Request]) -> Command {
        let mut command = commands::admit(
            known,
            &self.request_stream,
            &self.reply_stream,
            self.max_queue,
        );
        let is_traced = requests.iter().any(|request| request.trace.is_some());
        command.push(request::further_field(is_traced));
        let now = Instant::now();
        for Request {
            idem,
            body,
            deadline,
            trace,
            ..
        } in requests
        {
            let timeout = deadline.saturating_duration_since(now);
            request::write(&mut command, body, *idem, timeout);
            if is_traced {
                request::write_trace(&mut command, *trace);
            }
        }
        command
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ids of what was added: each, or the first one and how many follow upon it.
fn added(reply: Vec<Value>, most: usize) -> Result<Vec<StreamId>> {
    let [first, Value::Int(count)] = &reply[..] else {
        return reply.into_iter().map(id).collect();
    };
    let count = usize::try_from(*count).unwrap_or_default().min(most);
    let first = id(first.clone())?;
    let ids = std::iter::successors(Some(first), |id| Some(id.next()));
    Ok(ids.take(count).collect())
}

fn id(value: Value) -> Result<StreamId> {
    StreamId::parse(&value.text()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::scripted::{text, texts};

    fn added_as(reply: impl IntoIterator<Item = Value>) -> Vec<String> {
        let ids = added(reply.into_iter().collect(), 4).unwrap();
        ids.iter().map(StreamId::to_string).collect()
    }

    #[test]
    fn ids_come_each_or_as_the_first_and_how_many_follow() {
        let each = texts(["5-7", "6-0"]).list().unwrap();
        assert_eq!(added_as(each), ["5-7", "6-0"]);
        let three = [text("5-7"), Value::Int(3)];
        assert_eq!(added_as(three), ["5-7", "5-8", "5-9"]);
        assert!(added_as([]).is_empty());
        // More than were sent are none of ours.
        assert_eq!(added_as([text("5-7"), Value::Int(i64::MAX)]).len(), 4);
        assert!(added(vec![Value::Nil, Value::Int(2)], 4).is_err());
    }
}
