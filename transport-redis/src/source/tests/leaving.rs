//! A consumer that leaves, while the server may not have noticed yet that it reads no more.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_read_still_gets_while_it_is_closed_is_given_back_before_the_consumer_goes() {
    let Processor {
        consumer, mut line, ..
    } = Processor::start().await;
    let mut leaving = tokio::spawn(consumer.detach());
    let mut sent_words = Vec::new();
    let mut attempts = 0;
    loop {
        let sent = tokio::select! {
            biased;
            left = &mut leaving => break left.unwrap().unwrap(),
            sent = line.next() => sent,
        };
        let lines = sent.lines();
        let line = lines[0].strip_prefix("EVAL ").unwrap_or(&lines[0]);
        let word = line.split(' ').next().unwrap_or_default().to_owned();
        match &*word {
            // What was given back before is no read of this one's.
            "XPENDING" if attempts == 0 => {
                let lapsed = Value::Int(i64::try_from(LEASE.as_millis()).unwrap());
                let given_back = list([text("4-0"), text("me"), lapsed, Value::Int(1)]);
                sent.answer([list([given_back])]);
            }
            "XPENDING" if attempts == 1 => sent.answer([pending([("5-0", 1)])]),
            "XRANGE" => sent.answer([list([request("5-0")])]),
            "leave" => {
                attempts += 1;
                sent.answer([Value::Int(i64::from(attempts == 1)), Value::Int(0)]);
            }
            _ => answer(sent),
        }
        // What was under way when its task was ended.
        if word != "remove_dead" {
            sent_words.push(word);
        }
    }
    let expected = [
        "XPENDING",
        "leave",
        "XPENDING",
        "XRANGE",
        "give_back",
        "leave",
    ];
    assert_eq!(sent_words, expected);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_is_made_up_for_and_counts_no_delivery() {
    let mut processor = Processor::start().await;
    let held = processor.reads(&["1-0"]).await;
    let inbox = Arc::clone(&processor.consumer.inbox);
    let releasing = tokio::spawn(async move {
        let consumer = RedisConsumer { inbox };
        let released = consumer.release(held).await;
        // Its tasks are the processor's.
        std::mem::forget(consumer);
        released
    });
    let expected = ["EVAL give_back 2 request again group me 3000 1-0 0"];
    let give_back = processor.next("EVAL give_back").await;
    assert_eq!(give_back.lines(), expected);
    drop(give_back);
    let error = releasing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    let again = processor.next("EVAL give_back").await;
    assert_eq!(again.lines(), expected);
}
