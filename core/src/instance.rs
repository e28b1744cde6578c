//! What runs batches: on the processor's own task, on a task, or on a thread of its own.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use futures_util::future::{Either, FutureExt as _, select};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::{Instrument as _, Span};

use crate::error::{Error, ErrorKind, Result, said};
use crate::handler::{BatchContext, Handler, IntoOutcome, Now, Outcome};

/// How long a thread looks for the next batch before it sleeps: this part of what the last one took, and no
/// longer than that.
const LOOK_SHARE: u32 = 16;
const LONGEST_LOOK: Duration = Duration::from_micros(100);

/// One place where one batch at a time can run.
pub(crate) trait Instance<Req, Resp>: Send + 'static {
    /// Whether a handler that holds its thread holds the processor's own task.
    const HOLDS_TASK: bool;

    /// Runs a batch. A panic of the handler is the batch's outcome, not this future's.
    fn run(
        &mut self,
        batch: Vec<Req>,
        context: &BatchContext,
    ) -> impl Future<Output = Outcome<Resp>> + Send;

    /// At the start, after a `run` that was not awaited to its end, and while it is not usable: waits
    /// until a batch can run, or it is known that none ever will.
    fn recover(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether another batch can run here now.
    fn is_usable(&self) -> bool;
}

/// Makes the handler of an instance: at the start, and again after a panic.
pub(crate) type Make<H> = Arc<Mutex<dyn FnMut(usize) -> H + Send>>;

/// A handler with the means to make it: at the start, and a new one when it has panicked.
struct Renewable<H> {
    /// `None` until it is made, when it has panicked, and when making it panicked.
    handler: Option<H>,
    make: Option<Make<H>>,
    index: usize,
}

impl<H> Renewable<H> {
    fn new(make: Make<H>, index: usize) -> Self {
        Self {
            handler: None,
            make: Some(make),
            index,
        }
    }

    fn fixed(handler: H) -> Self {
        Self {
            handler: Some(handler),
            make: None,
            index: 0,
        }
    }

    fn is_made(&self) -> bool {
        self.handler.is_some()
    }

    /// Runs one batch.
    async fn run<Req, Resp>(&mut self, batch: Vec<Req>, context: &BatchContext) -> Outcome<Resp>
    where
        Req: Send,
        Resp: Send,
        H: Handler<Req, Resp>,
    {
        let Some(handler) = &mut self.handler else {
            return Outcome::failed(instance_gone());
        };
        // The call itself is inside too: what a closure does before its first await may panic.
        let run = AssertUnwindSafe(async { handler.run(batch, context).await });
        match run.catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panic) => {
                self.has_panicked();
                Outcome::failed(panicked(panic))
            }
        }
    }

    /// Lets the handler go, if another can be made.
    fn has_panicked(&mut self) {
        // Before that: there may be room for one, in a device or for a lock.
        if self.make.is_some() {
            let_go(self.handler.take());
        }
    }

    /// Makes the handler where there is none: at the start, and after a panic.
    async fn ensure_made(&mut self) {
        let (None, Some(make)) = (&self.handler, &self.make) else {
            return;
        };
        // Awaited, not blocked on: others make theirs meanwhile, and the runtime's threads go on.
        let mut make = make.lock().await;
        let made = catch(|| make(self.index));
        self.handler = made
            .inspect_err(|error| out_of_service(self.index, error))
            .ok();
    }
}

/// Runs batches on the processor's own task: no hop, and an answer as soon as the handler returns.
pub(crate) struct Inline<H>(Renewable<H>);

impl<H> Inline<H> {
    pub(crate) fn new(make: Make<H>) -> Self {
        Self(Renewable::new(make, 0))
    }

    pub(crate) fn fixed(handler: H) -> Self {
        Self(Renewable::fixed(handler))
    }
}

impl<Req, Resp, H> Instance<Req, Resp> for Inline<H>
where
    Req: Send + 'static,
    Resp: Send + 'static,
    H: Handler<Req, Resp>,
{
    const HOLDS_TASK: bool = true;

    async fn run(&mut self, batch: Vec<Req>, context: &BatchContext) -> Outcome<Resp> {
        self.0.run(batch, context).await
    }

    async fn recover(&mut self) {
        self.0.ensure_made().await;
    }

    fn is_usable(&self) -> bool {
        self.0.is_made()
    }
}

/// A batch on its way to a [`Remote`]'s task or thread.
struct Job<Req, Resp> {
    batch: Vec<Req>,
    context: BatchContext,
    /// What it is to run within.
    span: Span,
    /// Ends when the outcome is no longer wanted.
    unwanted: oneshot::Receiver<()>,
    answer: oneshot::Sender<Done<Resp>>,
}

/// What became of a [`Job`].
struct Done<Resp> {
    outcome: Outcome<Resp>,
    /// Where the handler has panicked: until another is made.
    making: Option<Making>,
}

/// Ends, with an error, when a handler has been made, or could not be.
type Making = oneshot::Receiver<Infallible>;

/// Runs batches on a task or a thread of its own, one at a time.
pub(crate) struct Remote<Req, Resp> {
    jobs: mpsc::Sender<Job<Req, Resp>>,
    /// The batch that it is at: how to give it up, and how it ends.
    running: Option<(oneshot::Sender<()>, oneshot::Receiver<Done<Resp>>)>,
    making: Option<Making>,
}

/// The far side of a [`Remote`].
struct Worker<Req, Resp> {
    jobs: mpsc::Receiver<Job<Req, Resp>>,
    /// Dropped once the handler is made.
    starting: oneshot::Sender<Infallible>,
}

impl<Req: Send + 'static, Resp: Send + 'static> Remote<Req, Resp> {
    /// Starts a task that makes its handler and runs batches with it.
    pub(crate) fn task<H: Handler<Req, Resp>>(make: Make<H>, index: usize) -> Self {
        let (remote, worker) = Self::pair();
        tokio::spawn(worker.run_task(Renewable::new(make, index)));
        remote
    }

    /// Starts a task that runs batches with this handler.
    pub(crate) fn fixed_task<H: Handler<Req, Resp>>(handler: H) -> Self {
        let (remote, worker) = Self::pair();
        tokio::spawn(worker.run_task(Renewable::fixed(handler)));
        remote
    }

    /// Starts a thread that makes its function and runs batches with it.
    pub(crate) fn thread<M, F, R>(make: Arc<M>, index: usize) -> std::io::Result<Self>
    where
        M: Fn(usize) -> F + Send + Sync + 'static,
        F: FnMut(Vec<Req>) -> R + 'static,
        R: IntoOutcome<Resp, Now>,
    {
        let (remote, worker) = Self::pair();
        std::thread::Builder::new()
            .name(format!("batch-handler-{index}"))
            .spawn(move || worker.run_thread(|| make(index), index))?;
        Ok(remote)
    }

    fn pair() -> (Self, Worker<Req, Resp>) {
        let (jobs, inbox) = mpsc::channel(1);
        let (starting, started) = oneshot::channel();
        let remote = Self {
            jobs,
            running: None,
            making: Some(started),
        };
        let worker = Worker {
            jobs: inbox,
            starting,
        };
        (remote, worker)
    }
}

impl<Req: Send + 'static, Resp: Send + 'static> Worker<Req, Resp> {
    async fn run_task<H: Handler<Req, Resp>>(self, mut handler: Renewable<H>) {
        let Self { mut jobs, starting } = self;
        let mut making = Some(starting);
        loop {
            if let Some(making) = making.take() {
                handler.ensure_made().await;
                close_unless(handler.is_made(), &mut jobs);
                drop(making);
            }
            let Some(job) = jobs.recv().await else {
                return;
            };
            let run = handler.run(job.batch, &job.context);
            let run = Box::pin(run.instrument(job.span));
            // `unwanted` ends with an error when its other half is dropped: both mean it. Asked
            // first: what was given up on its way here does not start.
            let (outcome, left) = match select(job.unwanted, run).await {
                // It may panic over what it held.
                Either::Left((_, run)) => (Outcome::failed(instance_gone()), catch(|| drop(run))),
                Either::Right((outcome, _)) => (outcome, Ok(())),
            };
            if let Err(error) = left {
                tracing::error!("dropping a run that was given up failed: {error}");
                handler.has_panicked();
            }
            making = answer(job.answer, outcome, handler.is_made());
        }
    }

    fn run_thread<F, R>(self, make: impl Fn() -> F, index: usize)
    where
        F: FnMut(Vec<Req>) -> R,
        R: IntoOutcome<Resp, Now>,
    {
        let Self { mut jobs, starting } = self;
        let mut making = Some(starting);
        let mut made = None;
        let mut took = Duration::ZERO;
        loop {
            if let Some(making) = making.take() {
                // Before another is made: there may be room for one, in a device or for a lock.
                let_go(made.take());
                made = catch(&make)
                    .inspect_err(|error| out_of_service(index, error))
                    .ok();
                close_unless(made.is_some(), &mut jobs);
                drop(making);
            }
            let (Some(function), Some(mut job)) = (&mut made, next_job(&mut jobs, took)) else {
                return;
            };
            // It was given up on its way here.
            if job.unwanted.try_recv() != Err(TryRecvError::Empty) {
                continue;
            }
            // An outcome that stands as it is needs no waiting for.
            let span = job.span;
            let started = Instant::now();
            let run = catch(|| span.in_scope(|| function(job.batch).into_outcome().now_or_never()));
            took = started.elapsed();
            drop(span);
            let stands = run.is_ok();
            let outcome = match run {
                Ok(outcome) => outcome.unwrap_or_else(|| Outcome::failed(instance_gone())),
                Err(panicked) => Outcome::failed(panicked),
            };
            making = answer(job.answer, outcome, stands);
        }
    }
}

/// Waits for the next job, after one that `took` so long. Under load that is there in less time than it takes
/// to fall asleep and to be woken: so the thread looks for a small part of its last job's time.
fn next_job<T>(jobs: &mut mpsc::Receiver<T>, took: Duration) -> Option<T> {
    let until = Instant::now() + (took / LOOK_SHARE).min(LONGEST_LOOK);
    while jobs.is_empty() && !jobs.is_closed() && Instant::now() < until {
        yield_now();
    }
    jobs.blocking_recv()
}

/// Says what became of a job. Where the handler does not stand any more, this comes before another is
/// made: the callers need not wait for that.
fn answer<Resp>(
    to: oneshot::Sender<Done<Resp>>,
    outcome: Outcome<Resp>,
    stands: bool,
) -> Option<oneshot::Sender<Infallible>> {
    let (end, making) = (!stands).then(oneshot::channel).unzip();
    // Nobody may be waiting any more.
    let _ = to.send(Done { outcome, making });
    end
}

impl<Req: Send + 'static, Resp: Send + 'static> Instance<Req, Resp> for Remote<Req, Resp> {
    const HOLDS_TASK: bool = false;

    async fn run(&mut self, batch: Vec<Req>, context: &BatchContext) -> Outcome<Resp> {
        let (keep, unwanted) = oneshot::channel();
        let (answer, done) = oneshot::channel();
        let job = Job {
            batch,
            context: context.clone(),
            span: Span::current(),
            unwanted,
            answer,
        };
        // There is room for one, and one at a time is sent.
        if self.jobs.try_send(job).is_err() {
            return Outcome::failed(instance_gone());
        }
        let (_, done) = self.running.insert((keep, done));
        let done = done.await;
        self.running = None;
        let Ok(Done { outcome, making }) = done else {
            return Outcome::failed(instance_gone());
        };
        self.making = making;
        outcome
    }

    async fn recover(&mut self) {
        if let Some((keep, done)) = self.running.take() {
            drop(keep);
            // Its outcome is too late to be of use; what counts is that it has ended.
            self.making = done.await.ok().and_then(|done| done.making);
        }
        if let Some(making) = &mut self.making {
            let _ = making.await;
            self.making = None;
        }
    }

    fn is_usable(&self) -> bool {
        self.making.is_none() && !self.jobs.is_closed()
    }
}

/// Takes no more batches when none can run. To be called before it is said that the making is over:
/// then no batch is sent here to be lost.
fn close_unless<T>(usable: bool, jobs: &mut mpsc::Receiver<T>) {
    if !usable {
        jobs.close();
    }
}

pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(panicked)
}

/// Drops a handler that has panicked, and may panic again over what it left.
fn let_go<H>(handler: Option<H>) {
    if let Err(error) = catch(|| drop(handler)) {
        tracing::error!("dropping a handler that had panicked failed: {error}");
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Error {
    Error::new(ErrorKind::Panic, said(panic))
}

fn out_of_service(instance: usize, error: &Error) {
    tracing::error!(
        instance,
        "making a handler failed, this instance is out of service: {error}"
    );
}

fn instance_gone() -> Error {
    Error::new(ErrorKind::Lost, "the instance that ran it is gone")
}

#[cfg(test)]
mod tests;
