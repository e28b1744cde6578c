//! Callers that keep a model busy, and how long each of their calls took.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;
use tokio::sync::Mutex;

use crate::Result;
use crate::network::Network;

/// A way to serve callers.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// The model belongs to one caller at a time, for one forward pass.
    OneAtATime,
    /// Behind the batcher, with at most so many requests in a forward pass.
    Batched(NonZeroUsize),
}

/// What some callers saw.
pub(crate) struct Run {
    /// In the order of the inputs.
    pub(crate) answers: Vec<Vec<f32>>,
    pub(crate) requests_per_second: f64,
    /// Of a call's time.
    pub(crate) median_ms: f64,
    pub(crate) p99_ms: f64,
    /// The mean number of requests in a forward pass.
    pub(crate) batch: f64,
}

impl Way {
    /// Serves so many callers at once, who send the inputs among them.
    pub(crate) async fn run(
        self,
        network: &Arc<Network>,
        inputs: &[Vec<f32>],
        callers: usize,
    ) -> Result<Run> {
        match self {
            Self::OneAtATime => one_at_a_time(network, inputs, callers).await,
            Self::Batched(size) => batched(network, inputs, callers, size).await,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneAtATime => f.write_str("one at a time"),
            Self::Batched(size) => write!(f, "up to {size}"),
        }
    }
}

async fn one_at_a_time(network: &Arc<Network>, inputs: &[Vec<f32>], callers: usize) -> Result<Run> {
    // Callers have it in the order in which they came.
    let turns = Arc::new(Mutex::new(Arc::clone(network)));
    let call = move |input| {
        let turns = Arc::clone(&turns);
        async move {
            let network = turns.lock_owned().await;
            let pass = move || network.run(&[input]);
            let answers = tokio::task::spawn_blocking(pass).await??;
            answers.into_iter().next().ok_or("no answer".into())
        }
    };
    measure(network, inputs, callers, call).await
}

async fn batched(
    network: &Arc<Network>,
    inputs: &[Vec<f32>],
    callers: usize,
    size: NonZeroUsize,
) -> Result<Run> {
    // An idle processor takes what is there: a lone caller waits for nobody, and while a forward
    // pass runs, the next batch gathers.
    let policy = BatchPolicy::default().batch_size(size);
    let policy = policy.when_idle(WhenIdle::Run);
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    // It computes for long, so it has a thread of its own. A pass that fails fails for its batch.
    let model = Arc::clone(network);
    let pass = move |batch: Vec<Vec<f32>>| model.run(&batch);
    let processor = BatchProcessor::spawn_blocking(transport, policy, pass);
    let call = move |input| {
        let batcher = batcher.clone();
        async move { Ok(batcher.send(input).await?) }
    };
    let run = measure(network, inputs, callers, call).await?;
    // All batchers are gone with the callers: it ends by itself.
    processor.ended().await?;
    Ok(run)
}

/// Has each caller, with a clone of `call`, send its share of the inputs, one after the other.
async fn measure<F>(
    network: &Network,
    inputs: &[Vec<f32>],
    callers: usize,
    call: impl Fn(Vec<f32>) -> F + Clone + Send + 'static,
) -> Result<Run>
where
    F: Future<Output = Result<Vec<f32>>> + Send,
{
    let share = inputs.len().div_ceil(callers);
    network.take_passes();
    let start = Instant::now();
    let tasks = inputs.chunks(share).map(|share| {
        let (share, call) = (share.to_vec(), call.clone());
        tokio::spawn(async move {
            let mut calls = Vec::new();
            for input in share {
                let sent = Instant::now();
                let answer = call(input).await?;
                calls.push((answer, sent.elapsed()));
            }
            Result::Ok(calls)
        })
    });
    let mut calls = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        calls.extend(task.await??);
    }
    let time = start.elapsed();
    let (answers, mut latencies): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    latencies.sort();
    Ok(Run {
        answers,
        requests_per_second: inputs.len() as f64 / time.as_secs_f64(),
        median_ms: latencies[latencies.len() / 2].as_secs_f64() * 1e3,
        p99_ms: latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3,
        batch: inputs.len() as f64 / network.take_passes() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::compare;
    use crate::network;

    #[tokio::test]
    async fn every_way_answers_every_caller_the_same() {
        let network = Arc::new(Network::new(&[16, 32, 4], 1).unwrap());
        let inputs = network::inputs(100, 16, 2);
        let alone = Way::OneAtATime.run(&network, &inputs, 10).await.unwrap();
        assert_eq!(alone.batch, 1.0);
        let expected = inputs.iter().map(|input| {
            let answer = network.run(std::slice::from_ref(input));
            answer.unwrap().remove(0)
        });
        assert_eq!(alone.answers, expected.collect::<Vec<_>>());
        for size in [1, 3, 100].map(|size| NonZeroUsize::new(size).unwrap()) {
            let run = Way::Batched(size).run(&network, &inputs, 10).await.unwrap();
            compare(&run.answers, &alone.answers).unwrap();
            assert!(run.batch <= size.get() as f64, "{}", run.batch);
        }
    }

    #[tokio::test]
    async fn a_pass_that_fails_fails_the_run() {
        let network = Arc::new(Network::new(&[16, 32, 4], 1).unwrap());
        let too_wide = network::inputs(4, 17, 2);
        for way in [Way::OneAtATime, Way::Batched(NonZeroUsize::MIN)] {
            assert!(way.run(&network, &too_wide, 2).await.is_err());
        }
    }
}
