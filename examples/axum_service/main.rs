//! A web service: `POST /batch/{key}` has the values of a request summed, in one batch with those of
//! others. At `/` a page shows the batcher at work, and sets it.
//!
//! `cargo run --release --example axum_service -- --listen 127.0.0.1:8000`, with `--transport redis`
//! (or `fred`) for processors elsewhere, and `REDIS__HOST`, `DYNAMIC_BATCHER__BATCH_SIZE` and the
//! others in the environment.
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

mod control;
mod failure;
mod feed;
mod load;
mod metrics;
mod routes;
mod service;
#[path = "../signals.rs"]
mod signals;
mod work;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use dynamic_batcher::BatchPolicy;
use dynamic_batcher_memory::{MemoryConfig, MemoryTransport};
use dynamic_batcher_redis::{RedisConfig, RedisTransport};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::service::Service;

/// How long what is there may take when the service is to end, and how long the processor may then.
const FINISH: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(5);
/// No batch takes as long as this, unless something is wrong with it.
const RUN_TIMEOUT: Duration = Duration::from_secs(10);

/// Sums the values of requests in batches, and shows how.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Where requests are batched: in this process, or by processors elsewhere, over Redis
    #[arg(long, value_enum, default_value = "memory")]
    transport: Over,
    /// How long a request may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    timeout: u32,
    /// The most requests in the queue, beyond which they are refused
    #[arg(long, value_name = "N", default_value = "10000")]
    max_queue: NonZeroUsize,
    /// How many batches run at the same time, in this process
    #[arg(long, value_name = "N", default_value = "1")]
    instances: NonZeroUsize,
    /// Without the page and what it sets
    #[arg(long)]
    no_page: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    Memory,
    /// With the client crate `redis`
    Redis,
    /// With the client crate `fred`
    Fred,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let arguments = Arguments::parse();
    let service = Arc::new(open(&arguments).await?);
    if let Some(here) = &service.here {
        here.processor.ready().await?;
    }

    let mut signal = signals::listen()?;
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    tokio::spawn(Arc::clone(&service).run());
    let router = routes::router(Arc::clone(&service), !arguments.no_page);
    let stopped = {
        let service = Arc::clone(&service);
        async move { service.stopped().await }
    };
    let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
    let mut server = tokio::spawn(server.into_future());

    tokio::select! {
        ended = &mut server => ended??,
        () = signal() => {}
    }
    println!("finishing");
    service.stop();
    let finish = async {
        match timeout(FINISH, &mut server).await {
            Ok(ended) => ended??,
            Err(_) => println!("not all was answered within {FINISH:?}"),
        }
        service.drain(DRAIN).await?;
        Ok::<_, Box<dyn Error>>(())
    };
    tokio::select! {
        finished = finish => finished?,
        () = signal() => return Err("ended before all was answered".into()),
    }
    println!("finished");
    Ok(())
}

/// The service over the transport that was asked for.
async fn open(arguments: &Arguments) -> Result<Service, Box<dyn Error>> {
    let caller_waits = Duration::from_secs(arguments.timeout.into());
    let max_queue = arguments.max_queue;
    let redis = || Ok::<_, Box<dyn Error>>(RedisConfig::from_env()?.max_queue(max_queue));
    Ok(match arguments.transport {
        Over::Memory => {
            let transport = MemoryTransport::new(MemoryConfig::default().max_queue(max_queue));
            let policy = BatchPolicy::from_env()?
                .instances(arguments.instances)
                .run_timeout(RUN_TIMEOUT);
            Service::with_processor(transport, policy, caller_waits)
        }
        Over::Redis => {
            let transport = RedisTransport::connect(redis()?).await?;
            Service::over_redis(transport.observer(metrics::batcher()), caller_waits)
        }
        Over::Fred => {
            let transport = RedisTransport::connect_fred(redis()?).await?;
            Service::over_redis(transport.observer(metrics::batcher()), caller_waits)
        }
    })
}
