//! An async handler on a thread that awaits nothing.

use dynamic_batcher::{BatchPolicy, BatchProcessor};
use dynamic_batcher_memory::MemoryTransport;

fn main() {
    let transport = MemoryTransport::<u32, u32>::default();
    let policy = BatchPolicy::default();
    let _ = BatchProcessor::spawn_blocking(transport, policy, |batch: Vec<u32>| async { batch });
}
