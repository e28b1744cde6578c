//! The Redis transport against the Python package itself, unmodified, in both directions and with
//! both client crates.

mod deleted;
mod delivery;
mod idle;
mod peers;
mod trace;

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{BatchProcessor, Batcher, ErrorKind, WhenIdle};
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use deleted::{
    a_processor_that_may_not_cut_off_deletes, at_the_head_of_the_stream_a_batch_goes_at_once,
    what_others_have_before_a_batch_or_in_it_stays,
};
use delivery::*;
use idle::{an_idle_caller_sends_next_to_nothing, an_idle_processor_waits_in_one_read};
use peers::{
    Call, Client, LIMIT, PYTHON_CONSUMER, Peers, Sum, Values, check, check_lost, command,
    eventually, found, output, policy, rust_sums, sum_values, timed_sum,
};
use trace::{
    the_steps_of_a_request_from_python_to_rust, the_steps_of_a_request_from_rust_to_python,
    the_steps_of_a_request_from_rust_to_rust,
};

/// Each of the tests below with each client crate.
macro_rules! with_both_clients {
    ($($test:ident,)*) => {
        mod redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::Peers::new(super::Client::Redis)).await;
                }
            )*
        }
        mod fred {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::Peers::new(super::Client::Fred)).await;
                }
            )*
        }
    };
}

with_both_clients! {
    python_callers_have_their_answers_from_rust_whatever_their_delay,
    python_callers_that_look_late_have_their_answers_although_the_processor_has_left,
    rust_callers_have_their_answers_from_python,
    both_languages_serve_both_on_one_stream,
    the_first_request_of_a_caller_is_answered_at_once,
    python_peers_with_an_old_client_have_answers_and_give_them,
    a_failed_request_of_a_python_caller_is_none_at_once,
    what_does_not_fit_fails_alone,
    entries_that_nobody_should_write_fail_alone,
    what_python_processors_leave_pending_keeps_no_request_from_being_taken_over,
    what_a_python_processor_trims_is_lost_at_once,
    what_a_python_processor_trims_is_lost_while_it_answers_others,
    json_values_come_back_as_python_wrote_them,
    raw_json_comes_back_as_python_wrote_it,
    the_steps_of_a_request_from_python_to_rust,
    the_steps_of_a_request_from_rust_to_python,
    the_steps_of_a_request_from_rust_to_rust,
    an_idle_caller_sends_next_to_nothing,
    an_idle_processor_waits_in_one_read,
    what_a_dead_processor_had_is_run_in_a_batch,
    observers_are_told_of_redeliveries_dead_letters_and_duplicates,
    an_observer_is_told_of_the_backlog,
    a_lost_connection_does_not_count_as_a_delivery,
    on_its_last_delivery_a_request_runs_alone_and_the_others_after_it,
    a_request_that_was_delivered_often_enough_is_given_up_and_its_caller_told,
    a_python_caller_of_such_a_request_has_its_none,
    a_dead_letter_is_sent_again_or_removed,
    at_the_head_of_the_stream_a_batch_goes_at_once,
    what_others_have_before_a_batch_or_in_it_stays,
    a_processor_that_may_not_cut_off_deletes,
    the_consumer_of_a_dead_processor_is_removed_once_it_is_empty,
}

async fn python_callers_have_their_answers_from_rust_whatever_their_delay(peers: Peers) {
    let processor = peers.processor(sum_values).await;
    let callers = |delay, callers, requests| {
        let peers = &peers;
        async move { check(delay, peers.python_sums(delay, callers, requests).await) }
    };
    tokio::join!(
        callers(0.01, 32, 10),
        callers(0.1, 32, 5),
        callers(1.0, 16, 2)
    );
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

async fn python_callers_that_look_late_have_their_answers_although_the_processor_has_left(
    peers: Peers,
) {
    const CALLERS: usize = 8;
    let processor = peers.processor(sum_values).await;
    let callers = peers.python_sums(1.0, CALLERS as i64, 1);
    let leave = async {
        eventually("all are answered", || {
            processor.status().answered == CALLERS
        })
        .await;
        // No time is left to wait for callers.
        let _ = processor.drain(Duration::from_millis(50)).await;
    };
    let (calls, ()) = tokio::join!(callers, leave);
    check(1.0, calls);
}

async fn rust_callers_have_their_answers_from_python(peers: Peers) {
    let _python = peers.python_processor(16, 0.1);
    let batcher = Batcher::new(peers.transport().await);
    rust_sums(&batcher, 32, 10).await;
    drop(batcher);
    peers.assert_nothing_left().await;
}

async fn both_languages_serve_both_on_one_stream(peers: Peers) {
    let _python = peers.python_processor(8, 0.05);
    let batcher = Batcher::new(peers.transport().await);
    // By Python, which later may find nothing: it looks now and then, where others wait.
    rust_sums(&batcher, 1, 1).await;
    let processors = [
        peers.processor(sum_values).await,
        peers.processor(sum_values).await,
    ];
    let python_callers = async { check(0.01, peers.python_sums(0.01, 24, 10).await) };
    tokio::join!(rust_sums(&batcher, 24, 20), python_callers);
    drop(batcher);
    let mut by_rust = 0;
    for processor in processors {
        by_rust += processor.status().answered;
        peers.drain(processor).await;
    }
    let all = 24 * 10 + 24 * 20;
    assert!((1..=all).contains(&by_rust), "{by_rust} of {all} by Rust");
    peers.assert_nothing_left().await;
}

/// However fast the processor is: it answers only where the caller is ready to read.
async fn the_first_request_of_a_caller_is_answered_at_once(peers: Peers) {
    let policy = policy().when_idle(WhenIdle::Run);
    let processor = BatchProcessor::spawn(peers.transport().await, policy, sum_values);
    for number in 0..100 {
        let batcher = Batcher::new(peers.transport().await).timeout(LIMIT);
        let (outcome, time) = timed_sum(&batcher, number).await;
        outcome.unwrap_or_else(|error| panic!("caller {number}, after {time:?}: {error}"));
    }
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

/// The package asks for any version of its Redis client.
async fn python_peers_with_an_old_client_have_answers_and_give_them(mut peers: Peers) {
    let newest = peers.redis_py().await;
    peers.use_old_redis_py();
    let old = peers.redis_py().await;
    assert!(old < newest, "redis-py {old} for {newest}");

    let processor = peers.processor(sum_values).await;
    check(0.01, peers.python_sums(0.01, 16, 5).await);
    peers.drain(processor).await;

    let _python = peers.python_processor(16, 0.1);
    let batcher = Batcher::new(peers.transport().await);
    rust_sums(&batcher, 16, 5).await;
    drop(batcher);
    peers.assert_nothing_left().await;
}

async fn a_failed_request_of_a_python_caller_is_none_at_once(peers: Peers) {
    let processor: BatchProcessor<_, Sum> = peers
        .processor(|batch: Vec<Values>| {
            let outcomes = batch.into_iter().map(|Values { values }| match values[..] {
                [] => Err("nothing to sum"),
                [13] => panic!("thirteen"),
                _ => Ok(Sum {
                    sum: values.iter().sum(),
                }),
            });
            outcomes.collect::<Vec<_>>()
        })
        .await;
    let body = |values: &[i64]| json!({ "values": values });
    let failing = peers.python_callers(0.01, vec![vec![body(&[]), body(&[2, 3])]]);
    let calls = failing.await.concat();
    assert_eq!(calls[0].answer, Value::Null, "an error");
    assert_eq!(calls[1].answer, json!({ "sum": 5 }));
    let panicking = peers.python_callers(0.01, vec![vec![body(&[13]), body(&[1])]]);
    let calls = [calls, panicking.await.concat()].concat();
    assert_eq!(calls[2].answer, Value::Null, "a panic");
    assert_eq!(calls[3].answer, json!({ "sum": 1 }));
    for Call { answer, seconds } in calls {
        assert!(seconds < 1.0, "{answer} after {seconds} s");
    }
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

async fn what_does_not_fit_fails_alone(peers: Peers) {
    let processor = peers.processor(sum_values).await;
    let unfit = [
        json!({ "values": "one, two" }),
        json!({ "values": [1.5] }),
        json!({ "values": [9_223_372_036_854_775_808_u64] }),
        json!({}),
        json!(["values"]),
        json!(1),
        json!("\u{1f600}"),
    ];
    let callers = unfit.iter().cloned().map(|body| vec![body]);
    let callers = callers.chain([vec![json!({ "values": [1, 5, 2], "more": null })]]);
    let mut calls = peers.python_callers(0.01, callers.collect()).await.concat();
    let fit = calls.pop().expect("as many as were sent");
    assert_eq!(fit.answer, json!({ "sum": 8 }));
    for (body, Call { answer, seconds }) in unfit.iter().zip(calls) {
        assert_eq!(answer, Value::Null, "{body}");
        assert!(seconds < 1.0, "{body}: None after {seconds} s");
    }

    let anything: Batcher<Value, Sum> = Batcher::new(peers.transport().await);
    let fit = json!({ "values": [1, 5, 2] });
    let outcomes = anything.send_many(unfit.iter().cloned().chain([fit]).collect());
    let mut outcomes = outcomes.await;
    let fit = outcomes.pop().expect("as many as were sent");
    assert_eq!(fit.expect("an answer"), Sum { sum: 8 });
    for (body, outcome) in unfit.iter().zip(outcomes) {
        let error = outcome.expect_err("it does not fit");
        assert_eq!(error.kind(), ErrorKind::Decode, "{body}: {error}");
    }
    drop(anything);
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}

async fn entries_that_nobody_should_write_fail_alone(peers: Peers) {
    const BODY: (&str, &[u8]) = ("body", br#"{"values":[1,5,2]}"#);
    let entries: [&[(&str, &[u8])]; 9] = [
        &[BODY],
        &[("other", b"1")],
        &[("body", b"")],
        &[("body", br#"{"values":[1"#)],
        &[("body", b"{\"values\":[\xff]}")],
        &[BODY, ("v", b"1")],
        &[BODY, ("v", b"1"), ("reply_to", b"request"), ("idem", b"1")],
        &[
            BODY,
            ("v", b"\xff"),
            ("reply_to", b"\xff"),
            ("idem", b"\xff"),
        ],
        &[BODY, ("other", b"\xff")],
    ];
    let answered = |number| number == 0 || number == entries.len() - 1;
    // They are there before the processor is, so that they share its batch.
    let transport = peers.transport().await;
    let add = |fields: &[(&str, &[u8])]| -> String {
        let mut add = ::redis::cmd("XADD");
        add.arg("request").arg("*");
        for (name, value) in fields {
            add.arg(name).arg(*value);
        }
        peers.ask(&add)
    };
    let ids = entries.map(add);
    let dead = transport.dead_letters();
    let processor = BatchProcessor::spawn(transport, policy(), sum_values);
    // What says that it is ours, and not where to answer, is told to nobody.
    let nobodys = |number| (5..8).contains(&number);
    for (number, (id, entry)) in ids.iter().zip(entries).enumerate() {
        if nobodys(number) {
            continue;
        }
        let expected = if answered(number) {
            r#"{"sum":8}"#
        } else {
            "null"
        };
        // What the caller of the package does.
        let take = || peers.ask::<Option<String>>(::redis::cmd("GETDEL").arg(id));
        let response = found("a response", take).await;
        assert_eq!(response, expected, "{entry:?}");
    }
    peers.drain(processor).await;
    let letters = dead.list(None, NonZeroUsize::MAX).await.expect("letters");
    let buried: Vec<_> = letters.iter().map(|letter| &letter.request_id).collect();
    assert_eq!(buried, ids[5..8].iter().collect::<Vec<_>>());
    for letter in &letters {
        assert_eq!(letter.body.as_deref(), Some(BODY.1), "{letter:?}");
        assert!(letter.reason.contains("reply_to"), "{letter:?}");
        assert!(dead.remove(&letter.id).await.expect("an answer"));
    }
    peers.assert_nothing_left().await;
}

/// A Python processor acknowledges nothing: what it has answered stays pending on it.
async fn what_python_processors_leave_pending_keeps_no_request_from_being_taken_over(peers: Peers) {
    let transport = peers.transport().await;
    let add = "local ids = {}
        for i = 1, ARGV[1] do ids[i] = redis.call('XADD', KEYS[1], '*', 'body', ARGV[2]) end
        return ids";
    let mut all = ::redis::cmd("EVAL");
    all.arg(add).arg(1).arg("request");
    // More than are looked at in one go.
    let ids: Vec<String> = peers.ask(all.arg(4_500).arg(r#"{"values":[1,5,2]}"#));
    let (last, answered) = ids.split_last().expect("there are some");
    for (consumer, ids) in [
        (PYTHON_CONSUMER, answered),
        ("dead", std::slice::from_ref(last)),
    ] {
        let count = ids.len();
        let read = format!("XREADGROUP GROUP processor {consumer} COUNT {count} STREAMS request >");
        peers.ask::<::redis::Value>(&command(&read));
        let mut claim = command(&format!("XCLAIM request processor {consumer} 0"));
        let idle = claim.arg(ids).arg("IDLE").arg(40_000).arg("JUSTID");
        peers.ask::<::redis::Value>(idle);
    }
    peers.ask::<i64>(::redis::cmd("XDEL").arg("request").arg(answered));

    let _processor = BatchProcessor::spawn(transport, policy(), sum_values);
    let take = || peers.ask::<Option<String>>(::redis::cmd("GETDEL").arg(last));
    assert_eq!(found("it is taken over", take).await, r#"{"sum":8}"#);
}

/// A Python processor keeps some ten batches' worth of the stream, and loses the rest.
async fn what_a_python_processor_trims_is_lost_at_once(peers: Peers) {
    const REQUESTS: i64 = 100;
    let batcher = Batcher::new(peers.transport().await).timeout(LIMIT);
    let calls = join_all((0..REQUESTS).map(|number| timed_sum(&batcher, number)));
    let run = async {
        let length = || peers.length("request") == REQUESTS;
        eventually("all requests are on the stream", length).await;
        peers.python_processor(1, 0.1)
    };
    let (calls, _python) = tokio::join!(calls, run);
    check_lost(&calls);
    drop(batcher);
    peers.assert_nothing_left().await;
}

async fn what_a_python_processor_trims_is_lost_while_it_answers_others(peers: Peers) {
    let batcher = Batcher::new(peers.transport().await).timeout(LIMIT);
    let _python = peers.python_processor(1, 0.1);
    peers.python_processor_is_up().await;
    let many = join_all((0..100).map(|number| timed_sum(&batcher, number)));
    let others = async {
        loop {
            let _ = timed_sum(&batcher, 1).await;
        }
    };
    let calls = tokio::select! {
        calls = many => calls,
        () = others => unreachable!(),
    };
    check_lost(&calls);
}

/// Integers of 64 bits at most: a `Value` holds larger ones as floats.
async fn json_values_come_back_as_python_wrote_them(peers: Peers) {
    echo::<Value>(peers, 64).await;
}

async fn raw_json_comes_back_as_python_wrote_it(peers: Peers) {
    echo::<Box<RawValue>>(peers, 512).await;
}

async fn echo<T>(peers: Peers, bits: u32)
where
    T: DeserializeOwned + Serialize + Send + 'static,
{
    let processor = peers.processor(|batch: Vec<T>| batch).await;
    let mut python = peers.python("echo.py");
    python.args(["1", "1000"]).arg(bits.to_string());
    let changed = output(python.spawn().expect("Python starts")).await;
    assert_eq!(changed, "", "changed, or not refused");
    peers.drain(processor).await;
    peers.assert_nothing_left().await;
}
