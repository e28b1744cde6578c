//! This library at either end.

use std::error::Error;
use std::io;
use std::num::NonZeroUsize;

use dynamic_batcher::{BatchProcessor, Batcher};
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use tokio::runtime::{Builder, Runtime};

use crate::closed_loop::{Client as Caller, Load, Spell, Tally, closed_loop};
use crate::wire::payload::{Sum, Values};
use crate::wire::subject::Client;
use crate::wire::workload::policy;

/// Runs so many callers. `at_edge` is called when the measurement begins and when it ends.
pub(crate) async fn call(
    client: Client,
    port: u16,
    callers: u64,
    spell: Spell,
    at_edge: impl FnMut(),
) -> dynamic_batcher::Result<Tally> {
    let batcher: Batcher<Values, Sum> = Batcher::new(connect(client, port).await?);
    let load = Load::Timed {
        spell,
        sample_every: 2,
    };
    Ok(closed_loop(batcher, callers, load, at_edge).await)
}

/// Answers requests until the process is ended.
pub(crate) async fn process(client: Client, port: u16) -> Result<(), Box<dyn Error>> {
    let transport = connect(client, port).await?;
    let sum = |batch: Vec<Values>| batch.iter().map(Values::sum).collect::<Vec<_>>();
    let processor = BatchProcessor::spawn(transport, policy(), sum);
    processor.ended().await;
    Err("the processor has ended by itself".into())
}

async fn connect(client: Client, port: u16) -> dynamic_batcher::Result<RedisTransport> {
    let config = RedisConfig::default().host("127.0.0.1").port(port);
    match client {
        Client::Redis => RedisTransport::connect(config).await,
        Client::Fred => RedisTransport::connect_fred(config).await,
    }
}

pub(crate) fn runtime(threads: NonZeroUsize) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads.get()).enable_all().build()
}

impl Caller for Batcher<Values, Sum> {
    async fn call(&mut self, request: u64) {
        let values = || Values::new(request >> 48, request & ((1 << 48) - 1));
        let answered = self.send(values()).await.expect("a processor answers");
        assert_eq!(answered, values().sum());
    }
}
