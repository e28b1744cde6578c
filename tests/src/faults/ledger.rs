//! The book of all requests: what was sent, what came of it, and whether that is right.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dynamic_batcher::{Batcher, Error, ErrorKind, SendOptions};
use serde::{Deserialize, Serialize};

use super::job::{Done, Job};

/// How long after its timeout a request may end.
const SLACK: Duration = Duration::from_secs(5);

/// How one request ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct End {
    /// Its number.
    pub id: i64,
    /// The sum that it was answered, or why it was not.
    pub outcome: Result<i64, Failure>,
    /// How long it took.
    pub elapsed: Duration,
    /// How long its caller would wait.
    pub timeout: Duration,
}

/// An error, as it goes from a peer to its test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The name of its [`ErrorKind`], without its fields.
    pub kind: String,
    /// The whole text.
    pub text: String,
    /// [`Error::is_retryable`].
    pub retryable: bool,
    /// [`Error::retry_after`].
    pub retry_after: Option<Duration>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            kind: name(error.kind()),
            text: error.to_string(),
            retryable: error.is_retryable(),
            retry_after: error.retry_after(),
        }
    }
}

fn name(kind: ErrorKind) -> String {
    let shown = format!("{kind:?}");
    shown.split(' ').next().unwrap_or_default().to_owned()
}

/// Sends one job and waits for its end.
pub async fn send(batcher: &Batcher<Job, Done>, job: Job, timeout: Duration) -> End {
    let id = job.id();
    let start = Instant::now();
    let outcome = batcher
        .send_with(job, SendOptions::default().timeout(timeout))
        .await;
    End {
        id,
        outcome: outcome.map(|done| done.sum).map_err(Failure::from),
        elapsed: start.elapsed(),
        timeout,
    }
}

/// All requests of a test, by their numbers.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// How often each has ended: none, once sent.
    requests: HashMap<i64, u32>,
    verdict: Verdict,
}

/// What is in a [`Ledger`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// How many were sent.
    pub requests: usize,
    /// How many ended in each kind of error, and in `Ok`.
    pub outcomes: BTreeMap<String, usize>,
    /// How many have not ended, or ended in an error of a kind that does not count as an outcome.
    pub lost: usize,
    /// How many had another's response, or ended twice.
    pub wrong: usize,
    /// How many ended more than 5 s after their timeout.
    pub stalled: usize,
    /// Some of what is wrong, in words.
    pub examples: Vec<String>,
}

impl Ledger {
    /// Notes that a request was sent, which has to end.
    pub fn sent(&self, id: i64) {
        let mut book = self.lock();
        let new = book.requests.insert(id, 0).is_none();
        assert!(new, "two requests have the number {id}");
    }

    /// Notes the end of a request.
    pub fn ended(&self, end: &End) {
        let mut guard = self.lock();
        let Book { requests, verdict } = &mut *guard;
        let times = requests.entry(end.id).or_default();
        *times += 1;
        let right = match &end.outcome {
            Ok(sum) => *sum == Done::to(end.id).sum,
            Err(_) => true,
        };
        if *times > 1 || !right {
            verdict.wrong += 1;
            verdict.example(end);
        }
        if end.elapsed > end.timeout + SLACK {
            verdict.stalled += 1;
            verdict.example(end);
        }
        let kind = match &end.outcome {
            Ok(_) => "Ok",
            Err(failure) => &failure.kind,
        };
        *verdict.outcomes.entry(kind.to_owned()).or_default() += 1;
        if end.outcome.is_err() {
            verdict.example(end);
        }
    }

    /// Sends one job, notes it and its end, and returns that.
    pub async fn send(&self, batcher: &Batcher<Job, Done>, job: Job, timeout: Duration) -> End {
        self.sent(job.id());
        let end = send(batcher, job, timeout).await;
        self.ended(&end);
        end
    }

    /// Forgets those of these requests that have not ended: their caller was killed.
    pub fn forget(&self, is_one: impl Fn(i64) -> bool) {
        let mut book = self.lock();
        book.requests.retain(|id, times| *times > 0 || !is_one(*id));
    }

    /// What has been noted; errors of other kinds than `allowed` count as lost.
    #[must_use]
    pub fn verdict(&self, allowed: &[&str]) -> Verdict {
        let book = self.lock();
        let mut verdict = book.verdict.clone();
        verdict.requests = book.requests.len();
        for (id, times) in &book.requests {
            if *times == 0 {
                verdict.lost += 1;
                verdict.say(format!("{id} has not ended"));
            }
        }
        for (kind, count) in &verdict.outcomes {
            if kind != "Ok" && !allowed.contains(&&**kind) {
                verdict.lost += count;
            }
        }
        verdict
    }

    /// Asserts that every request has ended once, in time, in its own response or in an error of
    /// these kinds; returns the numbers.
    ///
    /// # Panics
    ///
    /// If one has not.
    pub fn assert(&self, allowed: &[&str]) -> Verdict {
        let verdict = self.verdict(allowed);
        let Verdict {
            lost,
            wrong,
            stalled,
            ..
        } = verdict;
        assert_eq!((lost, wrong, stalled), (0, 0, 0), "{verdict:#?}");
        verdict
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    /// How many ended in a kind of error, or in `Ok`.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        self.outcomes.get(kind).copied().unwrap_or_default()
    }

    fn example(&mut self, end: &End) {
        let End {
            id,
            outcome,
            elapsed,
            ..
        } = end;
        self.say(format!("{id} after {elapsed:?}: {outcome:?}"));
    }

    fn say(&mut self, example: String) {
        const MOST: usize = 20;
        if self.examples.len() < MOST {
            self.examples.push(example);
        }
    }
}
