//! What is measured: this library, and the floors under it.

use dynamic_batcher::{BatchProcessor, Batcher, DEFAULT_TIMEOUT, Transport};
use dynamic_batcher_memory::MemoryTransport;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::closed_loop::{Client, Load, Tally, closed_loop};
use crate::inproc::workload::{BATCH_SIZE, Workload};

/// One way to get single requests answered in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// This library with the transport in the batcher's type.
    OursStatic,
    /// This library as it is mostly used: the batcher's type does not name the transport.
    OursErased,
    /// A channel of requests, each with a oneshot sender for its answer, and one task that takes
    /// what is there: no deadlines, no limit, no handler's errors or panics.
    FloorMpsc,
    /// The same with a timeout round each call. The fair floor: every call of ours has a deadline.
    FloorMpscTimeout,
}

impl Subject {
    /// All subjects.
    pub const ALL: [Self; 4] = [
        Self::FloorMpsc,
        Self::FloorMpscTimeout,
        Self::OursStatic,
        Self::OursErased,
    ];

    /// How it is called in the results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OursStatic => "ours-static",
            Self::OursErased => "ours-erased",
            Self::FloorMpsc => "floor-mpsc",
            Self::FloorMpscTimeout => "floor-mpsc-timeout",
        }
    }

    /// Whether it can make a batch wait for company.
    #[must_use]
    pub fn has_window(self) -> bool {
        matches!(self, Self::OursStatic | Self::OursErased)
    }

    /// Starts it afresh, on the current runtime, and puts it under load.
    pub async fn run(self, workload: Workload, load: Load) -> Tally {
        match self {
            Self::OursStatic => ours(workload, load, Batcher::with_transport).await,
            Self::OursErased => ours(workload, load, Batcher::new).await,
            Self::FloorMpsc => closed_loop(Floor::spawn(), workload.callers, load, || ()).await,
            Self::FloorMpscTimeout => {
                closed_loop(FloorTimeout(Floor::spawn()), workload.callers, load, || ()).await
            }
        }
    }
}

/// The answer to a request: next to no work, so that what is measured is the way there and back.
fn answer(request: u64) -> u64 {
    request.wrapping_mul(3).wrapping_add(1)
}

async fn ours<C: Client>(
    workload: Workload,
    load: Load,
    batcher: impl FnOnce(MemoryTransport<u64, u64>) -> C,
) -> Tally {
    let transport = MemoryTransport::default();
    let client = batcher(transport.clone());
    let _processor = BatchProcessor::spawn(transport, workload.policy(), |batch: Vec<u64>| {
        batch.into_iter().map(answer).collect::<Vec<_>>()
    });
    closed_loop(client, workload.callers, load, || ()).await
}

impl<T: Transport<u64, u64> + Clone> Client for Batcher<u64, u64, T> {
    async fn call(&self, request: u64) {
        let answered = self.send(request).await.expect("a processor answers");
        assert_eq!(answered, answer(request));
    }
}

/// Unbounded, which is the faster of tokio's channels: the number of callers is the bound.
#[derive(Clone)]
struct Floor(mpsc::UnboundedSender<(u64, oneshot::Sender<u64>)>);

impl Floor {
    /// Its task ends with the last client.
    fn spawn() -> Self {
        let (requests, mut inbox) = mpsc::unbounded_channel::<(u64, oneshot::Sender<u64>)>();
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH_SIZE.get());
            while inbox.recv_many(&mut batch, BATCH_SIZE.get()).await > 0 {
                for (request, caller) in batch.drain(..) {
                    // A caller may be gone at the end of a run.
                    let _ = caller.send(answer(request));
                }
            }
        });
        Self(requests)
    }
}

impl Client for Floor {
    async fn call(&self, request: u64) {
        let (caller, answered) = oneshot::channel();
        let sent = self.0.send((request, caller));
        sent.expect("the floor's task lives as long as its clients");
        let answered = answered.await.expect("the floor's task answers");
        assert_eq!(answered, answer(request));
    }
}

#[derive(Clone)]
struct FloorTimeout(Floor);

impl Client for FloorTimeout {
    async fn call(&self, request: u64) {
        let answered = timeout(DEFAULT_TIMEOUT, self.0.call(request));
        answered.await.expect("the floor's task answers in time")
    }
}
