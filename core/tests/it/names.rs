//! The names of metrics are the same in the code, its docs, the dashboard and the alerts.

use std::collections::BTreeSet;

use dynamic_batcher::telemetry::{DEFAULT_PREFIX, Kind, METRICS, Metrics, MetricsConfig};
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

const DASHBOARD: &str = include_str!("../../../docs/grafana/dashboard.json");
const ALERTS: &str = include_str!("../../../docs/prometheus/alerts.yml");

/// The metrics that a text names: as a histogram's series have them, without their endings.
fn named(text: &str) -> BTreeSet<&str> {
    let names = text.split(DEFAULT_PREFIX).skip(1).map(|rest| {
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        &rest[..end]
    });
    let histograms = || {
        METRICS
            .iter()
            .filter(|metric| metric.kind == Kind::Histogram)
    };
    names
        .map(|name| {
            let ending = name.rsplit_once('_').filter(|(base, ending)| {
                matches!(*ending, "bucket" | "sum" | "count")
                    && histograms().any(|metric| metric.name == *base)
            });
            ending.map_or(name, |(base, _)| base)
        })
        .collect()
}

fn all() -> BTreeSet<&'static str> {
    METRICS.iter().map(|metric| metric.name).collect()
}

/// The values that are asked of labels, as in `outcome="ok"` and `outcome=~"ok|lost"`.
fn asked<'a>(text: &'a str, label: &str) -> BTreeSet<&'a str> {
    let after = text.split(label).skip(1);
    let quoted = after.filter_map(|rest| {
        let rest = rest.trim_start_matches(['=', '!', '~']);
        rest.strip_prefix('"')?.split('"').next()
    });
    quoted.flat_map(|values| values.split('|')).collect()
}

/// All queries of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .map(|target| target["expr"].as_str().expect("a query").to_owned())
        .collect()
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let queries = queries().join("\n");
    assert_eq!(named(&queries), all());
    assert!(named(DASHBOARD).is_subset(&all()));
}

#[test]
fn histograms_are_asked_for_by_their_series_and_others_by_their_names() {
    for query in queries().iter().map(String::as_str).chain([ALERTS]) {
        for metric in METRICS {
            let name = format!("{DEFAULT_PREFIX}{}", metric.name);
            for (at, _) in query.match_indices(&name) {
                let rest = &query[at + name.len()..];
                let series = ["_bucket", "_sum", "_count"];
                let is_series = series.iter().any(|series| rest.starts_with(series));
                assert_eq!(is_series, metric.kind == Kind::Histogram, "{query}");
            }
        }
    }
}

#[test]
fn the_alerts_ask_for_metrics_and_values_that_are_there() {
    assert!(named(ALERTS).is_subset(&all()));
    assert!(named(ALERTS).len() > 3);
    let texts = queries().join("\n") + ALERTS;
    for label in ["outcome", "reason"] {
        let labels = METRICS.iter().filter_map(|metric| metric.label);
        let values = labels.filter(|(name, _)| *name == label);
        let values: BTreeSet<_> = values
            .flat_map(|(_, values)| values.iter().copied())
            .collect();
        let asked = asked(&texts, label);
        assert!(asked.is_subset(&values), "{asked:?}");
    }
    assert!(asked(&texts, "outcome").contains("expired"));
}
