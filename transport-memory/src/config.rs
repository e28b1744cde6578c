//! The settings of the in-process transport.

use std::num::NonZeroUsize;

use dynamic_batcher::OnFull;

/// The settings of a [`MemoryTransport`](crate::MemoryTransport).
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
/// use dynamic_batcher_memory::{MemoryConfig, MemoryTransport, OnFull};
///
/// const MAX_QUEUE: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();
///
/// let config = MemoryConfig::default().max_queue(MAX_QUEUE).on_full(OnFull::Reject);
/// let transport = MemoryTransport::<String, usize>::new(config);
/// # let _ = transport;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// The most requests that may be in the transport: waiting or running, not yet answered.
    ///
    /// Default: 65536. That is 1024 full batches of the default size: a service that is so far
    /// behind answers nobody in time, so refusing is kinder; and the queue itself then takes some
    /// 15 MB beside the requests, which any machine has. Means nothing with [`OnFull::Wait`]: who
    /// waits for room does so in this queue.
    pub max_queue: NonZeroUsize,
    /// What a send meets when that many are there. Default: [`OnFull::Reject`].
    pub on_full: OnFull,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        const MAX_QUEUE: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
        Self {
            max_queue: MAX_QUEUE,
            on_full: OnFull::Reject,
        }
    }
}

impl MemoryConfig {
    /// Sets [`max_queue`](Self#structfield.max_queue).
    #[must_use]
    pub fn max_queue(mut self, max_queue: NonZeroUsize) -> Self {
        self.max_queue = max_queue;
        self
    }

    /// Sets [`on_full`](Self#structfield.on_full).
    #[must_use]
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }
}
