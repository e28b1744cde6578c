//! Measures batching over Redis: `wire [--quick] [--json] [--threads N]`.
//!
//! N is the number of workers of each tokio runtime, 2 unless it is given. Needs a redis-server, and
//! for the subjects that have Python in them an interpreter with the package, which the variable
//! `DYNAMIC_BATCHER_TEST_PYTHON` names.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark's results are its standard output, what it lacks is said beside them"
)]

use std::error::Error;

use dynamic_batcher_benches::arguments::Arguments;
use dynamic_batcher_benches::wire::measure::{Effort, has_python, measure};
use dynamic_batcher_benches::wire::workload::Workload;
use dynamic_batcher_benches::wire::{aims, processors, report};
use dynamic_batcher_benches::{machine, progress};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [mode, arguments @ ..] = &*arguments
        && mode == processors::MODE
    {
        return processors::run(arguments);
    }
    let arguments = Arguments::read(arguments)?;
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
        println!("{}", report::header());
    }
    let mut all = Vec::new();
    for workload in Workload::ALL {
        let results = measure(workload, effort, arguments.threads, progress::show)?;
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
        for verdict in aims::verdicts(&all) {
            println!("{verdict}");
        }
    }
    Ok(())
}
