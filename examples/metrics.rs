//! Metrics: what callers and processors count, as Prometheus reads it.
//!
//! `cargo run --example metrics`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Duration;

use dynamic_batcher::telemetry::{Metrics, MetricsConfig};
use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::time::sleep;

const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(8).unwrap();
const MAX_QUEUE: NonZeroUsize = NonZeroUsize::new(64).unwrap();

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The recorder comes first: `Metrics` counts to the one that is there when it is made. Without
    // buckets the exporter gives quantiles, which no dashboard can add up. A service that Prometheus
    // is to read has it listen too, with the exporter's feature `http-listener`.
    let mut exporter = PrometheusBuilder::new();
    for (name, buckets) in MetricsConfig::default().histograms() {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name), buckets)?;
    }
    let page = exporter.install_recorder()?;

    let metrics = Metrics::new("roots");
    let transport = MemoryTransport::new(MemoryConfig::default().max_queue(MAX_QUEUE));
    let batcher: Batcher<f64, f64> = Batcher::new(transport.clone()).observer(metrics.clone());
    let policy = BatchPolicy::default()
        .batch_size(BATCH_SIZE)
        .when_idle(WhenIdle::Run)
        .observer(metrics);
    let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<f64>| async move {
        sleep(Duration::from_millis(5)).await;
        let roots = batch.into_iter().map(|x| match x < 0.0 {
            true => Err("negative"),
            false => Ok(x.sqrt()),
        });
        roots.collect::<Vec<_>>()
    });

    // Of a hundred a queue of 64 refuses the rest; two are no roots.
    let mut requests: Vec<_> = (0..98).map(f64::from).collect();
    requests.splice(0..0, [-1.0, -2.0]);
    let outcomes = batcher.send_many(requests).await;
    processor.drain(Duration::from_secs(1)).await?;

    let page = page.render();
    for line in page.lines() {
        // The buckets are many, and what has not happened is zero.
        if !(line.is_empty()
            || line.contains("_bucket")
            || line.starts_with('#')
            || line.ends_with(" 0"))
        {
            println!("{line}");
        }
    }
    let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    for (outcome, count) in [
        ("ok", answered),
        ("item_error", 2),
        ("rejected", 98 - answered),
    ] {
        let line = format!(
            "dynamic_batcher_requests_total{{batcher=\"roots\",outcome=\"{outcome}\"}} {count}\n"
        );
        assert!(page.contains(&line), "missing: {line}");
    }
    Ok(())
}
