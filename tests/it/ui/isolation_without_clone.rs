//! Running a batch again with requests that cannot be cloned.

use dynamic_batcher::{BatchPolicy, BatchProcessor, OnBatchError};
use dynamic_batcher_memory::MemoryTransport;

struct Image(Vec<u8>);

fn main() {
    let transport = MemoryTransport::<Image, usize>::default();
    let policy = BatchPolicy::default().on_batch_error(OnBatchError::Bisect);
    let _ = BatchProcessor::spawn(transport, policy, |batch: Vec<Image>| {
        batch.iter().map(|image| image.0.len()).collect::<Vec<_>>()
    });
}
