//! Facts about the types that the compiler checks: if one no longer holds, this does not compile.

use std::cell::Cell;
use std::mem::size_of;
use std::time::Duration;

use dynamic_batcher::{
    AnyTransport, BatchPolicy, BatchProcessor, Batcher, CallMeta, Coded, Error, Json, SendOptions,
    Transport, WhenIdle,
};
use dynamic_batcher_memory::MemoryTransport;
use serde::{Deserialize, Serialize};

/// `Send`, but neither `Sync` nor `Clone`, nor anything else.
struct Bare(Cell<u64>);

fn assert_send<T: Send>(_: &T) {}
fn assert_send_sync<T: Send + Sync>() {}
fn assert_clone<T: Clone>() {}
fn assert_error<T: std::error::Error + Clone + Send + Sync + 'static>() {}

#[test]
fn handles_are_send_and_sync_and_clone_whatever_they_carry() {
    assert_send_sync::<Batcher<Bare, Bare>>();
    assert_send_sync::<Batcher<Bare, Bare, MemoryTransport<Bare, Bare>>>();
    assert_send_sync::<AnyTransport<Bare, Bare>>();
    assert_send_sync::<MemoryTransport<Bare, Bare>>();
    assert_send_sync::<BatchProcessor<Bare, Bare>>();
    assert_send_sync::<BatchPolicy>();
    assert_clone::<Batcher<Bare, Bare>>();
    assert_clone::<Batcher<Bare, Bare, MemoryTransport<Bare, Bare>>>();
    assert_clone::<AnyTransport<Bare, Bare>>();
    assert_clone::<MemoryTransport<Bare, Bare>>();
}

#[test]
fn an_error_is_one_word() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Error>>(), size_of::<usize>());
    assert_error::<Error>();
}

/// [`AnyTransport`] has room for 48 bytes beside the metadata, and allocates what is larger.
#[test]
fn a_call_over_bytes_is_small_whatever_is_asked_and_answered() {
    type Large = [u64; 32];
    let coded = Coded::new(MemoryTransport::<Vec<u8>, Vec<u8>>::default(), Json);
    let meta = CallMeta::new(Duration::from_secs(1));
    let call = Transport::<Large, Large>::call(&coded, [0; 32], meta);
    let room = size_of::<CallMeta>() + 48;
    assert!(size_of_val(&call) <= room, "{}", size_of_val(&call));
}

#[tokio::test(start_paused = true)]
async fn payloads_need_nothing_but_send() {
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let double = |batch: Vec<Bare>| async move {
        tokio::task::yield_now().await;
        batch
            .iter()
            .map(|n| Bare(Cell::new(n.0.get() * 2)))
            .collect::<Vec<_>>()
    };
    let _processor = BatchProcessor::spawn(transport, policy, double);
    let answer: Bare = batcher.send(Bare(Cell::new(4))).await.expect("answered");
    assert_eq!(answer.0.get(), 8);
}

#[test]
fn the_futures_of_sends_are_send() {
    let batcher: Batcher<Bare, Bare> = Batcher::new(MemoryTransport::default());
    let bare = || Bare(Cell::new(1));
    assert_send(&batcher.send(bare()));
    assert_send(&batcher.send_with(bare(), SendOptions::default()));
    assert_send(&batcher.send_for_reply(bare(), SendOptions::default()));
    assert_send(&batcher.send_many(vec![bare()]));
    assert_send(&batcher.send_many_for_replies(vec![bare()], SendOptions::default()));
}

/// Can be written and not read.
#[derive(Serialize)]
struct Ask {
    number: u64,
}

/// The same request as its processor has it: can be read and not written.
#[derive(Deserialize)]
struct Asked {
    number: u64,
}

#[derive(Serialize)]
struct Answering {
    square: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Answer {
    square: u64,
}

#[tokio::test(start_paused = true)]
async fn a_codec_is_needed_one_way_only() {
    let transport = Coded::new(MemoryTransport::default(), Json);
    let batcher: Batcher<Ask, Answer> = Batcher::new(transport.clone());
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let _processor = BatchProcessor::spawn(transport, policy, |batch: Vec<Asked>| {
        let answers = batch.iter().map(|ask| Answering {
            square: ask.number * ask.number,
        });
        answers.collect::<Vec<_>>()
    });
    let answer = batcher.send(Ask { number: 3 }).await.expect("answered");
    assert_eq!(answer, Answer { square: 9 });
}
