//! A processor's hold on its consumer.

use std::ops::Deref;
use std::sync::Arc;

use crate::control::Control;

/// A consumer whose queue the processor's status asks for its length. However the processor goes, the
/// consumer is asked no more when it is dropped: who is asking holds it too, and would drop it, with all
/// that it has of the users', in the middle of that.
pub(crate) struct Attached<C> {
    /// Before the consumer: fields are dropped in their order.
    asked: Asked,
    consumer: Arc<C>,
}

struct Asked(Arc<Control>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.queue_length.forget();
    }
}

impl<C> Attached<C> {
    pub(crate) fn new(consumer: Arc<C>, control: Arc<Control>) -> Self {
        let asked = Asked(control);
        Self { asked, consumer }
    }

    /// The consumer, which is asked no more.
    pub(crate) fn into_consumer(self) -> Option<C> {
        drop(self.asked);
        Arc::into_inner(self.consumer)
    }
}

impl<C> Deref for Attached<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.consumer
    }
}
