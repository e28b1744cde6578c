//! Measures batching within one process: `inproc [--quick] [--json] [--threads N] [--only TEXT] [--subject TEXT]`.
//!
//! N is the number of the runtime's workers, 2 unless it is given. With one, figures are steady; with
//! more, the runtime now keeps all tasks on one worker and now passes them between several, and
//! every figure depends on which it does. TEXT is in the names of the workloads that are measured, or of
//! the subjects, all of them unless it is given.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark's results are its standard output"
)]

use std::alloc::System;
use std::error::Error;

use alloc_tracker::Allocator;
use dynamic_batcher_benches::arguments::Arguments;
use dynamic_batcher_benches::inproc::measure::{Effort, measure};
use dynamic_batcher_benches::inproc::workload::Workload;
use dynamic_batcher_benches::inproc::{THREADS, aims, report};
use dynamic_batcher_benches::machine;
use dynamic_batcher_conformance::faults::progress;

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1), THREADS)?;
    let effort = match arguments.quick {
        true => Effort::QUICK,
        false => Effort::FULL,
    };
    if !arguments.json {
        println!("before: {}", machine::load());
        println!("{}", report::header());
    }
    let mut all = Vec::new();
    let chosen = Workload::ALL.into_iter();
    for workload in chosen.filter(|workload| arguments.choose(workload.name)) {
        let results = measure(
            workload,
            effort,
            arguments.threads,
            |subject| arguments.choose_subject(subject),
            progress::show,
        )?;
        for subject in results.subjects() {
            if arguments.json {
                println!("{}", report::json_line(&results, subject));
            } else {
                println!("{}", report::row(&results, subject));
            }
        }
        all.push(results);
    }
    if !arguments.json {
        println!("\nafter: {}\n", machine::load());
    }
    for verdict in aims::verdicts(&all) {
        arguments.tell(&verdict);
    }
    Ok(())
}
