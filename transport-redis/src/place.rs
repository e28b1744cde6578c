//! What one consumer is called, where it reads, and how long it holds what it has read.

use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::Result;

use crate::client::Client;
use crate::clock::Clock;
use crate::entry::{Entry, StreamId};
use crate::request::{Caller, Request};

/// How the names of our consumers begin.
pub(crate) const CONSUMER_PREFIX: &str = "rust-";

/// A consumer's place in the group.
pub(crate) struct Place {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Clock,
    pub(crate) request_stream: String,
    /// Tells a waiting consumer that something was given back.
    pub(crate) again_stream: String,
    pub(crate) dead_stream: String,
    pub(crate) reply_prefix: String,
    pub(crate) group: String,
    pub(crate) consumer: String,
    pub(crate) lease: Duration,
    pub(crate) grace: Duration,
    pub(crate) max_deliveries: u32,
    pub(crate) max_dead_letters: usize,
}

impl Place {
    /// Whether the delivery of this number is the last, after others: where only one is permitted
    /// there is nothing to be learned from it.
    pub(crate) fn is_last(&self, deliveries: u32) -> bool {
        self.max_deliveries > 1 && deliveries >= self.max_deliveries
    }

    /// To be called before requests are delivered: by a clock that was set back since it was read, what
    /// has just been sent would look as old as that, and expired.
    pub(crate) async fn check_clock(&self, ids: impl Iterator<Item = StreamId>) -> Result<()> {
        let Some(oldest) = ids.min() else {
            return Ok(());
        };
        match self.clock.check(&*self.client, oldest.millis).await {
            // What is there is not kept waiting for a permission.
            Err(error) if !error.is_retryable() => {
                tracing::debug!("reading the server's clock failed: {error}");
                Ok(())
            }
            checked => checked,
        }
    }

    /// Reads a request, and who asked. `last` is where the answer to the one before it goes, which is
    /// mostly the same place.
    pub(crate) fn parse(
        &self,
        entry: &Entry,
        last: &mut Option<Arc<str>>,
    ) -> (Caller, Result<Request>) {
        Request::parse(entry, |name| {
            if last.as_deref().map(str::as_bytes) != Some(name) {
                let name = std::str::from_utf8(name).ok();
                let name = name.filter(|name| is_reply_stream(&self.reply_prefix, name));
                *last = name.map(Into::into);
            }
            last.clone()
        })
    }
}

/// Whether a name is that of a reply stream of this request stream: an answer goes nowhere else.
fn is_reply_stream(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        (16..=64).contains(&rest.len())
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    })
}

#[cfg(test)]
mod tests;
