//! Several instances in one processor: they run at the same time, each with a state of its own.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use dynamic_batcher::{BatchContext, BatchProcessor, ErrorKind, Handler, Outcome};
use tokio::time::Instant;

use crate::case::{Case, case};
use crate::controlled::Running;
use crate::payload::{Request, Response};
use crate::stage::{Stage, answer_all, assert_all_answered, assert_answered, error_of, when_idle};

pub(crate) const CASES: &[Case] = &[
    case!(Forming, instances_run_at_the_same_time),
    case!(Forming, no_more_batches_run_than_there_are_instances),
    case!(Forming, closures_on_threads_run_at_the_same_time).blocks_threads(),
    case!(Forming, each_instance_has_its_own_state),
    case!(G6, a_panicked_handler_is_made_anew),
    case!(G6, a_panicked_function_on_a_thread_is_made_anew).blocks_threads(),
    case!(G6, a_panicked_handler_goes_before_another_is_made),
    case!(G6, a_panicked_function_goes_before_another_is_made).blocks_threads(),
    case!(G6, a_processor_that_no_handler_is_left_of_ends_and_says_why),
    case!(G8, a_drain_ends_at_its_deadline_though_a_thread_is_blocked).blocks_threads(),
];

const INSTANCES: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

/// None of the batches ends before all of them run.
async fn instances_run_at_the_same_time(stage: Stage) {
    let (_processor, mut controls) = stage.controlled_each(when_idle(1).instances(INSTANCES));
    let sendings = stage.send_each(0..3);
    let running = [
        controls.next().await,
        controls.next().await,
        controls.next().await,
    ];
    running.into_iter().for_each(Running::answer);
    assert_all_answered(sendings, 0..3).await;
}

async fn no_more_batches_run_than_there_are_instances(stage: Stage) {
    let (_processor, mut controls) = stage.controlled_each(when_idle(1).instances(INSTANCES));
    let sendings = stage.send_each(0..4);
    let running = [
        controls.next().await,
        controls.next().await,
        controls.next().await,
    ];
    stage.clock.settle().await;
    assert!(
        controls.started().is_none(),
        "a fourth batch runs on three instances"
    );
    running.into_iter().for_each(Running::answer);
    controls.next().await.answer();
    assert_all_answered(sendings, 0..4).await;
}

/// Plain closures that block until all of them have been called.
async fn closures_on_threads_run_at_the_same_time(stage: Stage) {
    let all = Barrier::new(INSTANCES.get());
    let handler = move |batch: Vec<Request>| {
        all.wait();
        answer_all(batch)
    };
    let policy = when_idle(1).instances(INSTANCES);
    let _processor = BatchProcessor::spawn_blocking(stage.source.clone(), policy, handler);
    assert_all_answered(stage.send_each(0..3), 0..3).await;
}

/// Counts the batches that it has served, and answers with its number and the count.
struct Counting {
    index: usize,
    batches: u64,
    all: Arc<tokio::sync::Barrier>,
}

impl Handler<Request, Response> for Counting {
    async fn run(&mut self, batch: Vec<Request>, _: &BatchContext) -> Outcome<Response> {
        self.all.wait().await;
        self.batches += 1;
        let answers = batch.iter().map(|_| Response {
            id: self.batches,
            text: self.index.to_string(),
        });
        answers.collect::<Vec<_>>().into()
    }
}

/// Each serves one batch of each round, so each counts them all.
async fn each_instance_has_its_own_state(stage: Stage) {
    let all = Arc::new(tokio::sync::Barrier::new(INSTANCES.get()));
    let make = move |index| Counting {
        index,
        batches: 0,
        all: Arc::clone(&all),
    };
    let policy = when_idle(1).instances(INSTANCES);
    let _processor = BatchProcessor::spawn_each(stage.source.clone(), policy, make);
    for round in 1..4 {
        let mut indices = BTreeSet::new();
        for sending in stage.send_each(0..3) {
            let response = sending
                .await
                .expect("the sending task lives")
                .expect("answered");
            assert_eq!(response.id, round);
            indices.insert(response.text);
        }
        assert_eq!(Vec::from_iter(indices), ["0", "1", "2"]);
    }
}

/// Panics at the request with this number.
const FATAL: u64 = 13;

fn answer_or_panic(batch: Vec<Request>) -> Vec<Response> {
    if batch.iter().any(|request| request.id == FATAL) {
        // As `panic!`, without the report on the console: this one is meant.
        resume_unwind(Box::new("on purpose"));
    }
    answer_all(batch)
}

struct Fragile;

impl Handler<Request, Response> for Fragile {
    async fn run(&mut self, batch: Vec<Request>, _: &BatchContext) -> Outcome<Response> {
        answer_or_panic(batch).into()
    }
}

/// Counts how often something is made.
fn counted<T>(make: impl Fn() -> T) -> (Arc<AtomicUsize>, impl Fn(usize) -> T) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let make = move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        make()
    };
    (made, make)
}

async fn assert_made_anew(stage: Stage, made: &AtomicUsize) {
    assert_answered(stage.send(1), 1).await;
    assert_eq!(made.load(Ordering::Relaxed), 1);
    assert_eq!(error_of(stage.send(FATAL)).await.kind(), ErrorKind::Panic);
    assert_answered(stage.send(2), 2).await;
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

/// What a panic left behind serves no further batch.
async fn a_panicked_handler_is_made_anew(stage: Stage) {
    let (made, make) = counted(|| Fragile);
    let _processor = BatchProcessor::spawn_each(stage.source.clone(), when_idle(1), make);
    assert_made_anew(stage, &made).await;
}

async fn a_panicked_function_on_a_thread_is_made_anew(stage: Stage) {
    let (made, make) = counted(|| answer_or_panic);
    let source = stage.source.clone();
    let _processor = BatchProcessor::spawn_blocking_each(source, when_idle(1), make);
    assert_made_anew(stage, &made).await;
}

async fn a_processor_that_no_handler_is_left_of_ends_and_says_why(stage: Stage) {
    let made = AtomicBool::new(false);
    let make = move |_| {
        if made.swap(true, Ordering::Relaxed) {
            resume_unwind(Box::new("on purpose"));
        }
        Fragile
    };
    let processor = BatchProcessor::spawn_each(stage.source.clone(), when_idle(1), make);
    assert_eq!(error_of(stage.send(FATAL)).await.kind(), ErrorKind::Panic);
    for ended in [processor.ended().await, processor.ready().await] {
        assert_eq!(ended.expect_err("it failed").kind(), ErrorKind::Panic);
    }
}

/// What there is one of, as a device that holds one model.
struct Only {
    taken: Arc<AtomicBool>,
    used: bool,
}

impl Only {
    /// Panics when somebody has it.
    fn take(taken: &Arc<AtomicBool>) -> Self {
        assert!(!taken.swap(true, Ordering::Relaxed), "it is taken");
        let taken = Arc::clone(taken);
        Self { taken, used: false }
    }

    fn answer(&mut self, batch: Vec<Request>) -> Vec<Response> {
        self.used = true;
        let responses = answer_or_panic(batch);
        self.used = false;
        responses
    }
}

impl Drop for Only {
    /// Panics over what a panic has left.
    fn drop(&mut self) {
        self.taken.store(false, Ordering::Relaxed);
        if self.used {
            resume_unwind(Box::new("on purpose"));
        }
    }
}

impl Handler<Request, Response> for Only {
    async fn run(&mut self, batch: Vec<Request>, _: &BatchContext) -> Outcome<Response> {
        self.answer(batch).into()
    }
}

async fn a_panicked_handler_goes_before_another_is_made(stage: Stage) {
    let taken = Arc::default();
    let (made, make) = counted(move || Only::take(&taken));
    let _processor = BatchProcessor::spawn_each(stage.source.clone(), when_idle(1), make);
    assert_made_anew(stage, &made).await;
}

async fn a_panicked_function_goes_before_another_is_made(stage: Stage) {
    let taken = Arc::default();
    let (made, make) = counted(move || {
        let mut only = Only::take(&taken);
        move |batch: Vec<Request>| only.answer(batch)
    });
    let source = stage.source.clone();
    let _processor = BatchProcessor::spawn_blocking_each(source, when_idle(1), make);
    assert_made_anew(stage, &made).await;
}

/// A thread cannot be stopped; the processor leaves without it.
async fn a_drain_ends_at_its_deadline_though_a_thread_is_blocked(stage: Stage) {
    const DEADLINE: Duration = Duration::from_millis(500);
    let unblock = Arc::new(Barrier::new(2));
    let blocked = Arc::clone(&unblock);
    let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |batch: Vec<Request>| {
        started.send(()).expect("the case looks");
        blocked.wait();
        answer_all(batch)
    };
    let source = stage.source.clone();
    let processor = BatchProcessor::spawn_blocking(source, when_idle(1), handler);
    let sending = stage.send(1);
    has_started.recv().await.expect("it starts");
    let start = Instant::now();
    let report = processor.drain(DEADLINE).await.expect("drained");
    let took = start.elapsed();
    assert!(took <= DEADLINE + stage.clock.tolerance(), "{took:?}");
    assert_eq!((report.ended, report.abandoned), (true, 1));
    sending.abort();
    unblock.wait();
}
