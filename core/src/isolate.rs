//! Running a batch: as a whole, and when that fails and the policy says so, again in parts, until
//! the culprits stand alone.

use std::ops::Range;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span};

use crate::error::{Error, ErrorKind, Result};
use crate::handler::{BatchContext, Outcome, Outputs};
use crate::instance::{Instance, catch};
use crate::policy::{OnBatchError, RunPolicy};
use crate::trace;

/// What became of a batch.
pub(crate) struct Ran<Resp> {
    /// One for each request, or one error for all.
    pub(crate) outputs: Outputs<Resp>,
    /// What failed the batch when it ran as a whole.
    pub(crate) error: Option<ErrorKind>,
    /// How often parts of it were run.
    pub(crate) reruns: usize,
    /// The last run was given up while it ran: the instance has to recover first.
    pub(crate) cut_short: bool,
}

/// Runs a batch on an instance.
pub(crate) async fn run<Req, Resp, I>(
    instance: &mut I,
    policy: RunPolicy<Req>,
    requests: Vec<Req>,
    context: &BatchContext,
    span: &Span,
) -> Ran<Resp>
where
    I: Instance<Req, Resp>,
{
    let RunPolicy {
        run_timeout,
        isolation,
    } = policy;
    let Some(isolation) = isolation else {
        let called = call(instance, Ok(requests), context, run_timeout, span).await;
        return called.into_ran();
    };
    // A handler takes its requests, so it gets copies.
    let copy = |requests: &[Req]| catch(|| (isolation.copy)(requests));
    let copies = copy(&requests);
    let called = call(instance, copies, context, run_timeout, span).await;
    let Called {
        outputs: Outputs::Failed(error),
        cut_short: false,
    } = called
    else {
        return called.into_ran();
    };

    let failed_with = error.kind();
    let mut search = Search::new(isolation.on_error, &error, requests.len());
    let mut reruns = 0;
    let mut cut_short = false;
    // Where no other run can follow, what is left keeps the error that it has.
    while !cut_short && let Some(part) = search.next_part() {
        if !instance.is_usable() {
            instance.recover().await;
        }
        if !instance.is_usable() {
            break;
        }
        let part_context = context.part(part.range.clone());
        if part_context.is_expired(Instant::now()) {
            continue;
        }
        // Between two runs others have their turn, as they do between two batches.
        yield_now().await;
        let copies = copy(&requests[part.range.clone()]);
        let called = call(instance, copies, &part_context, run_timeout, span).await;
        reruns += 1;
        cut_short = called.cut_short;
        search.note(part, called);
    }
    Ran {
        outputs: Outputs::Each(search.outcomes),
        error: Some(failed_with),
        reruns,
        cut_short,
    }
}

/// What one call of the handler gave: as many outputs as requests, or an error.
pub(crate) struct Called<Resp> {
    pub(crate) outputs: Outputs<Resp>,
    cut_short: bool,
}

impl<Resp> Called<Resp> {
    fn into_ran(self) -> Ran<Resp> {
        let error = match &self.outputs {
            Outputs::Failed(error) => Some(error.kind()),
            Outputs::All(_) | Outputs::Each(_) => None,
        };
        Ran {
            outputs: self.outputs,
            error,
            reruns: 0,
            cut_short: self.cut_short,
        }
    }
}

/// Calls the handler, within a span of its own under that of the batch, with requests, if they could
/// be copied: what `Clone` panics with is an error like any of the handler's.
pub(crate) async fn call<Req, Resp, I>(
    instance: &mut I,
    requests: Result<Vec<Req>>,
    context: &BatchContext,
    run_timeout: Option<Duration>,
    batch: &Span,
) -> Called<Resp>
where
    I: Instance<Req, Resp>,
{
    let requests = match requests {
        Ok(requests) => requests,
        Err(error) => {
            return Called {
                outputs: Outputs::Failed(error),
                cut_short: false,
            };
        }
    };
    let span = trace::handler(batch, requests.len());
    let run = instance.run(requests, context).instrument(span.clone());
    let outcome = match run_timeout {
        None => Some(run.await),
        Some(limit) => timeout(limit, run).await.ok(),
    };
    let cut_short = outcome.is_none();
    let outputs = match outcome {
        Some(outcome) => checked(outcome, context.len()),
        None => {
            let run_timeout = run_timeout.unwrap_or_default();
            Outputs::Failed(Error::new(ErrorKind::HandlerTimeout { run_timeout }, ""))
        }
    };
    trace::ran(&span, &outputs);
    Called { outputs, cut_short }
}

/// The outputs, or, when they are not one for each request, one error for all.
fn checked<Resp>(outcome: Outcome<Resp>, expected: usize) -> Outputs<Resp> {
    match outcome.len() {
        Some(actual) if actual != expected => {
            let kind = ErrorKind::WrongNumberOfOutputs { expected, actual };
            Outputs::Failed(Error::new(kind, ""))
        }
        _ => outcome.0,
    }
}

/// The search for the culprits of a batch: which part to run next, and what is known so far.
struct Search<Resp> {
    on_error: OnBatchError,
    /// Parts that are to run; the last is the next.
    parts: Vec<Part>,
    /// Of each request, how the last run with it ended.
    outcomes: Vec<Result<Resp>>,
}

struct Part {
    range: Range<usize>,
    /// The second half is the next of the parts, and one of the halves has a culprit.
    is_first_half: bool,
}

impl<Resp> Search<Resp> {
    /// The search in a batch of `size` that failed with `error`.
    fn new(on_error: OnBatchError, error: &Error, size: usize) -> Self {
        let outcomes = std::iter::repeat_with(|| Err(error.clone()));
        let mut search = Self {
            on_error,
            parts: Vec::new(),
            outcomes: outcomes.take(size).collect(),
        };
        search.divide(0..size);
        search
    }

    fn next_part(&mut self) -> Option<Part> {
        self.parts.pop()
    }

    fn note(&mut self, part: Part, called: Called<Resp>) {
        let outcomes = &mut self.outcomes[part.range.clone()];
        match called.outputs {
            Outputs::All(responses) => fill(outcomes, responses.into_iter().map(Ok)),
            Outputs::Each(outputs) => fill(outcomes, outputs.into_iter()),
            Outputs::Failed(error) => {
                outcomes.fill_with(|| Err(error.clone()));
                self.divide(part.range);
                return;
            }
        }
        // The culprit is in the second half then, which need not be run to know that it fails. This
        // saves a quarter of the runs, and keeps the bound where halves are not equal.
        if part.is_first_half
            && let Some(second) = self.parts.pop_if(|second| second.range.len() > 1)
        {
            self.divide(second.range);
        }
    }

    /// Puts the parts of a part that fails before the others. One request has none.
    fn divide(&mut self, range: Range<usize>) {
        let Range { start, end } = range;
        if range.len() <= 1 {
            return;
        }
        let mut put = |range, is_first_half| {
            self.parts.push(Part {
                range,
                is_first_half,
            });
        };
        match self.on_error {
            OnBatchError::FailAll => {}
            OnBatchError::Bisect => {
                let middle = start + (end - start) / 2;
                put(middle..end, false);
                put(start..middle, true);
            }
            OnBatchError::Singles => {
                (start..end).rev().for_each(|at| put(at..at + 1, false));
            }
        }
    }
}

fn fill<T>(places: &mut [T], values: impl Iterator<Item = T>) {
    for (place, value) in places.iter_mut().zip(values) {
        *place = value;
    }
}

#[cfg(test)]
mod tests;
