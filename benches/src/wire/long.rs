//! A long run of one fleet, of which the second tenth is compared with the last one: what a request
//! costs must not depend on how many there were before.

use std::error::Error;
use std::num::NonZeroUsize;

use dynamic_batcher_conformance::RedisServer;

use crate::wire::measure::Effort;
use crate::wire::probe::Probe;
use crate::wire::processors::Processors;
use crate::wire::results::{Results, Round};
use crate::wire::rust;
use crate::wire::subject::End;
use crate::wire::workload::Workload;

/// Measures both ends of a long run, as two workloads, of each of this library's clients that `chosen`
/// picks by its subject.
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
) -> Result<[Results; 2], Box<dyn Error>> {
    let mut ends = Workload::TENTHS.map(Results::new);
    let [workload, _] = Workload::TENTHS;
    for round in 1..=effort.long_rounds {
        for subject in workload.chosen(&chosen) {
            let End::Ours(client) = subject.caller() else {
                continue;
            };
            let (of, name) = (effort.long_rounds, subject.name());
            progress(&format!(
                "round {round} of {of}: {} requests, {name}",
                effort.long
            ));
            let server = RedisServer::start(None);
            let port = server.port();
            let processors = Processors::start(subject, workload, port, threads)?;
            let probe = || Probe::new(port, std::process::id(), processors.ids());
            let mut probes = [probe(), probe()];
            let mut edges = 0;
            let look = || {
                probes[edges / 2].look();
                edges += 1;
            };
            let call = rust::call_long(client, port, effort.long, workload.callers, look);
            let tallies = rust::runtime(threads)?.block_on(call)?;
            for ((results, tally), probe) in ends.iter_mut().zip(tallies).zip(probes) {
                let round = Round::new(tally, &probe.cost(), workload.processors);
                results.add(subject, round);
            }
        }
    }
    Ok(ends)
}
