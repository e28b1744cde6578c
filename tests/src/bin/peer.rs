//! A caller or a processor to be killed: its one argument is a `PeerConfig` in JSON.

use std::error::Error;

use dynamic_batcher_conformance::faults::role;

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = std::env::args().nth(1).unwrap_or_default();
    role::run(serde_json::from_str(&config)?).await?;
    Ok(())
}
