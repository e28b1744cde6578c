//! Measures batching within one process: `inproc [--quick] [--json] [--threads N]`.
//!
//! N is the number of the runtime's workers, 2 unless it is given. With one, figures are steady; with
//! more, the runtime now keeps all tasks on one worker and now passes them between several, and
//! every figure depends on which it does.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark's results are its standard output"
)]

use std::error::Error;
use std::num::NonZeroUsize;

use dynamic_batcher_benches::inproc::measure::{Effort, measure};
use dynamic_batcher_benches::inproc::report;
use dynamic_batcher_benches::inproc::workload::Workload;

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn main() -> Result<(), Box<dyn Error>> {
    let mut effort = Effort::FULL;
    let mut json = false;
    let mut threads = TWO;
    let mut arguments = std::env::args().skip(1);
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

    if !json {
        println!("{}", report::header());
    }
    for workload in Workload::ALL {
        for figures in measure(workload, effort, threads)? {
            if json {
                println!("{}", report::json_line(workload, &figures));
            } else {
                println!("{}", report::row(workload, &figures));
            }
        }
    }
    Ok(())
}
