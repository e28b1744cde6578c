//! The callers' half over Redis: many callers send one request after the other to whatever
//! processors there are, Rust or Python, and check every answer.
//!
//! `cargo run --release --example redis_caller -- --callers 64 --requests 1000 --client redis` (or
//! `fred`): so many callers, each with so many requests, with `REDIS__HOST` and the others in the
//! environment. Ends with status 1 when an answer was wrong or missing.
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dynamic_batcher::Batcher;
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Values {
    values: [i64; 3],
}

#[derive(Debug, PartialEq, Deserialize)]
struct Sum {
    sum: i64,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    wrong: usize,
    missing: usize,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (callers, requests, client) = arguments()?;
    let config = RedisConfig::from_env()?;
    let transport = match client.as_str() {
        "redis" => RedisTransport::connect(config).await?,
        "fred" => RedisTransport::connect_fred(config).await?,
        _ => return Err("there are the clients `redis` and `fred`".into()),
    };
    let batcher: Batcher<Values, Sum> = Batcher::new(transport);

    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(call(batcher.clone(), caller, requests)))
        .collect();
    let mut all = Tally::default();
    for task in tasks {
        let tally = task.await?;
        all.latencies.extend(tally.latencies);
        all.wrong += tally.wrong;
        all.missing += tally.missing;
    }
    let rate = all.latencies.len() as f64 / start.elapsed().as_secs_f64();

    all.latencies.sort();
    println!("answered    {}", all.latencies.len());
    println!("wrong       {}", all.wrong);
    println!("missing     {}", all.missing);
    println!("requests/s  {rate:.0}");
    println!("p50         {:.2?}", percentile(&all.latencies, 50));
    println!("p99         {:.2?}", percentile(&all.latencies, 99));
    Ok(ExitCode::from(u8::from(all.wrong + all.missing > 0)))
}

/// One caller: the next request when the one before is answered.
async fn call(batcher: Batcher<Values, Sum>, caller: i64, requests: i64) -> Tally {
    let mut tally = Tally::default();
    for request in 0..requests {
        let sent = Instant::now();
        let values = [caller, request, 5];
        match batcher.send(Values { values }).await {
            Ok(Sum { sum }) => {
                tally.latencies.push(sent.elapsed());
                tally.wrong += usize::from(sum != caller + request + 5);
            }
            Err(error) => {
                println!("{error}");
                tally.missing += 1;
            }
        }
    }
    tally
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn arguments() -> Result<(i64, i64, String), Box<dyn Error>> {
    let (mut callers, mut requests, mut client) = (64, 1_000, "redis".to_owned());
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("an option without a value")?;
        match name.as_str() {
            "--callers" => callers = value.parse()?,
            "--requests" => requests = value.parse()?,
            "--client" => client = value,
            _ => {
                return Err(
                    "usage: redis_caller [--callers N] [--requests M] [--client redis|fred]".into(),
                );
            }
        }
    }
    Ok((callers, requests, client))
}
