//! Where a client connects, what it is refused for, and how soon.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use dynamic_batcher::{Error, ErrorKind};
use dynamic_batcher_conformance::RedisServer;

use super::server::{Connect, config, free_port};
use super::{LIMIT, SOON, connected, line, one, text};
use crate::RedisConfig;
use crate::command::Command;
use crate::value::Value;

/// The error is there soon and of the kind, and says so in one line.
async fn refused<C: Connect>(config: &RedisConfig, kind: ErrorKind) -> Error {
    let start = Instant::now();
    let Err(error) = C::connect(config).await else {
        panic!("connected");
    };
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

pub(super) async fn the_wrong_password_is_refused<C: Connect>() {
    let server = RedisServer::start(Some("right"));
    assert!(C::connect(&config(&server)).await.is_ok());
    let error = refused::<C>(&config(&server).password("wrong"), ErrorKind::Config).await;
    assert!(error.to_string().contains("REDIS__PASSWORD"), "{error}");
}

pub(super) async fn no_password_is_refused<C: Connect>() {
    let server = RedisServer::start(Some("right"));
    let mut config = config(&server);
    config.password = None;
    for db in [0, 1] {
        let error = refused::<C>(&config.clone().db(db), ErrorKind::Config).await;
        assert!(error.to_string().contains("REDIS__PASSWORD"), "{error}");
    }
}

pub(super) async fn a_password_that_the_server_does_not_ask_for_does_no_harm<C: Connect>() {
    let server = RedisServer::start(None);
    // `redis` takes the server's complaint for a failure, `fred` drops it.
    match C::connect(&config(&server).password("any")).await {
        Ok(client) => assert_eq!(one(&*client, line("SET a 1")).await, text("OK")),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Config, "{error}"),
    }
}

pub(super) async fn a_database_that_the_server_does_not_have_is_refused<C: Connect>() {
    let server = RedisServer::start(None);
    for db in [16, 255, 256, u32::MAX] {
        refused::<C>(&config(&server).db(db), ErrorKind::Config).await;
    }
}

pub(super) async fn the_database_is_selected<C: Connect>() {
    let (server, client) = connected::<C>().await;
    let third = C::connect(&config(&server).db(3)).await.unwrap();
    one(&*third, line("SET a 1")).await;
    let mut own = third.dedicated().await.unwrap();
    assert_eq!(own.send(line("GET a"), LIMIT).await.unwrap(), text("1"));
    assert_eq!(one(&*client, line("GET a")).await, Value::Nil);
}

pub(super) async fn an_unreachable_port_is_a_connection_error<C: Connect>() {
    let config = RedisConfig::default().host("127.0.0.1").port(free_port());
    refused::<C>(&config, ErrorKind::Connection).await;
}

pub(super) async fn a_name_that_nobody_has_is_a_connection_error<C: Connect>() {
    let config = RedisConfig::default().host("no-such-host.invalid");
    refused::<C>(&config, ErrorKind::Connection).await;
}

/// A server that answers every connection with these bytes, and keeps it open.
fn answering(bytes: &'static [u8]) -> RedisConfig {
    use std::io::Write;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.write_all(bytes);
            kept.push(connection);
        }
    });
    RedisConfig::default().host("127.0.0.1").port(port)
}

pub(super) async fn what_is_no_redis_is_a_connection_error<C: Connect>() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"220 mail ESMTP\r\n",
        b"\0\x01\x02\xff\xfe\r\n",
    ] {
        for db in [0, 1] {
            refused::<C>(&answering(bytes).db(db), ErrorKind::Connection).await;
        }
    }
}

pub(super) async fn what_never_answers_is_a_connection_error<C: Connect>() {
    refused::<C>(&answering(b""), ErrorKind::Connection).await;
}

pub(super) async fn a_unix_socket_does_as_well<C: Connect>() {
    let server = RedisServer::start(Some("right"));
    let config = RedisConfig::default().password("right").db(2);
    let client = C::connect(&config.socket(server.socket())).await.unwrap();
    one(&*client, line("SET a 1")).await;
    let mut own = client.dedicated().await.unwrap();
    assert_eq!(own.send(line("GET a"), LIMIT).await.unwrap(), text("1"));
}

pub(super) async fn a_user_of_the_servers_list_logs_in<C: Connect>() {
    let (server, client) = connected::<C>().await;
    one(&*client, line("ACL SETUSER batch on >secret ~* +@all")).await;
    let named = config(&server).username("batch").password("secret");
    let named = C::connect(&named).await.unwrap();
    assert_eq!(one(&*named, line("ACL WHOAMI")).await, text("batch"));
    let wrong = config(&server).username("batch").password("wrong");
    refused::<C>(&wrong, ErrorKind::Config).await;
}

pub(super) async fn tls_without_the_client_crates_feature_is_refused<C: Connect>() {
    let server = RedisServer::start(None);
    let error = refused::<C>(&config(&server).tls(true), ErrorKind::Config).await;
    let text = error.to_string();
    assert!(text.contains("TLS") && text.contains("feature"), "{text}");
}

/// The address is asked for anew, and a replica that was the primary is left.
#[cfg(feature = "client-redis")]
#[tokio::test]
async fn after_a_failover_the_new_primary_is_found() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use crate::client::Client as _;
    use crate::client::redis::RedisClient;

    let (first, second) = (RedisServer::start(None), RedisServer::start(None));
    let primary = Arc::new(AtomicU16::new(first.port()));
    let client = RedisClient::find({
        let primary = Arc::clone(&primary);
        move || {
            let port = primary.load(Ordering::Relaxed);
            async move { ::redis::Client::open(format!("redis://127.0.0.1:{port}")) }
        }
    });
    let client = client.await.unwrap();
    let follow = Command::new("REPLICAOF").arg("127.0.0.1");
    one(&client, follow.number(second.port())).await;
    primary.store(second.port(), Ordering::Relaxed);
    let refused = one(&client, line("SET a 1")).await.accepted().unwrap_err();
    assert!(refused.to_string().contains("READONLY"), "{refused}");
    assert!(refused.is_retryable());
    assert_eq!(one(&client, line("SET a 1")).await, text("OK"));
    let mut own = client.dedicated().await.unwrap();
    assert_eq!(own.send(line("GET a"), LIMIT).await.unwrap(), text("1"));
}

pub(super) async fn a_replica_is_left_for_a_new_connection<C: Connect>() {
    let (_server, client) = connected::<C>().await;
    let before = one(&*client, line("CLIENT ID")).await;
    assert_eq!(one(&*client, line("CLIENT ID")).await, before);
    one(&*client, line("REPLICAOF 127.0.0.1 1")).await;
    let script = Command::new("EVAL").arg("return redis.call('SET', KEYS[1], '1')");
    for write in [line("SET a 1"), script.number(1).arg("a")] {
        let before = one(&*client, line("CLIENT ID")).await;
        match one(&*client, write).await {
            Value::Refused(refusal) => assert_eq!(refusal.code, "READONLY", "{refusal}"),
            other => panic!("{other:?}"),
        }
        assert_ne!(one(&*client, line("CLIENT ID")).await, before);
    }
}
