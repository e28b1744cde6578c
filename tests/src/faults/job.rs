//! What the peers of the fault tests ask for, and the one right answer to it.

use std::future::pending;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// A request: in JSON what the Python processor of the tests sums up too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The number of the request, which no other has, and what is to be added to it.
    pub values: Vec<i64>,
    /// What the processor does instead of simply answering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
}

/// The response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The sum of the values.
    pub sum: i64,
}

/// What a handler does when its batch holds such a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Takes so many milliseconds for the batch.
    Sleep(u64),
    /// Fails for this job alone.
    Fail,
    /// Panics.
    Panic,
    /// Ends the process.
    Abort,
    /// Returns one output too few.
    TooFew,
    /// Never returns.
    Hang,
}

impl Job {
    /// The plain request number `id`.
    #[must_use]
    pub fn new(id: i64) -> Self {
        Self {
            values: vec![id, 1],
            act: None,
        }
    }

    /// The same with an act.
    #[must_use]
    pub fn act(mut self, act: Act) -> Self {
        self.act = Some(act);
        self
    }

    /// The request's number.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.values.first().copied().unwrap_or_default()
    }
}

impl Done {
    /// The one right response to request number `id`.
    #[must_use]
    pub fn to(id: i64) -> Self {
        Self { sum: id + 1 }
    }
}

/// Serves a batch, in `pause` at least.
///
/// # Panics
///
/// If a job says so.
pub async fn serve(batch: Vec<Job>, pause: Duration) -> Vec<Result<Done, String>> {
    let has = |act| batch.iter().any(|job| job.act == Some(act));
    if has(Act::Abort) {
        std::process::abort();
    }
    assert!(!has(Act::Panic), "as it was asked to");
    if has(Act::Hang) {
        pending::<()>().await;
    }
    let naps = batch.iter().map(|job| match job.act {
        Some(Act::Sleep(millis)) => Duration::from_millis(millis),
        _ => pause,
    });
    sleep(naps.max().unwrap_or(pause)).await;
    let too_few = has(Act::TooFew);
    let outputs = batch.into_iter().map(|job| match job.act {
        Some(Act::Fail) => Err("as it was asked to".to_owned()),
        _ => Ok(Done {
            sum: job.values.iter().sum(),
        }),
    });
    let mut outputs: Vec<_> = outputs.collect();
    if too_few {
        outputs.pop();
    }
    outputs
}
