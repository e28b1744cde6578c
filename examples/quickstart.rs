//! Many callers, one request each: their requests are gathered, a function runs once for many of
//! them, and each caller gets its own response. Then the same with a function for which this pays.
//!
//! `cargo run --release --example quickstart`
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, ItemInfo, SendOptions, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    sums().await?;
    network().await
}

struct Values {
    values: Vec<i64>,
}

#[derive(Debug, PartialEq)]
struct Sum {
    sum: i64,
}

/// 100 tasks send ten requests each, one after the other.
async fn sums() -> Result<(), Box<dyn Error>> {
    const TASKS: i64 = 100;
    const REQUESTS: i64 = 10;
    println!("1. Sums: {TASKS} tasks at the same time, {REQUESTS} requests each\n");

    // A batch runs when it holds 64 requests, or when its oldest has waited for 1 ms.
    let policy = BatchPolicy::default().batch_time(Duration::from_millis(1));
    let transport = MemoryTransport::default();
    let batcher: Batcher<Values, Sum> = Batcher::new(transport.clone());
    let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<Values>| {
        let sums = batch.into_iter().map(|request| Sum {
            sum: request.values.iter().sum(),
        });
        sums.collect::<Vec<_>>()
    });

    // One request is one await. Alone it has no company, so its batch waits for the 1 ms.
    let values = vec![1, 5, 2];
    println!("   first request    {values:?}");
    let response = batcher.send(Values { values }).await?;
    println!("   first response   {response:?}");
    assert_eq!(response, Sum { sum: 8 });

    let start = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let batcher = batcher.clone();
            tokio::spawn(async move {
                let mut infos = Vec::new();
                for request in 0..REQUESTS {
                    let values = vec![task, request, 1_000];
                    let sent = batcher.send_for_reply(Values { values }, SendOptions::default());
                    let reply = sent.await?;
                    let expected = task + request + 1_000;
                    assert_eq!(reply.value, Sum { sum: expected }, "not its own sum");
                    infos.extend(reply.info);
                }
                Ok::<_, dynamic_batcher::Error>(infos)
            })
        })
        .collect();
    let mut infos = Vec::new();
    for task in tasks {
        infos.extend(task.await??);
    }
    let time = start.elapsed();
    processor.drain(Duration::from_secs(5)).await?;
    print_batches(&infos, time);
    Ok(())
}

/// Many callers at once ask a neural network whose weights are kept small, in four bits each. Called
/// for one request it unpacks them all for it; called for a batch it unpacks them once for all.
async fn network() -> Result<(), Box<dyn Error>> {
    // A debug build computes some eighty times as slowly: there a few have to do.
    const REQUESTS: u64 = if cfg!(debug_assertions) { 16 } else { 256 };
    let network = Arc::new(Network::new());
    let millions = ((INPUTS + OUTPUTS) * HIDDEN) as f64 / 1e6;
    println!("2. A neural network of {millions:.0} million weights: {REQUESTS} requests\n");
    let inputs: Vec<Vector> = (0..REQUESTS).map(random_input).collect();

    let start = Instant::now();
    let alone: Vec<_> = inputs
        .iter()
        .flat_map(|input| network.run(std::slice::from_ref(input)))
        .collect();
    let time_alone = start.elapsed();
    println!("   one at a time    {time_alone:.1?}\n");

    // An idle processor takes what is there at once: no window to choose. It computes for long,
    // so it has a thread of its own: one, as the loop above had.
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    let processor = BatchProcessor::spawn_blocking(transport, policy, move |batch: Vec<Vector>| {
        network.run(&batch)
    });
    let start = Instant::now();
    let tasks: Vec<_> = inputs
        .into_iter()
        .map(|input| {
            let batcher = batcher.clone();
            tokio::spawn(async move { batcher.send_for_reply(input, SendOptions::default()).await })
        })
        .collect();
    let mut infos = Vec::new();
    for (task, expected) in tasks.into_iter().zip(alone) {
        let reply = task.await??;
        // To the last bit: a batch does the same operations on each input in the same order.
        assert_eq!(reply.value, expected, "not the answer of the network alone");
        infos.extend(reply.info);
    }
    let time = start.elapsed();
    processor.drain(Duration::from_secs(5)).await?;
    print_batches(&infos, time);
    let gain = time_alone.as_secs_f64() / time.as_secs_f64();
    println!("   gain             {gain:.1} times as fast as one at a time, on one thread each");
    Ok(())
}

/// Says what the callers learnt of the batches that answered them.
fn print_batches(infos: &[ItemInfo], time: Duration) {
    let by_id = infos.iter().map(|info| (info.batch.id, &info.batch));
    let batches: HashMap<_, _> = by_id.collect();
    let sizes = || batches.values().map(|batch| batch.size);
    let mut reasons = HashMap::new();
    for batch in batches.values() {
        *reasons.entry(batch.reason.to_string()).or_insert(0) += 1;
    }
    let mut reasons: Vec<_> = reasons
        .iter()
        .map(|(why, n)| format!("{n} {why}"))
        .collect();
    reasons.sort();

    println!("   requests         {}, each answer checked", infos.len());
    println!("   batches          {}", batches.len());
    println!(
        "   batch sizes      smallest {}, mean {:.1}, largest {}",
        sizes().min().unwrap_or(0),
        infos.len() as f64 / batches.len() as f64,
        sizes().max().unwrap_or(0),
    );
    println!("   closed because   {}", reasons.join(", "));
    println!("   time             {time:.1?}");
    println!(
        "   requests/s       {:.0}\n",
        infos.len() as f64 / time.as_secs_f64()
    );
}

const INPUTS: usize = 2_048;
const HIDDEN: usize = 8_192;
const OUTPUTS: usize = 16;

/// Sixteen numbers that are computed with at once, as the processor's vector registers do.
type Lanes = [f32; 16];
type Vector = Vec<Lanes>;
/// Sixteen numbers, four bits each.
type Packed = [u8; 8];

/// What four bits stand for: finer steps where weights are more frequent.
#[rustfmt::skip]
const LEVELS: Lanes = [
    -1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0,
    0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0,
];

/// `outputs = B · relu(A · input)`, the matrices stored row by row.
struct Network {
    a: Vec<Packed>,
    b: Vec<Packed>,
}

impl Network {
    fn new() -> Self {
        Self {
            a: random(1_000_001, HIDDEN * INPUTS),
            b: random(1_000_002, OUTPUTS * HIDDEN),
        }
    }

    fn run(&self, inputs: &[Vector]) -> Vec<Vector> {
        let mut hidden = multiply(&self.a, inputs);
        for number in hidden.iter_mut().flatten().flatten() {
            *number = number.max(0.0);
        }
        multiply(&self.b, &hidden)
    }
}

/// Multiplies a matrix with each of the inputs. A row is unpacked once and used for all of them:
/// this is where a batch gains.
fn multiply(matrix: &[Packed], inputs: &[Vector]) -> Vec<Vector> {
    let width = inputs[0].len();
    let height = matrix.len() / width;
    let mut outputs = vec![vec![[0.0; 16]; height / 16]; inputs.len()];
    let mut row = vec![[0.0; 16]; width];
    for (index, packed) in matrix.chunks_exact(width).enumerate() {
        unpack(packed, &mut row);
        for (input, output) in inputs.iter().zip(&mut outputs) {
            output[index / 16][index % 16] = product(&row, input);
        }
    }
    outputs
}

fn unpack(packed: &[Packed], row: &mut [Lanes]) {
    for (bytes, weights) in packed.iter().zip(row) {
        for (byte, pair) in bytes.iter().zip(weights.as_chunks_mut().0) {
            *pair = [
                LEVELS[usize::from(byte & 15)],
                LEVELS[usize::from(byte >> 4)],
            ];
        }
    }
}

fn product(row: &[Lanes], input: &[Lanes]) -> f32 {
    let mut sums = [0.0; 16];
    for (weights, numbers) in row.iter().zip(input) {
        for lane in 0..16 {
            sums[lane] += weights[lane] * numbers[lane];
        }
    }
    sums.iter().sum()
}

fn random_input(seed: u64) -> Vector {
    let mut input = vec![[0.0; 16]; INPUTS / 16];
    unpack(&random(seed, INPUTS), &mut input);
    input
}

/// Packed numbers, the same for the same seed, by xorshift: not the best of generators, but short.
fn random(seed: u64, length: usize) -> Vec<Packed> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(length / 16).collect()
}
