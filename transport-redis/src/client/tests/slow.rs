//! A reply that takes longer than the limit, and comes all the while.

use std::time::{Duration, Instant};

use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_conformance::faults::{Network, Proxy};

use super::server::{Connect, Redis, config};
use super::{LIMIT, line, text};
use crate::command::Command;

/// For a piece of at most 16 KiB.
const PAUSE: Duration = Duration::from_millis(4);
const SHORT: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_reply_over_a_slow_network_is_awaited() {
    let server = RedisServer::start(None);
    let proxy = Proxy::start(server.port(), 1).await;
    let config = config(&server).port(proxy.port());
    let client = Redis::connect(&config).await.unwrap();
    let mut own = client.dedicated().await.unwrap();
    let large = vec![b'x'; 4 << 20];
    let set = Command::new("SET").arg("a").arg(&large);
    own.send(set, LIMIT).await.unwrap();
    proxy.set(Network::Slow(PAUSE));
    let start = Instant::now();
    assert_eq!(own.send(line("GET a"), SHORT).await.unwrap(), text(&large));
    assert!(start.elapsed() > SHORT);

    let reply = own.send(line("GET a"), SHORT);
    let stall = async { proxy.set(Network::Stalled) };
    let (reply, ()) = tokio::join!(reply, stall);
    reply.unwrap_err();
}
