//! `batch-aint-one`: a worker task, and a task for each batch.
//!
//! Its documentation: `Immediate` to "process items as soon as possible", `Duration` with
//! `OnFull::Process` for a window; a concurrency of 1 "when the work for a key is serialised anyway",
//! as it is for every subject here. One key, and room for all callers.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use batch_aint_one::{Batcher, BatchingPolicy, Limits, OnFull, Processor};
use tokio::task::spawn_blocking;

use crate::inproc::drive::{Ask, Drive};
use crate::inproc::job::Job;
use crate::inproc::workload::{BATCH_SIZE, MOST_CALLERS, Mode};

pub(crate) async fn run<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let policy = match mode {
        // Where batches are worth a wait, as for `batched-fn`.
        Mode::AtOnce if J::BLOCKS => {
            BatchingPolicy::Duration(Duration::from_millis(1), OnFull::Process)
        }
        Mode::AtOnce => BatchingPolicy::Immediate,
        Mode::Window(window) => BatchingPolicy::Duration(window, OnFull::Process),
    };
    let limits = Limits::builder()
        .max_batch_size(BATCH_SIZE.get())
        .max_key_concurrency(1)
        .max_key_queued_items(MOST_CALLERS as usize)
        .build();
    let batcher = Batcher::builder()
        .name("bench")
        .processor(Handler::<J>(PhantomData))
        .limits(limits)
        .batching_policy(policy)
        .build();
    drive.drive::<J, _>(Client(Arc::new(batcher))).await
}

struct Handler<J>(PhantomData<fn() -> J>);

impl<J> Clone for Handler<J> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<J: Job> Processor for Handler<J> {
    type Key = ();
    type Input = J::Request;
    type Output = J::Response;
    type Error = Infallible;
    type Resources = ();

    async fn acquire_resources(&self, (): ()) -> Result<(), Infallible> {
        Ok(())
    }

    async fn process(
        &self,
        (): (),
        inputs: impl Iterator<Item = J::Request> + Send,
        (): (),
    ) -> Result<Vec<J::Response>, Infallible> {
        let batch = inputs.collect();
        if J::BLOCKS {
            let answered = spawn_blocking(|| J::handle(batch)).await;
            return Ok(answered.expect("the handler does not panic"));
        }
        Ok(J::handle(batch))
    }
}

/// In an `Arc`, as in its example.
struct Client<J: Job>(Arc<Batcher<Handler<J>>>);

impl<J: Job> Clone for Client<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J: Job> Ask<J> for Client<J> {
    async fn ask(&mut self, request: J::Request) -> J::Response {
        let answered = self.0.add((), request).await;
        answered.expect("a processor answers")
    }
}
