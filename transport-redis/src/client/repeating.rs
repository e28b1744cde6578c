//! What is sent again, and for how long.

use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::{ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::scripted::{Line, Scripted, refused, text};
use super::{send_repeatedly, send_though_full};
use crate::command::Command;
use crate::value::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn send(words: &[&'static str]) -> (Line, JoinHandle<Result<Vec<Value>>>) {
    let (client, line) = Scripted::line();
    let commands: Vec<_> = words.iter().map(|word| Command::new(word)).collect();
    let sending = async move { send_repeatedly(&*Arc::clone(&client), commands, PATIENCE).await };
    (line, tokio::spawn(sending))
}

#[tokio::test(start_paused = true)]
async fn only_what_had_no_success_goes_again_and_each_reply_keeps_its_place() {
    let (mut line, sending) = send(&["A", "B", "C", "D"]);
    let start = Instant::now();
    drop(line.next().await);

    let sent = line.next().await;
    assert!(start.elapsed() >= Duration::from_millis(10));
    assert_eq!(sent.lines(), ["A", "B", "C", "D"]);
    sent.answer([refused("LOADING"), text("b"), refused("BUSY"), text("d")]);

    let sent = line.next().await;
    assert_eq!(sent.lines(), ["A", "C"]);
    sent.answer([text("a"), refused("READONLY")]);

    let sent = line.next().await;
    assert_eq!(sent.lines(), ["C"]);
    sent.answer([refused("NOPERM")]);
    let replies = sending.await.unwrap().unwrap();
    assert_eq!(
        replies,
        [text("a"), text("b"), refused("NOPERM"), text("d")]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_full_server_refuses_goes_again_in_a_form_that_it_takes() {
    let (client, mut line) = Scripted::line();
    let set = |id: &str| Command::new("SET").arg(id).arg("1");
    let group = Command::new("XGROUP").arg("CREATE").arg("stream");
    let again = [
        "EVAL though_full 1 1-0 SET 1-0 1",
        "EVAL though_full 1 stream XGROUP CREATE stream",
    ];

    let commands = vec![set("1-0"), group, set("2-0")];
    let (repeated, sender) = (commands.clone(), Arc::clone(&client));
    let sending = tokio::spawn(async move { send_repeatedly(&*sender, repeated, PATIENCE).await });
    let refusals = || [refused("OOM"), refused("OOM"), text("c")];
    line.next().await.answer(refusals());
    let sent = line.next().await;
    assert_eq!(sent.lines(), again);
    // Once in that form, they keep it.
    sent.answer([refused("OOM"), text("b")]);
    let sent = line.next().await;
    assert_eq!(sent.lines(), again[..1]);
    sent.answer([text("a")]);
    let replies = sending.await.unwrap().unwrap();
    assert_eq!(replies, [text("a"), text("b"), text("c")]);

    let sending = tokio::spawn(async move { send_though_full(&*client, &commands).await });
    line.next().await.answer(refusals());
    let sent = line.next().await;
    assert_eq!(sent.lines(), again);
    sent.answer([text("a"), refused("NOPERM")]);
    let replies = sending.await.unwrap().unwrap();
    assert_eq!(replies, [text("a"), refused("NOPERM"), text("c")]);
}

/// Answers one command until its sender gives up; the moment of that, and its outcome.
async fn until_given_up(answer: impl Fn() -> Option<Value>) -> (Duration, Result<Vec<Value>>) {
    let (mut line, mut sending) = send(&["A"]);
    let start = Instant::now();
    loop {
        tokio::select! {
            biased;
            ended = &mut sending => return (start.elapsed(), ended.unwrap()),
            sent = line.next() => if let Some(reply) = answer() {
                sent.answer([reply]);
            },
        }
    }
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_the_error_or_with_the_refusal() {
    let longest_pause = Duration::from_secs(2);
    let (cut, refusal) = (
        until_given_up(|| None).await,
        until_given_up(|| Some(refused("LOADING"))).await,
    );
    for took in [cut.0, refusal.0] {
        assert!(
            took <= PATIENCE && took >= PATIENCE - longest_pause,
            "{took:?}"
        );
    }
    assert_eq!(cut.1.unwrap_err().kind(), ErrorKind::Connection);
    assert_eq!(refusal.1.unwrap(), [refused("LOADING")]);
}
