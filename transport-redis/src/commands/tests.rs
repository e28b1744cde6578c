//! Scripts on a server: more is pending than they look at in one step, others have a part of it, or its
//! memory is full.

#![cfg(feature = "client-redis")]

use std::sync::Arc;

use dynamic_batcher_conformance::RedisServer;

use super::*;
use crate::RedisConfig;
use crate::client::redis::{RedisClient, client};
use crate::client::{Client, send_one};
use crate::entry::Entry;
use crate::groups::BEGINNING;
use crate::value::Value;

/// More than the scripts see at once, twice.
const MANY: usize = 250;
const LEASE: Duration = Duration::from_secs(30);

struct Rig {
    client: Arc<dyn Client>,
    place: Place,
    _server: RedisServer,
}

impl Rig {
    async fn new() -> Self {
        let server = RedisServer::start(None);
        let config = RedisConfig::default().host("127.0.0.1").port(server.port());
        let connected = RedisClient::connect(client(&config).unwrap()).await;
        let client: Arc<dyn Client> = Arc::new(connected.unwrap());
        let place = Place {
            consumer: "rust-me".into(),
            lease: LEASE,
            ..Place::sample(Arc::clone(&client)).await
        };
        let rig = Self {
            client,
            place,
            _server: server,
        };
        for stream in ["request", "again"] {
            let group = Group {
                stream,
                name: "group",
                from: BEGINNING,
            };
            rig.ask(create_group(&group)).await;
        }
        rig
    }

    async fn ask(&self, command: Command) -> Value {
        let reply = send_one(&*self.client, command).await.unwrap();
        reply.accepted().unwrap()
    }

    /// Adds so many entries, which the consumer reads.
    async fn reads(&self, stream: &str, count: usize) {
        let adds: Vec<_> = (0..count).map(|_| add(stream, ["body", "1"])).collect();
        self.client.send(&adds).await.unwrap();
        let read = Command::new("XREADGROUP").arg("GROUP").arg("group");
        let read = read.arg(&self.place.consumer).arg("STREAMS");
        self.ask(read.arg(stream).arg(">")).await;
    }

    /// What the consumer has of the requests.
    async fn held(&self) -> Vec<StreamId> {
        let reply = self.ask(pending(&self.place, StreamId::MIN, MANY)).await;
        let ids = reply.list().unwrap().into_iter().map(|each| {
            let id = each.list().unwrap().swap_remove(0).text().unwrap();
            StreamId::parse(&id).unwrap()
        });
        ids.collect()
    }

    async fn gives_all_back(&self) {
        let ids = self.held().await.into_iter().map(|id| (id, 0));
        let given = self.ask(give_back(&self.place, ids)).await;
        assert_eq!(given, Value::Int(i64::try_from(MANY).unwrap()));
    }

    /// Whether anything was delivered just now, of requests and of notices.
    async fn leaves(&self) -> [Value; 2] {
        let [requests, notices] = leave(&self.place);
        [self.ask(requests).await, self.ask(notices).await]
    }

    async fn length(&self, stream: &str) -> i64 {
        self.ask(length(stream)).await.int().unwrap()
    }

    async fn consumers(&self, stream: &str) -> usize {
        let consumers = Command::new("XINFO").arg("CONSUMERS").arg(stream);
        let consumers = self.ask(consumers.arg("group")).await;
        consumers.list().unwrap().len()
    }
}

#[tokio::test]
async fn who_leaves_sees_what_was_just_delivered_behind_all_that_was_given_back() {
    let rig = Rig::new().await;
    rig.reads("request", MANY).await;
    rig.gives_all_back().await;
    assert_eq!(rig.leaves().await, [Value::Int(0), Value::Int(0)]);
    rig.reads("request", 1).await;
    assert_eq!(rig.leaves().await, [Value::Int(1), Value::Int(0)]);
    assert_eq!(rig.consumers("request").await, 1);
}

#[tokio::test]
async fn of_all_notices_that_one_who_leaves_has_read_one_stays() {
    let rig = Rig::new().await;
    rig.reads("again", MANY).await;
    assert_eq!(rig.leaves().await, [Value::Int(0), Value::Int(0)]);
    assert_eq!(rig.length("again").await, 1);
    assert_eq!(rig.consumers("again").await, 0);
}

#[tokio::test]
async fn of_all_notices_that_a_dead_one_has_read_none_stays() {
    let rig = Rig::new().await;
    rig.reads("again", MANY).await;
    let remove = remove_dead("again", "group", "rust-", Duration::ZERO, true);
    assert_eq!(rig.ask(remove).await, Value::Int(1));
    assert_eq!(rig.length("again").await, 0);
    assert_eq!(rig.consumers("again").await, 0);
}

/// A server before Redis 7 refuses by itself that a consumer is removed.
#[tokio::test]
async fn a_full_server_lets_consumers_go() {
    let rig = Rig::new().await;
    for consumer in ["rust-dead", &rig.place.consumer] {
        let create = Command::new("XGROUP").arg("CREATECONSUMER");
        rig.ask(create.arg("request").arg("group").arg(consumer))
            .await;
    }
    let full = Command::new("CONFIG").arg("SET").arg("maxmemory").number(1);
    rig.ask(full).await;
    assert_eq!(rig.leaves().await, [Value::Int(0), Value::Int(0)]);
    let remove = remove_dead("request", "group", "rust-", Duration::ZERO, false);
    assert_eq!(rig.ask(remove).await, Value::Int(1));
    assert_eq!(rig.consumers("request").await, 0);
}

#[tokio::test]
async fn of_failures_those_are_told_whose_requests_the_consumer_holds() {
    let rig = Rig::new().await;
    rig.reads("request", 4).await;
    let ids = rig.held().await;
    // The second one is another's by now, and the entry of the fourth is gone.
    let claim = Command::new("XCLAIM").arg("request").arg("group");
    rig.ask(claim.arg("other").number(0).number(ids[1])).await;
    rig.ask(delete_entries("request", [ids[3]])).await;
    rig.ask(add("reply", ["made", "1"])).await;

    let fields = ["batch", "{}", "1", "+a", "2", "-b", "3", "-c", "4", "-d"];
    let answer = answer_failed(&rig.place, "reply", &ids).args(fields);
    assert_eq!(rig.ask(answer).await, Value::Int(3));
    let replies = rig.ask(range("reply", StreamId::MIN, 9)).await;
    let replies = Entry::all(replies).unwrap();
    let told = replies[1].fields.pairs();
    let told: Vec<_> = told.flat_map(|(name, value)| [name, value]).collect();
    let fields = ["batch", "{}", "1", "+a", "3", "-c", "4", "-d"];
    assert_eq!(told, fields.map(str::as_bytes));
    assert_eq!(rig.length("request").await, 1);
    assert_eq!(rig.held().await, []);

    // Of a Python caller's.
    let respond = |id| respond_failed(&rig.place, id, "null");
    assert_eq!(rig.ask(respond(ids[1])).await, Value::Int(0));
    assert_eq!(rig.ask(has_response(ids[1])).await, Value::Int(0));
    rig.reads("request", 1).await;
    let mine = rig.held().await[0];
    assert_eq!(rig.ask(respond(mine)).await, Value::Int(1));
    assert_eq!(rig.ask(has_response(mine)).await, Value::Int(1));
}
