//! The names of metrics are the same in the code, its docs, the dashboard and the alerts.

use dynamic_batcher::telemetry::{Kind, METRICS, Metrics, MetricsConfig};
use metrics_util::debugging::DebuggingRecorder;

#[test]
fn the_table_of_the_docs_is_the_table_of_the_code() {
    let page = include_str!("../../src/telemetry.rs");
    let (_, table) = page
        .split_once("//! | name | kind | labels | what it says |\n//! |---|---|---|---|\n")
        .expect("the table of metrics");
    let rows = table.lines().map_while(|line| line.strip_prefix("//! | "));
    let rows: Vec<_> = rows
        .map(|row| {
            let cells: Vec<_> = row
                .split(" | ")
                .map(|cell| cell.trim_matches([' ', '`', '|']))
                .collect();
            (cells[0].to_owned(), cells[1].to_owned())
        })
        .collect();
    let kind = |kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        _ => "histogram",
    };
    let expected: Vec<_> = METRICS
        .iter()
        .map(|metric| (metric.name.to_owned(), kind(metric.kind).to_owned()))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_prefix_is_a_setting_and_histograms_have_buckets() {
    let config = MetricsConfig::default().prefix("x_");
    let histograms: Vec<_> = config.histograms().collect();
    assert!(histograms.iter().any(|(name, _)| name == "x_batch_size"));
    for (name, buckets) in histograms {
        assert!(buckets.is_sorted() && buckets.len() > 5, "{name}");
    }
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || Metrics::with_config("test", config));
    let found = recorder.snapshotter().snapshot().into_vec();
    assert!(
        found
            .iter()
            .all(|(key, ..)| key.key().name().starts_with("x_"))
    );
}
