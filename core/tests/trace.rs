//! The spans of a request and its batch, as any subscriber sees them.
//!
//! A program of its own: `tracing` asks a thread without a subscriber whether a span is wanted when
//! it is the first to come by, and holds to its no for all others.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use dynamic_batcher::{
    BatchContext, BatchPolicy, BatchProcessor, Batcher, Handler, OnBatchError, Outcome,
    SendOptions, WhenIdle,
};
use dynamic_batcher_memory::MemoryTransport;
use tracing::dispatcher::{get_default, with_default};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument as _, Span, Subscriber, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

const LIMIT: Duration = Duration::from_secs(10);

/// A span as it was.
#[derive(Clone, Debug)]
struct Seen {
    name: &'static str,
    parent: Option<Id>,
    fields: HashMap<&'static str, String>,
    follows: Vec<Id>,
    ended: bool,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// Keeps all spans.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(Id, Seen)>>>);

impl Spans {
    fn all(&self, name: &str) -> Vec<(Id, Seen)> {
        let spans = self.0.lock().expect("no test panics while it has the lock");
        let named = spans.iter().filter(|(_, seen)| seen.name == name);
        named.cloned().collect()
    }

    fn one(&self, name: &str) -> (Id, Seen) {
        let mut all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        all.remove(0)
    }

    fn change(&self, id: &Id, change: impl FnOnce(&mut Seen)) {
        let mut spans = self.0.lock().expect("no test panics while it has the lock");
        // Ids are used again: the last one is meant.
        let span = spans.iter_mut().rev().find(|(known, _)| known == id);
        change(&mut span.expect("it is there").1);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut seen = Seen {
            name: attributes.metadata().name(),
            parent: context
                .span(id)
                .expect("it is open")
                .parent()
                .map(|span| span.id()),
            fields: HashMap::new(),
            follows: Vec::new(),
            ended: false,
        };
        attributes.record(&mut seen);
        self.0
            .lock()
            .expect("no test panics while it has the lock")
            .push((id.clone(), seen));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.change(id, |seen| values.record(seen));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        self.change(id, |seen| seen.follows.push(follows.clone()));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.change(&id, |seen| seen.ended = true);
    }
}

/// Sees the spans of this thread until the guard is dropped.
fn listen() -> (Spans, tracing::subscriber::DefaultGuard) {
    // For the threads that handlers run on: without it they would say no for this one, too.
    static EVERYWHERE: Once = Once::new();
    EVERYWHERE.call_once(|| {
        let keeps_none = tracing_subscriber::registry();
        tracing::subscriber::set_global_default(keeps_none).expect("nothing else sets it");
    });
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    (spans, tracing::subscriber::set_default(subscriber))
}

fn run_when_idle() -> BatchPolicy {
    BatchPolicy::default().when_idle(WhenIdle::Run)
}

#[tokio::test]
async fn a_batch_follows_from_the_calls_of_its_requests() {
    let (spans, _guard) = listen();
    let (batcher, processor) = dynamic_batcher_memory::spawn(run_when_idle(), |batch: Vec<u32>| {
        let _own = info_span!("own").entered();
        batch
    });
    let caller = info_span!("caller");
    let calls = async {
        let many = batcher.send_many(vec![2, 3]);
        tokio::join!(batcher.send(1), many)
    };
    let (one, many) = calls.instrument(caller.clone()).await;
    assert_eq!(one.unwrap(), 1);
    assert!(many.iter().all(Result::is_ok));
    processor.drain(LIMIT).await.unwrap();

    let (caller_id, _) = spans.one("caller");
    let sends = spans.all("send");
    assert_eq!(sends.len(), 2, "{sends:?}");
    for (send, size) in sends.iter().zip(["1", "2"]) {
        assert_eq!(send.1.parent.as_ref(), Some(&caller_id));
        assert_eq!(send.1.fields["size"], size);
        assert_eq!(send.1.fields["timeout"], "100.0");
        assert!(!send.1.fields.contains_key("outcome"));
    }
    let (batch_id, batch) = spans.one("batch");
    assert_eq!(batch.parent, None);
    // One for the two requests of one call.
    let sends: Vec<_> = sends.into_iter().map(|(id, _)| id).collect();
    assert_eq!(batch.follows, sends);
    assert_eq!(batch.fields["batch.size"], "3");
    assert_eq!(batch.fields["batch.reason"], "\"idle\"");
    let processor = &batch.fields["batch.processor"];
    assert_eq!(batch.fields["batch.id"], format!("{processor}-1"));
    for (_, send) in spans.all("send") {
        assert_eq!(send.fields["batch.id"], batch.fields["batch.id"]);
    }

    let (handler_id, handler) = spans.one("handler");
    let (_, reply) = spans.one("reply");
    assert_eq!(handler.parent.as_ref(), Some(&batch_id));
    assert_eq!(reply.parent.as_ref(), Some(&batch_id));
    assert_eq!(spans.one("own").1.parent, Some(handler_id));
    drop(caller);
    for name in ["caller", "send", "batch", "handler", "reply", "own"] {
        assert!(spans.all(name).iter().all(|(_, seen)| seen.ended), "{name}");
    }
}

#[tokio::test]
async fn a_call_of_many_names_each_of_its_batches() {
    let (spans, _guard) = listen();
    let policy = run_when_idle().batch_size(2.try_into().unwrap());
    let (batcher, processor) = dynamic_batcher_memory::spawn(policy, |batch: Vec<u32>| batch);
    let options = SendOptions::default();
    // One that does not ask for its batches, and one that does.
    batcher.send_many(vec![1, 2, 3, 4]).await;
    batcher.send_many_for_replies(vec![1, 2, 3], options).await;
    processor.drain(LIMIT).await.unwrap();

    let ids = |name| {
        let spans = spans.all(name).into_iter();
        let ids = spans.map(|(_, seen)| seen.fields["batch.id"].clone());
        ids.collect::<Vec<_>>()
    };
    let batches = ids("batch");
    assert_eq!(batches.len(), 4, "{batches:?}");
    assert_eq!(
        ids("send"),
        [batches[..2].join(","), batches[2..].join(",")]
    );
}

struct Nested;

impl Handler<u32, u32> for Nested {
    async fn run(&mut self, batch: Vec<u32>, _: &BatchContext) -> Outcome<u32> {
        tokio::task::yield_now().await;
        let _own = info_span!("own").entered();
        batch.into()
    }
}

#[tokio::test]
async fn a_handler_on_a_task_runs_within_its_span() {
    let (spans, _guard) = listen();
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    let processor = BatchProcessor::spawn_handler(transport, run_when_idle(), Nested);
    assert_eq!(batcher.send(1).await.unwrap(), 1);
    processor.drain(LIMIT).await.unwrap();
    assert_eq!(spans.one("own").1.parent, Some(spans.one("handler").0));
}

#[tokio::test]
async fn a_handler_on_a_thread_runs_within_its_span() {
    let (spans, _guard) = listen();
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    let (tell, told) = std::sync::mpsc::channel();
    // Its thread has the subscriber of the program, not this test's.
    let dispatch = get_default(Clone::clone);
    let processor =
        BatchProcessor::spawn_blocking(transport, run_when_idle(), move |batch: Vec<u32>| {
            let current = with_default(&dispatch, || Span::current().id());
            tell.send(current).unwrap();
            batch
        });
    assert_eq!(batcher.send(1).await.unwrap(), 1);
    processor.drain(LIMIT).await.unwrap();
    assert_eq!(told.recv().unwrap(), Some(spans.one("handler").0));
}

#[tokio::test(start_paused = true)]
async fn spans_say_how_it_ended() {
    let (spans, _guard) = listen();
    let transport = MemoryTransport::default();
    let batcher: Batcher<u32, u32> = Batcher::new(transport.clone());
    let options = SendOptions::default().timeout(Duration::from_millis(1500));
    batcher.send_with(1, options).await.unwrap_err();
    drop(tokio::time::timeout(Duration::from_millis(1), batcher.send(1)).await);
    let policy = run_when_idle().on_batch_error(OnBatchError::Bisect);
    let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<u32>| {
        assert!(!batch.contains(&3), "three");
        batch
    });
    let many = batcher.send_many(vec![2, 3]).await;
    assert!(many[0].is_ok() && many[1].is_err());
    processor.drain(LIMIT).await.unwrap();

    let outcomes = |name| {
        let spans = spans.all(name).into_iter();
        let outcomes = spans.map(|(_, mut seen)| {
            let status = seen.fields.remove("otel.status_code");
            let outcome = seen.fields.remove("outcome");
            assert_eq!(status.is_some(), outcome.is_some());
            outcome
        });
        outcomes.collect::<Vec<_>>()
    };
    let said = |outcome: &str| Some(format!("{outcome:?}"));
    assert_eq!(spans.all("send")[0].1.fields["timeout"], "1.5");
    assert_eq!(
        outcomes("send"),
        [said("expired"), said("cancelled"), said("panic")]
    );
    // Of a call of many, that of the one that was answered.
    let named = spans.all("send").into_iter();
    let named = named.map(|(_, mut seen)| seen.fields.remove("batch.id"));
    let (_, batch) = spans.one("batch");
    let answered_in = batch.fields["batch.id"].clone();
    assert_eq!(named.collect::<Vec<_>>(), [None, None, Some(answered_in)]);
    // The batch, and both of its halves.
    assert_eq!(outcomes("handler"), [said("panic"), None, said("panic")]);
}
