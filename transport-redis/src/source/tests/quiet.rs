//! A request on its last delivery has its processor for itself.

use super::*;

/// Takes over a request whose last delivery this is.
async fn with_a_last_delivery() -> (Processor, Vec<RawDelivery>) {
    let mut processor = Processor::start().await;
    let take = processor.next("EVAL take_over").await;
    assert_eq!(
        take.lines(),
        ["EVAL take_over 1 request group me 3000 30000 10 3 0 -"]
    );
    take.answer([took([("1-0", 2)], true)]);
    // The read that was under way finds nothing.
    processor.during(EVERY / 4).await;
    processor.blocked.take().unwrap().answer([Value::Nil]);
    let last = processor.recv();
    assert!(last[0].meta.last_attempt);
    (processor, last)
}

fn reads(lines: &[String]) -> bool {
    lines.iter().any(|line| line.starts_with("XREADGROUP"))
}

async fn one_is_taken_once_these_are_answered(processor: &mut Processor, held: Vec<RawDelivery>) {
    let answered = Instant::now();
    processor.replies(None, held).await;
    let take = processor.next("EVAL take_over").await;
    assert_eq!(answered.elapsed(), Duration::ZERO);
    assert!(take.lines()[0].ends_with(" 0 -"));
    take.answer([took([("1-0", 2)], true)]);
    processor.during(EVERY / 4).await;
    assert_eq!(ids(&processor.recv()), ["1-0"]);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_held_nothing_is_read_and_afterwards_reading_goes_on_at_once() {
    let (mut processor, last) = with_a_last_delivery().await;
    processor.starts(&last);
    assert!(processor.recv().is_empty());
    let lines = processor.during(3 * LEASE).await;
    let mut looks = lines
        .iter()
        .filter(|line| line.starts_with("EVAL take_over"));
    // Nor is anything taken over.
    assert!(looks.clone().next().is_some());
    assert!(looks.all(|look| look.ends_with(" 3000 30000 0 3 1 -")));
    assert!(!reads(&lines), "{lines:?}");
    let answered = Instant::now();
    processor.replies(None, last).await;
    processor.until("XREADGROUP").await;
    assert_eq!(answered.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_taken_as_soon_as_nothing_is_held() {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["2-0"]).await;
    processor.starts(&held);
    let take = processor.next("EVAL take_over").await;
    assert!(take.lines()[0].ends_with(" 1 -"));
    take.answer([took([], true)]);
    processor.blocked.take().unwrap().answer([Value::Nil]);
    assert!(processor.recv().is_empty());
    assert!(!reads(&processor.during(EVERY / 4).await));
    one_is_taken_once_these_are_answered(&mut processor, held).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_while_the_server_is_asked_does_not_hold_it_up() {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["2-0"]).await;
    assert!(processor.recv().is_empty());
    let take = processor.next("EVAL take_over").await;
    assert!(take.lines()[0].ends_with(" 1 -"));
    processor.replies(None, held).await;
    let asked = Instant::now();
    take.answer([took([], true)]);
    let take = processor.next("EVAL take_over").await;
    assert!(take.lines()[0].ends_with(" 0 -"));
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_wanted_is_taken_as_soon_as_somebody_does() {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["2-0"]).await;
    // Nothing more is wanted.
    processor.waiting = None;
    processor.replies(None, held).await;
    let take = processor.next("EVAL take_over").await;
    assert!(take.lines()[0].ends_with(" 0 3 0 -"), "{:?}", take.lines());
    take.answer([took([], true)]);
    let lines = processor.during(EVERY / 2).await;
    assert!(
        !lines.iter().any(|line| line.contains("take_over")),
        "{lines:?}"
    );
    let wanted = Instant::now();
    assert!(processor.recv().is_empty());
    let take = processor.next("EVAL take_over").await;
    assert!(take.lines()[0].ends_with(" 10 3 0 -"), "{:?}", take.lines());
    assert_eq!(wanted.elapsed(), Duration::ZERO);
}

/// These run when it is seen that a request on its last delivery waits.
async fn while_one_waits(processor: &mut Processor, running: &[&str]) -> Vec<RawDelivery> {
    let held = processor.reads(running).await;
    processor.starts(&held);
    let take = processor.next("EVAL take_over").await;
    take.answer([took([], true)]);
    processor.blocked.take().unwrap().answer([Value::Nil]);
    held
}

/// It goes on waiting for so long; whether anything is read meanwhile.
async fn others_are_read(processor: &mut Processor, time: Duration) -> bool {
    let end = Instant::now() + time;
    while let Ok(sent) = tokio::time::timeout_at(end, processor.line.next()).await {
        let line = &sent.lines()[0];
        if line.starts_with("EVAL take_over") {
            assert!(line.ends_with(" 1 -"), "{line}");
            sent.answer([took([], true)]);
        } else if line.starts_with("XREADGROUP") {
            processor.blocked = Some(sent);
        } else {
            answer(sent);
        }
    }
    processor.blocked.is_some()
}

#[tokio::test(start_paused = true)]
async fn behind_what_may_never_end_one_that_waits_keeps_no_others_waiting() {
    let mut processor = Processor::start().await;
    let hanging = while_one_waits(&mut processor, &["2-0"]).await;
    assert!(!others_are_read(&mut processor, LEASE).await);
    assert!(others_are_read(&mut processor, EVERY + EVERY / 2).await);
    let others = processor.reads(&["3-0"]).await;
    processor.starts(&others);
    // It ends after all: then there is room to be made again.
    processor.replies(None, hanging).await;
    processor.blocked.take().unwrap().answer([Value::Nil]);
    assert!(!others_are_read(&mut processor, LEASE - EVERY).await);
    one_is_taken_once_these_are_answered(&mut processor, others).await;
}

#[tokio::test(start_paused = true)]
async fn where_batches_take_longer_than_a_lease_it_is_waited_for_their_end() {
    let mut processor = Processor::start().await;
    processor.consumer.inbox.ran(3 * LEASE);
    let _held = while_one_waits(&mut processor, &["2-0"]).await;
    assert!(!others_are_read(&mut processor, 3 * LEASE).await);
    assert!(others_are_read(&mut processor, EVERY + EVERY / 2).await);
}
