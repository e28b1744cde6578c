//! Which requests go together, and when.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pipeline_holds_a_bounded_number_of_requests_and_of_bytes() {
    let mut caller = start(OnFull::Reject).await;
    let _calls: Vec<_> = (0..PIPELINE + 1).map(|_| caller.call()).collect();
    let sent = caller.line.next().await;
    assert_eq!(idems(&sent).len(), PIPELINE);
    sent.answer([ids(PIPELINE)]);
    let rest = caller.line.next().await;
    assert_eq!(idems(&rest).len(), 1);
    drop(rest);
    let mut caller = start(OnFull::Reject).await;
    let body = vec![b'1'; PIPELINE_BYTES / 2];
    for _ in 0..3 {
        let (idem, _) = caller.outstanding.enter(CallMeta::new(TIMEOUT));
        caller.add(idem, &body);
    }
    let _first = caller.sends(&[2, 3]).await;
    let _second = caller.sends(&[4]).await;
}

#[tokio::test(start_paused = true)]
async fn beside_a_pipeline_on_its_way_goes_one_that_has_its_share_of_what_waits() {
    let mut caller = start(OnFull::Reject).await;
    let mut calls = Vec::from(caller.calls::<8>());
    let first = caller.sends(&[2, 3, 4, 5, 6, 7, 8, 9]).await;
    calls.push(caller.call());
    caller.sends_nothing().await;
    calls.push(caller.call());
    let second = caller.sends(&[10, 11]).await;
    calls.push(caller.call());
    caller.sends_nothing().await;
    first.answer([ids(8)]);
    caller.sends_nothing().await;
    second.answer([ids(2)]);
    let _third = caller.sends(&[12]).await;
}

#[tokio::test(start_paused = true)]
async fn what_one_caller_sends_goes_at_once() {
    let mut caller = start(OnFull::Reject).await;
    let mut on_their_way = Vec::new();
    for idem in 2..5 {
        on_their_way.push((caller.call(), caller.sends(&[idem]).await));
    }
}

/// Where a worker's tasks wait in its queue, more of them than it runs without a look at its sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn callers_that_are_woken_together_go_in_one_pipeline() {
    const CALLERS: u64 = 90;
    let on_the_worker = tokio::spawn(async {
        let mut caller = start_anew(OnFull::Wait);
        let answered = Arc::new(Notify::new());
        let asks = (1..=CALLERS).map(|idem| {
            let (answered, submissions) = (Arc::clone(&answered), caller.submissions.clone());
            let _ = caller.outstanding.enter(CallMeta::new(TIMEOUT));
            let mut answered = Box::pin(answered.notified_owned());
            answered.as_mut().enable();
            tokio::spawn(async move {
                answered.await;
                add_to(&submissions, idem, b"1");
            })
        });
        let asks: Vec<_> = asks.collect();
        yield_now().await;
        answered.notify_waiters();
        let sent = caller.line.next().await;
        join_all(asks).await;
        idems(&sent)
    });
    let sent = on_the_worker.await.unwrap();
    assert_eq!(sent.len(), usize::try_from(CALLERS).unwrap());
}
