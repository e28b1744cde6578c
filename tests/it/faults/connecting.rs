//! What a server refuses: a typed error, soon, that says what to change.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, ErrorKind, WhenIdle};
use dynamic_batcher_conformance::faults::{Act, Done, Job, serve};
use dynamic_batcher_redis::{RedisConfig, RedisTransport};

use crate::rig::{Client, LIMIT, PATIENCE, Rig, SOON, ends, eventually, kind};

/// Says what users need.
const MANUAL: &str = include_str!("../../../transport-redis/docs/production.md");
const LOGIN: [&str; 2] = ["limited", "secret"];

fn limited(rig: &Rig, rules: &str) -> RedisConfig {
    let [user, password] = LOGIN;
    rig.probe
        .say::<()>(&format!("ACL SETUSER {user} reset on >{password} {rules}"));
    rig.config().redis().username(user).password(password)
}

/// The error says what was refused.
async fn refused(rig: &Rig, config: RedisConfig, says: &str) {
    let start = Instant::now();
    let error = rig.client.connect(config).await.expect_err("it connects");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(!error.is_retryable());
    let text = error.to_string();
    assert!(text.contains(says) && !text.contains('\n'), "{text}");
}

pub(crate) async fn a_forbidden_command_or_key_is_refused(client: Client) {
    let rig = Rig::new(client);
    for rules in ["~other +@all", "~* +@all -xgroup", "~* +ping"] {
        let config = limited(&rig, rules);
        refused(&rig, config, "NOPERM").await;
    }
    let all = limited(&rig, "~* +@all");
    rig.client.connect(all).await.expect("nothing is forbidden");
}

pub(crate) async fn a_key_of_another_type_is_refused(client: Client) {
    for key in ["request", "response", "{request}:again"] {
        let rig = Rig::new(client);
        rig.probe.say::<()>(&format!("SET {key} other"));
        refused(&rig, rig.config().redis(), "WRONGTYPE").await;
        assert_eq!(rig.probe.say::<String>(&format!("GET {key}")), "other");
    }
}

pub(crate) async fn a_permission_taken_away_is_told_soon(client: Client) {
    let rig = Rig::new(client);
    let config = limited(&rig, "~* +@all");
    let processor = rig.processor().await;
    let transport = rig.client.connect(config).await.expect("it may");
    let caller = Arc::new(Batcher::new(transport));
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    rig.probe
        .say::<()>("ACL SETUSER limited -xadd -eval -evalsha");
    let end = rig.call(&caller).await;
    assert_eq!(kind(&end), "Config", "{end:?}");
    assert!(end.elapsed < SOON, "{end:?}");
    rig.probe.say::<()>("ACL SETUSER limited +@all");
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    drop(caller);
    rig.end(vec![processor]).await;
}

/// What ends a connection for a while must not end a processor that makes a new one.
pub(crate) async fn a_server_that_is_busy_or_crowded_is_a_connection_error(client: Client) {
    let rig = Rig::new(client);
    let url = format!("redis://127.0.0.1:{}", rig.server.port());
    let server = redis::Client::open(url).expect("an address");
    let mut own = server.get_connection().expect("the server answers");
    let mut say = |words: &str| {
        let mut command = redis::Cmd::new();
        command.arg(words.split(' ').collect::<Vec<_>>());
        command.query::<redis::Value>(&mut own)
    };
    // In a database of its own, so that the login has a command that can be refused.
    let config = || rig.config().redis().db(1);

    say("CONFIG SET lua-time-limit 1").expect("it can be set");
    let busy = std::thread::spawn(move || {
        let mut connection = server.get_connection().expect("the server answers");
        let script = redis::cmd("EVAL").arg("while true do end").arg(0).take();
        script.query::<redis::Value>(&mut connection)
    });
    while say("PING").is_ok() {
        std::thread::yield_now();
    }
    let error = client.connect(config()).await.expect_err("it is busy");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    say("SCRIPT KILL").expect("it wrote nothing");
    busy.join().expect("no panic").expect_err("it was killed");

    say("CONFIG SET maxclients 1").expect("it can be set");
    let error = client.connect(config()).await.expect_err("it is full");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    say("CONFIG SET maxclients 1000").expect("it can be set");
    client.connect(config()).await.expect("it has room");
}

pub(crate) async fn a_processor_that_may_no_longer_read_ends_and_says_why(client: Client) {
    let rig = Rig::new(client);
    let transport = client.connect(limited(&rig, "~* +@all")).await;
    let processor = process(&transport.expect("it may"));
    processor.ready().await.expect("it runs");
    rig.probe.say::<()>("ACL SETUSER limited -xreadgroup");
    // What ends the read that still blocks: it gets it, or is refused, as the server's version goes.
    let caller = rig.caller().await;
    let call = rig.begin_one(&caller, rig.job(), PATIENCE);
    ends_with("NOPERM", processor).await;
    call.abort();
}

pub(crate) async fn a_processor_whose_key_is_overwritten_ends_and_says_why(client: Client) {
    let rig = Rig::new(client);
    let transport = client.connect(rig.config().redis()).await;
    let processor = process(&transport.expect("it may"));
    processor.ready().await.expect("it runs");
    rig.probe.say::<()>("SET request other");
    ends_with("WRONGTYPE", processor).await;
}

async fn ends_with(refusal: &str, processor: BatchProcessor<Job, Done>) {
    let ended = tokio::time::timeout(LIMIT, processor.ended()).await;
    let error = ended.expect("it goes on").expect_err("it was not told to");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains(refusal), "{error}");
}

/// All that callers, processors and who looks at dead letters can come to send, and the server has
/// refused none of it.
pub(crate) async fn what_the_manual_permits_is_enough(client: Client) {
    let rig = Rig::new(client);
    let users = MANUAL
        .lines()
        .filter(|line| line.starts_with("ACL SETUSER"));
    users.for_each(|line| rig.probe.say(line));
    let config = |user| rig.config().redis().username(user).password("change-me");
    let transport = client.connect(config("processor")).await.expect("it may");
    let caller = client.connect(config("caller")).await.expect("it may");
    let caller: Arc<Batcher<Job, Done>> = Arc::new(Batcher::new(caller));

    let expired = rig.begin_one(&caller, rig.job(), Duration::from_millis(200));
    assert_eq!(kind(&expired.await.expect("no panic")), "Timeout");
    answer_as_python_does(&rig, &caller).await;
    // Three that others had: the last one as often as is permitted.
    let taken_over = rig.begin(&caller, 2, PATIENCE);
    eventually("they are sent", || rig.probe.length("request") == 2).await;
    rig.probe
        .say::<String>(r#"XADD request * body {"values":[1]}"#);
    let read = "XREADGROUP GROUP processor rust-dead STREAMS request >";
    rig.probe.say::<redis::Value>(read);
    let pending: Vec<(String, String, i64, i64)> =
        rig.probe.say("XPENDING request processor - + 9");
    for ((id, ..), deliveries) in pending.into_iter().zip([1, 1, 20]) {
        let claim = format!("XCLAIM request processor rust-dead 0 {id} IDLE 100000");
        let claim = format!("{claim} RETRYCOUNT {deliveries} JUSTID");
        rig.probe.say::<redis::Value>(&claim);
    }

    let processor = process(&transport);
    for end in ends(taken_over).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    transport.ping().await.expect("it may");
    let dead = transport.dead_letters();
    eventually("one is dead", || rig.probe.length("{request}:dead") == 1).await;
    let letters = dead.list(None, NonZeroUsize::MIN).await.expect("it may");
    let id = dead.replay(&letters[0].id).await.expect("it may");
    let id = id.expect("it was there");
    let there = || rig.probe.say::<i64>(&format!("EXISTS {id}")) == 1;
    eventually("the python caller is answered", there).await;
    rig.probe.say::<i64>(&format!("DEL {id}"));
    // Nobody can be told of this one.
    rig.probe.say::<String>("XADD request * body 1 v 1");
    eventually("it is dead", || rig.probe.length("{request}:dead") == 1).await;
    let letters = dead.list(None, NonZeroUsize::MIN).await.expect("it may");
    assert!(dead.remove(&letters[0].id).await.expect("it may"));
    assert_eq!(dead.count().await.expect("it may"), 0);
    // Longer than a lease, and than it takes until a caller looks whether its request is lost.
    let end = rig.act(&caller, Act::Sleep(2_500)).await;
    assert_eq!(kind(&end), "Ok", "{end:?}");

    let hanging = rig.begin_one(&caller, rig.job().act(Act::Hang), PATIENCE);
    eventually("it runs", || rig.probe.length("request") == 1).await;
    let behind = rig.begin(&caller, 10, PATIENCE);
    eventually("they are sent", || rig.probe.length("request") == 11).await;
    drop(processor.drain(Duration::from_millis(200)).await);
    hanging.abort();
    eventually("it is withdrawn", || rig.probe.length("request") == 10).await;
    let processor = process(&transport);
    for end in ends(behind).await {
        assert_eq!(kind(&end), "Ok", "{end:?}");
    }
    drop(caller);
    // The consumers of the dead are removed too.
    rig.probe.is_clean(1, LIMIT).await;
    processor.drain(LIMIT).await.expect("it ends");
    rig.probe.is_clean(0, LIMIT).await;
    let refused: Vec<HashMap<String, redis::Value>> = rig.probe.say("ACL LOG");
    let refused = refused.iter().map(|entry| format!("{:?}", entry["object"]));
    // The client crates' own, of which a refusal means nothing.
    let refused: Vec<_> = refused.filter(|what| !what.contains("client")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

fn process(transport: &RedisTransport) -> BatchProcessor<Job, Done> {
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    BatchProcessor::spawn(transport.clone(), policy, |batch: Vec<Job>| {
        serve(batch, Duration::ZERO)
    })
}

async fn answer_as_python_does(rig: &Rig, caller: &Arc<Batcher<Job, Done>>) {
    let job = rig.job();
    let body = serde_json::to_string(&Done::to(job.id())).expect("a number");
    let begun = rig.begin_one(caller, job, PATIENCE);
    eventually("it is sent", || rig.probe.length("request") == 1).await;
    let read = "XREADGROUP GROUP processor processor STREAMS request >";
    rig.probe.say::<redis::Value>(read);
    let pending: Vec<(String, String, i64, i64)> =
        rig.probe.say("XPENDING request processor - + 1");
    let id = &pending[0].0;
    rig.probe.say::<()>(&format!("SET {id} {body} EX 600"));
    rig.probe.say::<i64>(&format!("XDEL request {id}"));
    assert_eq!(kind(&begun.await.expect("no panic")), "Ok");
    rig.probe
        .say::<i64>("XGROUP DELCONSUMER request processor processor");
}
