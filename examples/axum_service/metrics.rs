//! What `/metrics` shows: the service's requests, the processor's batches, the queue.

use std::sync::OnceLock;
use std::time::Instant;

use ::metrics::{counter, gauge, histogram};
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use dynamic_batcher::{BatchReport, NotRun, ProcessorStatus};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::failure::kind_word;

/// From half a millisecond to ten seconds.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const SIZES: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// The process's recorder, installed when it is first asked for.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("batch_size".into()), &SIZES));
        let builder = builder.expect("neither list is empty");
        builder
            .install_recorder()
            .expect("no other recorder is installed in this process")
    })
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

pub(crate) fn batch_ended(report: &BatchReport<'_>) {
    let outcome = report.error.map_or("ok", kind_word);
    let reason = report.info.reason.to_string();
    counter!("dynamic_batcher_batches_total", "outcome" => outcome).increment(1);
    counter!("dynamic_batcher_flush_total", "reason" => reason).increment(1);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch of 2^52 requests is none"
    )]
    histogram!("dynamic_batcher_batch_size").record(report.info.size as f64);
    histogram!("dynamic_batcher_handler_duration_seconds").record(report.info.ran);
}

pub(crate) fn not_run(reason: NotRun) {
    let reason = match reason {
        NotRun::Expired => "expired",
        NotRun::Abandoned => "abandoned",
        NotRun::Undecodable => "undecodable",
        _ => "other",
    };
    counter!("dynamic_batcher_not_run_total", "reason" => reason).increment(1);
}

/// What the processor says of itself, if there is one here.
#[expect(clippy::cast_precision_loss, reason = "no queue holds 2^52 requests")]
pub(crate) fn status(status: &ProcessorStatus) {
    gauge!("dynamic_batcher_queue_items").set(status.waiting as f64);
    let oldest = status.oldest.unwrap_or_default();
    gauge!("dynamic_batcher_queue_oldest_age_seconds").set(oldest.as_secs_f64());
    gauge!("dynamic_batcher_batches_in_flight").set(status.running_batches as f64);
}
