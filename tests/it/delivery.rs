//! What becomes of a request whose processors have died, by the number of its deliveries: taken over,
//! run alone, given up. The dead processors are pending entries made by hand, so that nothing has to
//! be waited for.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamic_batcher::{
    Backlog, BatchContext, BatchPolicy, BatchProcessor, Batcher, ErrorKind, Handler, Observer,
    Outcome, WhenIdle,
};
use dynamic_batcher_redis::{DeadLetters, RedisTransport};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::peers::{LIMIT, Peers, Sum, Values, command, eventually, found, sum_values};

/// Notes the attempts of each batch.
#[derive(Clone, Default)]
struct Attempts(Arc<Mutex<Vec<Vec<u32>>>>);

impl Attempts {
    fn seen(&self) -> Vec<Vec<u32>> {
        self.0.lock().expect("no panic").clone()
    }
}

impl Handler<Values, Sum> for Attempts {
    async fn run(&mut self, batch: Vec<Values>, context: &BatchContext) -> Outcome<Sum> {
        let attempts = (0..batch.len()).map(|position| context.attempt(position));
        let attempts = attempts.map(|attempt| attempt.expect("in the batch"));
        let mut seen = self.0.lock().expect("no panic");
        seen.push(attempts.collect());
        sum_values(batch).into()
    }
}

impl Peers {
    /// Sends requests that a processor of this name takes and dies with, so many times each.
    async fn sent_and_died_with(
        &self,
        consumer: &str,
        count: i64,
        deliveries: u32,
    ) -> Vec<JoinHandle<dynamic_batcher::Result<Sum>>> {
        let batcher = Batcher::new(self.transport().await).timeout(LIMIT);
        let mut sendings = Vec::new();
        // In this order.
        for number in 0..count {
            let batcher = batcher.clone();
            let values = vec![number, 1];
            sendings.push(tokio::spawn(async move {
                batcher.send(Values { values }).await
            }));
            eventually("it is sent", || self.length("request") == number + 1).await;
        }
        self.die_with_all(consumer, deliveries);
        sendings
    }

    fn die_with_all(&self, consumer: &str, deliveries: u32) {
        let read = format!("XREADGROUP GROUP processor {consumer} STREAMS request >");
        self.ask::<redis::Value>(&command(&read));
        let pending = command(&format!("XPENDING request processor - + 1000 {consumer}"));
        let pending: Vec<(String, String, i64, i64)> = self.ask(&pending);
        for (id, ..) in pending {
            let claim = format!("XCLAIM request processor {consumer} 0 {id} IDLE 100000");
            let claim = format!("{claim} RETRYCOUNT {deliveries} JUSTID");
            self.ask::<redis::Value>(&command(&claim));
        }
    }

    async fn counting(&self) -> (Attempts, BatchProcessor<Values, Sum>) {
        self.counting_over(self.transport().await)
    }

    fn counting_over(&self, transport: RedisTransport) -> (Attempts, BatchProcessor<Values, Sum>) {
        let attempts = Attempts::default();
        let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
        let processor = BatchProcessor::spawn_handler(transport, policy, attempts.clone());
        (attempts, processor)
    }

    /// How many clients wait in a blocking read.
    fn blocked(&self) -> usize {
        let clients: String = self.ask(&command("CLIENT LIST TYPE normal"));
        clients.matches(" flags=b ").count()
    }

    async fn dead_letters(&self) -> DeadLetters {
        self.transport().await.dead_letters()
    }
}

async fn all_answered(sendings: Vec<JoinHandle<dynamic_batcher::Result<Sum>>>) {
    for (number, sending) in (0..).zip(sendings) {
        let answer = sending.await.expect("no panic").expect("an answer");
        assert_eq!(answer, Sum { sum: number + 1 });
    }
}

pub(crate) async fn what_a_dead_processor_had_is_run_in_a_batch(peers: Peers) {
    let sendings = peers.sent_and_died_with("rust-dead", 8, 1).await;
    let (attempts, processor) = peers.counting().await;
    all_answered(sendings).await;
    assert_eq!(attempts.seen(), [vec![2; 8]]);
    peers.drain(processor).await;
}

/// Only a lease that ran out does.
pub(crate) async fn a_lost_connection_does_not_count_as_a_delivery(peers: Peers) {
    let attempts = Attempts::default();
    let transport = peers.transport().await;
    let window = BatchPolicy::default().batch_time(Duration::from_secs(3));
    let processor = BatchProcessor::spawn_handler(transport, window, attempts.clone());
    let batcher = Batcher::new(peers.transport().await).timeout(LIMIT);
    let sending = tokio::spawn(async move { batcher.send(Values { values: vec![0, 1] }).await });
    eventually("it is read", || processor.status().waiting == 1).await;
    // More often than it may be delivered.
    for _ in 0..5 {
        let killed: i64 = peers.ask(&command("CLIENT KILL TYPE normal SKIPME yes"));
        assert!(killed > 0);
        eventually("they are back", || peers.blocked() > 0).await;
    }
    all_answered(vec![sending]).await;
    assert_eq!(attempts.seen(), [[1]]);
    peers.drain(processor).await;
}

pub(crate) async fn on_its_last_delivery_a_request_runs_alone_and_the_others_after_it(
    peers: Peers,
) {
    let mut sendings = peers.sent_and_died_with("rust-dead", 8, 2).await;
    let (attempts, processor) = peers.counting().await;
    // While those run, new ones come; they are served too.
    let batcher = Batcher::new(peers.transport().await).timeout(LIMIT);
    sendings.extend((8..40).map(|number| {
        let batcher = batcher.clone();
        let values = vec![number, 1];
        tokio::spawn(async move { batcher.send(Values { values }).await })
    }));
    all_answered(sendings).await;
    let seen = attempts.seen();
    let last = seen.iter().filter(|batch| batch.contains(&3));
    assert_eq!(last.collect::<Vec<_>>(), [&vec![3]; 8].to_vec(), "{seen:?}");
    peers.drain(processor).await;
    drop(batcher);
    // The consumer of the dead one is for others to remove, when it has been silent for long.
    peers.ask::<i64>(&command("XGROUP DELCONSUMER request processor rust-dead"));
    peers.assert_nothing_left().await;
}

pub(crate) async fn a_request_that_was_delivered_often_enough_is_given_up_and_its_caller_told(
    peers: Peers,
) {
    let sendings = peers.sent_and_died_with("rust-dead", 2, 3).await;
    let (attempts, processor) = peers.counting().await;
    for sending in sendings {
        let error = sending.await.expect("no panic").expect_err("no answer");
        let expected = ErrorKind::Undeliverable { deliveries: 3 };
        assert_eq!(error.kind(), expected, "{error}");
        assert!(!error.is_retryable());
    }
    assert!(attempts.seen().is_empty());
    let dead = peers.dead_letters().await;
    let two = async || dead.count().await.expect("an answer") == 2;
    while !two().await {
        tokio::task::yield_now().await;
    }
    let letters = dead.list(None, NonZeroUsize::MAX).await.expect("letters");
    for (number, letter) in letters.iter().enumerate() {
        let body = json!({ "values": [number, 1] }).to_string();
        assert_eq!(letter.body.as_deref(), Some(body.as_bytes()));
        assert_eq!(letter.attempts, 3);
        assert_eq!(letter.consumer, "rust-dead");
        assert!(letter.reason.contains("3 deliveries"), "{letter:?}");
        // It was said to be idle for 100 s.
        let had = letter.sent.duration_since(letter.last_delivered);
        assert!(had.expect("before it was sent") > Duration::from_secs(60));
    }
    let rest = dead.list(Some(&letters[0].id), NonZeroUsize::MIN).await;
    assert_eq!(rest.expect("letters"), letters[1..]);
    assert_eq!(peers.length("request"), 0);
    peers.drain(processor).await;
}

pub(crate) async fn a_python_caller_of_such_a_request_has_its_none(peers: Peers) {
    let (_, processor) = peers.counting().await;
    processor.ready().await.expect("it starts");
    peers.drain(processor).await;
    let add = command(r#"XADD request * body {"values":[1]}"#);
    let id: String = peers.ask(&add);
    // One that was answered before its processor died.
    let answered: String = peers.ask(&add);
    peers.ask::<String>(redis::cmd("SET").arg(&answered).arg(r#"{"sum":1}"#));
    peers.die_with_all("rust-dead", 3);
    let (_, processor) = peers.counting().await;
    let take = || peers.ask::<Option<String>>(redis::cmd("GET").arg(&id));
    assert_eq!(found("its answer", take).await, "null");
    let dead = peers.dead_letters().await;
    while dead.count().await.expect("an answer") < 2 {
        tokio::task::yield_now().await;
    }
    let kept: String = peers.ask(redis::cmd("GET").arg(&answered));
    assert_eq!(kept, r#"{"sum":1}"#);
    // It may still look for its entry among the pending ones.
    let pending = command(&format!("XPENDING request processor {id} {id} 1"));
    let pending: Vec<(String, String, i64, i64)> = peers.ask(&pending);
    assert_eq!(pending.len(), 1);
    drop(processor);
}

pub(crate) async fn a_dead_letter_is_sent_again_or_removed(peers: Peers) {
    let sendings = peers.sent_and_died_with("rust-dead", 2, 3).await;
    let (_, processor) = peers.counting().await;
    for sending in sendings {
        sending.await.expect("no panic").expect_err("no answer");
    }
    let dead = peers.dead_letters().await;
    let letters = async || dead.list(None, NonZeroUsize::MAX).await.expect("letters");
    while letters().await.len() < 2 {
        tokio::task::yield_now().await;
    }
    let letters = letters().await;
    let sent = dead.replay(&letters[1].id).await.expect("an answer");
    let id = sent.expect("there is one");
    let take = || peers.ask::<Option<String>>(redis::cmd("GETDEL").arg(&id));
    assert_eq!(found("its answer", take).await, r#"{"sum":2}"#);
    assert!(dead.remove(&letters[0].id).await.expect("an answer"));
    assert_eq!(dead.count().await.expect("an answer"), 0);
    // Gone is gone.
    assert_eq!(dead.replay(&letters[1].id).await.expect("an answer"), None);
    assert!(!dead.remove(&letters[0].id).await.expect("an answer"));
    let error = dead.replay("x").await.expect_err("no id");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let bare: String = peers.ask(&command("XADD {request}:dead * reason other"));
    let error = dead.replay(&bare).await.expect_err("it has no body");
    assert!(error.to_string().contains("`remove` it"), "{error}");
    assert!(dead.remove(&bare).await.expect("an answer"));
    peers.drain(processor).await;
}

pub(crate) async fn the_consumer_of_a_dead_processor_is_removed_once_it_is_empty(peers: Peers) {
    let sendings = peers.sent_and_died_with("rust-dead", 1, 1).await;
    let foreign = command("XGROUP CREATECONSUMER request processor somebody");
    peers.ask::<i64>(&foreign);
    let config = peers.config().lease(Duration::from_secs(1));
    let (_, processor) = peers.counting_over(peers.connect(config).await);
    all_answered(sendings).await;
    eventually("it is removed", || {
        !peers.consumers("request").contains(&"rust-dead".to_owned())
    })
    .await;
    // Not ours to remove.
    assert!(peers.consumers("request").contains(&"somebody".to_owned()));
    peers.drain(processor).await;
}

/// What an observer was told.
#[derive(Default)]
struct Told {
    redelivered: AtomicUsize,
    dead_letters: AtomicUsize,
    duplicates: AtomicUsize,
    commands: AtomicUsize,
    backlog: Mutex<Option<Backlog>>,
}

impl Observer for Told {
    fn redelivered(&self, requests: usize) {
        self.redelivered.fetch_add(requests, Ordering::Relaxed);
    }

    fn dead_letters(&self, requests: usize) {
        self.dead_letters.fetch_add(requests, Ordering::Relaxed);
    }

    fn duplicates_dropped(&self, answers: usize) {
        self.duplicates.fetch_add(answers, Ordering::Relaxed);
    }

    fn commands_sent(&self, commands: usize) {
        self.commands.fetch_add(commands, Ordering::Relaxed);
    }

    fn backlog(&self, backlog: &Backlog) {
        *self.backlog.lock().expect("nobody panics with it") = Some(*backlog);
    }
}

/// Of which Redis 6 does not know what nobody has read.
pub(crate) async fn an_observer_is_told_of_the_backlog(peers: Peers) {
    let told = Arc::new(Told::default());
    let config = peers.config().lease(Duration::from_secs(1));
    let observed = peers.connect(config).await.observer(Arc::clone(&told));
    let size = NonZeroUsize::new(2).expect("not zero");
    let never = BatchPolicy::default().batch_size(size);
    let processor = BatchProcessor::spawn(observed, never, |_: Vec<Values>| {
        std::future::pending::<Vec<Sum>>()
    });
    // Two that run, two that wait for their turn, one that is not read.
    let batcher: Batcher<Values, Sum> = Batcher::new(peers.transport().await);
    let values = (0..5).map(|n| Values { values: vec![n] });
    let sending = tokio::spawn(async move { batcher.send_many(values.collect()).await });
    let is_told = || {
        let backlog = *told.backlog.lock().expect("nobody panics with it");
        backlog.is_some_and(|it| it.pending == 4 && it.unread.is_none_or(|unread| unread == 1))
    };
    eventually("it is told", is_told).await;
    sending.abort();
    drop(processor);
}

pub(crate) async fn observers_are_told_of_redeliveries_dead_letters_and_duplicates(peers: Peers) {
    let told = Arc::new(Told::default());
    let observed = peers.transport().await.observer(Arc::clone(&told));
    let policy = BatchPolicy::default()
        .when_idle(WhenIdle::Run)
        .observer(Arc::clone(&told));
    let start = || BatchProcessor::spawn(observed.clone(), policy.clone(), sum_values);

    let sendings = peers.sent_and_died_with("rust-dead", 3, 1).await;
    let processor = start();
    all_answered(sendings).await;
    peers.drain(processor).await;
    assert_eq!(told.redelivered.load(Ordering::Relaxed), 3);
    assert_eq!(told.dead_letters.load(Ordering::Relaxed), 0);

    let sendings = peers.sent_and_died_with("rust-dead", 2, 3).await;
    let processor = start();
    for sending in sendings {
        sending.await.expect("no panic").expect_err("no answer");
    }
    eventually("they are buried", || {
        told.dead_letters.load(Ordering::Relaxed) == 2
    })
    .await;

    // Answered twice: the first outcome counts.
    let batcher: Batcher<Values, Sum> = Batcher::new(observed.clone());
    let values = vec![1, 2];
    let answer = batcher.send(Values { values }).await.expect("an answer");
    assert_eq!(answer, Sum { sum: 3 });
    // Other callers were there before, and are gone or have no such request.
    let streams: Vec<String> = peers.ask(&command("KEYS {request}:reply:*"));
    for stream in streams {
        peers.ask::<String>(&command(&format!("XADD {stream} * 1 +4")));
    }
    eventually("it is dropped", || {
        told.duplicates.load(Ordering::Relaxed) == 1
    })
    .await;
    assert!(told.commands.load(Ordering::Relaxed) > 10);
    peers.drain(processor).await;
}
