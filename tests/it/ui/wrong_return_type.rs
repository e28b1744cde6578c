//! A handler that returns one response instead of one for each request.

use dynamic_batcher::{BatchPolicy, BatchProcessor};
use dynamic_batcher_memory::MemoryTransport;

fn main() {
    let transport = MemoryTransport::<u32, u32>::default();
    let _ = BatchProcessor::spawn(transport, BatchPolicy::default(), |batch: Vec<u32>| {
        batch.iter().sum::<u32>()
    });
}
