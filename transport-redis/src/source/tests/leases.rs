//! Leases, kept, lost and given back, and connections that fail meanwhile.

use super::*;

#[tokio::test(start_paused = true)]
async fn leases_are_kept_of_what_is_held_and_of_nothing_else() {
    let mut processor = Processor::start().await;
    let mut held = processor.reads(&["1-0", "2-0", "3-0"]).await;
    let mut keep = processor.next("EVAL keep").await;
    let mut kept: Vec<_> = keep.lines()[0]
        .split(' ')
        .skip(6)
        .map(String::from)
        .collect();
    kept.sort();
    assert_eq!(kept, ["1-0", "2-0", "3-0"]);
    keep.answer([Value::Nil]);

    let sent = processor.replies(None, held.drain(..1)).await;
    assert_eq!(sent, [answer_to("1-0")]);
    // A dropped ticket's may have been started: this delivery counts.
    drop(held.remove(0));
    let give_back = processor.next("EVAL give_back").await;
    assert_eq!(
        give_back.lines(),
        ["EVAL give_back 2 request again group me 3000 2-0 1"]
    );
    give_back.answer([Value::Int(1)]);
    keep = processor.next("EVAL keep").await;
    assert_eq!(keep.lines(), ["EVAL keep 1 request group me 3-0"]);
    keep.answer([Value::Nil]);

    processor.replies(None, held).await;
    let lines = processor.during(2 * EVERY).await;
    assert!(
        !lines.iter().any(|line| line.starts_with("EVAL keep")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_others_have_is_neither_run_nor_answered_unless_it_was_started() {
    let mut processor = Processor::start().await;
    let mut held = processor.reads(&["1-0", "2-0", "3-0"]).await;
    processor.starts(&held[1..2]);
    let keep = processor.next("EVAL keep").await;
    keep.answer([texts(["1-0", "2-0"])]);
    let keep = processor.next("EVAL keep").await;
    assert_eq!(processor.abandoned(&held), [true, false, false]);
    // Nothing of the first is answered; the second is, as it runs.
    let last = held.pop().unwrap();
    let second = held.pop().unwrap();
    let none = held.into_iter().chain([last]);
    keep.answer([Value::Nil]);
    let sent = processor.replies(None, none).await;
    assert_eq!(sent, [answer_to("3-0")]);
    let id = dynamic_batcher::BatchId::new(1, 1);
    let reason = dynamic_batcher::CloseReason::Full;
    let batch = BatchInfo::new(id, 1, reason, Duration::ZERO);
    let sent = processor.replies(Some(Arc::new(batch)), [second]).await;
    assert!(sent[0].starts_with(&answer_begins("2-0")), "{sent:?}");
    let lines = processor.during(2 * EVERY).await;
    assert!(
        !lines.iter().any(|line| line.contains("give_back")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_unstarted_for_a_lease_is_given_back_and_its_delivery_does_not_count() {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["1-0", "2-0"]).await;
    processor.starts(&held[..1]);
    let read = Instant::now();
    let give_back = processor.next("EVAL give_back").await;
    assert!(read.elapsed() > LEASE && read.elapsed() <= LEASE + EVERY);
    assert_eq!(
        give_back.lines(),
        ["EVAL give_back 2 request again group me 3000 2-0 0"]
    );
    // Not even while it is being given back is it run here.
    assert_eq!(processor.abandoned(&held), [false, true]);
    drop(give_back);
    let keep = processor.next("EVAL keep").await;
    assert_eq!(keep.lines(), ["EVAL keep 1 request group me 1-0"]);
    keep.answer([Value::Nil]);
    let again = processor.next("EVAL give_back").await;
    assert_eq!(
        again.lines(),
        ["EVAL give_back 2 request again group me 3000 2-0 0"]
    );
    again.answer([Value::Int(1)]);
    // Once it has arrived is enough.
    drop(held);
    let again = processor.next("EVAL give_back").await;
    assert_eq!(
        again.lines(),
        ["EVAL give_back 2 request again group me 3000 1-0 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_fails_in_any_step_is_survived() {
    let mut processor = Processor::start().await;
    let mut held = processor.reads(&["1-0"]).await;
    processor.starts(&held);
    for step in ["EVAL keep", "EVAL remove_dead", "EVAL take_over"] {
        drop(processor.next(step).await);
        let again = processor.next(step).await;
        answer(again);
    }
    // A read that is cut off: what it may have taken is looked for on this consumer.
    processor.blocked = None;
    drop(processor.next("XPENDING").await);
    let pending = processor.next("XPENDING").await;
    assert_eq!(pending.lines(), ["XPENDING request group 0-0 + 1000 me"]);
    pending.answer([self::pending([("1-0", 1), ("2-0", 2)])]);
    let fetch = processor.next("XRANGE").await;
    assert_eq!(fetch.lines(), ["XRANGE request 2-0 2-0"]);
    fetch.answer([list([request("2-0")])]);
    processor.during(Duration::from_millis(1)).await;
    held.extend(processor.recv());
    assert_eq!(ids(&held), ["1-0", "2-0"]);
    assert_eq!(held[1].meta.attempt, 2);
    // An acknowledgement that fails is repeated.
    let answered = StreamId::parse(b"3-0").unwrap();
    processor.consumer.inbox.answered(vec![answered]);
    drop(processor.next("EXISTS 3-0").await);
    for _ in 0..2 {
        let look = processor.next("EXISTS 3-0").await;
        look.answer([Value::Int(0)]);
        let acknowledge = processor.next("XACK request group 3-0").await;
        drop(acknowledge);
    }
    processor.next("EXISTS 3-0").await.answer([Value::Int(0)]);
    processor
        .next("XACK request group 3-0")
        .await
        .answer([Value::Int(1)]);
    let lines = processor.during(2 * EVERY).await;
    assert!(!lines.iter().any(|line| line.contains("3-0")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_cut_off_is_sent_again_and_given_up_after_a_lease() {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["1-0"]).await;
    let start = Instant::now();
    let mut replying = processor.begin_to_reply(held);
    let mut attempts = 0;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut replying => break ended.unwrap(),
            sent = processor.next("EVAL answer") => {
                attempts += 1;
                drop(sent);
            }
        }
    };
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Connection);
    assert!(attempts > 3 && start.elapsed() <= LEASE);
    // Its ticket was dropped with it.
    let give_back = processor.next("EVAL give_back").await;
    assert!(give_back.lines()[0].ends_with(" 1-0 1"));
}
