//! Metrics through the facade `metrics`, version 0.24, for whichever recorder of that version is installed;
//! one of another version is told nothing. With the feature `metrics`.
//!
//! [`Metrics`] is an [`Observer`]: give it to a processor's policy, to a batcher, and to a transport
//! with a server, and they all count under one name. What is not given one counts nothing and takes
//! no time for it.
//!
//! ```
//! use dynamic_batcher::telemetry::Metrics;
//! use dynamic_batcher::{BatchPolicy, WhenIdle};
//!
//! # #[tokio::main]
//! # async fn main() -> dynamic_batcher::Result<()> {
//! // After the program has installed its recorder, an exporter for Prometheus for example.
//! let metrics = Metrics::new("square");
//! let policy = BatchPolicy::default()
//!     .when_idle(WhenIdle::Run)
//!     .observer(metrics.clone());
//! let (batcher, _processor) = dynamic_batcher_memory::spawn(policy, |batch: Vec<u64>| {
//!     batch.into_iter().map(|n| n * n).collect::<Vec<_>>()
//! });
//! let batcher = batcher.observer(metrics);
//! assert_eq!(batcher.send(12).await?, 144);
//! # Ok(())
//! # }
//! ```
//!
//! # The metrics
//!
//! Each name begins with the prefix, `dynamic_batcher_` unless it is [set](MetricsConfig::prefix),
//! and each metric has the label `batcher`, the name given to [`Metrics::new`]. Times are in
//! seconds, sizes in requests. [`METRICS`] is the same list for programs.
//!
//! | name | kind | labels | what it says |
//! |---|---|---|---|
//! | `requests_total` | counter | `outcome` | requests by how they ended, see below |
//! | `batches_total` | counter | `outcome`: `ok`, `batch_error`, `panic` | batches by how they ended as a whole, before parts of them were run again |
//! | `flush_total` | counter | `reason`: `full`, `window`, `idle`, `drain`, `last_attempt` | batches by [why](CloseReason) they were closed |
//! | `batch_size` | histogram | | requests in a batch when it starts |
//! | `batch_fill_ratio` | histogram | | the same by `batch_size` of the policy: 1 is full |
//! | `gather_duration_seconds` | histogram | | how long a batch was open, since the processor read the first request that waited |
//! | `queue_duration_seconds` | histogram | | how long a request was queued, from when it was sent (over Redis by the server's clock) until its batch started |
//! | `handler_duration_seconds` | histogram | | how long the handler ran for a batch, all its runs together |
//! | `reply_duration_seconds` | histogram | | how long it took to send the answers of a batch, since its handler had ended |
//! | `request_duration_seconds` | histogram | | how long a request took, from when it was sent until its batch had run |
//! | `queue_items` | gauge | | requests that wait: read by the processor and not started, or in the in-process queue. Those in Redis that nobody has read are not among them |
//! | `queue_oldest_age_seconds` | gauge | | how long the longest queued of the requests that the processor has read has waited |
//! | `batches_in_flight` | gauge | | batches that run |
//! | `redeliveries_total` | counter | | requests that were read again after a lease or a processor had ended |
//! | `dead_letters_total` | counter | | requests that were given up and kept as dead letters |
//! | `duplicates_dropped_total` | counter | | answers to requests that had ended before, dropped |
//! | `redis_commands_total` | counter | | commands that were sent to Redis |
//! | `redis_pending_entries` | gauge | | requests in Redis that processors have, those of Python among them, as the group's pending list has them |
//! | `redis_lag` | gauge | | requests in Redis that no processor has read: the group's lag; not a number where the server does not know it: before version 7, and while one that was withdrawn lies among them |
//!
//! The gauges are set as batches start and end, and every second while requests wait or run; a
//! closure that holds the task of its processor holds this up too. They are of one processor: where
//! a process has several, give each a name of its own. Those of Redis are of the whole stream, set by
//! every processor three times in a lease: take the highest, not the sum.
//!
//! Names that stand for what this version does not have: `batch_weight`, `queue_weight`,
//! `padding_items_total`, `active_keys`, `slo_misses_total`, `controller_batch_size`,
//! `controller_wait_seconds`. Nothing else will ever be counted under them.
//!
//! # How requests end
//!
//! | `outcome` | counted by the observer of the | when |
//! |---|---|---|
//! | `ok` | the processor | with a response; counted before it is encoded, so also where that fails |
//! | `item_error` | the processor | with an error of its own, or because it could not be decoded |
//! | `batch_error` | the processor | because its batch failed: by the handler's error, its timeout, or a wrong number of outputs |
//! | `panic` | the processor | because the handler panicked |
//! | `poison` | the processor | with an error after its batch was run again in parts ([`OnBatchError`](crate::OnBatchError)) |
//! | `poison` | the caller | given up as a dead letter |
//! | `rejected` | the caller | refused by a full queue |
//! | `expired` | the caller | at its deadline |
//! | `cancelled` | the caller | because the future of its call was dropped |
//! | `lost` | the caller | because nobody was left to answer, the connection failed, or the request had vanished |
//!
//! So a request counts once, wherever its caller is, but for one that ran all the same after its
//! caller had been told of its deadline or had gone: that is `ok`, say, as well. So are those of a
//! dropped `send_many` that had been answered, and what a handler fails with an error of a kind that
//! the caller counts counts at both. What a Python
//! processor answers is counted nowhere. What a processor takes out because its deadline has passed
//! or its caller is gone is its caller's to count; where that is a program in Python,
//! [`count_skipped`](MetricsConfig::count_skipped) makes it the processor's.
//!
//! # What it costs
//!
//! The handles are looked up once, in [`Metrics::new`]. What happens for a batch is counted for the
//! batch: a call that is answered counts nothing at its caller. A value for a histogram is dear, in
//! process as much as a tenth of a request; so beyond a [thousand](MetricsConfig::sample_rate) of them
//! in a second one in so many is recorded. Counters are always exact; take rates from them, not from
//! the number of a histogram's values.
//!
//! # Dashboard and alerts
//!
//! The repository has a dashboard for Grafana, `docs/grafana/dashboard.json`, and rules for
//! Prometheus, `docs/prometheus/alerts.yml`. Both need histograms with buckets, which
//! [`MetricsConfig::histograms`] gives; `examples/metrics.rs` there sets them.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram};

use crate::error::ErrorKind;
use crate::meta::CloseReason;
use crate::observer::{Backlog, BatchReport, BatchStart, CallFailure, Load, NotRun, Observer};

mod register;
mod sample;
mod table;

use register::Register;
use sample::{Sample, Turns};
pub use table::{Kind, METRICS, Metric};

/// What the names begin with unless something else is said.
pub const DEFAULT_PREFIX: &str = "dynamic_batcher_";

/// How to count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsConfig {
    /// What the names begin with. Default: [`DEFAULT_PREFIX`].
    pub prefix: String,
    /// How many values of each histogram are recorded in a second, about: all while there are not
    /// more, and one in so many when there are. Default: 1000, which no service notices.
    /// `NonZeroUsize::MAX` records all, at some tens of nanoseconds each.
    pub sample_rate: NonZeroUsize,
    /// Whether a processor counts as `expired` and `cancelled` what it takes out without running
    /// it. Default: false, as callers count that themselves. For callers that are not observed.
    pub count_skipped: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        const SAMPLE_RATE: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();
        Self {
            prefix: DEFAULT_PREFIX.to_owned(),
            sample_rate: SAMPLE_RATE,
            count_skipped: false,
        }
    }
}

impl MetricsConfig {
    /// Sets [`prefix`](Self#structfield.prefix).
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets [`sample_rate`](Self#structfield.sample_rate).
    #[must_use]
    pub fn sample_rate(mut self, sample_rate: NonZeroUsize) -> Self {
        self.sample_rate = sample_rate;
        self
    }

    /// Sets [`count_skipped`](Self#structfield.count_skipped).
    #[must_use]
    pub fn count_skipped(mut self, count_skipped: bool) -> Self {
        self.count_skipped = count_skipped;
        self
    }

    /// The full names of all histograms, each with upper bounds of buckets that suit it: sizes in
    /// powers of two, times from 10 µs to 100 s. For an exporter that has to be told.
    pub fn histograms(&self) -> impl Iterator<Item = (String, &'static [f64])> {
        let histograms = METRICS
            .iter()
            .filter(|metric| metric.kind == Kind::Histogram);
        histograms.map(|metric| (format!("{}{}", self.prefix, metric.name), metric.buckets))
    }
}

/// The observer that counts and times through the facade `metrics`: see the [module](self).
///
/// Clones count to the same metrics, and so do two that were made with the same name.
#[derive(Clone)]
pub struct Metrics(Arc<Handles>);

struct Handles {
    count_skipped: bool,
    sample_of_batches: Sample,
    started: Turns,
    ended: Turns,
    replied: Turns,
    sample_of_requests: Sample,
    of_batch: Turns,
    requests: Vec<Counter>,
    batches: Vec<Counter>,
    flushes: Vec<Counter>,
    batch_size: Histogram,
    fill_ratio: Histogram,
    gather: Histogram,
    queue: Histogram,
    handler: Histogram,
    reply: Histogram,
    request: Histogram,
    queue_items: Gauge,
    oldest: Gauge,
    in_flight: Gauge,
    redeliveries: Counter,
    dead_letters: Counter,
    duplicates: Counter,
    commands: Counter,
    pending: Gauge,
    lag: Gauge,
}

/// The places of the values of `outcome` in [`table::REQUESTS`].
#[derive(Clone, Copy)]
enum Outcome {
    Ok,
    ItemError,
    BatchError,
    Panic,
    Rejected,
    Expired,
    Cancelled,
    Poison,
    Lost,
}

impl Metrics {
    /// Counts under this value of the label `batcher`, to the recorder that is installed now: one
    /// that is installed later is told nothing.
    #[must_use]
    pub fn new(batcher: &str) -> Self {
        Self::with_config(batcher, MetricsConfig::default())
    }

    /// As [`new`](Self::new), with settings.
    #[must_use]
    pub fn with_config(batcher: &str, config: MetricsConfig) -> Self {
        let MetricsConfig {
            prefix,
            sample_rate,
            count_skipped,
        } = config;
        let handles = Register::at_recorder(&prefix, batcher, |register| Handles {
            count_skipped,
            sample_of_batches: Sample::new(sample_rate.get()),
            started: Turns::default(),
            ended: Turns::default(),
            replied: Turns::default(),
            sample_of_requests: Sample::new(sample_rate.get()),
            of_batch: Turns::default(),
            requests: register.counters(&table::REQUESTS),
            batches: register.counters(&table::BATCHES),
            flushes: register.counters(&table::FLUSHES),
            batch_size: register.histogram(&table::BATCH_SIZE),
            fill_ratio: register.histogram(&table::FILL_RATIO),
            gather: register.histogram(&table::GATHER),
            queue: register.histogram(&table::QUEUE),
            handler: register.histogram(&table::HANDLER),
            reply: register.histogram(&table::REPLY),
            request: register.histogram(&table::REQUEST),
            queue_items: register.gauge(&table::QUEUE_ITEMS),
            oldest: register.gauge(&table::OLDEST),
            in_flight: register.gauge(&table::IN_FLIGHT),
            redeliveries: register.counter(&table::REDELIVERIES),
            dead_letters: register.counter(&table::DEAD_LETTERS),
            duplicates: register.counter(&table::DUPLICATES),
            commands: register.counter(&table::COMMANDS),
            pending: register.gauge(&table::PENDING),
            lag: register.gauge(&table::LAG),
        });
        Self(Arc::new(handles))
    }

    fn count(&self, outcome: Outcome, requests: usize) {
        if requests > 0 {
            count(&self.0.requests, outcome as usize, requests);
        }
    }
}

/// Counts at a place of a label's values. Each enum here has its values in the table's order.
fn count(counters: &[Counter], place: usize, by: usize) {
    if let Some(counter) = counters.get(place) {
        counter.increment(by as u64);
    }
}

impl Observer for Metrics {
    fn redelivered(&self, requests: usize) {
        self.0.redeliveries.increment(requests as u64);
    }

    fn not_run(&self, reason: NotRun) {
        let skipped = self.0.count_skipped;
        match reason {
            NotRun::Undecodable => self.count(Outcome::ItemError, 1),
            NotRun::Expired if skipped => self.count(Outcome::Expired, 1),
            NotRun::Abandoned if skipped => self.count(Outcome::Cancelled, 1),
            NotRun::Expired | NotRun::Abandoned => {}
        }
    }

    fn batch_started(&self, start: &BatchStart<'_>) {
        let handles = &*self.0;
        let reason = match start.reason {
            CloseReason::Full => 0,
            CloseReason::Window => 1,
            CloseReason::Idle => 2,
            CloseReason::Drain => 3,
            CloseReason::LastAttempt => 4,
        };
        count(&handles.flushes, reason, 1);
        let every = handles.sample_of_batches.note(start.context.started(), 1);
        if handles.started.is_next(every) {
            let size = start.context.len() as f64;
            handles.batch_size.record(size);
            handles.fill_ratio.record(size / start.batch_size as f64);
            handles.gather.record(start.gathered);
        }
    }

    fn batch_ended(&self, report: &BatchReport<'_>) {
        let handles = &*self.0;
        let (batch, failed) = match report.error {
            None => (0, Outcome::ItemError),
            Some(ErrorKind::Panic) => (2, Outcome::Panic),
            Some(_) => (1, Outcome::BatchError),
        };
        let failed = if report.reruns > 0 {
            Outcome::Poison
        } else {
            failed
        };
        count(&handles.batches, batch, 1);
        let size = report.info.size;
        self.count(failed, report.failed);
        self.count(Outcome::Ok, size - report.failed);

        let ran = report.info.ran;
        if handles.ended.is_next(handles.sample_of_batches.every()) {
            handles.handler.record(ran);
        }
        let every = handles
            .sample_of_requests
            .note(report.context.started(), size);
        for position in handles.of_batch.of(size, every) {
            let queued = report.context.queued(position).unwrap_or_default();
            handles.queue.record(queued);
            handles.request.record(queued + ran);
        }
    }

    fn replied(&self, took: Duration) {
        let handles = &*self.0;
        if handles.replied.is_next(handles.sample_of_batches.every()) {
            handles.reply.record(took);
        }
    }

    fn load(&self, load: &Load) {
        let handles = &*self.0;
        handles.queue_items.set(load.waiting as f64);
        handles.oldest.set(load.oldest);
        handles.in_flight.set(load.batches as f64);
    }

    fn call_failed(&self, failure: CallFailure<'_>) {
        let outcome = match failure {
            CallFailure::Abandoned => Outcome::Cancelled,
            CallFailure::Error(error) => match error.kind() {
                ErrorKind::QueueFull { .. } => Outcome::Rejected,
                ErrorKind::Timeout { .. } => Outcome::Expired,
                ErrorKind::Undeliverable { .. } => Outcome::Poison,
                ErrorKind::Lost | ErrorKind::Connection | ErrorKind::Closed => Outcome::Lost,
                // The processor's to count, or no request yet.
                ErrorKind::Handler
                | ErrorKind::Panic
                | ErrorKind::HandlerTimeout { .. }
                | ErrorKind::WrongNumberOfOutputs { .. }
                | ErrorKind::Encode
                | ErrorKind::Decode
                | ErrorKind::Config => return,
            },
        };
        self.count(outcome, 1);
    }

    fn dead_letters(&self, requests: usize) {
        self.0.dead_letters.increment(requests as u64);
    }

    fn duplicates_dropped(&self, answers: usize) {
        self.0.duplicates.increment(answers as u64);
    }

    fn commands_sent(&self, commands: usize) {
        self.0.commands.increment(commands as u64);
    }

    fn backlog(&self, backlog: &Backlog) {
        self.0.pending.set(backlog.pending as f64);
        // What it was is no answer to what it is.
        let unread = backlog.unread.map_or(f64::NAN, |unread| unread as f64);
        self.0.lag.set(unread);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
