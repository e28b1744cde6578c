//! Letters that the server refuses, or might.

use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor};
use dynamic_batcher_conformance::faults::{Done, Job, serve};

use crate::rig::{Client, LIMIT, Rig, eventually};

/// The name of the letters is another program's; and there is no limit to them, which is more than the
/// server can count.
pub(crate) async fn a_letter_that_is_refused_costs_no_request(client: Client) {
    let rig = Rig::new(client);
    let config = rig.config().redis().max_dead_letters(NonZeroUsize::MAX);
    let transport = rig.client.connect(config).await.expect("it answers");
    rig.probe.say::<()>("SET {request}:dead other");
    let id: String = rig.probe.say("XADD request * body 1");
    let read = "XREADGROUP GROUP processor rust-dead STREAMS request >";
    rig.probe.say::<redis::Value>(read);
    let claim = format!("XCLAIM request processor rust-dead 0 {id} IDLE 100000");
    rig.probe
        .say::<redis::Value>(&format!("{claim} RETRYCOUNT 20 JUSTID"));
    let processor: BatchProcessor<Job, Done> =
        BatchProcessor::spawn(transport, BatchPolicy::default(), |batch: Vec<Job>| {
            serve(batch, Duration::ZERO)
        });
    let errors = || rig.probe.say::<String>("INFO errorstats");
    let refused = || errors().contains("errorstat_WRONGTYPE:");
    eventually("the letter is refused", refused).await;
    assert_eq!(rig.probe.length("request"), 1);

    rig.probe.say::<i64>("DEL {request}:dead");
    let buried = || rig.probe.length("{request}:dead") == 1;
    eventually("it is buried", buried).await;
    let told: String = rig.probe.say(&format!("GETDEL {id}"));
    assert_eq!(told, "null");
    assert_eq!(rig.probe.length("request"), 0);
    processor.drain(LIMIT).await.expect("it ends");
}
