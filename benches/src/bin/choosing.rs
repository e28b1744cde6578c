//! What `batch_size` and `batch_time` come to, in tables for the manual:
//! `choosing [--quick] [--threads N]`.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark's results are its standard output"
)]

use std::error::Error;

use dynamic_batcher_benches::arguments::Arguments;
use dynamic_batcher_benches::inproc::THREADS;
use dynamic_batcher_benches::inproc::choosing::{Effort, Load, table};
use dynamic_batcher_benches::machine;
use dynamic_batcher_conformance::faults::progress;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1), THREADS)?;
    if arguments.json {
        return Err("--json: the tables are for people".into());
    }
    let effort = match arguments.quick {
        true => Effort::QUICK,
        false => Effort::FULL,
    };
    println!("before: {}\n", machine::load());
    for load in Load::ALL {
        println!(
            "{}\n",
            table(load, effort, arguments.threads, progress::show)?
        );
    }
    println!("after: {}", machine::load());
    Ok(())
}
