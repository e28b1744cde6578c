//! The same callers and the same processor over another transport, or over the other client of
//! Redis: what changes is the one line that makes the transport.
//!
//! `cargo run --example swap -- memory` (or `redis`, or `fred`, with `REDIS__HOST` and the others in
//! the environment).
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::error::Error;
use std::time::Duration;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, Source, Transport, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;
use dynamic_batcher_redis::{RedisConfig, RedisTransport};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("memory") => serve_and_call(MemoryTransport::default()).await,
        Some("redis") => {
            serve_and_call(RedisTransport::connect(RedisConfig::from_env()?).await?).await
        }
        Some("fred") => {
            serve_and_call(RedisTransport::connect_fred(RedisConfig::from_env()?).await?).await
        }
        _ => Err("usage: swap memory|redis|fred".into()),
    }
}

/// Knows no transport: one that takes requests of this type and gives such responses will do.
async fn serve_and_call<T>(transport: T) -> Result<(), Box<dyn Error>>
where
    T: Transport<Vec<i64>, i64> + Source<Vec<i64>, i64> + Clone,
{
    let batcher = Batcher::new(transport.clone());
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<Vec<i64>>| {
        let sums = batch.iter().map(|values| values.iter().sum());
        sums.collect::<Vec<i64>>()
    });
    let requests = (0..100).map(|number| vec![number, 5, 2]).collect();
    for (number, response) in (0..).zip(batcher.send_many(requests).await) {
        assert_eq!(response?, number + 7);
    }
    let report = processor.drain(Duration::from_secs(5)).await?;
    assert!(report.ended, "{report:?}");
    println!("100 requests answered");
    Ok(())
}
