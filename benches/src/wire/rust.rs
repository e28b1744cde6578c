//! This library at either end.

use std::error::Error;
use std::io;
use std::num::NonZeroUsize;

use dynamic_batcher::{BatchProcessor, Batcher};
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::closed_loop::{Client as Caller, Load, Spell, Tally, closed_loop};
use crate::wire::payload::{Sum, Values};
use crate::wire::subject::Client;
use crate::wire::workload::{Handler, Workload, policy};

/// Runs a workload's callers. `at_edge` is called when the measurement begins and when it ends.
pub(crate) async fn call(
    client: Client,
    port: u16,
    workload: Workload,
    spell: Spell,
    at_edge: impl FnMut(),
) -> dynamic_batcher::Result<Tally> {
    let load = Load::Timed {
        spell,
        sample_every: 2,
    };
    let batcher = connect_batcher(client, port).await?;
    if workload.waiting == 0 {
        return Ok(closed_loop(batcher, workload.callers, load, at_edge).await);
    }
    let others = connect_batcher(client, port).await?;
    let others = closed_loop(others, workload.waiting, load, || ());
    let others = tokio::spawn(others);
    let mut tally = closed_loop(batcher, workload.callers, load, at_edge).await;
    tally.requests += others.await.expect("callers end by themselves").requests;
    Ok(tally)
}

/// Gets about so many requests answered by the same fleet from beginning to end. `at_edge` is called
/// before and after the second tenth of them, which has no connection to make and no script to load, and
/// before and after the last one; these two are what is returned.
pub(crate) async fn call_long(
    client: Client,
    port: u16,
    requests: u64,
    callers: u64,
    mut at_edge: impl FnMut(),
) -> dynamic_batcher::Result<[Tally; 2]> {
    let batcher = connect_batcher(client, port).await?;
    let tenth = Load::Counted {
        each: (requests / 10).div_ceil(callers),
    };
    closed_loop(batcher.clone(), callers, tenth, || ()).await;
    let first = closed_loop(batcher.clone(), callers, tenth, &mut at_edge).await;
    for _between in 0..7 {
        closed_loop(batcher.clone(), callers, tenth, || ()).await;
    }
    let last = closed_loop(batcher, callers, tenth, &mut at_edge).await;
    Ok([first, last])
}

/// Has nothing to do for so long, after one request. `at_edge` is called when that begins and when
/// it ends.
pub(crate) async fn rest(
    client: Client,
    port: u16,
    spell: Spell,
    mut at_edge: impl FnMut(),
) -> dynamic_batcher::Result<()> {
    let mut batcher = connect_batcher(client, port).await?;
    batcher.call(0).await;
    sleep(spell.warm_up).await;
    at_edge();
    // This thread is no worker. The runtime's timer would wake one, several times on its way.
    std::thread::sleep(spell.measured);
    at_edge();
    Ok(())
}

/// Answers requests until the process is ended.
pub(crate) async fn process(
    client: Client,
    port: u16,
    handler: Handler,
) -> Result<(), Box<dyn Error>> {
    let transport = connect(client, port).await?;
    let sum = |batch: Vec<Values>| batch.iter().map(Values::sum).collect::<Vec<_>>();
    let processor = match handler {
        Handler::Sum => BatchProcessor::spawn(transport, policy(), sum),
        // A thread that waits: the runtime's timer has no tenths of a millisecond.
        Handler::Device => BatchProcessor::spawn_blocking(transport, policy(), move |batch| {
            std::thread::sleep(Handler::device_time(batch.len()));
            sum(batch)
        }),
    };
    processor.ended().await?;
    Err("the processor has ended by itself".into())
}

async fn connect_batcher(
    client: Client,
    port: u16,
) -> dynamic_batcher::Result<Batcher<Values, Sum>> {
    connect(client, port).await.map(Batcher::new)
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
