//! What the keeping of leases survives: replies that are lost, commands that are refused, a clock that is
//! set.

use super::*;
use crate::client::scripted::{refused, texts};

#[tokio::test(start_paused = true)]
async fn what_was_taken_over_although_the_reply_was_lost_is_found() {
    let mut processor = Processor::start().await;
    drop(processor.next("EVAL take_over").await);
    let cut = Instant::now();
    let look = processor.next("XPENDING").await;
    assert!(cut.elapsed() < LEASE);
    look.answer([pending([("1-0", 2)])]);
    let fetch = processor.next("XRANGE").await;
    fetch.answer([list([request("1-0")])]);
    let take = processor.next("EVAL take_over").await;
    // To the server it is held.
    assert!(take.lines()[0].ends_with(" 1 -"), "{:?}", take.lines());
    take.answer([took([], false)]);
    let taken = processor.recv();
    assert_eq!(ids(&taken), ["1-0"]);
    assert_eq!(taken[0].meta.attempt, 2);
    // Once is enough.
    let lines = processor.during(2 * EVERY).await;
    assert!(lines.iter().any(|line| line.starts_with("EVAL take_over")));
    assert!(!lines.iter().any(|line| line.starts_with("XPENDING")));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_was_not_finished_goes_on_at_once_and_counts_as_one() {
    let mut processor = Processor::start().await;
    let take = processor.next("EVAL take_over").await;
    let start = Instant::now();
    let taken = |id| list([text(id), Value::Int(1), request(id)]);
    let part = |id, last, next| {
        let taken = list([taken(id)]);
        list([
            taken,
            Value::Nil,
            Value::Int(last),
            text(next),
            Value::Int(0),
        ])
    };
    take.answer([part("1-0", 1, "(5-0")]);
    let take = processor.next("EVAL take_over").await;
    assert_eq!(
        take.lines(),
        ["EVAL take_over 1 request group me 3000 30000 9 3 1 (5-0"]
    );
    take.answer([part("6-0", 0, "")]);
    processor.during(Duration::from_millis(1)).await;
    assert_eq!(ids(&processor.recv()), ["1-0", "6-0"]);
    assert!(start.elapsed() < EVERY);
    // Of the first part one on its last delivery waits.
    processor.blocked.take().unwrap().answer([Value::Nil]);
    let lines = processor.during(EVERY / 4).await;
    assert!(
        !lines.iter().any(|line| line.starts_with("XREADGROUP")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_refused_keeps_no_other_from_being_done() {
    let steps = ["EVAL keep", "EXISTS", "EVAL remove_dead", "EVAL take_over"];
    let mut processor = Processor::start().await;
    let held = processor.reads(&["1-0"]).await;
    processor.starts(&held);
    processor.consumer.inbox.answered(vec![StreamId::MIN]);
    for refusing in steps {
        let mut seen = Vec::new();
        let end = Instant::now() + EVERY * 3 / 2;
        while let Ok(sent) = tokio::time::timeout_at(end, processor.line.next()).await {
            let lines = sent.lines();
            seen.extend(steps.into_iter().filter(|step| lines[0].starts_with(step)));
            if lines[0].contains(" BLOCK ") {
                processor.blocked = Some(sent);
            } else if lines[0].starts_with(refusing) {
                sent.answer(vec![refused("NOPERM"); lines.len()]);
            } else {
                answer(sent);
            }
        }
        for step in steps {
            assert!(
                seen.contains(&step),
                "{step} is not sent: {refusing} is refused"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_refused_does_not_end_the_reading() {
    let mut processor = Processor::start().await;
    processor.during(EVERY / 4).await;
    processor.finds_a_notice("9-0");
    let take = processor.next("EVAL take_over").await;
    take.answer([exhausted(["1-0"])]);
    let bury = processor.next("EVAL bury").await;
    bury.answer([refused("WRONGTYPE")]);
    processor.until("XREADGROUP").await;
    assert_eq!(ids(&processor.reads(&["2-0"]).await), ["2-0"]);
}

#[tokio::test(start_paused = true)]
async fn however_much_is_pending_what_is_unseen_is_found() {
    let mut processor = Processor::start().await;
    processor.blocked = None;
    let look = processor.next("XPENDING").await;
    assert_eq!(look.lines(), ["XPENDING request group 0-0 + 1000 me"]);
    let answered: Vec<_> = (1..=1_000).map(|n| format!("{n}-0")).collect();
    let parse = |id: &String| StreamId::parse(id.as_bytes()).unwrap();
    let inbox = &processor.consumer.inbox;
    inbox.answered(answered.iter().map(parse).collect());
    look.answer([pending(answered.iter().map(|id| (&**id, 1)))]);
    let look = processor.next("XPENDING").await;
    assert_eq!(look.lines(), ["XPENDING request group 1000-1 + 1000 me"]);
    look.answer([pending([("1001-0", 1)])]);
    let fetch = processor.next("XRANGE").await;
    assert_eq!(fetch.lines(), ["XRANGE request 1001-0 1001-0"]);
    fetch.answer([list([request("1001-0")])]);
    processor.during(Duration::from_millis(1)).await;
    assert_eq!(ids(&processor.recv()), ["1001-0"]);
}

/// The reply to a take-over is lost while the server has given an entry to the read that waits: its reply
/// is on its way.
#[tokio::test(start_paused = true)]
async fn what_is_found_pending_while_its_read_is_on_its_way_is_delivered_once() {
    let mut processor = Processor::start().await;
    drop(processor.next("EVAL take_over").await);
    let look = processor.next("XPENDING").await;
    look.answer([pending([("1-0", 1)])]);
    let fetch = processor.next("XRANGE").await;
    fetch.answer([list([request("1-0")])]);
    processor.during(Duration::from_millis(1)).await;
    let found_pending = processor.recv();
    assert_eq!(ids(&found_pending), ["1-0"]);
    processor.replies(None, found_pending).await;
    assert!(processor.recv().is_empty());
    processor
        .blocked
        .take()
        .unwrap()
        .answer([found(&["1-0", "2-0"])]);
    processor.during(Duration::from_millis(1)).await;
    assert_eq!(ids(&processor.recv()), ["2-0"]);
}

/// A processor whose server's clock was set back to 3600 s since it was read. Its keeper waits for the
/// answer to such a command, so that it is not read meanwhile.
async fn set_back(waits_for: &str) -> (Processor, Sent) {
    let second = Arc::new(AtomicU64::new(7_200));
    let mut processor = Processor::start_by(Arc::clone(&second)).await;
    let waited_for = processor.next(waits_for).await;
    tokio::time::advance(LEASE).await;
    second.store(3_600, Ordering::Relaxed);
    (processor, waited_for)
}

fn assert_sent_now(deliveries: &[RawDelivery]) {
    assert_eq!(ids(deliveries), ["3600000-0"]);
    assert!(deliveries[0].meta.enqueued.elapsed() < LEASE);
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_clock_was_set_back_was_sent_now() {
    let (mut processor, _waited_for) = set_back("EVAL take_over").await;
    assert_sent_now(&processor.reads(&["3600000-0"]).await);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_after_the_clock_was_set_back_was_sent_now() {
    let (mut processor, _waited_for) = set_back("EVAL remove_dead").await;
    processor.finds_a_notice("3600000-1");
    let take = processor.next("EVAL take_over").await;
    take.answer([took([("3600000-0", 1)], false)]);
    processor.during(Duration::from_millis(1)).await;
    assert_sent_now(&processor.recv());
}

/// A read could bring it in between, and it be answered.
#[tokio::test(start_paused = true)]
async fn between_fetching_what_is_unseen_and_its_delivery_nothing_is_asked() {
    let second = Arc::new(AtomicU64::new(100));
    let mut processor = Processor::start_by(Arc::clone(&second)).await;
    drop(processor.next("EVAL take_over").await);
    let look = processor.next("XPENDING").await;
    second.store(0, Ordering::Relaxed);
    // A slow network.
    tokio::time::advance(Duration::from_millis(1_200)).await;
    look.answer([pending([("1-0", 1)])]);
    let time = processor.line.next().await;
    assert_eq!(time.lines(), ["TIME"]);
    time.answer([texts(["101", "0"])]);
    let fetch = processor.line.next().await;
    assert!(fetch.lines()[0].starts_with("XRANGE "));
    fetch.answer([list([request("1-0")])]);
    let waiting = processor.waiting.take().unwrap();
    assert_eq!(ids(&waiting.await), ["1-0"]);
}
