//! Both clients through the seam, against a server of their own: one list of cases, run for each.

#![cfg(any(feature = "client-redis", feature = "client-fred"))]

mod connecting;
mod replies;
mod server;
#[cfg(feature = "client-redis")]
mod slow;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dynamic_batcher::ErrorKind;
use dynamic_batcher_conformance::RedisServer;

use self::connecting::*;
use self::server::{Connect, config};
use super::Client;
use super::scripted::{list, text};
use crate::command::Command;
use crate::commands;
use crate::value::Value;

/// The longest that anything here may take; the cases that fail on purpose have [`SOON`].
const LIMIT: Duration = Duration::from_secs(30);
/// Within this an error is there.
const SOON: Duration = Duration::from_secs(6);

macro_rules! for_each_client {
    ($($case:ident),* $(,)?) => {
        #[cfg(feature = "client-redis")]
        mod redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::limited(super::$case::<super::server::Redis>()).await;
                }
            )*
        }

        #[cfg(feature = "client-fred")]
        mod fred {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::limited(super::$case::<super::server::Fred>()).await;
                }
            )*
        }
    };
}

for_each_client! {
    a_pipeline_is_answered_in_order,
    a_long_pipeline_is_written_in_order,
    an_error_reply_leaves_the_others_alone,
    any_bytes_and_a_mebibyte_come_back_as_they_went,
    both_versions_of_the_protocol_read_the_same,
    a_blocking_command_holds_up_nobody_else,
    a_limit_ends_a_wait,
    a_dropped_connection_is_closed_at_the_server,
    a_dropped_client_is_closed_at_the_server,
    after_a_restart_one_send_fails_and_the_next_ones_work,
    a_cut_connection_fails_what_waits_on_it,
    a_dead_server_fails_a_thousand_senders_soon,
    a_replica_is_left_for_a_new_connection,
    the_wrong_password_is_refused,
    no_password_is_refused,
    a_password_that_the_server_does_not_ask_for_does_no_harm,
    a_database_that_the_server_does_not_have_is_refused,
    the_database_is_selected,
    an_unreachable_port_is_a_connection_error,
    a_name_that_nobody_has_is_a_connection_error,
    what_is_no_redis_is_a_connection_error,
    what_never_answers_is_a_connection_error,
    a_unix_socket_does_as_well,
    a_user_of_the_servers_list_logs_in,
    tls_without_the_client_crates_feature_is_refused,
    ten_thousand_at_once_are_each_answered,
    another_request_stream_is_found,
}

async fn limited(case: impl Future<Output = ()>) {
    tokio::time::timeout(LIMIT, case)
        .await
        .expect("the case takes too long");
}

async fn connected<C: Connect>() -> (RedisServer, Arc<dyn Client>) {
    let server = RedisServer::start(None);
    let client = C::connect(&config(&server)).await.unwrap();
    (server, client)
}

/// A command from a line of words.
fn line(words: &'static str) -> Command {
    let mut words = words.split(' ');
    Command::new(words.next().unwrap()).args(words)
}

async fn one(client: &dyn Client, command: Command) -> Value {
    let mut replies = client.send(&[command]).await.unwrap();
    assert_eq!(replies.len(), 1);
    replies.pop().unwrap()
}

/// Until the condition holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < SOON, "not yet: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn connections(client: &dyn Client) -> usize {
    let listed = one(client, line("CLIENT LIST")).await.text().unwrap();
    String::from_utf8_lossy(&listed).lines().count()
}

async fn one_is_blocked(client: &dyn Client) -> bool {
    let info = one(client, line("INFO clients")).await.text().unwrap();
    String::from_utf8_lossy(&info).contains("blocked_clients:1")
}

async fn a_pipeline_is_answered_in_order<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    assert_eq!(client.send(&[]).await.unwrap(), []);
    let replies = client
        .send(&[
            line("SET a 1"),
            line("GET a"),
            line("MGET a b a"),
            line("XADD s 1-1 k v"),
            line("XGROUP CREATE s g 0"),
            line("XREADGROUP GROUP g c COUNT 10 STREAMS s >"),
            line("XREADGROUP GROUP g c COUNT 10 STREAMS s >"),
            line("XPENDING s g"),
            Command::new("EVAL")
                .arg("return {KEYS[1], ARGV[1], 7, false}")
                .number(1)
                .args(["k", "v"]),
        ])
        .await
        .unwrap();
    let entry = list([text("1-1"), list([text("k"), text("v")])]);
    let expected = [
        text("OK"),
        text("1"),
        list([text("1"), Value::Nil, text("1")]),
        text("1-1"),
        text("OK"),
        list([list([text("s"), list([entry])])]),
        Value::Nil,
        list([
            Value::Int(1),
            text("1-1"),
            text("1-1"),
            list([list([text("c"), text("1")])]),
        ]),
        list([text("k"), text("v"), Value::Int(7), Value::Nil]),
    ];
    assert_eq!(replies, expected);
}

async fn a_long_pipeline_is_written_in_order<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    let commands: Vec<_> = (0..5_000).map(|_| line("INCR n")).collect();
    let replies = client.send(&commands).await.unwrap();
    let expected: Vec<_> = (1..=5_000).map(Value::Int).collect();
    assert_eq!(replies, expected);

    let words: Vec<_> = (0..5_000).map(|n| n.to_string()).collect();
    let push = |word: &String| line("RPUSH l").arg(word.as_str());
    client
        .send(&words.iter().map(push).collect::<Vec<_>>())
        .await
        .unwrap();
    let pushed = one(&*client, line("LRANGE l 0 -1")).await.list().unwrap();
    assert_eq!(pushed, words.iter().map(text).collect::<Vec<_>>());
}

async fn an_error_reply_leaves_the_others_alone<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    let replies = client
        .send(&[
            line("SET a x"),
            line("LPUSH a 1"),
            line("XREADGROUP GROUP g c STREAMS s >"),
            line("NOSUCHCOMMAND"),
            line("INCR a"),
            Command::new("EVAL")
                .arg("return {1, redis.error_reply('CODE of ours')}")
                .number(0),
            line("GET a"),
        ])
        .await
        .unwrap();
    assert_eq!(replies[0], text("OK"));
    assert_eq!(replies[6], text("x"));
    let refusal = |reply: &Value| match reply {
        Value::Refused(refusal) => (refusal.code.clone(), refusal.message.clone()),
        other => panic!("{other:?}"),
    };
    let (code, message) = refusal(&replies[1]);
    assert_eq!(code, "WRONGTYPE");
    assert_eq!(
        message,
        "Operation against a key holding the wrong kind of value"
    );
    assert_eq!(refusal(&replies[2]).0, "NOGROUP");
    let (code, message) = refusal(&replies[3]);
    assert_eq!(code, "ERR");
    assert!(message.starts_with("unknown command"), "{message}");
    assert_eq!(
        refusal(&replies[4]).1,
        "value is not an integer or out of range"
    );
    assert_eq!(refusal(&replies[5]), ("CODE".into(), "of ours".into()));
}

async fn any_bytes_and_a_mebibyte_come_back_as_they_went<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all.iter().copied().cycle().take(1 << 20).collect();
    for bytes in [
        all,
        large,
        Vec::new(),
        b"QUEUED".to_vec(),
        b"\r\n+OK\r\n".to_vec(),
    ] {
        let replies = client
            .send(&[
                Command::new("SET").arg(bytes.clone()).arg(bytes.clone()),
                Command::new("GET").arg(bytes.clone()),
                Command::new("XADD")
                    .args(["s", "*"])
                    .arg(bytes.clone())
                    .arg(bytes.clone()),
                line("XREVRANGE s + - COUNT 1"),
            ])
            .await
            .unwrap();
        assert_eq!(replies[1], text(&bytes));
        let entries = replies[3].clone().list().unwrap();
        let entry = entries[0].clone().list().unwrap();
        assert_eq!(entry[1], list([text(&bytes), text(&bytes)]));
    }
}

async fn both_versions_of_the_protocol_read_the_same<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    let mut own = client.dedicated().await.unwrap();
    let hello = own.send(line("HELLO 3"), LIMIT).await.unwrap();
    let pairs = hello.list().unwrap();
    let proto = pairs.iter().position(|v| *v == text("proto")).unwrap();
    assert_eq!(pairs[proto + 1], Value::Int(3));
    for (script, expected) in [
        ("return 7", Value::Int(7)),
        ("return {double=3.25}", text("3.25")),
        ("return nil", Value::Nil),
        ("return true", Value::Int(1)),
        ("return {map={k='v'}}", list([text("k"), text("v")])),
        ("return {set={k=true}}", list([text("k")])),
        ("return {{1}, {}}", list([list([Value::Int(1)]), list([])])),
        ("return redis.status_reply('FINE')", text("FINE")),
    ] {
        let script = format!("redis.setresp(3); {script}");
        let command = Command::new("EVAL").arg(script.as_str()).number(0);
        let reply = own.send(command, LIMIT).await.unwrap();
        assert_eq!(reply, expected, "{script}");
    }
    one(&*client, line("XADD s 1-1 k v")).await;
    let entry = list([text("1-1"), list([text("k"), text("v")])]);
    let read = own.send(line("XREAD STREAMS s 0"), LIMIT).await.unwrap();
    assert_eq!(read, list([text("s"), list([entry])]));
}

async fn a_blocking_command_holds_up_nobody_else<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    let mut own = client.dedicated().await.unwrap();
    let blocked = tokio::spawn(async move { own.send(line("BLPOP l 0"), LIMIT).await });
    until("one is blocked", async || one_is_blocked(&*client).await).await;
    let start = Instant::now();
    assert_eq!(one(&*client, line("SET a 1")).await, text("OK"));
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(!blocked.is_finished());
    assert_eq!(one(&*client, line("RPUSH l x")).await, Value::Int(1));
    let popped = blocked.await.unwrap().unwrap();
    assert_eq!(popped, list([text("l"), text("x")]));
}

async fn a_limit_ends_a_wait<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    let mut own = client.dedicated().await.unwrap();
    let start = Instant::now();
    let limit = Duration::from_millis(100);
    let error = own.send(line("BLPOP l 0"), limit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(start.elapsed() < SOON);
}

async fn a_dropped_connection_is_closed_at_the_server<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    assert_eq!(connections(&*client).await, 1);
    let idle = client.dedicated().await.unwrap();
    let mut own = client.dedicated().await.unwrap();
    assert_eq!(connections(&*client).await, 3);
    drop(idle);
    let blocked = tokio::spawn(async move { own.send(line("BLPOP l 0"), LIMIT).await });
    until("one is blocked and one is gone", async || {
        one_is_blocked(&*client).await && connections(&*client).await == 2
    })
    .await;
    blocked.abort();
    until("none is left", async || connections(&*client).await == 1).await;
}

async fn a_dropped_client_is_closed_at_the_server<C: Connect>() {
    let (server, client) = connected::<C>().await;
    let other = C::connect(&config(&server)).await.unwrap();
    assert_eq!(connections(&*client).await, 2);
    drop(other);
    until("it is gone", async || connections(&*client).await == 1).await;
}

async fn after_a_restart_one_send_fails_and_the_next_ones_work<C: Connect>() {
    let (mut server, client) = connected::<C>().await;
    for _ in 0..3 {
        server.restart();
        let start = Instant::now();
        let error = client.send(&[line("GET a")]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        for n in 0..100 {
            let set = Command::new("SET").arg("a").number(n);
            let replies = client.send(&[set, line("GET a")]).await.unwrap();
            assert_eq!(replies[1], text(n.to_string()));
        }
        assert!(start.elapsed() < SOON);
    }
    assert_eq!(connections(&*client).await, 1);
}

async fn a_cut_connection_fails_what_waits_on_it<C: Connect>() {
    let (mut server, client) = connected::<C>().await;
    let mut own = client.dedicated().await.unwrap();
    let blocked = tokio::spawn(async move { own.send(line("BLPOP l 0"), LIMIT).await });
    until("one is blocked", async || one_is_blocked(&*client).await).await;
    let start = Instant::now();
    server.kill();
    let error = blocked.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

async fn a_dead_server_fails_a_thousand_senders_soon<C: Connect>() {
    let (mut server, client) = connected::<C>().await;
    let senders: Vec<_> = (0..1_000)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                loop {
                    if let Err(error) = client.send(&[line("INCR n")]).await {
                        break error;
                    }
                }
            })
        })
        .collect();
    until("they are at it", async || {
        let count = one(&*client, line("GET n")).await.optional_text().unwrap();
        count.is_some_and(|count| count.len() > 3)
    })
    .await;
    let start = Instant::now();
    server.kill();
    for sender in senders {
        let error = sender.await.unwrap();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    }
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    server.restart();
    until("it works again", async || {
        client.send(&[line("PING")]).await.is_ok()
    })
    .await;
}

async fn ten_thousand_at_once_are_each_answered<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    let senders: Vec<_> = (0..10_000)
        .map(|n| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                let echo = Command::new("ECHO").number(n);
                client.send(&[echo]).await.unwrap()
            })
        })
        .collect();
    for (n, sender) in senders.into_iter().enumerate() {
        assert_eq!(sender.await.unwrap(), [text(n.to_string())]);
    }
    assert_eq!(connections(&*client).await, 1);
}

async fn another_request_stream_is_found<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    for create in [
        "XGROUP CREATE mine processor 0 MKSTREAM",
        "XGROUP CREATE {mine}:again processor 0 MKSTREAM",
        "XGROUP CREATE other processor 0 MKSTREAM",
        "XGROUP CREATE {other}:again processor 0 MKSTREAM",
    ] {
        one(&*client, line(create)).await;
    }
    for foreign in [line("XADD log * a 1"), line("SET key 1")] {
        one(&*client, foreign).await;
    }
    one(&*client, line("XGROUP CREATE another workers 0 MKSTREAM")).await;
    let find = commands::find_other_streams("mine", "{mine}:again", "processor");
    assert_eq!(one(&*client, find).await, list([text("other")]));
}
