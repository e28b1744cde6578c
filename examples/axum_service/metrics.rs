//! What `/metrics` shows: the service's requests by route, and what the batcher and its processor count.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ::metrics::{counter, histogram};
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use dynamic_batcher::telemetry::{Metrics, MetricsConfig};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::interval;

/// What the batcher is called in the metrics.
const BATCHER: &str = "sum";
const UPKEEP: Duration = Duration::from_secs(5);
/// How long a request over HTTP takes: from half a millisecond to ten seconds.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The process's recorder, installed when it is first asked for.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| install().expect("no other recorder is installed in this process"))
}

fn install() -> Result<PrometheusHandle, BuildError> {
    let http = Matcher::Prefix("http_request_duration".into());
    let mut exporter = PrometheusBuilder::new().set_buckets_for_metric(http, &SECONDS)?;
    for (name, buckets) in MetricsConfig::default().histograms() {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name), buckets)?;
    }
    exporter.install_recorder()
}

/// What counts for the batcher, its processor and its transport.
pub(crate) fn batcher() -> Metrics {
    recorder();
    Metrics::new(BATCHER)
}

/// Sums up now and then what was recorded, which would take more and more memory while nobody reads it.
pub(crate) async fn keep_small() {
    let mut pauses = interval(UPKEEP);
    loop {
        pauses.tick().await;
        recorder().run_upkeep();
    }
}

/// Counts and times requests by route: what matches none is counted together, so that nobody can
/// make up labels.
pub(crate) async fn count(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    counter!("http_requests_total", "route" => route.clone(), "status" => status).increment(1);
    histogram!("http_request_duration_seconds", "route" => route).record(start.elapsed());
    response
}
