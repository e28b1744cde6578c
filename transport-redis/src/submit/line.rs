//! The requests that wait to be sent.

use std::collections::VecDeque;

use super::{PIPELINE, PIPELINES, Request};
use crate::client::pipeline_len;
use crate::outstanding::Outstanding;

/// By their numbers, but for those that callers have sent at the same time.
#[derive(Default)]
pub(super) struct Line {
    requests: VecDeque<Request>,
    /// How many there were, at least, after the last look for those whose callers have gone.
    looked: usize,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Adds one behind the others. Where many wait, and some for long, those that nobody waits for
    /// any more do not stay with their bodies.
    pub(super) fn push(&mut self, request: Request, outstanding: &Outstanding) {
        const FEW: usize = PIPELINE * PIPELINES;
        self.requests.push_back(request);
        if self.requests.len() > 2 * self.looked.max(FEW) {
            outstanding.retain_known(&mut self.requests, |request| request.idem);
            self.looked = self.requests.len();
        }
    }

    /// Puts requests where they were before they were sent.
    pub(super) fn put_back(&mut self, again: Vec<Request>) {
        if !again.is_empty() {
            self.requests.extend(again);
            self.requests
                .make_contiguous()
                .sort_unstable_by_key(|request| request.idem);
        }
    }

    /// Takes as many as go together.
    pub(super) fn take_pipeline(&mut self) -> Vec<Request> {
        let bodies = self.requests.iter().take(PIPELINE);
        let count = pipeline_len(bodies.map(|request| request.body.len()));
        self.requests.drain(..count).collect()
    }

    /// Takes all.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Request> {
        self.requests.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dynamic_batcher::CallMeta;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_that_nobody_waits_for_any_more_do_not_stay() {
        const MANY: usize = 50 * PIPELINE * PIPELINES;
        let outstanding = Outstanding::new(100);
        let mut line = Line::default();
        let mut kept = Vec::new();
        for n in 0..MANY {
            let (idem, outcome) = outstanding.enter(CallMeta::new(Duration::from_secs(60)));
            let request = Request {
                idem,
                body: Vec::new(),
                deadline: Instant::now(),
                trace: None,
            };
            line.push(request, &outstanding);
            match n % 100 {
                0 => kept.push((idem, outcome)),
                _ => drop(outstanding.abandon(idem)),
            }
        }
        assert!(line.requests.len() <= 3 * PIPELINE * PIPELINES);
        let left: Vec<_> = line.drain().map(|request| request.idem).collect();
        assert!(kept.iter().all(|(idem, _)| left.contains(idem)));
        assert!(left.is_sorted());
    }
}
