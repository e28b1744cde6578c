//! What is sent, sent again, put back in its place and given up, one reply at a time.

use std::sync::Arc;

use dynamic_batcher::{CallMeta, Reply};
use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::*;
use crate::client::PIPELINE_BYTES;
use crate::client::scripted::{Line, Scripted, Sent, list, refused, text, texts};
use crate::outstanding::Outcome;
use crate::value::{Refusal, Value};

mod outage;
mod pipelines;

const TIMEOUT: Duration = Duration::from_secs(60);

struct Caller {
    line: Line,
    outstanding: Arc<Outstanding>,
    submissions: mpsc::UnboundedSender<Submission>,
}

/// A submitter whose script the server knows already.
async fn start(on_full: OnFull) -> Caller {
    let mut caller = start_anew(on_full);
    let first = caller.call();
    let sent = caller.line.next().await;
    assert!(sent.lines()[0].starts_with("SCRIPT LOAD admit"));
    assert!(sent.lines()[1].starts_with("EVAL admit 2 request reply 100 "));
    sent.answer([text("sha"), texts(["1-0"])]);
    caller.has_on_the_stream(1).await;
    caller.outstanding.end(1, Ok(Reply::new(Vec::new(), None)));
    first.await.unwrap().unwrap();
    caller
}

fn start_anew(on_full: OnFull) -> Caller {
    let (client, line) = Scripted::line();
    let (submissions, inbox) = mpsc::unbounded_channel();
    let outstanding = Arc::new(Outstanding::new(100));
    let submitter = Submitter {
        client,
        outstanding: Arc::clone(&outstanding),
        group: "group".into(),
        admit: Admit::new("request".into(), "reply".into(), 100),
        on_full,
    };
    tokio::spawn(submitter.run(inbox));
    Caller {
        line,
        outstanding,
        submissions,
    }
}

impl Caller {
    fn call(&self) -> oneshot::Receiver<Outcome> {
        let meta = CallMeta::new(TIMEOUT);
        let (idem, outcome) = self.outstanding.enter(meta);
        self.add(idem, b"1");
        outcome
    }

    fn add(&self, idem: u64, body: &[u8]) {
        add_to(&self.submissions, idem, body);
    }

    fn delete(&self, id: &str) {
        let id = StreamId::parse(id.as_bytes()).unwrap();
        self.submissions.send(Submission::Delete(id)).unwrap();
    }

    fn calls<const N: usize>(&self) -> [oneshot::Receiver<Outcome>; N] {
        std::array::from_fn(|_| self.call())
    }

    async fn has_on_the_stream(&self, count: usize) {
        // On the paused clock time passes when everything else has been done.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(self.outstanding.with_ids(100).len(), count);
    }

    async fn sends_nothing(&mut self) {
        let sent = timeout(TIMEOUT / 10, self.line.next()).await;
        assert!(sent.is_err());
    }

    /// The next pipeline has these requests, in this order.
    async fn sends(&mut self, expected: &[u64]) -> Sent {
        let sent = self.line.next().await;
        assert_eq!(idems(&sent), expected);
        sent
    }
}

fn add_to(submissions: &mpsc::UnboundedSender<Submission>, idem: u64, body: &[u8]) {
    let request = Request {
        idem,
        body: body.to_vec(),
        deadline: Instant::now() + TIMEOUT,
        trace: None,
    };
    submissions.send(Submission::Add(request)).unwrap();
}

/// The reply to a pipeline of so many requests.
fn ids(count: usize) -> Value {
    list((1..=count).map(|n| text(format!("2-{n}"))))
}

/// The requests' numbers in a pipeline: each request has three arguments, behind those that are the
/// same for all.
fn idems(sent: &Sent) -> Vec<u64> {
    let command = sent.commands.last().unwrap();
    let args: Vec<_> = command.iter().collect();
    let same = args.iter().position(|arg| *arg == b"timeout_ms").unwrap();
    let (further, own) = args[same + 1..].split_first().unwrap();
    assert!(further.is_empty());
    let requests = own.chunks_exact(3);
    let numbers = requests.map(|own| std::str::from_utf8(own[1]).unwrap().parse().unwrap());
    numbers.collect()
}

fn kind(outcome: Outcome) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn after_a_connection_error_the_same_requests_go_again_in_their_order() {
    let mut caller = start(OnFull::Reject).await;
    let _calls = caller.calls::<3>();
    drop(caller.sends(&[2, 3, 4]).await);
    caller.line.is_silent_for(FIRST_PAUSE / 2).await;
    // Those that came meanwhile follow.
    let _meanwhile = caller.calls::<2>();
    let sent = caller.sends(&[2, 3, 4, 5, 6]).await;
    let _later = caller.call();
    let later = caller.sends(&[7]).await;
    drop(sent);
    drop(later);
    let sent = caller.sends(&[2, 3, 4, 5, 6, 7]).await;
    assert!(sent.lines()[0].starts_with("EVALSHA sha 2 request reply "));
    sent.answer([texts(["2-0", "2-1", "2-2", "2-3", "2-4", "2-5"])]);
    caller.line.is_silent_for(TIMEOUT).await;
    caller.has_on_the_stream(6).await;
}

/// The first one may have arrived, and run, whatever becomes of the second.
#[tokio::test(start_paused = true)]
async fn what_was_sent_again_may_have_been_started() {
    let mut caller = start(OnFull::Reject).await;
    let call = caller.call();
    drop(caller.sends(&[2]).await);
    caller.sends(&[2]).await.answer([texts(["2-0"])]);
    caller.has_on_the_stream(1).await;
    let (expired, _) = caller.outstanding.expire(Instant::now() + TIMEOUT);
    expired.into_iter().for_each(|each| each.end(Some(false)));
    let error = call.await.unwrap().unwrap_err();
    let may_have_run = matches!(error.kind(), ErrorKind::Timeout { started: true, .. });
    assert!(may_have_run, "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_goes_again_goes_before_what_has_not_been_sent() {
    let mut caller = start(OnFull::Reject).await;
    let mut outcomes = Vec::new();
    // Each so large that it is a pipeline of its own.
    let body = vec![b'1'; PIPELINE_BYTES];
    for expected in 2..8 {
        let (idem, outcome) = caller.outstanding.enter(CallMeta::new(TIMEOUT));
        assert_eq!(idem, expected);
        caller.add(idem, &body);
        outcomes.push(outcome);
    }
    for idem in 2..6 {
        drop(caller.sends(&[idem]).await);
    }
    for idem in 2..6 {
        let sent = caller.sends(&[idem]).await;
        sent.answer([texts([&format!("{idem}-0")])]);
    }
    let _sent = caller.sends(&[6]).await;
    let _sent = caller.sends(&[7]).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_before_its_request_goes_again_is_not_sent_again() {
    let mut caller = start(OnFull::Reject).await;
    let _calls = caller.calls::<3>();
    drop(caller.sends(&[2, 3, 4]).await);
    assert_eq!(caller.outstanding.abandon(3), None);
    caller.sends(&[2, 4]).await.answer([texts(["2-0", "2-1"])]);
    caller.line.is_silent_for(TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn the_entry_of_a_call_that_was_dropped_on_its_way_is_deleted_when_its_id_comes() {
    let mut caller = start(OnFull::Reject).await;
    let _calls = caller.calls::<3>();
    let sent = caller.sends(&[2, 3, 4]).await;
    assert_eq!(caller.outstanding.abandon(3), None);
    sent.answer([texts(["2-0", "2-1", "2-2"])]);
    let sent = caller.line.next().await;
    let withdrawal = ["XDEL request 2-1", "XACK request group 2-1"];
    assert_eq!(sent.lines(), withdrawal);
    // The deletion is repeated as well.
    drop(sent);
    let sent = caller.line.next().await;
    assert_eq!(sent.lines(), withdrawal);
    sent.answer([Value::Int(1), Value::Int(0)]);
    caller.line.is_silent_for(TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn deletions_that_fail_are_repeated_with_pauses_and_not_for_ever() {
    let mut caller = start(OnFull::Reject).await;
    caller.delete("1-0");
    let start = Instant::now();
    let mut attempts = 0;
    while start.elapsed() < PATIENCE {
        drop(caller.line.next().await);
        attempts += 1;
        assert!(attempts < 100, "without a pause");
    }
    caller.line.is_silent_for(TIMEOUT).await;
    // Where they are refused they would be the next time as well.
    caller.delete("1-0");
    let sent = caller.line.next().await;
    sent.answer([refused("NOPERM"), Value::Int(0)]);
    caller.line.is_silent_for(TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refuses_passes_or_ends_the_calls() {
    let mut caller = start(OnFull::Reject).await;
    let mut call = caller.call();
    for code in ["LOADING", "READONLY", "MISCONF", "BUSY"] {
        caller.sends(&[2]).await.answer([refused(code)]);
    }
    caller.sends(&[2]).await.answer([texts(["2-0"])]);
    assert!(call.try_recv().is_err());

    for (idem, code) in [(3, "NOPERM"), (4, "WRONGTYPE"), (5, "NOAUTH")] {
        let call = caller.call();
        caller.sends(&[idem]).await.answer([refused(code)]);
        assert_eq!(kind(call.await.unwrap()), ErrorKind::Config, "{code}");
    }
    caller.line.is_silent_for(TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn a_script_that_the_server_has_forgotten_goes_by_its_text_at_once() {
    let mut caller = start(OnFull::Reject).await;
    let _calls = caller.calls::<2>();
    let start = Instant::now();
    caller.sends(&[2, 3]).await.answer([refused("NOSCRIPT")]);
    let sent = caller.sends(&[2, 3]).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(sent.lines()[0].starts_with("SCRIPT LOAD admit"));
    // Where it may not be kept it goes by its text each time.
    sent.answer([refused("NOPERM"), texts(["2-0", "2-1"])]);
    let _call = caller.call();
    let sent = caller.sends(&[4]).await;
    assert!(sent.lines()[0].starts_with("SCRIPT LOAD admit"));
    sent.answer([text("sha"), texts(["2-2"])]);
    let _call = caller.call();
    assert!(caller.sends(&[5]).await.lines()[0].starts_with("EVALSHA sha"));
}

#[tokio::test(start_paused = true)]
async fn of_a_partly_admitted_pipeline_the_first_are_in_and_the_rest_refused() {
    let mut caller = start(OnFull::Reject).await;
    let [mut in_time, late, later] = caller.calls::<3>();
    caller.sends(&[2, 3, 4]).await.answer([texts(["2-0"])]);
    for refused in [late, later] {
        let kind = kind(refused.await.unwrap());
        assert!(matches!(kind, ErrorKind::QueueFull { .. }), "{kind:?}");
    }
    assert!(in_time.try_recv().is_err());
    caller.has_on_the_stream(1).await;
    caller.line.is_silent_for(TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn full_memory_is_a_full_queue_however_the_server_says_it() {
    let by_itself = refused("OOM");
    let in_a_script = Value::Refused(Refusal::new(
        "ERR Error running script: -OOM command not allowed when used memory > 'maxmemory'",
    ));
    for refusal in [by_itself, in_a_script] {
        let mut caller = start(OnFull::Reject).await;
        let call = caller.call();
        caller.sends(&[2]).await.answer([refusal.clone()]);
        let error = call.await.unwrap().unwrap_err();
        assert!(error.retry_after().is_some(), "{error}");
        assert!(error.to_string().contains("maxmemory"), "{error}");

        let mut caller = start(OnFull::Wait).await;
        let _call = caller.call();
        caller.sends(&[2]).await.answer([refusal]);
        caller.sends(&[2]).await.answer([texts(["2-0"])]);
        caller.has_on_the_stream(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_for_room_keep_their_order_and_nobody_overtakes_them() {
    let mut caller = start(OnFull::Wait).await;
    let _calls = caller.calls::<3>();
    let first = caller.sends(&[2, 3, 4]).await;
    let _more = caller.calls::<2>();
    let second = caller.sends(&[5, 6]).await;
    first.answer([texts(["2-0"])]);
    // It was on its way already, and met the same full queue.
    second.answer([texts([])]);
    let sent = caller.sends(&[3, 4, 5, 6]).await;
    // Who comes while it is full waits for those before.
    let _late = caller.call();
    caller.line.is_silent_for(LATEST).await;
    sent.answer([texts(["3-0", "3-1"])]);
    let sent = caller.sends(&[5, 6, 7]).await;
    caller.line.is_silent_for(LATEST).await;
    sent.answer([texts(["4-0", "4-1", "4-2"])]);
    caller.has_on_the_stream(6).await;
}

#[tokio::test(start_paused = true)]
async fn while_it_is_full_the_entries_of_dropped_calls_are_deleted() {
    let mut caller = start(OnFull::Wait).await;
    let _calls = caller.calls::<2>();
    caller.sends(&[2, 3]).await.answer([texts(["2-0"])]);
    caller.has_on_the_stream(1).await;
    caller.delete("2-0");
    let _waits = caller.sends(&[3]).await;
    let sent = caller.line.next().await;
    assert_eq!(sent.lines()[0], "XDEL request 2-0");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_until_its_deadline_has_not_been_started() {
    let mut caller = start(OnFull::Wait).await;
    let call = caller.call();
    caller.sends(&[2]).await.answer([texts([])]);
    let sent = caller.sends(&[2]).await;
    sent.answer([texts([])]);
    yield_now().await;
    let (expired, _) = caller.outstanding.expire(Instant::now() + TIMEOUT);
    for each in expired {
        assert_eq!(each.id(), None);
        each.end(None);
    }
    let expected = ErrorKind::Timeout {
        queued: TIMEOUT,
        started: false,
    };
    assert_eq!(kind(call.await.unwrap()), expected);
    // Nothing of it is sent any more.
    caller.line.is_silent_for(TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_let_in_before_is_not_said_to_be_refused() {
    let mut caller = start(OnFull::Reject).await;
    let call = caller.call();
    drop(caller.sends(&[2]).await);
    let later = caller.call();
    caller.sends(&[2, 3]).await.answer([texts([])]);
    assert_eq!(kind(call.await.unwrap()), ErrorKind::Connection);
    let ended = kind(later.await.unwrap());
    assert!(matches!(ended, ErrorKind::QueueFull { .. }), "{ended:?}");

    // One that the server has refused for another reason before has not been let in.
    let mut caller = start(OnFull::Reject).await;
    let call = caller.call();
    caller.sends(&[2]).await.answer([refused("LOADING")]);
    caller.sends(&[2]).await.answer([texts([])]);
    let ended = kind(call.await.unwrap());
    assert!(matches!(ended, ErrorKind::QueueFull { .. }), "{ended:?}");

    let mut caller = start(OnFull::Wait).await;
    let call = caller.call();
    drop(caller.sends(&[2]).await);
    caller.sends(&[2]).await.answer([texts([])]);
    let _waits = caller.sends(&[2]).await;
    let (expired, _) = caller.outstanding.expire(Instant::now() + TIMEOUT);
    expired.into_iter().for_each(|each| each.end(None));
    let ended = kind(call.await.unwrap());
    assert!(
        matches!(ended, ErrorKind::Timeout { started: true, .. }),
        "{ended:?}"
    );
}
