//! The suite over Redis, with both client crates.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use dynamic_batcher::OnFull;
use dynamic_batcher_conformance::{
    Capabilities, Fixture, OpenOptions, RedisServer, Suite, WhenFull,
};
use dynamic_batcher_redis::{RedisConfig, RedisTransport};

fn main() -> ExitCode {
    Suite::default()
        .with(OverRedis::new("redis"))
        .with(OverRedis::new("fred"))
        .main()
}

/// A server for all cases of one client crate; each case has a stream of its own there.
struct OverRedis {
    client: &'static str,
    server: RedisServer,
    opened: AtomicU32,
}

impl OverRedis {
    fn new(client: &'static str) -> Self {
        Self {
            client,
            server: RedisServer::start(None),
            opened: AtomicU32::new(0),
        }
    }
}

impl Fixture for OverRedis {
    type Transport = RedisTransport;
    type Source = RedisTransport;

    fn name(&self) -> &str {
        self.client
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            gives_batch_info: true,
            bounded_queue: true,
            waits_when_full: true,
            ..Capabilities::default()
        }
    }

    async fn open(&self, options: OpenOptions) -> (RedisTransport, RedisTransport) {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let mut config = RedisConfig::default()
            .host("127.0.0.1")
            .port(self.server.port())
            .stream_key_request(format!("request-{number}"))
            .on_full(match options.when_full {
                WhenFull::Reject => OnFull::Reject,
                WhenFull::Wait => OnFull::Wait,
            });
        if let Some(max_queue) = options.max_queue {
            config = config.max_queue(max_queue);
        }
        let transport = match self.client {
            "redis" => RedisTransport::connect(config).await,
            _ => RedisTransport::connect_fred(config).await,
        };
        let transport = transport.expect("the server answers");
        (transport.clone(), transport)
    }
}
