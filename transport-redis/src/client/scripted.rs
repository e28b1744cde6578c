//! The other end of a connection in the hands of a test: what is sent comes out here, and is answered
//! when and how the test says. It knows nothing of Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dynamic_batcher::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Client, Dedicated};
use crate::command::Command;
use crate::commands;
use crate::value::{Refusal, Value};

/// The scripts, which a line shows by their names.
const SCRIPTS: [(&str, &str); 13] = [
    ("though_full", include_str!("../lua/though_full.lua")),
    ("admit", include_str!("../lua/admit.lua")),
    ("answer", commands::ANSWER),
    ("answer_failed", include_str!("../lua/answer_failed.lua")),
    ("respond_failed", include_str!("../lua/respond_failed.lua")),
    ("find_missing", include_str!("../lua/find_missing.lua")),
    ("take_over", include_str!("../lua/take_over.lua")),
    ("keep", include_str!("../lua/keep.lua")),
    ("leave", include_str!("../lua/leave.lua")),
    ("bury", include_str!("../lua/bury.lua")),
    ("give_back", include_str!("../lua/give_back.lua")),
    ("replay", include_str!("../lua/replay.lua")),
    ("remove_dead", include_str!("../lua/remove_dead.lua")),
];

type Routine = Box<dyn Fn(&str) -> Option<Value> + Send + Sync>;

/// The end that the code has.
pub(crate) struct Scripted {
    wire: mpsc::UnboundedSender<Sent>,
    routine: Routine,
}

/// The end that the test has.
pub(crate) struct Line {
    sent: mpsc::UnboundedReceiver<Sent>,
    /// How much may still be sent: no test is without end.
    left: usize,
}

/// Commands that wait for their replies. Dropped, their connection has failed.
pub(crate) struct Sent {
    pub(crate) commands: Vec<Command>,
    replies: oneshot::Sender<Vec<Value>>,
}

impl Scripted {
    /// Both ends.
    pub(crate) fn line() -> (Arc<dyn Client>, Line) {
        Self::with_routine(|_| None)
    }

    /// Both ends; the test does not see what is `routine`, which has an answer for each line.
    pub(crate) fn with_routine(
        routine: impl Fn(&str) -> Option<Value> + Send + Sync + 'static,
    ) -> (Arc<dyn Client>, Line) {
        let (wire, sent) = mpsc::unbounded_channel();
        let routine = Box::new(routine);
        (
            Arc::new(Self { wire, routine }),
            Line { sent, left: 10_000 },
        )
    }

    async fn pass(
        wire: &mpsc::UnboundedSender<Sent>,
        commands: Vec<Command>,
    ) -> Result<Vec<Value>> {
        let (replies, replied) = oneshot::channel();
        let sent = Sent { commands, replies };
        // Where the test has ended nobody minds.
        let _ = wire.send(sent);
        replied
            .await
            .map_err(|_| Error::new(ErrorKind::Connection, "cut"))
    }
}

#[async_trait]
impl Client for Scripted {
    async fn send(&self, commands: &[Command]) -> Result<Vec<Value>> {
        let routine = commands.iter().map(|each| (self.routine)(&line(each)));
        if let Some(replies) = routine.collect() {
            return Ok(replies);
        }
        Self::pass(&self.wire, commands.to_vec()).await
    }

    async fn dedicated(&self) -> Result<Box<dyn Dedicated>> {
        Ok(Box::new(Own(self.wire.clone())))
    }
}

struct Own(mpsc::UnboundedSender<Sent>);

#[async_trait]
impl Dedicated for Own {
    async fn send(&mut self, command: Command, limit: Duration) -> Result<Value> {
        let reply = timeout(limit, Scripted::pass(&self.0, vec![command])).await;
        let mut replies =
            reply.map_err(|_| Error::new(ErrorKind::Connection, "no reply in time"))??;
        Ok(replies.pop().unwrap())
    }
}

impl Line {
    /// What is sent next, however long it takes on the paused clock.
    pub(crate) async fn next(&mut self) -> Sent {
        self.left = self.left.checked_sub(1).expect("it does not end");
        let sent = timeout(Duration::from_secs(3_600), self.sent.recv()).await;
        sent.expect("nothing is sent").expect("nobody can send")
    }

    /// Nothing is sent in this time.
    pub(crate) async fn is_silent_for(&mut self, time: Duration) {
        if let Ok(Some(sent)) = timeout(time, self.sent.recv()).await {
            panic!("sent: {:?}", sent.lines());
        }
    }
}

impl Sent {
    pub(crate) fn answer(self, replies: impl Into<Vec<Value>>) {
        let replies = replies.into();
        assert_eq!(replies.len(), self.commands.len(), "{:?}", self.lines());
        // Who sent it may have gone.
        let _ = self.replies.send(replies);
    }

    /// The commands as text.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.commands.iter().map(line).collect()
    }
}

fn line(command: &Command) -> String {
    let mut words = vec![command.name.to_owned()];
    for arg in command.iter() {
        let script = SCRIPTS.iter().find(|(_, text)| text.as_bytes() == arg);
        let word = String::from_utf8_lossy(arg);
        words.push(script.map_or(word.into_owned(), |(name, _)| (*name).to_owned()));
    }
    words.join(" ")
}

pub(crate) fn text(text: impl AsRef<[u8]>) -> Value {
    Value::Text(Bytes::copy_from_slice(text.as_ref()))
}

pub(crate) fn list(values: impl IntoIterator<Item = Value>) -> Value {
    Value::list_of(values.into_iter().collect())
}

/// A list of texts.
pub(crate) fn texts<const N: usize>(words: [&str; N]) -> Value {
    list(words.map(text))
}

pub(crate) fn refused(code: &str) -> Value {
    Value::Refused(Refusal {
        code: code.to_owned(),
        message: "for the test".to_owned(),
    })
}

/// An entry as the server sends it: its id, its fields.
pub(crate) fn entry(id: &str, fields: &[&str]) -> Value {
    list([text(id), list(fields.iter().map(text))])
}
