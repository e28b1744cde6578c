//! A server that is killed, forgets, is stopped, or is full.

use std::time::{Duration, Instant};

use dynamic_batcher::ErrorKind;
use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_conformance::faults::{Act, Signal, signal};
use tokio::time::sleep;

use crate::rig::{Client, PATIENCE, Rig, SOON, ends, eventually, kind, leave};

pub(crate) async fn a_durable_server_that_is_killed_loses_nothing(client: Client) {
    let mut rig = Rig::with(client, RedisServer::start_durable());
    let processors = rig.processors(2).await;
    let caller = rig.caller().await;
    let load = rig.load(&caller, 32, PATIENCE);
    for _ in 0..3 {
        rig.answered(100).await;
        rig.server.restart();
    }
    rig.answered(100).await;
    load.stop().await;
    rig.ledger.assert(&[]);
    drop(caller);
    rig.end(processors).await;
}

pub(crate) async fn what_a_server_forgets_is_told_soon_and_new_requests_work(client: Client) {
    forgets(client, |rig| rig.server.restart()).await;
}

pub(crate) async fn what_is_flushed_is_told_soon_and_new_requests_work(client: Client) {
    forgets(client, |rig| rig.probe.say("FLUSHALL")).await;
}

async fn forgets(client: Client, forget: fn(&mut Rig)) {
    let mut rig = Rig::new(client);
    let processors = rig.processors(2).await;
    let caller = rig.caller().await;
    // While all are at work.
    let load = rig.load(&caller, 32, PATIENCE);
    for _ in 0..2 {
        rig.answered(100).await;
        forget(&mut rig);
        let end = rig.call(&caller).await;
        assert!(end.elapsed < SOON, "{end:?}");
    }
    rig.answered(100).await;
    load.stop().await;
    leave(processors).await;
    // While requests wait for a processor.
    let mut waiting = Vec::new();
    for length in [49, 50] {
        waiting.extend(rig.begin(&caller, length - waiting.len(), PATIENCE));
        let all = || rig.probe.length("request") == length as i64;
        eventually("all are in the queue", all).await;
    }
    forget(&mut rig);
    let forgotten = Instant::now();
    let processor = rig.processor().await;
    let mut gone = 0;
    for end in ends(waiting).await {
        // Of one whose caller had not heard yet that it was added, it is added again.
        if end.outcome.is_ok() {
            continue;
        }
        gone += 1;
        assert!(
            matches!(kind(&end), "Lost" | "Connection"),
            "of a request that is gone: {end:?}"
        );
        assert!(end.outcome.is_err_and(|failure| failure.retryable));
    }
    assert!(forgotten.elapsed() < SOON * 2, "{:?}", forgotten.elapsed());
    assert!(gone > 0, "they were forgotten");
    let end = rig.call(&caller).await;
    assert_eq!(kind(&end), "Ok", "{end:?}");
    assert!(end.elapsed < SOON, "{end:?}");
    rig.ledger.assert(&["Lost", "Connection"]);
    drop(caller);
    rig.end(vec![processor]).await;
}

pub(crate) async fn a_stopped_server_holds_up_no_timeout(client: Client) {
    const STOPPED: Duration = Duration::from_secs(5);
    let rig = Rig::new(client);
    let processor = rig.processor().await;
    let caller = rig.caller().await;
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    // Some have been read when it stops, some have not.
    let nap = rig.begin_one(&caller, rig.job().act(Act::Sleep(300)), PATIENCE);
    eventually("it runs", || processor.has_run().len() == 2).await;
    signal(rig.server.pid(), Signal::Stop);
    let start = Instant::now();
    let patient = rig.begin(&caller, 20, PATIENCE);
    let hasty = rig.begin(&caller, 20, Duration::from_secs(1));
    for end in ends(hasty).await {
        assert_eq!(kind(&end), "Timeout", "{end:?}");
    }
    assert!(start.elapsed() < STOPPED, "{:?}", start.elapsed());
    sleep(STOPPED.saturating_sub(start.elapsed())).await;
    signal(rig.server.pid(), Signal::Continue);
    for end in ends(patient.into_iter().chain([nap]).collect()).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
        let runs = processor.has_run();
        let times = runs.iter().filter(|id| **id == end.id).count();
        assert_eq!(times, 1, "{end:?}");
    }
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    rig.ledger.assert(&["Timeout"]);
    drop(caller);
    rig.end(vec![processor]).await;
}

pub(crate) async fn a_sign_of_life_is_given_while_the_server_lives(client: Client) {
    let mut rig = Rig::new(client);
    let transport = client.connect(rig.config().redis()).await;
    let transport = transport.expect("it connects");
    transport.ping().await.expect("it lives");
    rig.server.kill();
    let error = transport.ping().await.expect_err("it is dead");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    rig.server.restart();
    transport.ping().await.expect("it lives again");
}

pub(crate) async fn a_full_server_is_an_error_until_it_has_room(client: Client) {
    let rig = Rig::new(client);
    let processor = rig.processor().await;
    let caller = rig.caller().await;
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    fill(&rig);
    let end = rig.call(&caller).await;
    assert_eq!(kind(&end), "QueueFull", "{end:?}");
    assert!(format!("{end:?}").contains("maxmemory"), "{end:?}");
    make_room(&rig);
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    rig.ledger.assert(&["QueueFull"]);
    drop(caller);
    rig.end(vec![processor]).await;
}

/// Where requests fill the server nothing else makes room.
pub(crate) async fn a_full_server_is_emptied_by_the_answers(client: Client) {
    let rig = Rig::new(client);
    let caller = rig.caller().await;
    let accepted = rig.begin(&caller, 20, PATIENCE);
    eventually("they are queued", || rig.probe.length("request") == 20).await;
    fill(&rig);
    // One that comes when the server is full already.
    let processor = rig.processor().await;
    for end in ends(accepted).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    assert_eq!(processor.has_run().len(), 20);
    drop(caller);
    rig.end(vec![processor]).await;
}

/// Nor do Python callers take back what they no longer wait for.
pub(crate) async fn a_full_server_takes_the_answers_to_python_callers(client: Client) {
    let rig = Rig::new(client);
    let add = || {
        let body = serde_json::to_string(&rig.job()).expect("numbers");
        rig.probe
            .say::<String>(&format!("XADD request * body {body}"))
    };
    let ids: Vec<_> = (0..20).map(|_| add()).collect();
    fill(&rig);
    let processor = rig.processor().await;
    let answered = || rig.probe.say::<usize>(&format!("EXISTS {}", ids.join(" ")));
    eventually("they are answered", || answered() == ids.len()).await;
    let gone = || rig.probe.length("request") == 0;
    eventually("their entries are deleted", gone).await;
    assert_eq!(processor.has_run().len(), ids.len());
    rig.probe.say::<()>(&format!("DEL {}", ids.join(" ")));
    rig.end(vec![processor]).await;
}

/// Of its requests nothing is left, and nothing can be added until that is gone too.
pub(crate) async fn what_stood_where_somebody_writes_something_else_is_lost(client: Client) {
    let rig = Rig::new(client);
    let caller = rig.caller().await;
    let accepted = rig.begin(&caller, 3, PATIENCE);
    eventually("they are queued", || rig.probe.length("request") == 3).await;
    rig.probe.say::<()>("SET request 1");
    for end in ends(accepted).await {
        assert_eq!(kind(&end), "Lost", "{end:?}");
        assert!(end.elapsed < SOON, "{end:?}");
    }
    rig.probe.say::<()>("DEL request");
    let processor = rig.processor().await;
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    rig.ledger.assert(&["Lost"]);
    drop(caller);
    rig.end(vec![processor]).await;
}

fn fill(rig: &Rig) {
    rig.probe.say::<()>("CONFIG SET maxmemory 1");
}

fn make_room(rig: &Rig) {
    rig.probe.say::<()>("CONFIG SET maxmemory 0");
}
