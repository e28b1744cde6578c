//! Spans as OpenTelemetry has them, in a form that goes from process to process.

use std::sync::Once;

use opentelemetry::trace::{SpanContext, SpanId, TraceId, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde::{Deserialize, Serialize};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

/// Asks `tracing` to note spans on any thread: it takes the no of a thread without a subscriber, if
/// that is the first to come by a span, for the others' answer, too.
pub(crate) fn note_everywhere() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let keeps_none = tracing_subscriber::registry();
        tracing::subscriber::set_global_default(keeps_none).expect("nothing else sets it");
    });
}

/// The spans of one thread, on which all of a runtime runs.
pub(crate) struct Spans {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    _guard: DefaultGuard,
}

impl Spans {
    pub(crate) fn listen() -> Self {
        note_everywhere();
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            exporter,
            provider,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    pub(crate) fn ended(self) -> Vec<Ended> {
        self.provider.force_flush().unwrap();
        let spans = self.exporter.get_finished_spans().unwrap();
        spans.iter().map(Ended::new).collect()
    }
}

/// Where a span is: its trace and itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
}

impl Place {
    fn new(trace_id: TraceId, span_id: SpanId) -> Self {
        Self {
            trace_id: trace_id.to_string(),
            span_id: span_id.to_string(),
        }
    }

    fn of(context: &SpanContext) -> Self {
        Self::new(context.trace_id(), context.span_id())
    }
}

/// A span that has ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) parent: Option<Place>,
    pub(crate) links: Vec<Place>,
    /// Its field `batch.id`.
    pub(crate) batch_id: Option<String>,
}

impl Ended {
    fn new(span: &SpanData) -> Self {
        let parent = Place::new(span.span_context.trace_id(), span.parent_span_id);
        let mut fields = span.attributes.iter();
        let batch_id = fields.find(|field| field.key.as_str() == "batch.id");
        let links = span.links.iter().map(|link| Place::of(&link.span_context));
        Self {
            name: span.name.to_string(),
            place: Place::of(&span.span_context),
            parent: (span.parent_span_id != SpanId::INVALID).then_some(parent),
            links: links.collect(),
            batch_id: batch_id.map(|field| field.value.to_string()),
        }
    }
}

/// The spans of this name, in the order in which they ended.
pub(crate) fn named<'a>(spans: &'a [Ended], name: &str) -> Vec<&'a Ended> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The only span of this name.
pub(crate) fn one<'a>(spans: &'a [Ended], name: &str) -> &'a Ended {
    let all = named(spans, name);
    assert_eq!(all.len(), 1, "{name}: {spans:#?}");
    all[0]
}
