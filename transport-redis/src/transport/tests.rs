//! A setting that is wrong is told before anything is connected: who tries again after a failure would do
//! so for ever.

use std::time::Duration;

use dynamic_batcher::ErrorKind;
use dynamic_batcher_conformance::free_port;

use super::*;

/// Of a server that is not there.
fn nowhere() -> RedisConfig {
    RedisConfig::default().host("127.0.0.1").port(free_port())
}

/// Settings that are wrong whatever the server, and what the error says.
fn wrong() -> [(RedisConfig, &'static str); 3] {
    [
        (nowhere().lease(Duration::ZERO), "`lease`"),
        (
            nowhere().stream_group_processor(""),
            "`stream_group_processor`",
        ),
        (nowhere().stream_key_request("a{b"), "a{b"),
    ]
}

/// Wrong addresses and users, and what the error says.
fn wrong_addresses() -> [(RedisConfig, &'static str); 3] {
    [
        (nowhere().port(0), "`port`"),
        (nowhere().host(""), "`host`"),
        (nowhere().username("batch"), "`username`"),
    ]
}

fn refused(connected: Result<RedisTransport>, says: &str) {
    let error = connected.expect_err(says);
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

fn names_the_address(connected: Result<RedisTransport>, port: u16) {
    let error = connected.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Connection);
    let begins = format!("the connection failed: 127.0.0.1:{port}: ");
    assert!(error.to_string().starts_with(&begins), "{error}");
}

#[cfg(feature = "client-redis")]
#[tokio::test]
async fn who_finds_nobody_with_redis_is_told_where() {
    let config = nowhere();
    let port = config.port;
    names_the_address(RedisTransport::connect(config).await, port);
}

#[cfg(feature = "client-fred")]
#[tokio::test]
async fn who_finds_nobody_with_fred_is_told_where() {
    let config = nowhere();
    let port = config.port;
    names_the_address(RedisTransport::connect_fred(config).await, port);
}

#[cfg(feature = "client-redis")]
#[tokio::test]
async fn wrong_settings_are_refused_before_redis_connects() {
    for (config, says) in wrong() {
        let url = format!("redis://127.0.0.1:{}", config.port);
        let client = redis::Client::open(url).expect("a URL");
        let find = || async { panic!("it is looked for") };
        refused(RedisTransport::connect(config.clone()).await, says);
        refused(
            RedisTransport::with_redis(client, config.clone()).await,
            says,
        );
        refused(RedisTransport::with_redis_found(find, config).await, says);
    }
    for (config, says) in wrong_addresses() {
        refused(RedisTransport::connect(config).await, says);
    }
}

#[cfg(feature = "client-fred")]
#[tokio::test]
async fn wrong_settings_are_refused_before_fred_connects() {
    for (config, says) in wrong() {
        let client = crate::client::fred::client(&config).expect("an address");
        refused(RedisTransport::connect_fred(config.clone()).await, says);
        refused(RedisTransport::with_fred(&client, config).await, says);
    }
    for (config, says) in wrong_addresses() {
        refused(RedisTransport::connect_fred(config).await, says);
    }
}
