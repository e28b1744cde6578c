//! The in-process transport as the suite wants it.

use dynamic_batcher_conformance::{
    Capabilities, Fixture, OpenOptions, Request, Response, WhenFull,
};
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport, OnFull};

/// The in-process transport, which moves values.
pub(crate) struct Memory;

impl Fixture for Memory {
    type Transport = MemoryTransport<Request, Response>;
    type Source = MemoryTransport<Request, Response>;

    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        in_process()
    }

    async fn open(&self, options: OpenOptions) -> (Self::Transport, Self::Source) {
        let transport = MemoryTransport::new(config(options));
        (transport.clone(), transport)
    }
}

/// What a transport within one process can know: everything.
pub(crate) fn in_process() -> Capabilities {
    Capabilities {
        paused_clock: true,
        closes_with_last_processor: true,
        closes_with_last_batcher: true,
        sees_abandonment_after_read: true,
        knows_what_has_started: true,
        gives_batch_info: true,
        keeps_error_source: true,
        bounded_queue: true,
        waits_when_full: true,
    }
}

/// The options in that transport's own words.
pub(crate) fn config(options: OpenOptions) -> MemoryConfig {
    let mut config = MemoryConfig::default();
    if let Some(max_queue) = options.max_queue {
        config = config.max_queue(max_queue);
    }
    match options.when_full {
        WhenFull::Reject => config.on_full(OnFull::Reject),
        WhenFull::Wait => config.on_full(OnFull::Wait),
    }
}
