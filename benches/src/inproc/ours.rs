//! This library, in the three ways to hold a batcher within one process.

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, Coded, Json, Source, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;

use crate::inproc::drive::{Ask, Drive};
use crate::inproc::job::Job;
use crate::inproc::workload::{BATCH_SIZE, Mode};

/// The batcher's type names the transport.
pub(crate) async fn with_static_type<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let transport = MemoryTransport::default();
    let batcher: Batcher<J::Request, J::Response, _> = Batcher::with_transport(transport.clone());
    let _processor = spawn::<J>(transport, mode);
    drive.drive::<J, _>(batcher).await
}

/// As it is mostly used: the batcher's type does not name the transport.
pub(crate) async fn erased<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let transport = MemoryTransport::default();
    let batcher: Batcher<J::Request, J::Response> = Batcher::new(transport.clone());
    let _processor = spawn::<J>(transport, mode);
    drive.drive::<J, _>(batcher).await
}

/// The same over a transport of bytes, as one between processes is: every request and every response
/// is written as JSON and read.
pub(crate) async fn coded<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let transport = Coded::new(MemoryTransport::default(), Json);
    let batcher: Batcher<J::Request, J::Response> = Batcher::new(transport.clone());
    let _processor = spawn::<J>(transport, mode);
    drive.drive::<J, _>(batcher).await
}

fn spawn<J: Job>(
    source: impl Source<J::Request, J::Response>,
    mode: Mode,
) -> BatchProcessor<J::Request, J::Response> {
    let policy = BatchPolicy::default().batch_size(BATCH_SIZE);
    let policy = match mode {
        Mode::AtOnce => policy.when_idle(WhenIdle::Run),
        Mode::Window(window) => policy.when_idle(WhenIdle::Wait).batch_time(window),
    };
    if J::BLOCKS {
        BatchProcessor::spawn_blocking(source, policy, J::handle)
    } else {
        BatchProcessor::spawn(source, policy, J::handle)
    }
}

impl<J, T> Ask<J> for Batcher<J::Request, J::Response, T>
where
    J: Job,
    T: dynamic_batcher::Transport<J::Request, J::Response> + Clone,
{
    async fn ask(&mut self, request: J::Request) -> J::Response {
        self.send(request).await.expect("a processor answers")
    }
}
