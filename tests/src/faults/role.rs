//! What a peer does in its own process.

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, Result};
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::job::{Done, Job, serve};
use super::ledger::send;
use super::peer::{Message, PeerConfig, Role};

/// The pause after a request that failed, lest a dead server be asked without end.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// Does what the configuration says, until standard input says to leave. When that is closed the
/// process ends at once, so that none outlives its test.
///
/// # Errors
///
/// When it cannot connect.
pub async fn run(config: PeerConfig) -> Result<()> {
    let orders = orders();
    match config.role {
        Role::Processor => processor(config, orders).await,
        Role::Caller => caller(config, orders).await,
    }
}

/// The deadline of the order to leave.
fn orders() -> mpsc::UnboundedReceiver<Duration> {
    let (orders, received) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let millis = line.ok().and_then(|line| line.parse().ok());
            // Of several orders the first counts.
            let _ = orders.send(Duration::from_millis(millis.unwrap_or_default()));
        }
        std::process::exit(1);
    });
    received
}

fn say(message: &Message) {
    let line = serde_json::to_string(message).expect("numbers and text");
    #[allow(clippy::print_stdout, reason = "this is how a peer speaks")]
    {
        println!("{line}");
    }
}

async fn processor(
    config: PeerConfig,
    mut orders: mpsc::UnboundedReceiver<Duration>,
) -> Result<()> {
    let transport = config.client.connect(config.redis()).await?;
    let mut policy = BatchPolicy::default()
        .batch_size(config.batch_size)
        .batch_time(config.batch_time);
    policy.run_timeout = config.run_timeout;
    let pause = config.pause;
    let handler = move |batch: Vec<Job>| {
        say(&Message::Runs(batch.iter().map(Job::id).collect()));
        serve(batch, pause)
    };
    let processor: BatchProcessor<Job, Done> = BatchProcessor::spawn(transport, policy, handler);
    processor.ready().await?;
    say(&Message::Ready);
    let Some(deadline) = orders.recv().await else {
        return Ok(());
    };
    let start = Instant::now();
    let report = processor.drain(deadline).await?;
    say(&Message::Left {
        abandoned: report.abandoned,
        released: report.released,
        ended: report.ended,
        took: start.elapsed(),
    });
    Ok(())
}

async fn caller(config: PeerConfig, mut orders: mpsc::UnboundedReceiver<Duration>) -> Result<()> {
    let transport = config.client.connect(config.redis()).await?;
    let batcher: Arc<Batcher<Job, Done>> = Arc::new(Batcher::new(transport));
    let stopped = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicI64::new(config.first_id));
    say(&Message::Ready);
    let tasks = (0..config.tasks).map(|_| {
        let (batcher, stopped, next) = (batcher.clone(), stopped.clone(), next.clone());
        let (timeout, rest) = (config.timeout, config.rest);
        tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let id = next.fetch_add(1, Ordering::Relaxed);
                say(&Message::Sent(id));
                let end = send(&batcher, Job::new(id), timeout).await;
                let failed = end.outcome.is_err();
                say(&Message::Ended(end));
                sleep(if failed { AFTER_ERROR.max(rest) } else { rest }).await;
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    // When standard input is closed the process ends.
    let _ = orders.recv().await;
    let start = Instant::now();
    stopped.store(true, Ordering::Relaxed);
    join_all(tasks).await;
    drop(batcher);
    say(&Message::Left {
        abandoned: 0,
        released: 0,
        ended: true,
        took: start.elapsed(),
    });
    Ok(())
}
