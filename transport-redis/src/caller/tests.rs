//! One caller with all its tasks: calls that are dropped, and calls that come to their deadline.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use dynamic_batcher::{ErrorKind, Reply};
use futures_util::future::poll_immediate;
use tokio::runtime::Builder;

use super::*;
use crate::client::scripted::{Line, Scripted, Sent, list, text, texts};

type Lines = Arc<Mutex<Vec<String>>>;

/// A caller, and the other end of its connections, where what is sent to find answers finds none.
fn caller() -> (Arc<Caller>, Line) {
    let (client, line) = Scripted::with_routine(|line| match line.split(' ').next().unwrap() {
        "EXPIRE" | "MGET" => Some(Value::Nil),
        "EVAL" if line.starts_with("EVAL find_missing") => Some(Value::Nil),
        _ => None,
    });
    let keys = Keys::new("request").unwrap();
    let caller = Caller::start(&Handle::current(), &client, &keys, &RedisConfig::default());
    (Arc::new(caller), line)
}

/// What is sent next beside reads of the reply stream, which find nothing.
async fn next(line: &mut Line, reads: &mut Vec<Sent>) -> Sent {
    loop {
        let sent = line.next().await;
        match sent.lines()[0].starts_with("XREAD ") {
            true => reads.push(sent),
            false => return sent,
        }
    }
}

async fn call(caller: &Arc<Caller>, timeout: Duration) -> Result<Reply<Vec<u8>>> {
    caller.call(b"1".to_vec(), CallMeta::new(timeout))?.await
}

fn spawn(caller: &Arc<Caller>, secs: u64) -> tokio::task::JoinHandle<Result<Reply<Vec<u8>>>> {
    let caller = Arc::clone(caller);
    tokio::spawn(async move { call(&caller, Duration::from_secs(secs)).await })
}

/// A call, the first of its caller, whose entry is `1-0`.
async fn spawn_first(
    caller: &Arc<Caller>,
    line: &mut Line,
    reads: &mut Vec<Sent>,
) -> tokio::task::JoinHandle<Result<Reply<Vec<u8>>>> {
    let call = spawn(caller, 60);
    let sent = next(line, reads).await;
    sent.answer([text("sha"), texts(["1-0"])]);
    while caller.outstanding.with_ids(1).is_empty() {
        tokio::task::yield_now().await;
    }
    call
}

/// What takes back a request that nobody waits for, also from a processor that has it.
fn withdrawal(id: &str) -> [String; 2] {
    [
        format!("XDEL request {id}"),
        format!("XACK request processor {id}"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_withdraws_its_entry() {
    let (caller, mut line) = caller();
    let mut reads = Vec::new();
    let known = spawn_first(&caller, &mut line, &mut reads).await;
    known.abort();
    let sent = next(&mut line, &mut reads).await;
    assert_eq!(sent.lines(), withdrawal("1-0"));
    sent.answer([Value::Int(1), Value::Int(0)]);

    let on_its_way = spawn(&caller, 60);
    let sent = next(&mut line, &mut reads).await;
    on_its_way.abort();
    on_its_way.await.unwrap_err();
    sent.answer([texts(["2-0"])]);
    let sent = next(&mut line, &mut reads).await;
    assert_eq!(sent.lines(), withdrawal("2-0"));
    assert!(caller.outstanding.is_empty());
}

/// As where a task ends that owns its batcher and its calls.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_together_with_its_caller_withdraws_its_entry() {
    let (caller, mut line) = caller();
    let mut reads = Vec::new();
    let known = spawn_first(&caller, &mut line, &mut reads).await;
    drop(caller);
    known.abort();
    let mut sent = Vec::new();
    while !sent.iter().any(|lines| *lines == withdrawal("1-0")) {
        sent.push(next(&mut line, &mut reads).await.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_deletes_the_entry_and_says_whether_a_processor_had_it() {
    type Case = (Option<Value>, Option<Value>, bool);
    let pending = || list([list([text("1-0")])]);
    // What XPENDING and XDEL are answered with, if they are; whether it may have been started.
    let cases: [Case; 5] = [
        (Some(Value::Nil), Some(Value::Int(0)), true),
        (Some(list([])), Some(Value::Int(1)), false),
        (Some(pending()), Some(Value::Int(1)), true),
        (Some(pending()), Some(Value::Int(0)), true),
        (None, None, true),
    ];
    for (pending, deleted, started) in cases {
        let (caller, mut line) = caller();
        let mut reads = Vec::new();
        let start = Instant::now();
        let call = spawn(&caller, 2);
        let sent = next(&mut line, &mut reads).await;
        sent.answer([text("sha"), texts(["1-0"])]);
        let sent = next(&mut line, &mut reads).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert_eq!(
            sent.lines(),
            [
                "XDEL request 1-0",
                "XPENDING request processor 1-0 1-0 1",
                "XACK request processor 1-0"
            ]
        );
        // Without an answer it is told soon all the same.
        let held_back = match (pending, deleted) {
            (Some(pending), Some(deleted)) => {
                sent.answer([deleted, pending, Value::Int(0)]);
                None
            }
            _ => Some(sent),
        };
        let expected = ErrorKind::Timeout {
            queued: Duration::from_secs(2),
            started,
        };
        assert_eq!(call.await.unwrap().unwrap_err().kind(), expected);
        assert!(start.elapsed() <= Duration::from_millis(2_050));
        drop(held_back);
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_many_calls_ends_at_its_own_deadline() {
    let (caller, mut line) = caller();
    let ends: Lines = Lines::default();
    let start = Instant::now();
    let calls = [3, 1, 2].map(|secs| {
        let (caller, ends) = (Arc::clone(&caller), Arc::clone(&ends));
        tokio::spawn(async move {
            let error = call(&caller, Duration::from_secs(secs)).await.unwrap_err();
            assert!(matches!(
                error.kind(),
                ErrorKind::Timeout { started: true, .. }
            ));
            ends.lock().unwrap().push(format!("{:?}", start.elapsed()));
        })
    });
    // The server never answers.
    let _held_back = next(&mut line, &mut Vec::new()).await;
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(*ends.lock().unwrap(), ["1s", "2s", "3s"]);
}

#[tokio::test(start_paused = true)]
async fn its_reply_stream_goes_with_a_caller() {
    let (caller, mut line) = caller();
    let delete = format!("DEL {}", caller.reply_stream);
    drop(caller);
    assert_eq!(next(&mut line, &mut Vec::new()).await.lines(), [delete]);
}

#[tokio::test]
async fn the_calls_of_a_runtime_that_has_ended_end_at_once() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (caller, _line) = {
        let _entered = runtime.enter();
        caller()
    };
    let mut pending = pin!(call(&caller, Duration::from_secs(60)));
    assert!(poll_immediate(pending.as_mut()).await.is_none());
    assert!(!caller.has_ended());
    runtime.shutdown_background();
    let late = call(&caller, Duration::from_secs(60));
    for outcome in [pending.await, late.await] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(error.to_string().contains("the runtime"), "{error}");
    }
    assert!(caller.has_ended());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_server_takes_is_not_sent() {
    let (caller, _line) = caller();
    // The system gives zeros, which nobody looks at.
    let body = vec![0; commands::MOST_BYTES + 1];
    let call = caller.call(body, CallMeta::new(Duration::from_secs(60)));
    assert_eq!(call.err().unwrap().kind(), ErrorKind::Encode);
    assert!(caller.outstanding.is_empty());
}

/// A waker that asks the caller something, on another thread.
struct Asks {
    outstanding: Arc<Outstanding>,
    woken: AtomicUsize,
}

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        let asked = std::thread::spawn({
            let outstanding = Arc::clone(&self.outstanding);
            move || outstanding.len()
        });
        self.woken.fetch_add(1, Ordering::Relaxed);
        asked.join().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_drops_a_call_is_not_woken_for_it() {
    let (caller, _line) = caller();
    let asks = Arc::new(Asks {
        outstanding: Arc::clone(&caller.outstanding),
        woken: AtomicUsize::new(0),
    });
    let waker = Waker::from(Arc::clone(&asks));
    let mut pending = Box::pin(call(&caller, Duration::from_secs(60)));
    let mut cx = Context::from_waker(&waker);
    assert!(pending.as_mut().poll(&mut cx).is_pending());
    drop(pending);
    assert_eq!(asks.woken.load(Ordering::Relaxed), 0);
    assert!(caller.outstanding.is_empty());
}

#[test]
fn who_has_anothers_keys_draws_other_names() {
    let keys = [RandomState::new(), RandomState::new()];
    let now = SystemTime::now();
    let names = [
        name_drawn_by(1, now, &keys),
        name_drawn_by(2, now, &keys),
        name_drawn_by(1, now + Duration::from_nanos(1), &keys),
    ];
    for half in [0..16, 16..32] {
        let halves: HashSet<_> = names.iter().map(|name| &name[half.clone()]).collect();
        assert_eq!(halves.len(), names.len());
    }
}
