//! What is done with a subject once it has been started.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::closed_loop::{Client, Load, Tally, closed_loop};
use crate::inproc::arrivals::Burst;
use crate::inproc::job::Job;
use crate::statistics::quantile;

/// A way to get one request answered: what each caller has a clone of.
pub(crate) trait Ask<J: Job>: Clone + Send + 'static {
    /// Gets it answered.
    fn ask(&mut self, request: J::Request) -> impl Future<Output = J::Response> + Send;
}

/// What is done with a subject, whatever its type.
pub(crate) trait Drive {
    type Output;

    /// Does it. The subject ends afterwards.
    async fn drive<J: Job, A: Ask<J>>(self, ask: A) -> Self::Output;
}

/// One caller.
struct Caller<J, A> {
    job: J,
    ask: A,
}

impl<J: Job, A: Ask<J>> Caller<J, A> {
    fn new(ask: A) -> Self {
        Self {
            job: J::default(),
            ask,
        }
    }
}

impl<J: Job, A: Ask<J>> Clone for Caller<J, A> {
    fn clone(&self) -> Self {
        Self::new(self.ask.clone())
    }
}

impl<J: Job, A: Ask<J>> Client for Caller<J, A> {
    async fn call(&mut self, number: u64) {
        let request = self.job.request(number);
        let response = self.ask.ask(request).await;
        self.job.check(number, response);
    }
}

/// Callers that each send their next request when they have their answer.
#[derive(Clone, Copy)]
pub(crate) struct ClosedLoop {
    pub(crate) callers: u64,
    pub(crate) load: Load,
}

impl Drive for ClosedLoop {
    type Output = Tally;

    async fn drive<J: Job, A: Ask<J>>(self, ask: A) -> Tally {
        closed_loop(Caller::<J, A>::new(ask), self.callers, self.load, || ()).await
    }
}

/// A million requests, in ten closed loops one after the other.
pub(crate) struct LongRun {
    pub(crate) callers: u64,
}

/// A part of a long run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) requests: u64,
    pub(crate) time: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// What the process has of the machine's memory at the end, in bytes; `None` where the system
    /// does not say.
    pub(crate) memory: Option<u64>,
}

impl Drive for LongRun {
    type Output = Vec<Part>;

    async fn drive<J: Job, A: Ask<J>>(self, ask: A) -> Vec<Part> {
        let client = Caller::<J, A>::new(ask);
        let each = 100_000_u64.div_ceil(self.callers);
        let load = Load::Counted { each };
        let mut parts = Vec::with_capacity(10);
        for _ in 0..10 {
            let start = Instant::now();
            let mut tally = closed_loop(client.clone(), self.callers, load, || ()).await;
            let time = start.elapsed();
            tally.latencies.sort_unstable();
            parts.push(Part {
                requests: each * self.callers,
                time,
                p50: quantile(&tally.latencies, 500),
                p99: quantile(&tally.latencies, 990),
                memory: resident_memory(),
            });
        }
        parts
    }
}

/// In bytes. Linux says it.
fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Requests that come when they come, whether or not the earlier ones have been answered. Latencies
/// count from when a request was to be sent: a subject that holds up the sending does not look better
/// for it.
#[derive(Clone)]
pub(crate) struct OpenLoop {
    pub(crate) bursts: Vec<Burst>,
    /// What is sent before this does not count.
    pub(crate) warm_up: Duration,
}

impl Drive for OpenLoop {
    type Output = Tally;

    async fn drive<J: Job, A: Ask<J>>(self, ask: A) -> Tally {
        let runtime = Handle::current();
        let requests = self.bursts.iter().map(|burst| burst.size).sum();
        // A thread of its own, because tokio's timer counts whole milliseconds. It does not spin: the
        // subject needs the processors.
        let sending = spawn_blocking(move || {
            let mut calls = Vec::with_capacity(requests);
            let start = Instant::now();
            for burst in self.bursts {
                let due = start + burst.at;
                // Nothing, when the sending is late: then it catches up.
                sleep(due.saturating_duration_since(Instant::now()));
                for _ in 0..burst.size {
                    let number = calls.len() as u64;
                    let mut caller = Caller::<J, A>::new(ask.clone());
                    let call = runtime.spawn(async move {
                        caller.call(number).await;
                        due.elapsed()
                    });
                    calls.push((burst.at, call));
                }
            }
            calls
        });
        let mut tally = Tally::default();
        for (sent, call) in sending.await.expect("nothing panics when it is sent") {
            let latency = call.await.expect("a caller ends by itself");
            if let Some(sent) = sent.checked_sub(self.warm_up) {
                tally.requests += 1;
                tally.latencies.push(latency);
                tally.elapsed = tally.elapsed.max(sent + latency);
            }
        }
        tally
    }
}
