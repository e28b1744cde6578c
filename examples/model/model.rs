//! A neural network behind the batcher: many callers over one model, one request at a time and
//! batched. Throughput and latency of both are printed and drawn, the answers compared.
//!
//! `cargo run --release --example model`; after a `--`, `--quick` for a few seconds of it, and
//! `--svg FILE` for another place of the picture than `target/model.svg`.
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

mod answers;
mod measure;
mod network;
mod plot;

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;

use measure::{Run, Way};
use network::Network;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// From the inputs to the outputs. A debug build computes many times as slowly: there a small
/// network has to do.
const WIDTHS: [usize; 4] = if cfg!(debug_assertions) {
    [64, 128, 128, 10]
} else {
    [1_024, 4_096, 4_096, 10]
};
const BATCH_SIZES: [NonZeroUsize; 4] = [
    NonZeroUsize::MIN,
    NonZeroUsize::new(4).unwrap(),
    NonZeroUsize::new(16).unwrap(),
    NonZeroUsize::new(64).unwrap(),
];
/// Enough for two of the largest batches: one gathers while the other runs.
const CALLERS: usize = 128;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    // One thread computes, whichever the way: what is compared is batching, not processor cores.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1);
    threads.build_global()?;
    let weights: usize = WIDTHS.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let title = format!(
        "{CALLERS} callers of a network of {:.2} million weights that computes on one thread",
        weights as f64 / 1e6
    );
    println!("{title}:");
    println!(
        "{} requests, the fastest run of {}\n",
        options.requests, options.rounds
    );

    let network = Arc::new(Network::new(&WIDTHS, 1)?);
    let inputs = network::inputs(options.requests, WIDTHS[0], 2);
    let mut comparison = Comparison::new(network, inputs, options.rounds)?;
    let batched = BATCH_SIZES.map(Way::Batched);
    let ways: Vec<_> = [Way::OneAtATime].into_iter().chain(batched).collect();
    let runs = comparison.run(&ways, CALLERS).await?;
    print_table(&ways, &runs);

    let alone = [Way::OneAtATime, Way::Batched(BATCH_SIZES[3])];
    let alone_runs = comparison.run(&alone, 1).await?;
    println!("\na lone caller, who has no company to wait for:");
    for (way, run) in alone.iter().zip(&alone_runs) {
        println!("  {:14} median {:7.2} ms", way.to_string(), run.median_ms);
    }

    let file = options.svg;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&file, plot::svg(&title, &ways, &runs)?)?;
    println!("\ndrawn in {}", file.display());

    println!(
        "each answer is that of its input alone, but for {:.1e}",
        comparison.largest_difference
    );
    Ok(())
}

fn print_table(ways: &[Way], runs: &[Run]) {
    println!("                requests/s   gain  median ms     p99 ms  mean batch");
    for (way, run) in ways.iter().zip(runs) {
        let Run {
            requests_per_second,
            median_ms,
            p99_ms,
            batch,
            ..
        } = run;
        let gain = requests_per_second / runs[0].requests_per_second;
        println!(
            "{:14}  {requests_per_second:10.0}  {gain:5.2}  {median_ms:9.1}  {p99_ms:9.1}  {batch:10.1}",
            way.to_string(),
        );
    }
}

/// Different ways to the same answers.
struct Comparison {
    network: Arc<Network>,
    inputs: Vec<Vec<f32>>,
    rounds: usize,
    /// What each input gives alone.
    expected: Vec<Vec<f32>>,
    /// Of any answer of any run so far.
    largest_difference: f32,
}

impl Comparison {
    fn new(network: Arc<Network>, inputs: Vec<Vec<f32>>, rounds: usize) -> Result<Self> {
        let mut expected = Vec::new();
        for input in &inputs {
            expected.extend(network.run(slice::from_ref(input))?);
        }
        Ok(Self {
            network,
            inputs,
            rounds,
            expected,
            largest_difference: 0.0,
        })
    }

    /// Gives the fastest run of each way: whoever else uses the machine can only slow it down. In
    /// each round each has its turn.
    async fn run(&mut self, ways: &[Way], callers: usize) -> Result<Vec<Run>> {
        // As many for one caller as for all would take long.
        let count = self.inputs.len().min(callers * 32);
        let mut runs: Vec<Vec<Run>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.rounds {
            for (way, runs) in ways.iter().zip(&mut runs) {
                let run = way
                    .run(&self.network, &self.inputs[..count], callers)
                    .await?;
                let difference = answers::compare(&run.answers, &self.expected[..count])?;
                self.largest_difference = self.largest_difference.max(difference);
                runs.push(run);
            }
        }
        let speed = |run: &Run| run.requests_per_second;
        let fastest = |runs: Vec<Run>| {
            let faster = |a: &Run, b: &Run| speed(a).total_cmp(&speed(b));
            runs.into_iter().max_by(faster).ok_or("no run")
        };
        Ok(runs
            .into_iter()
            .map(fastest)
            .collect::<std::result::Result<_, _>>()?)
    }
}

struct Options {
    requests: usize,
    rounds: usize,
    svg: PathBuf,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        const USAGE: &str = "usage: model [--quick] [--svg FILE]";
        let mut options = Self {
            requests: 4 * CALLERS,
            rounds: 5,
            svg: PathBuf::from("target/model.svg"),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => (options.requests, options.rounds) = (CALLERS, 1),
                "--svg" => options.svg = arguments.next().ok_or(USAGE)?.into(),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}
