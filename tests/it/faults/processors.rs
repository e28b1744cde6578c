//! Processors that die, are stopped, or have handlers that do wrong.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use dynamic_batcher_conformance::faults::{Act, Peer, Signal};
use tokio::time::sleep;

use crate::rig::{Client, LEASE, PATIENCE, Rig, SOON, ends, eventually, kind, start};

pub(crate) async fn killed_processors_lose_nothing(client: Client) {
    let rig = Rig::new(client);
    let mut processors = rig.processors(3).await;
    let caller = rig.caller().await;
    let load = rig.load(&caller, 64, PATIENCE);
    for kill in 0..6 {
        rig.answered(100).await;
        let processor = &mut processors[kill % 3];
        processor.kill();
        *processor = start(&rig.config());
    }
    for processor in &processors {
        processor.ready().await;
    }
    load.stop().await;
    let verdict = rig.ledger.assert(&[]);
    assert!(verdict.requests >= 600);
    drop(caller);
    rig.end_after_deaths(processors).await;
}

/// It holds a batch, and the entries that it has read, when it is stopped.
pub(crate) async fn a_stopped_processor_loses_nothing_and_does_no_harm_when_it_goes_on(
    client: Client,
) {
    let rig = Rig::new(client);
    let mut stopped = rig.processor().await;
    let caller = rig.caller().await;
    let nap = rig.job().act(Act::Sleep(300));
    let number = nap.id();
    let mut begun = vec![rig.begin_one(&caller, nap, PATIENCE)];
    let runs = || stopped.has_run().contains(&number);
    eventually("a batch runs", runs).await;
    begun.extend(rig.begin(&caller, 50, PATIENCE));
    eventually("the next is read", || pending(&rig) > 1).await;
    stopped.signal(Signal::Stop);

    let other = rig.processor().await;
    for end in ends(begun).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
        assert!(end.elapsed < LEASE * 2 + SOON, "{end:?}");
    }
    assert!(other.has_run().contains(&number), "it was taken over");

    // Whether it answers late, or sees that it has lost what it had: nobody is harmed.
    stopped.signal(Signal::Continue);
    let load = rig.load(&caller, 32, PATIENCE);
    let before = stopped.has_run().len();
    let works = |peer: &Peer| peer.has_run().len() > before;
    eventually("it works again", || works(&stopped)).await;
    rig.answered(200).await;
    load.stop().await;
    rig.ledger.assert(&[]);
    drop(caller);
    rig.end(vec![stopped, other]).await;
}

pub(crate) async fn a_batch_may_run_longer_than_its_lease(client: Client) {
    let rig = Rig::new(client);
    let processors = rig.processors(2).await;
    let caller = rig.caller().await;
    let end = rig.act(&caller, Act::Sleep(3_500)).await;
    assert_eq!(kind(&end), "Ok", "{end:?}");
    let runs: Vec<_> = processors.iter().flat_map(Peer::has_run).collect();
    assert_eq!(runs, [end.id], "it ran once");
    drop(caller);
    rig.end(processors).await;
}

pub(crate) async fn what_a_handler_does_wrong_is_told_to_its_batch_alone(client: Client) {
    let rig = Rig::new(client);
    let processor = rig.processor().await;
    let caller = rig.caller().await;
    for (act, expected) in [
        (Act::Panic, "Panic"),
        (Act::TooFew, "WrongNumberOfOutputs"),
        (Act::Fail, "Handler"),
    ] {
        let end = rig.act(&caller, act).await;
        assert_eq!(kind(&end), expected, "{end:?}");
        assert_eq!(kind(&rig.call(&caller).await), "Ok", "after {act:?}");
    }
    // In one batch with others, an item's own error is its own.
    let nap = rig.begin_one(&caller, rig.job().act(Act::Sleep(200)), PATIENCE);
    let bad = rig.begin_one(&caller, rig.job().act(Act::Fail), PATIENCE);
    let good = rig.begin(&caller, 10, PATIENCE);
    let bad = bad.await.expect("it does not panic");
    assert_eq!(kind(&bad), "Handler", "{bad:?}");
    for end in ends(good.into_iter().chain([nap]).collect()).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    drop(caller);
    rig.end(vec![processor]).await;
}

pub(crate) async fn a_handler_that_never_returns_is_given_up_after_its_run_timeout(client: Client) {
    let rig = Rig::new(client);
    let mut config = rig.config();
    config.run_timeout = Some(LEASE * 2);
    let processors = [
        rig.processor_with(config.clone()).await,
        rig.processor_with(config).await,
    ];
    let caller = rig.caller().await;
    let end = rig.act(&caller, Act::Hang).await;
    assert_eq!(kind(&end), "HandlerTimeout", "{end:?}");
    assert!(end.elapsed < LEASE * 2 + SOON, "{end:?}");
    for end in ends(rig.begin(&caller, 50, PATIENCE)).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    let runs = processors.iter().flat_map(Peer::has_run);
    assert_eq!(runs.filter(|id| *id == end.id).count(), 1, "it ran once");
    drop(caller);
    rig.end(processors.into()).await;
}

/// Its lease is kept, so that no other hangs too.
pub(crate) async fn a_handler_that_never_returns_keeps_its_request(client: Client) {
    let rig = Rig::new(client);
    let processors = rig.processors(2).await;
    let caller = rig.caller().await;
    let hanging = rig.job().act(Act::Hang);
    let hanging = rig.begin_one(&caller, hanging, LEASE * 4).await;
    let end = hanging.expect("it does not panic");
    assert_eq!(kind(&end), "Timeout", "{end:?}");
    let runs: Vec<_> = processors.iter().flat_map(Peer::has_run).collect();
    assert_eq!(runs, [end.id], "it ran once");
}

/// What its processor has read for the next batch must not wait for ever with it.
pub(crate) async fn requests_behind_a_handler_that_never_returns_go_to_others(client: Client) {
    let rig = Rig::new(client);
    let hung = rig.processor().await;
    let caller = rig.caller().await;
    let hanging = rig.job().act(Act::Hang);
    let hanging = rig.begin_one(&caller, hanging, PATIENCE);
    eventually("it runs", || hung.has_run().len() == 1).await;
    let behind = rig.begin(&caller, 10, PATIENCE / 2);
    eventually("they are read", || pending(&rig) == 11).await;
    let _other = rig.processor().await;
    for end in ends(behind).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    hanging.abort();
}

/// Others are in its batch the first time. As often as it kills a processor, another is started.
pub(crate) async fn a_request_that_kills_its_processors_is_given_up_and_harms_no_other(
    client: Client,
) {
    const DELIVERIES: NonZeroU32 = NonZeroU32::new(3).unwrap();
    let rig = Rig::new(client);
    let mut config = rig.config();
    config.max_deliveries = DELIVERIES;
    let caller = rig.caller().await;
    let poison = rig.job().act(Act::Abort);
    let number = poison.id();
    let poison = rig.begin_one(&caller, poison, PATIENCE);
    let others = rig.begin(&caller, 10, PATIENCE);
    eventually("all are in the queue", || rig.probe.length("request") == 11).await;
    let mut processor = start(&config);
    let mut killed = 0;
    let began = Instant::now();
    while !poison.is_finished() {
        assert!(began.elapsed() < PATIENCE, "after {killed} processors");
        if processor.has_ended() {
            killed += 1;
            processor = start(&config);
        }
        sleep(Duration::from_millis(20)).await;
    }
    let end = poison.await.expect("it does not panic");
    assert_eq!(kind(&end), "Undeliverable", "{end:?}");
    let text = format!("{:?}", end.outcome);
    assert!(text.contains('3'), "after three deliveries: {text}");
    assert_eq!(killed, 3);
    for end in ends(others).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    assert_eq!(kind(&rig.call(&caller).await), "Ok");

    assert_eq!(rig.probe.length("{request}:dead"), 1);
    let dead: redis::Value = rig.probe.say("XRANGE {request}:dead - +");
    let dead = format!("{dead:?}");
    for part in ["reason", "attempts", "consumer", &format!("[{number},1]")] {
        assert!(dead.contains(part), "{part} in {dead}");
    }
    rig.probe.say::<i64>("DEL {request}:dead");
    drop(caller);
    processor.ready().await;
    rig.end_after_deaths(vec![processor]).await;
}

fn pending(rig: &Rig) -> i64 {
    let consumers = rig.probe.consumers("request");
    consumers.iter().map(|consumer| consumer.pending).sum()
}
