//! A consumer with both its tasks: what it reads, keeps, gives back and answers, one reply at a time.

mod ahead;
mod failed;
mod kept;
mod large;
mod leases;
mod leaving;
mod overdue;
mod quiet;
mod refused;

use std::mem::ManuallyDrop;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use super::*;
use crate::client::scripted::{Line, Scripted, Sent, entry, list, text, texts};
use crate::value::Value;

const LEASE: Duration = Duration::from_secs(3);
/// How often leases are kept.
const EVERY: Duration = Duration::from_secs(1);
const REPLY_TO: &str = "{request}:reply:0123456789abcdef";

/// A consumer, and the other end of its connections.
struct Processor {
    consumer: RedisConsumer,
    line: Line,
    /// Waits for requests.
    waiting: Option<BoxFuture<'static, Vec<RawDelivery>>>,
    /// A read that nothing has been found for.
    blocked: Option<Sent>,
}

impl Processor {
    /// Its tasks run, and it wants ten requests.
    async fn start() -> Self {
        Self::start_by(Arc::new(AtomicU64::new(100))).await
    }

    /// The same, of a server whose clock shows such a second; while that is 0 the test sees to it.
    async fn start_by(second: Arc<AtomicU64>) -> Self {
        let (client, line) = Scripted::with_routine(move |line| {
            let second = second.load(Ordering::Relaxed);
            let is_routine = line == "TIME" && second > 0;
            is_routine.then(|| texts([&*second.to_string(), "0"]))
        });
        let consumer = RedisConsumer::new(Place::sample(client).await);
        let mut processor = Self {
            consumer,
            line,
            waiting: None,
            blocked: None,
        };
        assert!(processor.recv().is_empty());
        processor.until("XREADGROUP").await;
        processor
    }

    /// What is there; if there is nothing, it is waited for.
    fn recv(&mut self) -> Vec<RawDelivery> {
        let mut waiting = self.waiting.take().unwrap_or_else(|| self.wait());
        match (&mut waiting).now_or_never() {
            Some(received) => received,
            None => {
                self.waiting = Some(waiting);
                Vec::new()
            }
        }
    }

    fn wait(&self) -> BoxFuture<'static, Vec<RawDelivery>> {
        // Its tasks are the processor's.
        let inbox = Arc::clone(&self.consumer.inbox);
        let consumer = ManuallyDrop::new(RedisConsumer { inbox });
        let recv = async move {
            let mut received = Vec::new();
            assert!(
                consumer
                    .recv(&mut received, 10, Duration::ZERO)
                    .await
                    .unwrap()
            );
            received
        };
        recv.boxed()
    }

    /// The blocked read is answered so, and what it found is taken, and more wanted.
    async fn finds(&mut self, found: Value) -> Vec<RawDelivery> {
        let blocked = self.blocked.take().expect("nothing is read");
        blocked.answer([found]);
        let waiting = self.waiting.take().expect("nothing is wanted");
        let received = waiting.await;
        assert!(self.recv().is_empty());
        self.until("XREADGROUP").await;
        received
    }

    /// The blocked read finds entries with these ids, which are taken.
    async fn reads(&mut self, ids: &[&str]) -> Vec<RawDelivery> {
        self.finds(found(ids)).await
    }

    /// Answers as a server does with which nothing happens, until such a command comes. A read that
    /// blocks is answered by nobody and put aside.
    async fn until(&mut self, begins: &str) -> Option<Sent> {
        let end = Instant::now() + 10 * LEASE;
        loop {
            assert!(Instant::now() < end, "not sent: {begins}");
            let sent = self.line.next().await;
            let line = &sent.lines()[0];
            let hit = line.starts_with(begins);
            if line.starts_with("XREADGROUP") {
                match line.contains(" BLOCK ") {
                    true => self.blocked = Some(sent),
                    false => sent.answer([Value::Nil]),
                }
                if hit && self.blocked.is_some() {
                    return None;
                }
            } else if hit {
                return Some(sent);
            } else {
                answer(sent);
            }
        }
    }

    async fn next(&mut self, begins: &str) -> Sent {
        self.until(begins).await.unwrap()
    }

    /// Answers so for a time; everything that was sent in it.
    async fn during(&mut self, time: Duration) -> Vec<String> {
        let end = Instant::now() + time;
        let mut lines = Vec::new();
        while let Ok(sent) = tokio::time::timeout_at(end, self.line.next()).await {
            lines.extend(sent.lines());
            if sent.lines()[0].contains(" BLOCK ") {
                self.blocked = Some(sent);
            } else {
                answer(sent);
            }
        }
        lines
    }

    /// Answers a delivery, or several, with `1`; everything that was sent for it.
    async fn replies(
        &mut self,
        batch: Option<Arc<BatchInfo>>,
        deliveries: impl IntoIterator<Item = RawDelivery>,
    ) -> Vec<String> {
        let answers = deliveries.into_iter().map(|delivery| {
            let outcome = Ok(b"1".to_vec());
            Answer::new(delivery.ticket, outcome, Duration::ZERO)
        });
        let mut replying = pin!(self.consumer.reply(batch, answers.collect()));
        let mut lines = Vec::new();
        loop {
            tokio::select! {
                biased;
                replied = &mut replying => {
                    replied.unwrap();
                    return lines;
                }
                sent = self.line.next() => {
                    if sent.lines()[0].starts_with("EVAL answer") {
                        lines.extend(sent.lines());
                    }
                    answer(sent);
                }
            }
        }
    }

    /// Answers deliveries with `1`, in a task of its own.
    /// Its read finds an entry of this id in which another says that it has given something back.
    fn finds_a_notice(&mut self, id: &str) {
        let notices = list([entry(id, &["from", "other"])]);
        let blocked = self.blocked.take().unwrap();
        blocked.answer([list([list([text("again"), notices])])]);
    }

    fn begin_to_reply(&self, deliveries: Vec<RawDelivery>) -> JoinHandle<Result<()>> {
        let answers = deliveries.into_iter();
        let answers = answers.map(|each| Answer::new(each.ticket, Ok(b"1".into()), Duration::ZERO));
        self.reply(answers.collect())
    }

    fn reply(&self, answers: Vec<RawAnswer>) -> JoinHandle<Result<()>> {
        self.reply_of(None, answers)
    }

    fn reply_of(
        &self,
        batch: Option<Arc<BatchInfo>>,
        answers: Vec<RawAnswer>,
    ) -> JoinHandle<Result<()>> {
        let inbox = Arc::clone(&self.consumer.inbox);
        tokio::spawn(async move {
            let consumer = RedisConsumer { inbox };
            let ended = consumer.reply(batch, answers).await;
            // Its tasks are the processor's.
            std::mem::forget(consumer);
            ended
        })
    }

    fn abandoned(&self, deliveries: &[RawDelivery]) -> Vec<bool> {
        let is_abandoned = |each: &RawDelivery| self.consumer.is_abandoned(&each.ticket);
        deliveries.iter().map(is_abandoned).collect()
    }

    fn starts(&self, deliveries: &[RawDelivery]) {
        let tickets = deliveries.iter().map(|each| &each.ticket);
        Consumer::start(&self.consumer, tickets, Instant::now());
    }
}

/// The answer when nothing happens.
fn answer(sent: Sent) {
    let replies = sent.lines().into_iter().map(|line| {
        let script = line.strip_prefix("EVAL ").unwrap_or(&line);
        match script.split(' ').next().unwrap() {
            "take_over" => took([], false),
            "keep" | "XPENDING" | "XREADGROUP" => Value::Nil,
            _ => Value::Int(1),
        }
    });
    let replies: Vec<_> = replies.collect();
    sent.answer(replies);
}

/// A request of a caller of ours.
fn request(id: &str) -> Value {
    let fields = ["body", "1", "v", "1", "reply_to", REPLY_TO, "idem", "7"];
    entry(id, &fields)
}

/// How it is answered.
fn answer_to(id: &str) -> String {
    answer_begins(id) + " 7 +1"
}

fn answer_begins(id: &str) -> String {
    format!("EVAL answer 2 request {REPLY_TO} group 1 0 {id}")
}

fn found(ids: &[&str]) -> Value {
    read(ids.iter().map(|id| request(id)))
}

/// The reply to a read that finds these.
fn read(entries: impl IntoIterator<Item = Value>) -> Value {
    list([list([text("request"), list(entries)])])
}

/// The reply to `XPENDING`.
fn pending<'a>(entries: impl IntoIterator<Item = (&'a str, i64)>) -> Value {
    let entries = entries.into_iter();
    list(entries.map(|(id, deliveries)| {
        let numbers = [Value::Int(5), Value::Int(deliveries)];
        list([text(id), text("me")].into_iter().chain(numbers))
    }))
}

/// The reply to `take_over` when these are to be given up.
fn exhausted<const N: usize>(entries: [&str; N]) -> Value {
    let entries = entries.map(|id| {
        let count = Value::Int(3);
        list([text(id), count, text("dead"), Value::Int(9), request(id)])
    });
    list([
        Value::Nil,
        list(entries),
        Value::Int(0),
        Value::Nil,
        Value::Int(0),
    ])
}

/// The reply to `take_over`: entries, each with its deliveries before; whether last ones wait or were
/// taken.
fn took<const N: usize>(taken: [(&str, i64); N], last: bool) -> Value {
    took_of_more(taken, last, false)
}

/// The same, and whether there are more.
fn took_of_more<const N: usize>(taken: [(&str, i64); N], last: bool, more: bool) -> Value {
    let taken = taken.map(|(id, before)| list([text(id), Value::Int(before), request(id)]));
    let [last, more] = [last, more].map(|is_so| Value::Int(is_so.into()));
    list([list(taken), Value::Nil, last, Value::Nil, more])
}

fn ids(deliveries: &[RawDelivery]) -> Vec<String> {
    let ids = deliveries.iter().map(|each| each.ticket.id().to_string());
    ids.collect()
}
