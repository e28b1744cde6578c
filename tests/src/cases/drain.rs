//! A processor that is drained: it finishes or gives back, and ends in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Error, ErrorKind, Phase};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::case::{Case, case};
use crate::payload::{Request, Response};
use crate::stage::{
    Processor, Stage, answer_all, assert_all_answered, error_of, until, when_full, when_idle,
};

pub(crate) const CASES: &[Case] = &[
    case!(G8, a_drain_finishes_what_was_read),
    case!(G8, a_drain_does_not_wait_for_a_window),
    case!(G8, a_drain_ends_at_its_deadline_though_its_handler_does_not),
    case!(G8, what_a_drain_gives_up_ends_at_once).needs(|has| has.closes_with_last_processor),
    case!(G8, what_is_given_back_is_served_by_another_at_once),
    case!(G8, a_drain_under_load_loses_nothing),
    case!(G8, a_drain_of_the_last_processor_under_load_ends_every_call)
        .needs(|has| has.closes_with_last_processor),
    case!(G8, a_drain_goes_on_when_nobody_waits_for_it),
    case!(G8, of_two_drains_the_earlier_deadline_holds),
    case!(G8, a_second_drain_finds_an_ended_processor),
];

const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(20);

/// A processor whose handler is at the requests 0 and 1 and that has read 2 and 3.
async fn busy(stage: &Stage) -> Busy {
    let (processor, mut controls) = stage.controlled(when_full(2));
    let running = stage.send_each(0..2);
    let batch = controls.next().await;
    let read = stage.send_each(2..4);
    until(|| processor.status().waiting == 2).await;
    Busy {
        processor: Arc::new(processor),
        controls,
        batch,
        running,
        read,
    }
}

struct Busy {
    processor: Arc<Processor>,
    controls: crate::controlled::Controls,
    batch: crate::controlled::Running,
    running: Vec<crate::stage::Sending>,
    read: Vec<crate::stage::Sending>,
}

fn drain(
    processor: &Arc<Processor>,
    deadline: Duration,
) -> JoinHandle<dynamic_batcher::Result<dynamic_batcher::DrainReport>> {
    let processor = Arc::clone(processor);
    tokio::spawn(async move { processor.drain(deadline).await })
}

/// The running batch, the one read ahead, and no more.
async fn a_drain_finishes_what_was_read(stage: Stage) {
    let mut busy = busy(&stage).await;
    let draining = drain(&busy.processor, LONG);
    until(|| busy.processor.status().phase == Phase::Draining).await;
    let too_late = stage.send(4);
    busy.batch.answer();
    let batch = busy.controls.next().await;
    assert_eq!(batch.requests.len(), 2);
    batch.answer();
    let report = draining
        .await
        .expect("the draining task lives")
        .expect("drained");
    assert!(report.ended);
    assert_eq!(
        (report.answered, report.released, report.abandoned),
        (4, 0, 0)
    );
    assert!(!busy.processor.is_alive());
    assert_all_answered(busy.running, 0..2).await;
    assert_all_answered(busy.read, 2..4).await;
    assert!(
        busy.controls.started().is_none(),
        "it took a request while it drained"
    );
    too_late.abort();
}

/// Nothing more will come, so what has come does not wait for company.
async fn a_drain_does_not_wait_for_a_window(stage: Stage) {
    let processor = stage.answering(when_full(4));
    let sendings = stage.send_each(0..2);
    until(|| processor.status().waiting == 2).await;
    let start = Instant::now();
    let report = processor.drain(LONG).await.expect("drained");
    stage.clock.assert_at_once(start);
    assert_eq!((report.ended, report.answered), (true, 2));
    assert_all_answered(sendings, 0..2).await;
}

/// What cannot end is given up.
async fn a_drain_ends_at_its_deadline_though_its_handler_does_not(stage: Stage) {
    let busy = busy(&stage).await;
    let start = Instant::now();
    let report = busy.processor.drain(SHORT).await.expect("drained");
    let took = start.elapsed();
    assert!(took <= SHORT + stage.clock.tolerance(), "{took:?}");
    assert!(report.ended);
    assert_eq!(
        (report.answered, report.released, report.abandoned),
        (0, 2, 2)
    );
}

/// Its callers do not wait for their timeouts.
async fn what_a_drain_gives_up_ends_at_once(stage: Stage) {
    let busy = busy(&stage).await;
    busy.processor.drain(SHORT).await.expect("drained");
    let start = Instant::now();
    for sending in busy.running.into_iter().chain(busy.read) {
        assert_eq!(error_of(sending).await.kind(), ErrorKind::Closed);
    }
    stage.clock.assert_at_once(start);
}

/// Read ahead and not started by one processor, run by another as soon as the first has left.
async fn what_is_given_back_is_served_by_another_at_once(stage: Stage) {
    let busy = busy(&stage).await;
    let (_other, mut controls) = stage.controlled(when_full(2));
    let report = busy.processor.drain(SHORT).await.expect("drained");
    assert_eq!(report.released, 2);
    let left = Instant::now();
    let mut served = Vec::new();
    // A transport that can delivers again what was given up while it ran: before these, or after.
    while !(served.contains(&2) && served.contains(&3)) {
        let batch = controls.next().await;
        served.extend(batch.ids());
        batch.answer();
    }
    assert_all_answered(busy.read, 2..4).await;
    stage.clock.assert_at_once(left);
}

/// Callers that send one request after the other until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<Error>>>,
    answered: Arc<AtomicU64>,
}

impl Load {
    fn start(stage: &Stage, callers: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let callers = (0..callers).map(|caller| {
            let batcher = stage.batcher.clone();
            let stop = Arc::clone(&stop);
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let mut errors = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let request = Request::new(caller * 1_000_000 + number);
                    let right = Response::to(&request);
                    match batcher.send(request).await {
                        Ok(response) => {
                            assert_eq!(response, right);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => errors.push(error),
                    }
                    // Those who are refused at once must not keep the others from their turn.
                    sleep(Duration::from_millis(1)).await;
                }
                errors
            })
        });
        let callers = callers.collect();
        Self {
            stop,
            callers,
            answered,
        }
    }

    async fn answers(&self, more: u64) {
        let enough = self.answered.load(Ordering::Relaxed) + more;
        until(|| self.answered.load(Ordering::Relaxed) >= enough).await;
    }

    /// Stops it; gives all errors that its callers got.
    async fn stop(self) -> Vec<Error> {
        self.stop.store(true, Ordering::Relaxed);
        let mut errors = Vec::new();
        for caller in self.callers {
            errors.extend(caller.await.expect("its responses were right"));
        }
        errors
    }
}

fn working(stage: &Stage) -> Processor {
    let handler = |batch: Vec<Request>| async move {
        sleep(Duration::from_millis(5)).await;
        answer_all(batch)
    };
    let policy: BatchPolicy = when_idle(8);
    BatchProcessor::spawn(stage.source.clone(), policy, handler)
}

/// Drained again and again while another one serves: every request is answered.
async fn a_drain_under_load_loses_nothing(stage: Stage) {
    let _staying = working(&stage);
    let load = Load::start(&stage, 50);
    for _ in 0..5 {
        let processor = working(&stage);
        load.answers(100).await;
        let start = Instant::now();
        let report = processor.drain(SHORT).await.expect("drained");
        assert!(start.elapsed() <= SHORT + stage.clock.tolerance());
        assert!(report.ended);
        assert_eq!(report.abandoned, 0);
    }
    load.answers(100).await;
    let errors = load.stop().await;
    assert!(
        errors.is_empty(),
        "{} calls failed: {:?}",
        errors.len(),
        errors[0]
    );
}

/// Nobody is left to serve: each call is answered or closed, and none waits for its timeout.
async fn a_drain_of_the_last_processor_under_load_ends_every_call(stage: Stage) {
    let processor = working(&stage);
    let load = Load::start(&stage, 50);
    load.answers(100).await;
    let report = processor.drain(SHORT).await.expect("drained");
    assert!(report.ended);
    assert_eq!(report.abandoned, 0);
    let start = Instant::now();
    let errors = load.stop().await;
    stage.clock.assert_at_once(start);
    assert!(!errors.is_empty());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}

/// The deadline holds without the future that gave it.
async fn a_drain_goes_on_when_nobody_waits_for_it(stage: Stage) {
    let busy = busy(&stage).await;
    let start = Instant::now();
    let draining = drain(&busy.processor, SHORT);
    until(|| busy.processor.status().phase == Phase::Draining).await;
    draining.abort();
    busy.processor.ended().await.expect("it was told to");
    let took = start.elapsed();
    assert!(took <= SHORT + stage.clock.tolerance(), "{took:?}");
}

/// Whoever asks for more time does not take back what was promised.
async fn of_two_drains_the_earlier_deadline_holds(stage: Stage) {
    let busy = busy(&stage).await;
    let start = Instant::now();
    let longer = drain(&busy.processor, LONG);
    until(|| busy.processor.status().phase == Phase::Draining).await;
    let shorter = busy.processor.drain(SHORT).await.expect("drained");
    assert!(shorter.ended);
    let longer = longer
        .await
        .expect("the draining task lives")
        .expect("drained");
    assert!(longer.ended);
    let took = start.elapsed();
    assert!(took <= SHORT + stage.clock.tolerance(), "{took:?}");
}

async fn a_second_drain_finds_an_ended_processor(stage: Stage) {
    let processor = stage.answering(when_full(2));
    assert!(processor.drain(SHORT).await.expect("drained").ended);
    let again = processor.drain(SHORT).await;
    assert_eq!(again.expect_err("it has ended").kind(), ErrorKind::Closed);
}
