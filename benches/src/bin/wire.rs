//! Measures batching over Redis: `wire [--quick] [--json] [--threads N]`.
//!
//! N is the number of workers of each tokio runtime, 2 unless it is given. Needs a redis-server, and
//! for the subjects that have Python in them an interpreter with the package, which the variable
//! `DYNAMIC_BATCHER_TEST_PYTHON` names.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark's results are its standard output, its progress goes beside them"
)]

use std::error::Error;
use std::io::{IsTerminal as _, stderr};
use std::num::NonZeroUsize;

use dynamic_batcher_benches::wire::measure::{Effort, has_python, measure};
use dynamic_batcher_benches::wire::workload::Workload;
use dynamic_batcher_benches::wire::{aims, processors, report};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn main() -> Result<(), Box<dyn Error>> {
    let mut effort = Effort::FULL;
    let mut json = false;
    let mut threads = TWO;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [mode, arguments @ ..] = &*arguments
        && mode == processors::MODE
    {
        return processors::run(arguments);
    }
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => effort = Effort::QUICK,
            "--json" => json = true,
            "--threads" => threads = arguments.next().unwrap_or_default().parse()?,
            _ => {
                let allowed = "--quick, --json and --threads N";
                return Err(format!("{argument}: allowed are {allowed}").into());
            }
        }
    }

    if !has_python() {
        eprintln!(
            "the subjects with Python are skipped: DYNAMIC_BATCHER_TEST_PYTHON names no interpreter"
        );
    }
    if !json {
        println!("before: {}", report::machine());
        println!("{}", report::header());
    }
    let mut all = Vec::new();
    for workload in Workload::ALL {
        let results = measure(workload, effort, threads, progress)?;
        for subject in results.subjects() {
            if json {
                println!("{}", report::json_line(&results, subject));
            } else {
                println!("{}", report::row(&results, subject));
            }
        }
        all.push(results);
    }
    if !json {
        println!("\nafter: {}\n", report::machine());
        for verdict in aims::verdicts(&all) {
            println!("{verdict}");
        }
    }
    Ok(())
}

/// Shown on a terminal alone, on a line that the next one replaces.
fn progress(what: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{what}\r");
    }
}
