//! An answer that a full server refuses: the entry stays until it is accepted.

use super::*;
use crate::client::scripted::refused;

fn full() -> Value {
    refused("OOM")
}

#[tokio::test(start_paused = true)]
async fn the_entry_of_a_python_caller_is_deleted_once_its_response_is_there() {
    let mut processor = Processor::start().await;
    let entries = ["1-0", "2-0"].map(|id| entry(id, &["body", "1"]));
    let held = processor.finds(read(entries)).await;
    let replying = processor.begin_to_reply(held);
    let sets = ["SET 1-0 1 EX 600", "SET 2-0 1 EX 600"];
    let set = processor.next("SET").await;
    assert_eq!(set.lines(), sets);
    set.answer([full(), text("OK")]);
    let set = processor.next("EVAL though_full").await;
    assert_eq!(set.lines(), ["EVAL though_full 1 1-0 SET 1-0 1 EX 600"]);
    set.answer([text("OK")]);
    let delete = processor.next("XDEL").await;
    assert_eq!(delete.lines(), ["XDEL request 1-0 2-0"]);
    delete.answer([Value::Int(2)]);
    replying.await.unwrap().unwrap();
    // Their callers have taken their answers.
    processor
        .next("EXISTS")
        .await
        .answer([0, 0].map(Value::Int));
    let acknowledge = processor.next("XACK").await;
    assert_eq!(acknowledge.lines(), ["XACK request group 1-0 2-0"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_answered_for_a_lease_is_given_back_and_nothing_else() {
    let mut processor = Processor::start().await;
    let other = REPLY_TO.replace('0', "f");
    let fields = ["body", "1", "v", "1", "reply_to", &other, "idem", "7"];
    let entries = [
        request("1-0"),
        entry("2-0", &fields),
        entry("3-0", &["body", "1"]),
        entry("4-0", &["body", "1"]),
    ];
    let held = processor.finds(read(entries)).await;
    let start = Instant::now();
    let mut replying = processor.begin_to_reply(held);
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut replying => break ended.unwrap(),
            sent = processor.line.next() => {
                let of_these = |line: &String| {
                    line.starts_with(&answer_begins("1-0")) || line.contains("SET 3-0")
                };
                match sent.lines().iter().any(of_these) {
                    true => {
                        let lines = sent.lines();
                        let refuse = |line| if of_these(line) { full() } else { Value::Int(1) };
                        sent.answer(lines.iter().map(refuse).collect::<Vec<_>>());
                    }
                    false => answer(sent),
                }
            }
        }
    };
    assert!(start.elapsed() <= LEASE);
    assert!(ended.unwrap_err().to_string().contains("OOM"));
    let give_back = processor.next("EVAL give_back").await;
    let line = give_back.lines().remove(0);
    assert_eq!(
        line,
        "EVAL give_back 2 request again group me 3000 1-0 1 3-0 1"
    );
    give_back.answer([Value::Int(2)]);
    let seen = processor.next("EXISTS").await;
    assert_eq!(seen.lines(), ["EXISTS 4-0"]);
}

/// The letter would be all that anybody hears of it.
#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_buried_once_its_caller_is_told() {
    let mut processor = Processor::start().await;
    let take = processor.next("EVAL take_over").await;
    take.answer([exhausted(["1-0", "2-0"])]);
    let tell = processor.next("XADD {request}:reply").await;
    assert_eq!(tell.lines().len(), 2);
    tell.answer([full(), refused("WRONGTYPE")]);
    let tell = processor.next("EVAL though_full").await;
    assert_eq!(tell.lines().len(), 1);
    tell.answer([full()]);
    let bury = processor.next("EVAL bury").await;
    assert_eq!(bury.lines().len(), 1);
    assert!(bury.lines()[0].starts_with("EVAL bury 2 request dead group 2-0 1 10 1 last_ms "));
    bury.answer([Value::Int(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_no_server_takes_fails_its_request_alone() {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["1-0", "2-0"]).await;
    // The system gives zeros, which nobody looks at.
    let bodies = [vec![0; commands::MOST_BYTES + 1], b"1".to_vec()];
    let answers = held.into_iter().zip(bodies);
    let answers = answers.map(|(each, body)| Answer::new(each.ticket, Ok(body), Duration::ZERO));
    let answers = answers.collect();
    let consumer = Arc::clone(&processor.consumer.inbox);
    let consumer = ManuallyDrop::new(RedisConsumer { inbox: consumer });
    let replying = tokio::spawn(async move { consumer.reply(None, answers).await });
    let sent = processor.next("EVAL answer").await;
    let line = &sent.lines()[0];
    let (response, failure) = line.split_once(" 7 -").expect("one has failed");
    assert!(response.ends_with(" me 2-0 1-0 7 +1"), "{line}");
    assert!(failure.starts_with(r#"{"kind":"encode""#), "{line}");
    answer(sent);
    replying.await.unwrap().unwrap();
}

/// Those who wait for it would look for it at their next look alone.
#[tokio::test(start_paused = true)]
async fn a_full_server_takes_the_notice_of_what_is_left_for_others() {
    let mut processor = Processor::start().await;
    processor.during(EVERY / 4).await;
    processor.finds_a_notice("9-0");
    let take = processor.next("EVAL take_over").await;
    take.answer([took_of_more([("1-0", 1)], false, true)]);
    let clean = processor.next("XDEL again").await;
    assert_eq!(clean.lines()[2], "XADD again * from me");
    clean.answer([Value::Int(1), Value::Int(1), full()]);
    let notice = processor.next("EVAL though_full").await;
    let line = "EVAL though_full 1 again XADD again * from me";
    assert_eq!(notice.lines(), [line]);
    notice.answer([text("10-0")]);
    processor.during(EVERY / 4).await;
    assert_eq!(ids(&processor.recv()), ["1-0"]);
}
