//! What the page sees: all that happens within a tenth of a second is one event.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynamic_batcher::BatchInfo;
use serde::Serialize;
use tokio::sync::broadcast;

/// How often there is an event.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// The most batches that an event tells of, and the most latencies that it is made of: beyond them
/// a page could show no more.
const MOST_BATCHES: usize = 100;
const MOST_LATENCIES: usize = 4_096;
/// A page that is this many events behind misses some.
const BACKLOG: usize = 16;

/// Collects what happens, and hands it to those who watch.
#[derive(Debug)]
pub(crate) struct Feed {
    tick: Mutex<Tick>,
    events: broadcast::Sender<Arc<str>>,
}

/// What has happened since the last event.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Tick {
    answered: usize,
    failed: BTreeMap<&'static str, usize>,
    latency: Option<Latency>,
    batches: Vec<Batch>,
    batches_total: usize,
    #[serde(skip)]
    micros: Vec<u32>,
}

/// Of the requests that were answered, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Batch {
    id: String,
    size: usize,
    reason: String,
    ran_ms: f64,
    failed: usize,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            tick: Mutex::default(),
            events: broadcast::Sender::new(BACKLOG),
        }
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<Arc<str>> {
        self.events.subscribe()
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.events.receiver_count() > 0
    }

    pub(crate) fn answered(&self, took: Duration) {
        let mut tick = self.lock();
        tick.answered += 1;
        if tick.micros.len() < MOST_LATENCIES {
            let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            tick.micros.push(micros);
        }
    }

    pub(crate) fn failed(&self, kind: &'static str) {
        *self.lock().failed.entry(kind).or_default() += 1;
    }

    pub(crate) fn batch(&self, info: &BatchInfo, failed: usize) {
        let mut tick = self.lock();
        tick.batches_total += 1;
        if tick.batches.len() < MOST_BATCHES {
            tick.batches.push(Batch {
                id: info.id.to_string(),
                size: info.size,
                reason: info.reason.to_string(),
                ran_ms: info.ran.as_secs_f64() * 1e3,
                failed,
            });
        }
    }

    /// What has happened since this was last asked for.
    pub(crate) fn take(&self) -> Tick {
        let mut tick = std::mem::take(&mut *self.lock());
        tick.latency = Latency::of(&mut tick.micros);
        tick
    }

    pub(crate) fn send(&self, event: String) {
        // Nobody may be watching any more.
        let _ = self.events.send(event.into());
    }

    fn lock(&self) -> MutexGuard<'_, Tick> {
        self.tick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latency {
    fn of(micros: &mut [u32]) -> Option<Self> {
        micros.sort_unstable();
        let last = micros.len().checked_sub(1)?;
        let at = |percent: usize| f64::from(micros[last * percent / 100]) / 1e3;
        Some(Self {
            p50: at(50),
            p99: at(99),
            max: at(100),
        })
    }
}
