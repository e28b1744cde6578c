//! What is large goes over the shared connection in parts, so that others have their turn.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_pending_unseen_is_fetched_in_parts_and_each_is_there_when_it_has_come() {
    let mut processor = Processor::start().await;
    processor.blocked = None;
    let unseen: Vec<_> = (1..=20).map(|n| format!("{n}-0")).collect();
    let look = processor.next("XPENDING").await;
    look.answer([pending(unseen.iter().map(|id| (&**id, 1)))]);
    for part in [&unseen[..16], &unseen[16..]] {
        let fetch = processor.next("XRANGE").await;
        let lines = part.iter().map(|id| format!("XRANGE request {id} {id}"));
        assert_eq!(fetch.lines(), lines.collect::<Vec<_>>());
        let entries = part.iter().map(|id| list([request(id)]));
        fetch.answer(entries.collect::<Vec<_>>());
        let waiting = processor.waiting.take().unwrap();
        let mut received = ids(&waiting.await);
        while received.len() < part.len() {
            received.extend(ids(&processor.recv()));
        }
        assert_eq!(received, part);
        assert!(processor.recv().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn answers_go_in_pipelines_and_what_has_arrived_of_them_stands() {
    let mut processor = Processor::start().await;
    let entries = ["4-0", "5-0"].map(|id| entry(id, &["body", "1"]));
    let entries = ["1-0", "2-0", "3-0"]
        .map(request)
        .into_iter()
        .chain(entries);
    let held = processor.finds(read(entries)).await;
    let lengths = [3 << 20, 3 << 20, 3 << 20, 1, 3 << 20];
    let answers = held
        .into_iter()
        .zip(lengths)
        .map(|(each, length)| Answer::new(each.ticket, Ok(vec![b'x'; length]), Duration::ZERO));
    let mut replying = processor.reply(answers.collect());
    // Those of Python callers are made first.
    for (begins, ids) in [("SET", &["4-0", "5-0"][..]), ("EVAL answer", &["1-0"])] {
        let sent = processor.next(begins).await;
        assert_eq!(answered(&sent), ids);
        sent.answer(vec![Value::Int(1); ids.len()]);
    }
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut replying => break ended.unwrap(),
            sent = processor.next("EVAL answer") => assert_eq!(answered(&sent), ["2-0"]),
        }
    };
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Connection);
    let give_back = processor.next("EVAL give_back").await;
    let given_back = "EVAL give_back 2 request again group me 3000 2-0 1 3-0 1";
    assert_eq!(give_back.lines(), [given_back]);
    give_back.answer([Value::Int(2)]);
    let seen = processor.next("EXISTS").await;
    assert_eq!(seen.lines(), ["EXISTS 4-0", "EXISTS 5-0"]);
}

/// The requests that these commands answer.
fn answered(sent: &Sent) -> Vec<String> {
    let ids = sent.commands.iter().filter_map(|command| {
        let mut args = command.iter();
        match command.name {
            "SET" => args.next(),
            "EVAL" if args.next() == Some(commands::ANSWER.as_bytes()) => args.nth(6),
            _ => None,
        }
    });
    ids.map(|id| String::from_utf8_lossy(id).into_owned())
        .collect()
}
