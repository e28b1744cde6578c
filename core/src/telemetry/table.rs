//! Every metric there is: its name, its labels, what it says.

use crate::meta::CloseReason;

/// What kind of metric one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Has a value at each time.
    Gauge,
    /// Has a distribution.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its label beside `batcher`, with all values, if it has one.
    pub label: Option<(&'static str, &'static [&'static str])>,
    /// What it says: one sentence without a full stop.
    pub description: &'static str,
    /// For a histogram, the upper bounds of buckets that suit it.
    pub buckets: &'static [f64],
}

impl Metric {
    const fn new(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self {
            name,
            kind,
            label: None,
            description,
            buckets: &[],
        }
    }

    const fn counter(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Counter, description)
    }

    const fn gauge(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Gauge, description)
    }

    const fn histogram(
        name: &'static str,
        buckets: &'static [f64],
        description: &'static str,
    ) -> Self {
        let mut metric = Self::new(name, Kind::Histogram, description);
        metric.buckets = buckets;
        metric
    }

    const fn labelled(mut self, label: &'static str, values: &'static [&'static str]) -> Self {
        self.label = Some((label, values));
        self
    }
}

/// From a tenth of the fastest batch in process to the default timeout.
const SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0,
];
const SIZES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
];
const RATIOS: &[f64] = &[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
];

pub(super) const REQUESTS: Metric = Metric::counter("requests_total", "requests by how they ended")
    .labelled(
        "outcome",
        &[
            "ok",
            "item_error",
            "batch_error",
            "panic",
            "rejected",
            "expired",
            "cancelled",
            "poison",
            "lost",
        ],
    );
pub(super) const BATCHES: Metric = Metric::counter("batches_total", "batches by how they ended")
    .labelled("outcome", &["ok", "batch_error", "panic"]);
pub(super) const FLUSHES: Metric =
    Metric::counter("flush_total", "batches by why they were closed").labelled(
        "reason",
        &[
            CloseReason::Full.as_str(),
            CloseReason::Window.as_str(),
            CloseReason::Idle.as_str(),
            CloseReason::Drain.as_str(),
            CloseReason::LastAttempt.as_str(),
        ],
    );
pub(super) const BATCH_SIZE: Metric =
    Metric::histogram("batch_size", SIZES, "requests in a batch when it starts");
pub(super) const FILL_RATIO: Metric = Metric::histogram(
    "batch_fill_ratio",
    RATIOS,
    "requests in a batch when it starts, by the most that it might have held",
);
pub(super) const GATHER: Metric = Metric::histogram(
    "gather_duration_seconds",
    SECONDS,
    "how long a batch was open, since the processor read the first request that waited",
);
pub(super) const QUEUE: Metric = Metric::histogram(
    "queue_duration_seconds",
    SECONDS,
    "how long a request was queued, from when it was sent until its batch started",
);
pub(super) const HANDLER: Metric = Metric::histogram(
    "handler_duration_seconds",
    SECONDS,
    "how long the handler ran for a batch, all its runs together",
);
pub(super) const REPLY: Metric = Metric::histogram(
    "reply_duration_seconds",
    SECONDS,
    "how long it took to send the answers of a batch, since its handler had ended",
);
pub(super) const REQUEST: Metric = Metric::histogram(
    "request_duration_seconds",
    SECONDS,
    "how long a request took, from when it was sent until its batch had run",
);
pub(super) const QUEUE_ITEMS: Metric = Metric::gauge(
    "queue_items",
    "requests that wait: read by the processor and not started, or in the in-process queue",
);
pub(super) const OLDEST: Metric = Metric::gauge(
    "queue_oldest_age_seconds",
    "how long the longest queued of the requests that the processor has read has waited",
);
pub(super) const IN_FLIGHT: Metric = Metric::gauge("batches_in_flight", "batches that run");
pub(super) const REDELIVERIES: Metric = Metric::counter(
    "redeliveries_total",
    "requests that were read again after a lease or a processor had ended",
);
pub(super) const DEAD_LETTERS: Metric = Metric::counter(
    "dead_letters_total",
    "requests that were given up and kept as dead letters",
);
pub(super) const DUPLICATES: Metric = Metric::counter(
    "duplicates_dropped_total",
    "answers to requests that had ended before, dropped",
);
pub(super) const COMMANDS: Metric =
    Metric::counter("redis_commands_total", "commands that were sent to Redis");
pub(super) const PENDING: Metric = Metric::gauge(
    "redis_pending_entries",
    "requests in Redis that processors have",
);
pub(super) const LAG: Metric =
    Metric::gauge("redis_lag", "requests in Redis that no processor has read");

/// Every metric there is.
pub const METRICS: &[Metric] = &[
    REQUESTS,
    BATCHES,
    FLUSHES,
    BATCH_SIZE,
    FILL_RATIO,
    GATHER,
    QUEUE,
    HANDLER,
    REPLY,
    REQUEST,
    QUEUE_ITEMS,
    OLDEST,
    IN_FLIGHT,
    REDELIVERIES,
    DEAD_LETTERS,
    DUPLICATES,
    COMMANDS,
    PENDING,
    LAG,
];
