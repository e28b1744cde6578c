//! Processors that drain while something is wrong.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Phase, WhenIdle};
use dynamic_batcher_conformance::faults::{Act, Done, Job, Message, Peer};

use crate::rig::{Client, LIMIT, PATIENCE, Rig, ends, eventually, kind, leave, start};

const DEADLINE: Duration = Duration::from_secs(2);
/// What a machine with much to do may add.
const MORE: Duration = Duration::from_secs(1);

/// Drains one by the deadline; how many requests it gave up.
async fn drain(processor: &mut Peer, deadline: Duration) -> usize {
    processor.leave(deadline);
    match processor.left(LIMIT).await {
        Message::Left {
            abandoned,
            ended,
            took,
            ..
        } => {
            assert!(took < deadline + MORE, "{took:?}");
            assert!(ended);
            abandoned
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_drain_under_load_ends_in_time_and_loses_nothing(client: Client) {
    let rig = Rig::new(client);
    let mut processors = rig.processors(2).await;
    let caller = rig.caller().await;
    let load = rig.load(&caller, 64, PATIENCE);
    for number in 0..6 {
        rig.answered(100).await;
        let mut leaving = std::mem::replace(&mut processors[number % 2], start(&rig.config()));
        assert_eq!(drain(&mut leaving, DEADLINE).await, 0);
        processors[number % 2].ready().await;
    }
    load.stop().await;
    rig.ledger.assert(&[]);
    drop(caller);
    rig.end(processors).await;
}

pub(crate) async fn a_drain_without_a_server_ends_in_time(client: Client) {
    let mut rig = Rig::new(client);
    let mut processor = rig.processor().await;
    let caller = rig.caller().await;
    let running = rig.begin_one(&caller, rig.job().act(Act::Sleep(500)), PATIENCE);
    eventually("it runs", || !processor.has_run().is_empty()).await;
    rig.server.kill();
    processor.leave(DEADLINE);
    match processor.left(LIMIT).await {
        Message::Left { took, .. } => assert!(took < DEADLINE + MORE, "{took:?}"),
        other => panic!("{other:?}"),
    }
    running.abort();
}

pub(crate) async fn a_drain_with_a_handler_that_never_returns_ends_in_time(client: Client) {
    let (_rig, other) = drain_one_that_hangs(client).await;
    leave(vec![other]).await;
}

pub(crate) async fn what_tells_of_requests_given_back_goes_with_them(client: Client) {
    let (rig, other) = drain_one_that_hangs(client).await;
    rig.end(vec![other]).await;
}

/// While its last batch runs, and though a read of it may still block.
pub(crate) async fn a_processor_that_drains_takes_nothing_from_others(client: Client) {
    let rig = Rig::new(client);
    // Long enough that no lease gives back what it has.
    let mut config = rig.config();
    (config.lease, config.grace) = (10 * LIMIT, 10 * LIMIT);
    let transport = client.connect(config.redis()).await.expect("it may");
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let hangs = |_: Vec<Job>| pending::<Vec<Done>>();
    let processor = Arc::new(BatchProcessor::spawn(transport, policy, hangs));
    let caller = rig.caller().await;
    let hanging = rig.begin_one(&caller, rig.job(), PATIENCE);
    eventually("it runs", || processor.status().running == 1).await;
    let reads = || {
        rig.probe
            .say::<String>("CLIENT LIST")
            .contains("cmd=xreadgroup")
    };
    eventually("it reads on", reads).await;

    let draining = Arc::clone(&processor);
    let draining = tokio::spawn(async move { draining.drain(LIMIT).await });
    let drains = || processor.status().phase == Phase::Draining;
    eventually("it drains", drains).await;
    let other = rig.processor_with(config).await;
    for end in ends(rig.begin(&caller, 8, PATIENCE)).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    assert!(drains(), "they have waited for it");
    hanging.abort();
    draining.abort();
    leave(vec![other]).await;
}

/// Another has answered what it had read.
async fn drain_one_that_hangs(client: Client) -> (Rig, Peer) {
    let rig = Rig::new(client);
    let mut processor = rig.processor().await;
    let caller = rig.caller().await;
    let hanging = rig.begin_one(&caller, rig.job().act(Act::Hang), PATIENCE);
    eventually("it runs", || !processor.has_run().is_empty()).await;
    let behind = rig.begin(&caller, 10, PATIENCE);
    eventually("all are in the queue", || rig.probe.length("request") == 11).await;
    assert_eq!(drain(&mut processor, DEADLINE).await, 1);
    // Given up, it is for others too: they are to be spared.
    hanging.abort();
    eventually("it is withdrawn", || rig.probe.length("request") == 10).await;
    // What it had read is for others at once.
    let other = rig.processor().await;
    for each in behind {
        let end = each.await.expect("it does not panic");
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    (rig, other)
}
