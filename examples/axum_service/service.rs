//! The service without HTTP: a batcher, the processor where it is in this process, and what the page
//! sees and sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dynamic_batcher::telemetry::Metrics;
use dynamic_batcher::{
    BatchPolicy, BatchProcessor, BatchReport, BatchStart, Batcher, Load, NotRun, Observer, Phase,
    Result, SendOptions, Source, Transport, WhenIdle,
};
use dynamic_batcher_redis::RedisTransport;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::control::Settings;
use crate::feed::{Feed, TICK, Tick};
use crate::work::{Sum, Summing, Values};
use crate::{load, metrics};

/// Within this Redis has to give a sign of life. Who asks whether the service is ready waits as long.
const PING: Duration = Duration::from_secs(1);

/// What a request came to.
pub(crate) struct Summed {
    pub(crate) sum: Sum,
    pub(crate) took: Duration,
}

/// The processor and its handler, where they are in this process.
#[derive(Debug)]
pub(crate) struct Here {
    pub(crate) processor: BatchProcessor<Values, Sum>,
    pub(crate) summing: Summing,
}

#[derive(Debug)]
pub(crate) struct Service {
    batcher: Batcher<Values, Sum>,
    /// `None` where processors are other processes.
    pub(crate) here: Option<Here>,
    /// What leads to them then, if it is Redis.
    redis: Option<RedisTransport>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) load_per_second: watch::Sender<u32>,
    stopping: watch::Sender<bool>,
    /// Requests whose callers wait.
    in_flight: AtomicUsize,
    started: Instant,
}

impl Service {
    /// A service with a processor of its own.
    pub(crate) fn with_processor<T>(transport: T, policy: BatchPolicy, timeout: Duration) -> Self
    where
        T: Transport<Values, Sum> + Source<Values, Sum> + Clone,
    {
        let feed = Arc::new(Feed::new());
        let summing = Summing::default();
        let handler = summing.clone();
        let policy = policy.observer(Told {
            metrics: metrics::batcher(),
            feed: Arc::clone(&feed),
        });
        let processor =
            BatchProcessor::spawn_each(transport.clone(), policy, move |_| handler.clone());
        let here = Here { processor, summing };
        Self::new(Batcher::new(transport).timeout(timeout), Some(here), feed)
    }

    /// A service whose processors are other processes, over Redis: ready only while that is there.
    pub(crate) fn over_redis(transport: RedisTransport, timeout: Duration) -> Self {
        Self {
            redis: Some(transport.clone()),
            ..Self::without_processor(transport, timeout)
        }
    }

    /// A service whose processors are elsewhere.
    pub(crate) fn without_processor(
        transport: impl Transport<Values, Sum>,
        timeout: Duration,
    ) -> Self {
        let batcher = Batcher::new(transport).timeout(timeout);
        Self::new(batcher, None, Arc::new(Feed::new()))
    }

    fn new(batcher: Batcher<Values, Sum>, here: Option<Here>, feed: Arc<Feed>) -> Self {
        Self {
            batcher: batcher.observer(metrics::batcher()),
            here,
            redis: None,
            feed,
            load_per_second: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            in_flight: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    /// Has one request served, in a batch with others.
    pub(crate) async fn sum(&self, request: Values) -> Result<Summed> {
        let start = Instant::now();
        let _counted = InFlight::enter(&self.in_flight);
        let reply = self
            .batcher
            .send_for_reply(request, SendOptions::default())
            .await;
        let took = start.elapsed();
        match reply {
            Ok(reply) => {
                self.feed.answered(took);
                // Of processors elsewhere only the replies tell: one of each batch is the first.
                if self.here.is_none()
                    && let Some(info) = &reply.info
                    && info.position == 0
                {
                    self.feed.batch(&info.batch, 0);
                }
                let sum = reply.value;
                Ok(Summed { sum, took })
            }
            Err(error) => {
                self.feed.failed(error.kind().as_str());
                Err(error)
            }
        }
    }

    /// Whether requests should be sent here, or else why not.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        let runs = |here: &Here| here.processor.status().phase == Phase::Running;
        if *self.stopping.borrow() || !self.here.as_ref().is_none_or(runs) {
            return Err("starting or ending".into());
        }
        let Some(redis) = &self.redis else {
            return Ok(());
        };
        match timeout(PING, redis.ping()).await {
            Ok(answered) => answered.map_err(|error| error.to_string()),
            Err(_) => Err(format!("Redis has not answered within {PING:?}")),
        }
    }

    /// Whether the process is of use, or had better be started again.
    pub(crate) fn is_alive(&self) -> bool {
        let is_alive = |here: &Here| here.processor.is_alive();
        self.here.as_ref().is_none_or(is_alive)
    }

    /// Waits until the service is to end.
    pub(crate) async fn stopped(&self) {
        // The sender is in `self`.
        let _ = self
            .stopping
            .subscribe()
            .wait_for(|stopping| *stopping)
            .await;
    }

    /// Has the service end: it is not ready any more, sends itself no requests, and has what waits
    /// for company run at once.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
        self.load_per_second.send_replace(0);
        if let Some(Here { processor, .. }) = &self.here {
            let hurried = processor.policy().when_idle(WhenIdle::Run);
            if let Err(error) = processor.reconfigure(hurried) {
                tracing::warn!("what waits could not be hurried: {error}");
            }
        }
    }

    /// Ends the processor, when no more requests come.
    pub(crate) async fn drain(&self, deadline: Duration) -> Result<()> {
        let Some(Here { processor, .. }) = &self.here else {
            return Ok(());
        };
        let report = processor.drain(deadline).await?;
        tracing::info!("drained: {report:?}");
        Ok(())
    }

    /// What goes on beside the requests, until the service is to end: events, the load, the metrics' upkeep.
    pub(crate) async fn run(self: Arc<Self>) {
        let load = load::run(Arc::clone(&self), self.load_per_second.subscribe());
        let events = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let tick = self.feed.take();
                if self.feed.is_watched() {
                    self.feed.send(self.event(&tick).to_string());
                }
            }
        };
        tokio::select! {
            () = self.stopped() => {}
            () = load => {}
            () = events => {}
            () = metrics::keep_small() => {}
        }
    }

    fn event(&self, tick: &Tick) -> serde_json::Value {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let queue = match &self.here {
            Some(Here { processor, .. }) => {
                let status = processor.status();
                json!({
                    // What the processor has not read yet waits too.
                    "waiting": in_flight.saturating_sub(status.running),
                    "running": status.running,
                    "oldest_ms": status.oldest.map(|oldest| oldest.as_secs_f64() * 1e3),
                })
            }
            // What waits and what runs elsewhere cannot be told apart here.
            None => json!({ "waiting": in_flight, "running": null, "oldest_ms": null }),
        };
        json!({
            "at": self.started.elapsed().as_secs_f64(),
            "tick": tick,
            "queue": queue,
            "settings": Settings::of(self),
        })
    }
}

/// Counts a caller for as long as it waits, also one that goes away.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the processor tells, for the metrics; of its batches the page is told too.
struct Told {
    metrics: Metrics,
    feed: Arc<Feed>,
}

impl Observer for Told {
    fn batch_ended(&self, report: &BatchReport<'_>) {
        self.metrics.batch_ended(report);
        self.feed.batch(report.info, report.failed);
    }

    fn redelivered(&self, requests: usize) {
        self.metrics.redelivered(requests);
    }

    fn not_run(&self, reason: NotRun) {
        self.metrics.not_run(reason);
    }

    fn batch_started(&self, start: &BatchStart<'_>) {
        self.metrics.batch_started(start);
    }

    fn replied(&self, took: Duration) {
        self.metrics.replied(took);
    }

    fn load(&self, load: &Load) {
        self.metrics.load(load);
    }
}
