//! The future of a call: a request that has been sent, and its outcome.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use dynamic_batcher::{Error, ErrorKind};
use tokio::sync::oneshot;

use crate::caller::Caller;
use crate::outstanding::Outcome;

/// Kept small: a batcher that does not know its transport allocates large ones. Dropped before the
/// outcome is there, it withdraws the request.
pub(crate) struct Call {
    caller: Arc<Caller>,
    /// `None` when the outcome is there.
    idem: Option<u64>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Call {
    /// Waits for the outcome of the request of this number.
    pub(crate) fn new(caller: Arc<Caller>, idem: u64, outcome: oneshot::Receiver<Outcome>) -> Self {
        Self {
            caller,
            idem: Some(idem),
            outcome,
        }
    }
}

impl Future for Call {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        self.idem = None;
        Poll::Ready(outcome.unwrap_or_else(|_| {
            let text = "the runtime that the call was made on has ended";
            Err(Error::new(ErrorKind::Connection, text))
        }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(idem) = self.idem {
            // Else it would be woken as it is forgotten.
            self.outcome.close();
            self.caller.abandon(idem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batcher that does not know its transport has room for twelve.
    #[test]
    fn a_call_is_four_words() {
        assert!(size_of::<Call>() <= 4 * size_of::<usize>());
    }
}
