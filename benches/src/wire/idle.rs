//! A batcher and a processor that have nothing to do: what that costs in a second.

use std::error::Error;
use std::num::NonZeroUsize;

use dynamic_batcher_conformance::RedisServer;

use crate::wire::measure::Effort;
use crate::wire::probe::{Cost, Probe};
use crate::wire::processors::Processors;
use crate::wire::rust;
use crate::wire::subject::{End, Subject};
use crate::wire::workload::Workload;

/// What one second without requests costs; `None` where the system does not say. In this order: the
/// callers' process, the processor's, the server, whose own timer is in it.
#[derive(Debug)]
pub struct Idle {
    /// Who has nothing to do.
    pub subject: Subject,
    /// Processor time in microseconds.
    pub cpu: [Option<f64>; 3],
    /// How often a thread goes on.
    pub wake_ups: [Option<f64>; 3],
    /// Commands that the server runs.
    pub commands: f64,
}

/// Lets each of this library's clients rest that `chosen` picks by its subject, after one request.
///
/// # Errors
///
/// As [`measure`](crate::wire::measure::measure).
///
/// # Panics
///
/// As [`measure`](crate::wire::measure::measure).
pub fn measure(
    effort: Effort,
    threads: NonZeroUsize,
    chosen: impl Fn(&str) -> bool,
    mut progress: impl FnMut(&str),
) -> Result<Vec<Idle>, Box<dyn Error>> {
    let mut all = Vec::new();
    let workload = Workload::IDLE;
    for subject in workload.chosen(&chosen) {
        let End::Ours(client) = subject.caller() else {
            continue;
        };
        progress(&format!("{}, {}", workload.name, subject.name()));
        let server = RedisServer::start(None);
        let port = server.port();
        let processors = Processors::start(subject, workload, port, threads)?;
        let mut probe = Probe::new(port, std::process::id(), processors.ids());
        let rest = rust::rest(client, port, effort.idle, || probe.look());
        rust::runtime(threads)?.block_on(rest)?;
        let seconds = effort.idle.measured.as_secs_f64();
        all.push(Idle::new(subject, &probe.cost(), seconds));
    }
    Ok(all)
}

impl Idle {
    fn new(subject: Subject, cost: &Cost, seconds: f64) -> Self {
        Self {
            subject,
            cpu: cost
                .times
                .map(|time| Some(time?.as_secs_f64() * 1e6 / seconds)),
            wake_ups: cost.wake_ups.map(|count| Some(count? as f64 / seconds)),
            commands: cost.commands as f64 / seconds,
        }
    }
}
