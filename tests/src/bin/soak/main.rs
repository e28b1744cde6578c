//! Callers and processors at work, with a fault about every second:
//! `soak --secs N --client redis|fred --seed S [--json]`.
//!
//! Ends with one line of JSON, in several lines without `--json`, and with status 1 if a request was
//! lost, had a wrong answer or ended too late, or if anything is left in Redis. Peers of the Python
//! package take part if `DYNAMIC_BATCHER_TEST_PYTHON` names an interpreter that has it. Of what is
//! random the seed decides which fault comes when, and to whom; the rest is the machine's.
#![allow(
    clippy::print_stdout,
    reason = "what the program found is its standard output"
)]

mod fleet;
mod report;
mod trouble;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dynamic_batcher_conformance::faults::{Client, progress, role};
use fastrand::Rng;
use tokio::time::sleep;

use fleet::Fleet;
use report::Report;
use trouble::Trouble;

struct Options {
    time: Duration,
    client: Client,
    seed: u64,
    json: bool,
}

impl Options {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            time: Duration::from_secs(60),
            client: Client::Redis,
            seed: 1,
            json: false,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_default();
            match argument.as_str() {
                "--secs" => options.time = Duration::from_secs(value().parse()?),
                "--seed" => options.seed = value().parse()?,
                "--json" => options.json = true,
                "--client" => {
                    options.client = match value().as_str() {
                        "redis" => Client::Redis,
                        "fred" => Client::Fred,
                        other => return Err(format!("{other}: allowed are redis, fred").into()),
                    }
                }
                _ => {
                    let allowed = "--secs N, --client redis|fred, --seed S and --json";
                    return Err(format!("{argument}: allowed are {allowed}").into());
                }
            }
        }
        Ok(options)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    // It is its own peers too.
    if arguments.next_if_eq(fleet::PEER).is_some() {
        let config = arguments.next().unwrap_or_default();
        role::run(serde_json::from_str(&config)?).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::parse(arguments)?;
    let report = soak(&options).await?;
    let text = if options.json {
        serde_json::to_string(&report)?
    } else {
        serde_json::to_string_pretty(&report)?
    };
    println!("{text}");
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn soak(options: &Options) -> Result<Report, Box<dyn Error>> {
    let mut rng = Rng::with_seed(options.seed);
    let mut fleet = Fleet::start(options.client, rng.u64(..)).await?;
    let mut trouble = Trouble::new(rng);
    let start = Instant::now();
    while start.elapsed() < options.time {
        trouble.make(&mut fleet);
        fleet.hear();
        fleet.tend();
        let (at, of) = (start.elapsed().as_secs(), options.time.as_secs());
        let faults: u32 = trouble.count.values().sum();
        progress::show(&format!("{at} of {of} s, {faults} faults"));
        sleep(Duration::from_millis(20)).await;
    }
    trouble.end(&mut fleet);
    let left = fleet.end().await;
    Ok(Report::new(
        start.elapsed(),
        options.seed,
        &fleet,
        &trouble,
        left,
    ))
}
