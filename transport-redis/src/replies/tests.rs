//! Answers from either place, read twice, lost, or nowhere: one reply at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dynamic_batcher::{CallMeta, ErrorKind, Observer};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::client::Dedicated;
use crate::client::observed::ObservedClient;
use crate::client::scripted::{Line, Scripted, Sent, entry, list, refused, text, texts};
use crate::command::Command;
use crate::outstanding::Outcome;

const DELAY: Duration = Duration::from_millis(10);

fn answers() -> (Arc<Answers>, Line) {
    let (client, line) = Scripted::line();
    (answers_over(client), line)
}

fn answers_over(client: Arc<dyn Client>) -> Arc<Answers> {
    let answers = Answers {
        client,
        outstanding: Arc::new(Outstanding::new(100)),
        request_stream: "request".into(),
        group: "group".into(),
        reply_stream: "reply".into(),
        delay: DELAY,
        routed: Mutex::new(StreamId::MIN),
    };
    Arc::new(answers)
}

/// A call whose entry is on the stream.
fn call(answers: &Answers, id: &str) -> oneshot::Receiver<Outcome> {
    let outstanding = &answers.outstanding;
    let (idem, outcome) = outstanding.enter(CallMeta::new(Duration::from_secs(600)));
    let id = StreamId::parse(id.as_bytes()).unwrap();
    outstanding.set_ids([(idem, id)].into_iter());
    outcome
}

async fn value(outcome: oneshot::Receiver<Outcome>) -> String {
    let outcome = timeout(Duration::from_secs(3_600), outcome).await;
    let reply = outcome.expect("it does not end").unwrap().unwrap();
    String::from_utf8(reply.value).unwrap()
}

/// A server that takes no further connection.
struct Crowded(Arc<dyn Client>);

#[async_trait]
impl Client for Crowded {
    async fn send(&self, commands: &[Command]) -> Result<Vec<Value>> {
        self.0.send(commands).await
    }

    async fn dedicated(&self) -> Result<Box<dyn Dedicated>> {
        Err(Error::new(ErrorKind::Connection, "max number of clients"))
    }
}

/// What was answered meanwhile is still there when there is a connection to read it on.
#[tokio::test(start_paused = true)]
async fn the_expiry_is_put_off_also_while_there_is_no_connection_to_read_on() {
    let (client, mut line) = Scripted::line();
    let answers = answers_over(Arc::new(Crowded(client)));
    tokio::spawn(answers.read_stream());
    let start = Instant::now();
    while start.elapsed() < 5 * REPLY_STREAM_EXPIRY {
        let sent = timeout(REPLY_STREAM_EXPIRY / 2, line.next()).await;
        let sent = sent.expect("a sign of life");
        assert_eq!(sent.lines(), ["EXPIRE reply 60"]);
        sent.answer([Value::Int(1)]);
    }
}

/// What a read finds.
fn found<const N: usize>(entries: [Value; N]) -> Value {
    list([list([text("reply"), list(entries)])])
}

/// On a connection of its own it reads from the beginning, after it has put off the expiry.
async fn reads_anew(line: &mut Line) -> Sent {
    let expire = line.next().await;
    assert_eq!(expire.lines(), ["EXPIRE reply 60"]);
    expire.answer([Value::Int(1)]);
    reads_after(line, "0-0").await
}

/// The next command is a read after this id.
async fn reads_after(line: &mut Line, id: &str) -> Sent {
    let sent = line.next().await;
    let expected = format!("XREAD COUNT 1000 BLOCK 5000 STREAMS reply {id}");
    assert_eq!(sent.lines(), [expected]);
    sent
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnect_it_reads_from_the_beginning_and_first_outcomes_count() {
    let (answers, mut line) = answers();
    tokio::spawn(Arc::clone(&answers).read_stream());
    let [first, second, third] = ["1-0", "1-1", "1-2"].map(|id| call(&answers, id));
    let read = reads_anew(&mut line).await;
    read.answer([found([entry("5-0", &["1", "+1"])])]);
    drop(reads_after(&mut line, "5-0").await);
    let read = reads_anew(&mut line).await;
    let again = entry("5-0", &["1", "+9"]);
    let unknown = entry("6-0", &["77", "+9", "no number", "+9", "made", "1"]);
    // One batch in two entries.
    let [left, right] = [entry("7-0", &["2", "+2"]), entry("7-1", &["3", "+3"])];
    read.answer([found([again, unknown, left, right])]);
    let _blocked = reads_after(&mut line, "7-1").await;
    assert_eq!(value(first).await, "1");
    assert_eq!(
        (value(second).await, value(third).await),
        ("2".into(), "3".into())
    );
    assert!(answers.outstanding.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_has_been_read_is_trimmed_and_its_expiry_put_off() {
    let (answers, mut line) = answers();
    tokio::spawn(Arc::clone(&answers).read_stream());
    let read = reads_anew(&mut line).await;
    tokio::time::advance(TRIM_EVERY).await;
    read.answer([found([entry("5-0", &["1", "+1"])])]);
    let trim = line.next().await;
    assert_eq!(trim.lines(), ["XTRIM reply MINID 5-1"]);
    trim.answer([Value::Int(1)]);
    let start = Instant::now();
    let refresh = loop {
        let sent = line.next().await;
        if !sent.lines()[0].starts_with("XREAD") {
            break sent;
        }
        assert!(sent.lines()[0].ends_with(" 5-0"));
        tokio::time::advance(BLOCK).await;
        sent.answer([Value::Nil]);
    };
    assert!(start.elapsed() <= REFRESH_EVERY);
    assert_eq!(refresh.lines(), ["EXPIRE reply 60"]);
    refresh.answer([Value::Int(1)]);
    // It is there, so reading goes on where it was.
    let read = reads_after(&mut line, "5-0").await;
    tokio::time::advance(REFRESH_EVERY).await;
    read.answer([Value::Nil]);
    line.next().await.answer([Value::Int(0)]);
    // It is not: with the next request there is another, whose ids may begin before.
    reads_after(&mut line, "0-0").await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_never_answered_is_given_up() {
    let (answers, mut line) = answers();
    tokio::spawn(answers.read_stream());
    let start = Instant::now();
    let _never = reads_anew(&mut line).await;
    let _next = reads_anew(&mut line).await;
    assert!(start.elapsed() >= BLOCK + SLACK);
    assert!(start.elapsed() <= BLOCK + SLACK + FIRST_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_a_key_is_taken_with_the_key_and_the_entry() {
    let (answers, mut line) = answers();
    tokio::spawn(Arc::clone(&answers).sweep_keys());
    line.is_silent_for(Duration::from_secs(60)).await;
    let first = call(&answers, "1-0");
    let mut second = call(&answers, "2-0");
    let look = line.next().await;
    assert_eq!(look.lines(), ["MGET request 1-0 2-0"]);
    look.answer([list([Value::Nil, text("[1]"), Value::Nil])]);
    let clean = line.next().await;
    assert_eq!(
        clean.lines(),
        ["DEL 1-0", "XDEL request 1-0", "XACK request group 1-0"]
    );
    // The answer is there, whatever becomes of that.
    drop(clean);
    assert_eq!(value(first).await, "[1]");
    assert!(second.try_recv().is_err());
    assert_eq!(answers.outstanding.with_ids(9).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_looked_at_often_only_while_answers_are_found_there() {
    let (answers, mut line) = answers();
    tokio::spawn(Arc::clone(&answers).sweep_keys());
    let _calls = ["1-0", "2-0"].map(|id| call(&answers, id));
    let mut looks = Vec::new();
    while looks.len() < 40 {
        let sent = line.next().await;
        if !sent.lines()[0].starts_with("MGET") {
            let nothing = vec![Value::Nil; sent.commands.len()];
            sent.answer(nothing);
            continue;
        }
        looks.push(Instant::now());
        sent.answer([match looks.len() {
            20 => list([Value::Nil, text("1"), Value::Nil]),
            _ => Value::Nil,
        }]);
    }
    let pauses: Vec<_> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Twice as long each time, up to the longest; then as often as is wanted.
    assert_eq!(pauses[0], DELAY * 2);
    assert_eq!(pauses[15], LONGEST_SWEEP);
    assert_eq!(pauses[25], DELAY);
}

/// A call that is a second old; what comes next is a thorough look, whose first step, the keys, has
/// found nothing.
async fn thorough_look() -> (Arc<Answers>, Line, oneshot::Receiver<Outcome>, Sent) {
    let (answers, mut line) = answers();
    let start = Instant::now();
    let call = call(&answers, "1-0");
    tokio::spawn(Arc::clone(&answers).sweep_keys());
    let find = loop {
        let sent = line.next().await;
        match sent.lines()[0].starts_with("MGET") {
            true => sent.answer([list([Value::Nil, Value::Nil])]),
            false => break sent,
        }
    };
    assert!(start.elapsed() >= LONGEST_SWEEP);
    assert_eq!(find.lines(), ["EVAL find_missing 1 request group 1-0"]);
    (answers, line, call, find)
}

#[tokio::test(start_paused = true)]
async fn a_request_is_lost_when_it_is_nowhere_in_the_order_that_overlooks_nothing() {
    let (_answers, mut line, mut call, find) = thorough_look().await;
    find.answer([texts(["1-0"])]);
    let unread = line.next().await;
    assert_eq!(unread.lines(), ["XRANGE reply 0-0 + COUNT 1000"]);
    assert!(call.try_recv().is_err());
    unread.answer([Value::Nil]);
    let key = line.next().await;
    assert_eq!(key.lines(), ["MGET request 1-0"]);
    assert!(call.try_recv().is_err());
    key.answer([list([Value::Nil, Value::Nil])]);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(error.to_string().contains("1-0"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_looked_for_that_has_just_been_sent() {
    let (answers, mut line) = answers();
    let _old = call(&answers, "1-0");
    tokio::time::advance(LONGEST_SWEEP).await;
    tokio::spawn(Arc::clone(&answers).sweep_keys());
    line.next().await.answer([Value::Nil]);
    tokio::time::advance(LONGEST_SWEEP).await;
    let _young = call(&answers, "2-0");
    let find = loop {
        let sent = line.next().await;
        match sent.lines()[0].starts_with("MGET") {
            true => sent.answer([Value::Nil]),
            false => break sent,
        }
    };
    assert_eq!(find.lines(), ["EVAL find_missing 1 request group 1-0"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_in_the_last_moment_is_found_in_either_place() {
    let (_answers, mut line, call, find) = thorough_look().await;
    find.answer([texts(["1-0"])]);
    let unread = line.next().await;
    unread.answer([list([entry("5-0", &["1", "+1"])])]);
    assert_eq!(value(call).await, "1");
    let trim = line.next().await;
    assert_eq!(trim.lines(), ["XTRIM reply MINID 5-1"]);

    let (_answers, mut line, call, find) = thorough_look().await;
    find.answer([texts(["1-0"])]);
    line.next().await.answer([Value::Nil]);
    line.next().await.answer([list([Value::Nil, text("1")])]);
    let clean = line.next().await;
    assert_eq!(
        clean.lines(),
        ["DEL 1-0", "XDEL request 1-0", "XACK request group 1-0"]
    );
    clean.answer([Value::Int(1), Value::Int(0), Value::Int(1)]);
    assert_eq!(value(call).await, "1");
}

#[tokio::test(start_paused = true)]
async fn what_is_there_or_cannot_be_looked_for_is_not_lost() {
    let missing = || texts(["1-0"]);
    // What the steps are answered with, and whether the connection fails in the next one.
    let cases = [
        (vec![texts([])], false),
        (vec![refused("BUSY")], false),
        (vec![missing(), refused("LOADING")], false),
        (vec![missing(), Value::Nil, refused("LOADING")], false),
        (vec![], true),
        (vec![missing()], true),
        (vec![missing(), Value::Nil], true),
    ];
    for (replies, fails) in cases {
        let case = format!("{replies:?} {fails}");
        let (_answers, mut line, mut call, find) = thorough_look().await;
        let mut next = Some(find);
        for reply in replies {
            let sent = match next.take() {
                Some(sent) => sent,
                None => line.next().await,
            };
            sent.answer([reply]);
        }
        if fails {
            drop(match next {
                Some(sent) => sent,
                None => line.next().await,
            });
        }
        // It is looked for anew, later.
        line.is_silent_for(DELAY).await;
        let again = line.next().await;
        assert_eq!(again.lines(), ["MGET request 1-0"], "{case}");
        assert!(call.try_recv().is_err(), "{case}");
    }
}

/// Its reader has no connection.
#[tokio::test(start_paused = true)]
async fn many_answers_that_nobody_has_read_are_taken_in_parts_and_trimmed() {
    let (_answers, mut line, call, find) = thorough_look().await;
    find.answer([texts(["1-0"])]);
    let unread = line.next().await;
    let others = (1..=ENTRIES).map(|seq| entry(&format!("5-{seq}"), &["99", "+1"]));
    unread.answer([list(others)]);
    let trim = line.next().await;
    assert_eq!(trim.lines(), ["XTRIM reply MINID 5-1001"]);
    trim.answer([Value::Int(1_000)]);
    let unread = line.next().await;
    assert_eq!(unread.lines(), ["XRANGE reply 0-0 + COUNT 1000"]);
    unread.answer([list([entry("6-0", &["1", "+1"])])]);
    assert_eq!(value(call).await, "1");
}

#[derive(Clone, Default)]
struct Dropped(Arc<AtomicUsize>);

impl Observer for Dropped {
    fn duplicates_dropped(&self, answers: usize) {
        self.0.fetch_add(answers, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_read_a_second_time_is_no_duplicate() {
    let (client, mut line) = Scripted::line();
    let dropped = Dropped::default();
    let answers = answers_over(Arc::new(ObservedClient::new(client, dropped.clone())));
    let calls = ["1-0", "1-1"].map(|id| call(&answers, id));
    tokio::spawn(Arc::clone(&answers).read_stream());
    let read = reads_anew(&mut line).await;
    read.answer([found([entry("5-0", &["1", "+1"])])]);
    drop(reads_after(&mut line, "5-0").await);
    let read = reads_anew(&mut line).await;
    // The same entry, and an answer to the same request from another processor.
    let entries = [("5-0", "1"), ("5-1", "1"), ("5-2", "2")];
    read.answer([found(entries.map(|(id, idem)| entry(id, &[idem, "+1"])))]);
    for call in calls {
        assert_eq!(value(call).await, "1");
    }
    assert_eq!(dropped.0.load(Ordering::Relaxed), 1);
}
