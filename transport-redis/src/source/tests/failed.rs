//! What has failed: its caller is told if no other processor has it by then, which the server decides.

use dynamic_batcher::{BatchId, CloseReason};

use super::*;

fn fails(deliveries: Vec<RawDelivery>, failing: &[&str]) -> Vec<RawAnswer> {
    let answers = deliveries.into_iter().map(|each| {
        let outcome = match failing.contains(&&*each.ticket.id().to_string()) {
            true => Err(Error::handler("no")),
            false => Ok(b"1".to_vec()),
        };
        Answer::new(each.ticket, outcome, Duration::ZERO)
    });
    answers.collect()
}

#[tokio::test(start_paused = true)]
async fn failures_stand_behind_the_responses_whose_places_stay_right_without_them() {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["1-0", "2-0", "3-0"]).await;
    let batch = BatchInfo::new(BatchId::new(1, 1), 3, CloseReason::Full, Duration::ZERO);
    let answers = fails(held, &["1-0", "3-0"]);
    let replying = processor.reply_of(Some(Arc::new(batch)), answers);
    let answer = processor.next("EVAL answer_failed").await;
    let line = &answer.lines()[0];
    let begins = format!("EVAL answer_failed 2 request {REPLY_TO} group 3 me 2-0 1-0 3-0 batch ");
    assert!(line.starts_with(&begins), "{line}");
    assert!(line.contains(r#""positions":[1,0,2]"#), "{line}");
    assert!(line.contains(r#" 7 +1 7 -{"kind":"handler""#), "{line}");
    // Others have both.
    answer.answer([Value::Int(1)]);
    replying.await.unwrap().unwrap();
    assert!(processor.consumer.inbox.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_a_python_caller_that_another_has_is_not_deleted() {
    let mut processor = Processor::start().await;
    let entries = ["1-0", "2-0", "3-0"].map(|id| entry(id, &["body", "1"]));
    let held = processor.finds(read(entries)).await;
    let replying = processor.reply(fails(held, &["1-0", "2-0"]));
    let respond = processor.next("EVAL respond_failed").await;
    let failed = |id| format!("EVAL respond_failed 2 request {id} group me null 600");
    let lines = [failed("1-0"), failed("2-0"), "SET 3-0 1 EX 600".to_owned()];
    assert_eq!(respond.lines(), lines);
    respond.answer([Value::Int(0), Value::Int(1), text("OK")]);
    let delete = processor.next("XDEL").await;
    assert_eq!(delete.lines(), ["XDEL request 2-0 3-0"]);
    delete.answer([Value::Int(2)]);
    replying.await.unwrap().unwrap();
    assert!(processor.consumer.inbox.held().is_empty());
}
