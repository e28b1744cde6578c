//! Measures batching over Redis: `wire [--quick] [--json] [--threads N] [--only TEXT] [--subject TEXT]`.
//!
//! N is the number of workers of each tokio runtime, 1 unless it is given. TEXT is in the names of the
//! workloads that are measured, or of the subjects, all of them unless it is given. Needs a
//! redis-server, and for the subjects that have Python in them an interpreter with the package, which
//! the variable `DYNAMIC_BATCHER_TEST_PYTHON` names.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark's results are its standard output, what it lacks is said beside them"
)]

use std::error::Error;
use std::num::NonZeroUsize;

use dynamic_batcher_benches::arguments::Arguments;
use dynamic_batcher_benches::machine;
use dynamic_batcher_benches::wire::measure::{Effort, has_python, measure};
use dynamic_batcher_benches::wire::workload::Workload;
use dynamic_batcher_benches::wire::{aims, idle, long, processors, report};
use dynamic_batcher_conformance::faults::progress;

/// The workers of the runtime at each end: one, as a floor's end and one in Python are one thread. It
/// takes less for a request than the server's one thread does, and with more of them they and the
/// server are in each other's way where there are few cores.
const THREADS: NonZeroUsize = NonZeroUsize::MIN;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [mode, arguments @ ..] = &*arguments
        && mode == processors::MODE
    {
        return processors::run(arguments);
    }
    let arguments = Arguments::read(arguments, THREADS)?;
    let effort = match arguments.quick {
        true => Effort::QUICK,
        false => Effort::FULL,
    };

    if !has_python() {
        eprintln!(
            "the subjects with Python are skipped: DYNAMIC_BATCHER_TEST_PYTHON names no interpreter"
        );
    }
    if !arguments.json {
        println!("before: {}", machine::load());
    }
    let threads = arguments.threads;
    let chosen = |name: &str| arguments.choose(name);
    let chosen_subject = |name: &str| arguments.choose_subject(name);
    let workloads: Vec<_> = Workload::ALL
        .into_iter()
        .filter(|workload| chosen(workload.name))
        .collect();
    let mut results = measure(&workloads, effort, threads, chosen_subject, progress::show)?;
    if Workload::TENTHS.iter().any(|tenth| chosen(tenth.name)) {
        results.extend(long::measure(
            effort,
            threads,
            chosen_subject,
            progress::show,
        )?);
    }
    let mut idle = Vec::new();
    if chosen(Workload::IDLE.name) {
        idle = idle::measure(effort, threads, chosen_subject, progress::show)?;
    }

    let rows = || {
        results
            .iter()
            .flat_map(|each| each.subjects().map(move |it| (each, it)))
    };
    if arguments.json {
        for (results, subject) in rows() {
            println!("{}", report::json_line(results, subject));
        }
        for idle in &idle {
            println!("{}", report::idle_json_line(idle));
        }
    } else {
        println!("after: {}\n", machine::load());
        println!("{}", report::header());
        for (results, subject) in rows() {
            println!("{}", report::row(results, subject));
        }
        if !idle.is_empty() {
            println!("\n{}", report::idle_table(&idle));
        }
        println!();
    }
    for verdict in aims::verdicts(&results, &idle) {
        arguments.tell(&verdict);
    }
    Ok(())
}
