//! Makes the handles of metrics at the recorder that is installed.

use ::metrics::{
    Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit,
};

use super::table::{Kind, Metric};

static METADATA: Metadata<'static> =
    Metadata::new("dynamic_batcher", Level::INFO, Some("dynamic_batcher"));

/// A recorder, with what all metrics of one batcher have in common.
pub(super) struct Register<'a> {
    recorder: &'a dyn Recorder,
    prefix: &'a str,
    batcher: &'a str,
}

impl Register<'_> {
    pub(super) fn at_recorder<T>(
        prefix: &str,
        batcher: &str,
        make: impl FnOnce(&Register<'_>) -> T,
    ) -> T {
        ::metrics::with_recorder(|recorder| {
            make(&Register {
                recorder,
                prefix,
                batcher,
            })
        })
    }

    pub(super) fn counter(&self, metric: &Metric) -> Counter {
        self.describe(metric);
        self.recorder
            .register_counter(&self.key(metric, None), &METADATA)
    }

    /// A counter for each value of the metric's label, in their order.
    pub(super) fn counters(&self, metric: &Metric) -> Vec<Counter> {
        self.describe(metric);
        let (label, values) = metric.label.unwrap_or_default();
        let keys = values
            .iter()
            .map(|value| self.key(metric, Some((label, value))));
        keys.map(|key| self.recorder.register_counter(&key, &METADATA))
            .collect()
    }

    pub(super) fn gauge(&self, metric: &Metric) -> Gauge {
        self.describe(metric);
        self.recorder
            .register_gauge(&self.key(metric, None), &METADATA)
    }

    pub(super) fn histogram(&self, metric: &Metric) -> Histogram {
        self.describe(metric);
        self.recorder
            .register_histogram(&self.key(metric, None), &METADATA)
    }

    fn name(&self, metric: &Metric) -> String {
        format!("{}{}", self.prefix, metric.name)
    }

    fn key(&self, metric: &Metric, label: Option<(&'static str, &'static str)>) -> Key {
        let mut labels = vec![Label::new("batcher", self.batcher.to_owned())];
        labels.extend(label.map(|(name, value)| Label::from_static_parts(name, value)));
        Key::from_parts(self.name(metric), labels)
    }

    fn describe(&self, metric: &Metric) {
        let unit = match metric.name {
            name if name.ends_with("_seconds") => Some(Unit::Seconds),
            name if name.ends_with("_ratio") => None,
            _ => Some(Unit::Count),
        };
        let name = self.name(metric).into();
        let description = SharedString::const_str(metric.description);
        match metric.kind {
            Kind::Counter => self.recorder.describe_counter(name, unit, description),
            Kind::Gauge => self.recorder.describe_gauge(name, unit, description),
            Kind::Histogram => self.recorder.describe_histogram(name, unit, description),
        }
    }
}
