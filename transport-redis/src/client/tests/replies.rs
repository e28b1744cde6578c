//! What each client crate makes of a reply, and what is made of that.

use dynamic_batcher_conformance::RedisServer;

use super::{line, list, one, text};
use crate::client::Client;
use crate::value::Value;

#[cfg(feature = "client-redis")]
#[tokio::test]
async fn options_of_redis_that_ask_for_resp3_are_read_as_resp2() {
    let server = RedisServer::start(None);
    let url = format!("redis://127.0.0.1:{}/?protocol=resp3", server.port());
    let options = ::redis::Client::open(url).unwrap();
    let client = crate::client::redis::RedisClient::connect(options)
        .await
        .unwrap();
    a_stream_is_a_list(&client).await;
}

#[cfg(feature = "client-fred")]
#[tokio::test]
async fn options_of_fred_that_ask_for_resp3_are_read_as_resp2() {
    let server = RedisServer::start(None);
    let url = format!("redis://127.0.0.1:{}/?version=3", server.port());
    let mut config = ::fred::types::config::Config::from_url(&url).unwrap();
    config.version = ::fred::types::RespVersion::RESP3;
    let builder = ::fred::types::Builder::from_config(config);
    let options = builder.build().unwrap();
    let client = crate::client::fred::FredClient::connect(&options)
        .await
        .unwrap();
    a_stream_is_a_list(&client).await;
}

async fn a_stream_is_a_list(client: &dyn Client) {
    one(client, line("XADD s 1-1 k v")).await;
    let entry = list([text("1-1"), list([text("k"), text("v")])]);
    let read = one(client, line("XREAD STREAMS s 0")).await;
    assert_eq!(read, list([list([text("s"), list([entry])])]));
}

#[cfg(feature = "client-redis")]
#[test]
fn every_kind_of_reply_of_redis_is_converted() {
    use ::redis::Value as Reply;
    let bulk = |text: &str| Reply::BulkString(text.into());
    for (reply, expected) in [
        (Reply::Nil, Value::Nil),
        (Reply::Int(-1), Value::Int(-1)),
        (Reply::Boolean(false), Value::Int(0)),
        (bulk("a"), text("a")),
        (Reply::SimpleString("a".into()), text("a")),
        (Reply::Okay, text("OK")),
        (Reply::Double(0.5), text("0.5")),
        (
            Reply::VerbatimString {
                format: ::redis::VerbatimFormat::Text,
                text: "a".into(),
            },
            text("a"),
        ),
        (Reply::Array(vec![bulk("a")]), list([text("a")])),
        (Reply::Set(vec![bulk("a")]), list([text("a")])),
        (
            Reply::Map(vec![(bulk("k"), bulk("v")), (bulk("a"), Reply::Nil)]),
            list([text("k"), text("v"), text("a"), Value::Nil]),
        ),
        (
            Reply::Attribute {
                data: Box::new(bulk("a")),
                attributes: vec![(bulk("k"), bulk("v"))],
            },
            text("a"),
        ),
        (
            Reply::Push {
                kind: ::redis::PushKind::Invalidate,
                data: vec![bulk("a")],
            },
            list([text("a")]),
        ),
    ] {
        assert_eq!(Value::from(reply), expected);
    }
}

#[cfg(feature = "client-fred")]
#[test]
fn every_kind_of_reply_of_fred_is_converted() {
    use ::fred::types::{Map, Value as Reply};
    let map = Map::try_from(vec![("k", "v")]).unwrap();
    for (reply, expected) in [
        (Reply::Null, Value::Nil),
        (Reply::Integer(-1), Value::Int(-1)),
        (Reply::Boolean(false), Value::Int(0)),
        (Reply::Bytes("a".into()), text("a")),
        (Reply::String("a".into()), text("a")),
        (Reply::Queued, text("QUEUED")),
        (Reply::Double(0.5), text("0.5")),
        (Reply::Array(vec![Reply::Null]), list([Value::Nil])),
        (Reply::Map(map), list([text("k"), text("v")])),
    ] {
        assert_eq!(Value::from(reply), expected);
    }
}
