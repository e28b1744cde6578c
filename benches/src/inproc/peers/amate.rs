//! `amate`: batches on threads of its own, answers by whatever the handler sends them with.
//!
//! Its documentation: "items are merged only while all of the workers are busy", so one worker, which
//! takes all that is queued; it waits out a window only with `waits_unannounced`. No capacity, which is
//! its faster channel. Answers go through tokio's oneshot, as the floor's do.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use amate::{Batching, Config, Engine, Queued};
use tokio::sync::oneshot;

use crate::inproc::drive::{Ask, Drive};
use crate::inproc::job::Job;
use crate::inproc::workload::{BATCH_SIZE, Mode};

type Asked<J> = (<J as Job>::Request, oneshot::Sender<<J as Job>::Response>);

pub(crate) async fn run<J: Job, D: Drive>(mode: Mode, drive: D) -> D::Output {
    let (window, waits_unannounced) = match mode {
        // Where batches are worth a wait, as for `batched-fn`.
        Mode::AtOnce if J::BLOCKS => (Duration::from_millis(1), true),
        Mode::AtOnce => (Duration::ZERO, false),
        Mode::Window(window) => (window, true),
    };
    let config = Config {
        max_batch: BATCH_SIZE.get(),
        workers: 1,
        capacity: None,
        waits_unannounced,
    };
    let handler = Handler::<J> {
        window,
        job: PhantomData,
    };
    let engine = Engine::start(handler, config, |number| format!("amate-{number}"));
    drive.drive::<J, _>(Client(Arc::new(engine))).await
}

struct Handler<J> {
    window: Duration,
    job: PhantomData<fn() -> J>,
}

impl<J: Job> Batching for Handler<J> {
    type Item = Asked<J>;

    fn weight(&self, _: &Asked<J>) -> usize {
        1
    }

    fn window(&self) -> Duration {
        self.window
    }

    fn run(&self, batch: Vec<Queued<Asked<J>>>) {
        let asked = batch.into_iter().map(|queued| queued.item);
        let (requests, callers): (Vec<_>, Vec<_>) = asked.unzip();
        for (response, caller) in J::handle(requests).into_iter().zip(callers) {
            // A caller may be gone at the end of a run.
            let _ = caller.send(response);
        }
    }
}

struct Client<J: Job>(Arc<Engine<Asked<J>>>);

impl<J: Job> Clone for Client<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J: Job> Ask<J> for Client<J> {
    async fn ask(&mut self, request: J::Request) -> J::Response {
        let (caller, answered) = oneshot::channel();
        if self.0.submit(None, (request, caller)).is_err() {
            panic!("there is no limit, and the workers live as long as the engine");
        }
        answered.await.expect("a worker answers")
    }
}
