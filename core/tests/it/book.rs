//! A recorder of metrics that can be looked into.

use std::collections::BTreeMap;

use dynamic_batcher::telemetry::{Metrics, MetricsConfig};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// Metrics of the batcher `test`, and what they have come to since the last look.
pub(crate) struct Book {
    pub(crate) metrics: Metrics,
    snapshotter: Snapshotter,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self::with_config(MetricsConfig::default())
    }

    pub(crate) fn with_config(config: MetricsConfig) -> Self {
        let recorder = DebuggingRecorder::new();
        let metrics =
            metrics::with_local_recorder(&recorder, || Metrics::with_config("test", config));
        Self {
            metrics,
            snapshotter: recorder.snapshotter(),
        }
    }

    /// By name without the prefix, and the value of the label beside `batcher`: `name{value}`.
    pub(crate) fn look(&self) -> BTreeMap<String, DebugValue> {
        let all = self.snapshotter.snapshot().into_vec().into_iter();
        all.map(|(key, _, _, value)| {
            let key = key.key();
            let name = key.name().strip_prefix("dynamic_batcher_").expect("prefix");
            let labels: Vec<_> = key.labels().collect();
            assert_eq!((labels[0].key(), labels[0].value()), ("batcher", "test"));
            let name = match labels.get(1) {
                Some(label) => format!("{name}{{{}}}", label.value()),
                None => name.to_owned(),
            };
            (name, value)
        })
        .collect()
    }

    /// The counters that are not zero.
    pub(crate) fn counters(&self, family: &str) -> BTreeMap<String, u64> {
        let all = self.look().into_iter();
        all.filter_map(|(name, value)| match value {
            DebugValue::Counter(count) if count > 0 && name.starts_with(family) => {
                Some((name, count))
            }
            _ => None,
        })
        .collect()
    }

    pub(crate) fn assert_requests<const N: usize>(&self, expected: [(&str, u64); N]) {
        let expected =
            expected.map(|(outcome, count)| (format!("requests_total{{{outcome}}}"), count));
        assert_eq!(self.counters("requests_total"), BTreeMap::from(expected));
    }
}

pub(crate) fn values(looked: &BTreeMap<String, DebugValue>, name: &str) -> Vec<f64> {
    match &looked[name] {
        DebugValue::Histogram(values) => values.iter().map(|value| value.0).collect(),
        other => panic!("{name} is no histogram: {other:?}"),
    }
}

pub(crate) fn gauge(looked: &BTreeMap<String, DebugValue>, name: &str) -> f64 {
    match &looked[name] {
        DebugValue::Gauge(value) => value.0,
        other => panic!("{name} is no gauge: {other:?}"),
    }
}
