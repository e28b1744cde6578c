//! How long requests are kept while the server cannot be reached.

use super::*;

#[tokio::test(start_paused = true)]
async fn after_ten_seconds_without_success_the_callers_learn_of_it() {
    let mut caller = start(OnFull::Reject).await;
    let start = Instant::now();
    let mut call = caller.call();
    let outcome = loop {
        tokio::select! {
            outcome = &mut call => break outcome.unwrap(),
            sent = caller.line.next() => assert_eq!(idems(&sent), [2]),
        }
    };
    assert_eq!(kind(outcome), ErrorKind::Connection);
    assert!(start.elapsed() >= PATIENCE, "{:?}", start.elapsed());
    assert!(start.elapsed() <= PATIENCE + LONGEST_PAUSE);
    // Meanwhile nobody else is kept for so long, and it is still tried.
    let next = caller.call();
    drop(caller.sends(&[3]).await);
    assert_eq!(kind(next.await.unwrap()), ErrorKind::Connection);
    let _later = caller.call();
    caller.sends(&[4]).await.answer([texts(["9-0"])]);
    // After a success patience begins anew.
    let mut last = caller.call();
    drop(caller.sends(&[5]).await);
    caller.sends(&[5]).await.answer([texts(["9-1"])]);
    assert!(last.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn after_ten_seconds_all_callers_learn_of_it_however_many_they_are() {
    let mut caller = start(OnFull::Reject).await;
    let _first = caller.call();
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        drop(caller.line.next().await);
    }
    let calls: Vec<_> = (0..10 * PIPELINES * PIPELINE)
        .map(|_| caller.call())
        .collect();
    let mut pipelines = 0;
    let mut outcomes = join_all(calls);
    let outcomes = loop {
        tokio::select! {
            outcomes = &mut outcomes => break outcomes,
            sent = caller.line.next() => drop(sent),
        }
        pipelines += 1;
    };
    assert!(pipelines <= PIPELINES, "{pipelines}");
    for outcome in outcomes {
        assert_eq!(kind(outcome.unwrap()), ErrorKind::Connection);
    }
}

#[tokio::test(start_paused = true)]
async fn patience_begins_anew_whatever_the_server_answers() {
    for answer in [texts([]), refused("NOSCRIPT")] {
        let mut caller = start(OnFull::Wait).await;
        let _call = caller.call();
        drop(caller.sends(&[2]).await);
        let sent = caller.sends(&[2]).await;
        tokio::time::sleep(PATIENCE).await;
        sent.answer([answer]);
        drop(caller.sends(&[2]).await);
        let sent = caller.sends(&[2]).await;
        let mut replies = vec![Value::Nil; sent.commands.len() - 1];
        replies.push(texts(["2-0"]));
        sent.answer(replies);
        caller.has_on_the_stream(1).await;
    }
}

/// What nobody waits for any more is not sent, which is no success.
#[tokio::test(start_paused = true)]
async fn patience_does_not_begin_anew_when_there_was_nothing_to_send() {
    let mut caller = start(OnFull::Reject).await;
    let start = Instant::now();
    let mut given_up = 0;
    let outcome = loop {
        let mut call = caller.call();
        let sent = caller.line.next().await;
        let idem = idems(&sent)[0];
        drop(sent);
        // On the paused clock time passes when everything else has been done.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if let Ok(outcome) = call.try_recv() {
            break outcome;
        }
        // Its turn comes once more, after a pause.
        caller.outstanding.abandon(idem);
        tokio::time::sleep(LONGEST_PAUSE).await;
        given_up += 1;
    };
    assert_eq!(kind(outcome), ErrorKind::Connection);
    assert!(given_up > 3, "{given_up}");
    assert!(start.elapsed() >= PATIENCE, "{:?}", start.elapsed());
    assert!(start.elapsed() <= PATIENCE + 3 * LONGEST_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn patience_begins_anew_when_for_long_nothing_was_to_be_sent() {
    let mut caller = start(OnFull::Reject).await;
    let _given_up = caller.call();
    // Until the pauses are long.
    for _ in 0..8 {
        drop(caller.sends(&[2]).await);
    }
    caller.outstanding.abandon(2);
    tokio::time::sleep(Duration::from_secs(60 * 60)).await;
    let mut call = caller.call();
    drop(caller.sends(&[3]).await);
    let cut = Instant::now();
    let sent = caller.sends(&[3]).await;
    assert!(cut.elapsed() <= FIRST_PAUSE, "{:?}", cut.elapsed());
    assert!(call.try_recv().is_err());
    sent.answer([texts(["2-0"])]);
    caller.has_on_the_stream(1).await;
}
