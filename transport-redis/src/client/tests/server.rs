//! A client of each crate for a real server.

use std::sync::Arc;

use dynamic_batcher::Result;
use dynamic_batcher_conformance::RedisServer;
pub(super) use dynamic_batcher_conformance::free_port;

use crate::RedisConfig;
use crate::client::Client;
#[cfg(feature = "client-fred")]
use crate::client::fred;
#[cfg(feature = "client-redis")]
use crate::client::redis;

/// How to reach a server.
pub(super) fn config(server: &RedisServer) -> RedisConfig {
    let mut config = RedisConfig::default().host("127.0.0.1").port(server.port());
    config.password = server.password().map(str::to_owned);
    config
}

/// A client of either crate.
pub(super) trait Connect {
    async fn connect(config: &RedisConfig) -> Result<Arc<dyn Client>>;
}

#[cfg(feature = "client-redis")]
pub(super) struct Redis;

#[cfg(feature = "client-redis")]
impl Connect for Redis {
    async fn connect(config: &RedisConfig) -> Result<Arc<dyn Client>> {
        let options = redis::client(config)?;
        Ok(Arc::new(redis::RedisClient::connect(options).await?))
    }
}

#[cfg(feature = "client-fred")]
pub(super) struct Fred;

#[cfg(feature = "client-fred")]
impl Connect for Fred {
    async fn connect(config: &RedisConfig) -> Result<Arc<dyn Client>> {
        let options = fred::client(config)?;
        Ok(Arc::new(fred::FredClient::connect(&options).await?))
    }
}
