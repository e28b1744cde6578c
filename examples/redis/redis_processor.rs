//! The processor's half over Redis: sums the values of each request, for Rust and Python callers
//! alike, until ctrl-c or SIGTERM; then it drains. A second signal ends it at once.
//!
//! `cargo run --release --example redis_processor -- --client redis` (or `fred`), with
//! `REDIS__HOST`, `DYNAMIC_BATCHER__BATCH_SIZE` and the others in the environment.
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

#[path = "../signals.rs"]
mod signals;

use std::error::Error;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor};
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Values {
    values: Vec<i64>,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
}

fn sum_values(batch: Vec<Values>) -> Vec<Sum> {
    let sums = batch
        .into_iter()
        .map(|Values { values }| values.iter().sum());
    sums.map(|sum| Sum { sum }).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let transport = connect(RedisConfig::from_env()?).await?;
    let mut signal = signals::listen()?;
    let processor = BatchProcessor::spawn(transport, BatchPolicy::from_env()?, sum_values);
    let serve = async {
        processor.ready().await?;
        println!("ready");
        processor.ended().await
    };

    tokio::select! {
        () = signal() => {}
        ended = serve => return Ok(ended?),
    }
    println!("draining");
    tokio::select! {
        report = processor.drain(Duration::from_secs(5)) => println!("{:?}", report?),
        () = signal() => return Err("ended before all was answered".into()),
    }
    Ok(())
}

/// Which client crate speaks to the server is this one line.
async fn connect(config: RedisConfig) -> Result<RedisTransport, Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match *arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        [] | ["--client", "redis"] => Ok(RedisTransport::connect(config).await?),
        ["--client", "fred"] => Ok(RedisTransport::connect_fred(config).await?),
        _ => Err("usage: redis_processor [--client redis|fred]".into()),
    }
}
