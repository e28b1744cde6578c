//! A network that cuts, stalls, dawdles.

use std::num::NonZeroU32;
use std::time::Duration;

use dynamic_batcher_conformance::faults::{Network, Peer, Proxy};

use tokio::time::sleep;

use crate::rig::{Caller, Client, LIMIT, PATIENCE, Rig, SOON, ends, eventually, kind, start};

/// Callers and processors, all of them behind a proxy.
struct Behind {
    rig: Rig,
    proxy: Proxy,
    processors: Vec<Peer>,
    caller: Caller,
}

impl Behind {
    async fn new(client: Client, seed: u64) -> Self {
        let rig = Rig::new(client);
        let proxy = Proxy::start(rig.server.port(), seed).await;
        let mut config = rig.config();
        config.port = proxy.port();
        let processors: Vec<_> = (0..2).map(|_| start(&config)).collect();
        for processor in &processors {
            processor.ready().await;
        }
        let caller = rig.caller_at(proxy.port()).await;
        Self {
            rig,
            proxy,
            processors,
            caller,
        }
    }

    async fn end(self) {
        drop(self.caller);
        self.rig.end(self.processors).await;
    }
}

pub(crate) async fn connections_cut_at_random_bytes_do_no_harm(client: Client) {
    let behind = Behind::new(client, 1).await;
    let load = behind.rig.load(&behind.caller, 32, PATIENCE);
    behind.rig.answered(50).await;
    for most in [100_000, 50_000, 20_000] {
        behind.proxy.set(Network::Cutting(most));
        behind.rig.answered(100).await;
    }
    behind.proxy.set(Network::Fine);
    load.stop().await;
    behind.rig.ledger.assert(&[]);
    behind.end().await;
}

pub(crate) async fn all_connections_cut_at_once_do_no_harm(client: Client) {
    let behind = Behind::new(client, 2).await;
    let load = behind.rig.load(&behind.caller, 32, PATIENCE);
    for _ in 0..5 {
        behind.rig.answered(100).await;
        behind.proxy.cut();
    }
    behind.rig.answered(100).await;
    load.stop().await;
    behind.rig.ledger.assert(&[]);
    behind.end().await;
}

pub(crate) async fn a_slow_network_in_pieces_does_no_harm(client: Client) {
    let behind = Behind::new(client, 3).await;
    let load = behind.rig.load(&behind.caller, 32, PATIENCE);
    behind.proxy.set(Network::InPieces);
    behind.rig.answered(200).await;
    behind.proxy.set(Network::Slow(Duration::from_millis(20)));
    behind.rig.answered(100).await;
    behind.proxy.set(Network::Fine);
    load.stop().await;
    behind.rig.ledger.assert(&[]);
    behind.end().await;
}

pub(crate) async fn half_closed_connections_do_no_harm(client: Client) {
    let behind = Behind::new(client, 4).await;
    let load = behind.rig.load(&behind.caller, 32, PATIENCE);
    for _ in 0..3 {
        behind.rig.answered(100).await;
        behind.proxy.half_close();
    }
    behind.rig.answered(100).await;
    load.stop().await;
    behind.rig.ledger.assert(&[]);
    behind.end().await;
}

pub(crate) async fn a_stalled_network_holds_up_no_timeout(client: Client) {
    let behind = Behind::new(client, 5).await;
    let Behind {
        rig, proxy, caller, ..
    } = &behind;
    assert_eq!(kind(&rig.call(caller).await), "Ok");
    proxy.set(Network::Stalled);
    let patient = rig.begin(caller, 20, PATIENCE);
    for end in ends(rig.begin(caller, 20, Duration::from_secs(1))).await {
        assert_eq!(kind(&end), "Timeout", "{end:?}");
    }
    proxy.set(Network::Fine);
    for end in ends(patient).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    rig.ledger.assert(&["Timeout"]);
    behind.end().await;
}

/// As when a router forgets them: nobody is told that they are gone.
pub(crate) async fn connections_that_fall_silent_are_replaced(client: Client) {
    let behind = Behind::new(client, 6).await;
    let Behind {
        rig, proxy, caller, ..
    } = &behind;
    assert_eq!(kind(&rig.call(caller).await), "Ok");
    proxy.freeze();
    for end in ends(rig.begin(caller, 20, PATIENCE)).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    let end = rig.call(caller).await;
    assert!(end.elapsed < SOON, "{end:?}");
    rig.ledger.assert(&[]);
    behind.end().await;
}

/// A processor has it and has not seen it.
pub(crate) async fn a_notice_that_a_cut_connection_has_swallowed_is_taken(client: Client) {
    let behind = Behind::new(client, 7).await;
    let Behind { rig, proxy, .. } = &behind;
    let pending = || {
        let consumers = rig.probe.consumers("{request}:again");
        consumers.iter().any(|consumer| consumer.pending > 0)
    };
    // A read that the network holds up would get nothing.
    let reads = || {
        let clients: String = rig.probe.say("CLIENT LIST");
        clients.matches("cmd=xreadgroup").count() == 2
    };
    eventually("both processors read", reads).await;
    proxy.set(Network::Stalled);
    rig.probe
        .say::<String>("XADD {request}:again * from nobody");
    eventually("it is delivered", pending).await;
    proxy.cut();
    proxy.set(Network::Fine);
    rig.probe.is_clean(2, LIMIT).await;
    behind.end().await;
}

/// Its expiry is put off although no connection lives as long as the interval between two times.
pub(crate) async fn a_reply_stream_is_kept_however_often_connections_are_cut(client: Client) {
    const BETWEEN: Duration = Duration::from_secs(4);
    /// Of 60 s, as many as have passed, and some.
    const NOT_PUT_OFF: i64 = 60 - 4 * 6 + 4;
    let behind = Behind::new(client, 8).await;
    let Behind {
        rig, proxy, caller, ..
    } = &behind;
    for _ in 0..6 {
        assert_eq!(kind(&rig.call(caller).await), "Ok");
        sleep(BETWEEN).await;
        proxy.cut();
    }
    let streams: Vec<String> = rig.probe.say("KEYS {request}:reply:*");
    let expiry: i64 = rig.probe.say(&format!("TTL {}", streams[0]));
    assert!(expiry > NOT_PUT_OFF, "it expires in {expiry} s");
    behind.end().await;
}

/// It takes longer than a connection may be silent. (Of what moves, `fred` shows nothing.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_a_slow_network_carries_is_answered_at_its_first_delivery() {
    /// For 16 KiB at most: 2 MB/s.
    const PAUSE: Duration = Duration::from_millis(8);
    /// About 24 MB.
    const PAIRS: usize = 600_000;
    const VALUE: i64 = 1_000_000_000_000_000_000;
    let rig = Rig::new(Client::Redis);
    let proxy = Proxy::start(rig.server.port(), 9).await;
    let mut config = rig.config();
    config.port = proxy.port();
    config.lease = PATIENCE;
    config.grace = PATIENCE;
    config.max_deliveries = NonZeroU32::MIN;
    let processor = rig.processor_with(config).await;
    proxy.set(Network::Slow(PAUSE));
    let caller = rig.caller().await;
    let mut job = rig.job();
    job.values
        .extend(std::iter::repeat_n([VALUE, -VALUE], PAIRS).flatten());
    let end = rig.send(&caller, job).await;
    assert_eq!(kind(&end), "Ok", "{end:?}");
    assert!(end.elapsed > Duration::from_secs(10), "{end:?}");
    rig.ledger.assert(&[]);
    proxy.set(Network::Fine);
    drop(caller);
    rig.end(vec![processor]).await;
}

/// Its processor goes on trying to tell of it, for a lease, in which another has taken the requests over.
pub(crate) async fn a_failure_that_a_cut_network_holds_back_ends_nothing_that_another_runs(
    client: Client,
) {
    const LEASE: Duration = Duration::from_secs(3);
    let rig = Rig::new(client);
    let proxy = Proxy::start(rig.server.port(), 7).await;
    let mut config = rig.config();
    config.lease = LEASE;
    config.pause = LEASE;
    let mut cut_off = config.clone();
    cut_off.port = proxy.port();
    cut_off.pause = LIMIT;
    cut_off.run_timeout = Some(LEASE * 2 / 3);
    let first = rig.processor_with(cut_off).await;
    let caller = rig.caller().await;
    let begun = rig.begin(&caller, 3, PATIENCE);
    eventually("it runs", || first.has_run().len() == 3).await;
    proxy.set(Network::Refusing);
    proxy.cut();
    let other = rig.processor_with(config).await;
    eventually("the other runs", || other.has_run().len() == 3).await;
    proxy.set(Network::Fine);
    for end in ends(begun).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    rig.ledger.assert(&[]);
    drop(caller);
    rig.end(vec![first, other]).await;
}
