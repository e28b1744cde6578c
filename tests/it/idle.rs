//! What processes cost that have nothing to do: the commands that the server is sent meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use dynamic_batcher::Batcher;
use tokio::time::sleep;

use crate::peers::{Peers, Sum, Values, eventually, sum_values, timed_sum};

pub(crate) async fn an_idle_caller_sends_next_to_nothing(peers: Peers) {
    const TIME: Duration = Duration::from_secs(6);
    let processor = peers.processor(sum_values).await;
    let batcher: Batcher<Values, Sum> = Batcher::new(peers.transport().await);
    timed_sum(&batcher, 1).await.0.expect("an answer");
    peers.drain(processor).await;

    let sent = sent_within(&peers, TIME).await;
    let all: u64 = sent.values().sum();
    assert!(all <= TIME.as_secs(), "within {TIME:?}: {sent:?}");
    drop(batcher);
}

/// A read that blocks for 5 s, and every 10 s a look at what others have let lapse, and at who has
/// died: three scripts with a command in each, and the time.
pub(crate) async fn an_idle_processor_waits_in_one_read(peers: Peers) {
    const TIME: Duration = Duration::from_secs(11);
    let processor = peers.processor(sum_values).await;
    // Its first look begins beside its first read, and may take longer than that: it is over by the next.
    let reads = || commands(&peers).get("xreadgroup") >= Some(&2);
    eventually("it reads again", reads).await;

    let mut sent = sent_within(&peers, TIME).await;
    let all = format!("within {TIME:?}: {sent:?}");
    let reads = sent.remove("xreadgroup").unwrap_or_default();
    assert!((1..=3).contains(&reads), "{all}");
    let upkeep: u64 = sent.values().sum();
    assert!(upkeep <= 8, "{all}");
    peers.drain(processor).await;
}

/// How often each command was run in a time that begins now.
async fn sent_within(peers: &Peers, time: Duration) -> BTreeMap<String, u64> {
    let before = commands(peers);
    // The one thing to be done here: let time pass.
    sleep(time).await;
    let mut sent = commands(peers);
    for (name, count) in before {
        *sent.entry(name).or_default() -= count;
    }
    sent.retain(|_, count| *count > 0);
    sent
}

/// How often each command has been run, but for those by which this is asked.
fn commands(peers: &Peers) -> BTreeMap<String, u64> {
    let stats: String = peers.ask(redis::cmd("INFO").arg("commandstats"));
    let commands = stats.lines().filter_map(|line| {
        // `cmdstat_xread:calls=4,usec=…`
        let (name, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let (calls, _) = stats.split_once(',')?;
        let asked = name == "info" || name.starts_with("client");
        (!asked).then(|| (name.to_owned(), calls.parse().expect("a number")))
    });
    commands.collect()
}
