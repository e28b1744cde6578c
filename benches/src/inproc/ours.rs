//! This library, in the three ways to hold a batcher within one process, and with its metrics.

use dynamic_batcher::telemetry::{Metrics, MetricsConfig};
use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, Coded, Json, Source, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::inproc::drive::{Ask, Drive};
use crate::inproc::job::Job;
use crate::inproc::workload::{BATCH_SIZE, Mode};

/// The batcher's type names the transport.
pub(crate) async fn with_static_type<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let transport = MemoryTransport::default();
    let batcher: Batcher<J::Request, J::Response, _> = Batcher::with_transport(transport.clone());
    let _processor = spawn::<J>(transport, policy(mode));
    drive.drive::<J, _>(batcher).await
}

/// As it is mostly used: the batcher's type does not name the transport.
pub(crate) async fn erased<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let transport = MemoryTransport::default();
    let batcher: Batcher<J::Request, J::Response> = Batcher::new(transport.clone());
    let _processor = spawn::<J>(transport, policy(mode));
    drive.drive::<J, _>(batcher).await
}

/// The same, observed at both ends: counted and timed for Prometheus, with the settings that the docs
/// recommend.
pub(crate) async fn with_metrics<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let config = MetricsConfig::default();
    let exporter = PrometheusBuilder::new();
    let exporter = config
        .histograms()
        .fold(exporter, |exporter, (name, bounds)| {
            let exporter = exporter.set_buckets_for_metric(Matcher::Full(name), bounds);
            exporter.expect("each histogram has buckets")
        });
    let recorder = exporter.build_recorder();
    let metrics = metrics::with_local_recorder(&recorder, || Metrics::with_config("bench", config));

    let transport = MemoryTransport::default();
    let batcher: Batcher<J::Request, J::Response> = Batcher::new(transport.clone());
    let batcher = batcher.observer(metrics.clone());
    let _processor = spawn::<J>(transport, policy(mode).observer(metrics));
    drive.drive::<J, _>(batcher).await
}

/// Without metrics, over a transport of bytes, as one between processes is: every request and every
/// response is written as JSON and read.
pub(crate) async fn coded<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let transport = Coded::new(MemoryTransport::default(), Json);
    let batcher: Batcher<J::Request, J::Response> = Batcher::new(transport.clone());
    let _processor = spawn::<J>(transport, policy(mode));
    drive.drive::<J, _>(batcher).await
}

fn policy(mode: Mode) -> BatchPolicy {
    let policy = BatchPolicy::default().batch_size(BATCH_SIZE);
    match mode {
        Mode::AtOnce => policy.when_idle(WhenIdle::Run),
        Mode::Window(window) => policy.when_idle(WhenIdle::Wait).batch_time(window),
    }
}

fn spawn<J: Job>(
    source: impl Source<J::Request, J::Response>,
    policy: BatchPolicy,
) -> BatchProcessor<J::Request, J::Response> {
    if J::BLOCKS {
        BatchProcessor::spawn_blocking(source, policy, J::handle)
    } else {
        BatchProcessor::spawn(source, policy, J::handle)
    }
}

impl<J, T> Ask<J> for Batcher<J::Request, J::Response, T>
where
    J: Job,
    T: dynamic_batcher::Transport<J::Request, J::Response> + Clone,
{
    async fn ask(&mut self, request: J::Request) -> J::Response {
        self.send(request).await.expect("a processor answers")
    }
}
