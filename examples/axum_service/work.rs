//! The function that requests are batched for: sums values, and can be made slow or made to fail.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dynamic_batcher::{BatchContext, Error, Handler, Outcome};
use serde::{Deserialize, Serialize};

/// A request, as callers send it and as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Values {
    pub(crate) key: String,
    pub(crate) values: Vec<i64>,
}

/// Its response, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) sum: i64,
}

/// How the function behaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Behaviour {
    /// How long a batch takes, in milliseconds, however many requests it holds: a model's forward
    /// pass.
    pub(crate) takes_ms: u64,
    pub(crate) fails: Fails,
    /// How many of a hundred requests, or batches, fail.
    pub(crate) fail_percent: f64,
}

/// In which way it fails, when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fails {
    Request,
    Batch,
    Panic,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            takes_ms: 5,
            fails: Fails::Request,
            fail_percent: 0.0,
        }
    }
}

/// The handler; its clones behave alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summing(Arc<RwLock<Behaviour>>);

impl Summing {
    pub(crate) fn behaviour(&self) -> Behaviour {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }
}

impl Handler<Values, Sum> for Summing {
    async fn run(&mut self, batch: Vec<Values>, _: &BatchContext) -> Outcome<Sum> {
        let Behaviour {
            takes_ms,
            fails,
            fail_percent,
        } = self.behaviour();
        if takes_ms > 0 {
            tokio::time::sleep(Duration::from_millis(takes_ms)).await;
        }
        let fails_as = |what| fails == what && fastrand::f64() * 100.0 < fail_percent;
        if fails_as(Fails::Panic) {
            panic!("a panic on purpose");
        }
        if fails_as(Fails::Batch) {
            return Outcome::failed(Error::handler("a batch that fails on purpose"));
        }
        let outputs = batch.iter().map(|request| {
            if fails_as(Fails::Request) {
                return Err("a request that fails on purpose");
            }
            // What the service lets in has no sum beyond 64 bits.
            let sum = request.values.iter().sum();
            Ok(Sum { sum })
        });
        outputs.collect::<Vec<_>>().into()
    }
}
