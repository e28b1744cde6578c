//! When anything last moved on a connection: one that is slow is told from one that is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When bytes last moved on a connection, to the millisecond. A clone is of the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    opened: Instant,
    /// Since then, in milliseconds.
    last: Arc<AtomicU64>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            opened: Instant::now(),
            last: Arc::default(),
        }
    }

    /// Bytes have moved now.
    pub(crate) fn note(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Nothing else is ordered by it.
        self.last.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Instant {
        self.opened + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}
