//! The processor: its handle, and the ways to start one.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::control::{Control, EndGuard, Phase};
use crate::error::{Error, ErrorKind, Result};
use crate::handler::{BatchContext, Handler, IntoOutcome, Now, Outcome};
use crate::instance::{Inline, Instance, Make, Remote};
use crate::meta::later;
use crate::policy::BatchPolicy;
use crate::run;
use crate::transport::Source;

/// A plain closure that holds its thread longer than this is told of `spawn_blocking`.
const SLOW_CLOSURE: Duration = Duration::from_millis(100);

/// A processor at work: takes requests from a source, gathers them into batches, runs a function
/// on each batch, and answers each request.
///
/// This is the handle; the work is done by a task. Dropping the handle stops the processor at
/// once: what waits is given back, what runs is dropped. [`drain`](Self::drain) ends it in good
/// order, [`detach`](Self::detach) lets it go on without a handle. It ends by itself, after
/// finishing what is there, when every batcher of a transport within this process is dropped.
///
/// # Handlers
///
/// [`spawn`](Self::spawn) takes a closure that returns one of six forms:
///
/// | returns | each request gets |
/// |---|---|
/// | `Vec<Resp>` | its response |
/// | `Vec<Result<Resp, E>>` | its response, or its own error |
/// | `Result<Vec<Resp>, E>` | its response, or the batch's error |
/// | a future of one of these | the same |
///
/// The outputs are as many as the requests and in their order. A panic, or any other number of
/// outputs, is an error for the callers of that batch alone; the processor goes on.
///
/// A closure under `spawn` runs on the runtime's threads and should take less than a millisecond
/// between awaits. For a function that computes for longer, as a model does, use
/// [`spawn_blocking`](Self::spawn_blocking); for state, [`spawn_handler`](Self::spawn_handler),
/// [`spawn_each`](Self::spawn_each) and [`spawn_blocking_each`](Self::spawn_blocking_each).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
/// use dynamic_batcher_memory::MemoryTransport;
///
/// # #[tokio::main]
/// # async fn main() -> dynamic_batcher::Result<()> {
/// let transport = MemoryTransport::default();
/// let batcher: Batcher<String, usize> = Batcher::new(transport.clone());
/// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
/// let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<String>| async move {
///     batch
///         .iter()
///         .map(|text| if text.is_empty() { Err("empty") } else { Ok(text.len()) })
///         .collect::<Vec<_>>()
/// });
///
/// assert_eq!(batcher.send("four".to_owned()).await?, 4);
/// assert!(batcher.send(String::new()).await.is_err());
/// processor.drain(Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping the handle stops the processor; `detach` lets it go on"]
pub struct BatchProcessor<Req, Resp> {
    control: Arc<Control>,
    stop_on_drop: bool,
    types: PhantomData<fn(Req) -> Resp>,
}

/// What is there to be done by a processor that was made with `pair`: a future that ends with it.
///
/// # Cancellation
///
/// Dropping it is the sudden death of the processor: what waits goes back to its transport, the
/// callers of what runs get an error.
#[must_use = "a processor does nothing until its task is polled"]
pub struct ProcessorTask(Pin<Box<dyn Future<Output = ()> + Send>>);

/// How a drain went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Requests whose batch ended during the drain, with a response or with its handler's error.
    pub answered: usize,
    /// Requests that were read and not started, and given back for other processors.
    pub released: usize,
    /// Requests that were running at the deadline and were given up; their callers were told.
    pub abandoned: usize,
    /// Whether the processor had left when the drain returned. False when its handler holds its
    /// thread, or its transport did not answer in time; it leaves as soon as it can.
    pub ended: bool,
}

/// What a processor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessorStatus {
    /// Where it is in its life.
    pub phase: Phase,
    /// Requests that it has read and not started.
    pub waiting: usize,
    /// Requests in batches that run.
    pub running: usize,
    /// Requests whose batch has ended, since the start.
    pub answered: usize,
}

impl<Req: Send + 'static, Resp: Send + 'static> BatchProcessor<Req, Resp> {
    /// Starts a processor with a closure as its handler: see [Handlers](Self#handlers).
    ///
    /// With `policy.instances` of 1 and no `run_timeout` the closure runs on the processor's own
    /// task, else on a task for each instance. A `tracing` warning is given once when a call took
    /// over 100 ms.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn<S, F, R, M>(source: S, policy: BatchPolicy, handler: F) -> Self
    where
        S: Source<Req, Resp>,
        F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
        R: IntoOutcome<Resp, M> + 'static,
        M: 'static,
    {
        let (processor, task) = Self::pair(source, policy, handler);
        tokio::spawn(task);
        processor
    }

    /// Makes a processor as [`spawn`](Self::spawn) does, without starting it: to run its task
    /// where one wants, or to test it step by step.
    ///
    /// # Examples
    ///
    /// ```
    /// use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
    /// use dynamic_batcher_memory::MemoryTransport;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let transport = MemoryTransport::default();
    /// let batcher = Batcher::new(transport.clone());
    /// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    /// let (_processor, task) = BatchProcessor::pair(transport, policy, |batch: Vec<u8>| batch);
    /// tokio::select! {
    ///     () = task => unreachable!("a batcher is left"),
    ///     echo = batcher.send(7) => assert_eq!(echo.unwrap(), 7),
    /// }
    /// # }
    /// ```
    pub fn pair<S, F, R, M>(source: S, policy: BatchPolicy, handler: F) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
        R: IntoOutcome<Resp, M> + 'static,
        M: 'static,
    {
        let closure = Arc::new(Closure::new(handler));
        let make = move |_| Shared(Arc::clone(&closure));
        Self::pair_each(source, policy, make)
    }

    /// Starts a processor that runs a closure on threads of its own, `policy.instances` of them:
    /// for functions that compute or block. The closure returns the outcome itself, no future.
    ///
    /// The threads are not tokio's: they do not hold up the runtime's shutdown. A call cannot be
    /// stopped from outside; after a `run_timeout` its callers have their error and its thread
    /// takes the next batch when it returns.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
    /// use dynamic_batcher_memory::MemoryTransport;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> dynamic_batcher::Result<()> {
    /// let transport = MemoryTransport::default();
    /// let batcher: Batcher<u64, u64> = Batcher::new(transport.clone());
    /// let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    /// let _processor = BatchProcessor::spawn_blocking(transport, policy, |batch: Vec<u64>| {
    ///     batch.into_iter().map(|n| (1..=n).product()).collect::<Vec<u64>>()
    /// });
    /// assert_eq!(batcher.send(5).await?, 120);
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_blocking<S, F, R>(source: S, policy: BatchPolicy, handler: F) -> Self
    where
        S: Source<Req, Resp>,
        F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
        R: IntoOutcome<Resp, Now> + 'static,
    {
        let handler = Arc::new(handler);
        Self::spawn_blocking_each(source, policy, move |_| {
            let handler = Arc::clone(&handler);
            move |batch| handler(batch)
        })
    }

    /// Starts a processor whose threads, `policy.instances` of them, each make a function of their
    /// own: for a model or a device per thread. `make` gets the instance's number, from 0, and is
    /// called on its thread, so what it makes need not be `Send`; it is called again when the
    /// function has panicked.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. When `make` panics, its instance is out of service (a `tracing`
    /// error says so); when none is left the processor ends.
    pub fn spawn_blocking_each<S, M, F, R>(source: S, policy: BatchPolicy, make: M) -> Self
    where
        S: Source<Req, Resp>,
        M: Fn(usize) -> F + Send + Sync + 'static,
        F: FnMut(Vec<Req>) -> R + 'static,
        R: IntoOutcome<Resp, Now> + 'static,
    {
        let instances = policy.instances.get();
        let (processor, task) = Self::start(source, policy, move || {
            let make = Arc::new(make);
            let threads = (0..instances).map(|index| Remote::thread(Arc::clone(&make), index));
            threads
                .filter_map(|thread| {
                    thread
                        .inspect_err(|error| tracing::error!("a thread could not start: {error}"))
                        .ok()
                })
                .collect()
        });
        tokio::spawn(task);
        processor
    }

    /// Starts a processor with one handler that has state. It runs one batch at a time, whatever
    /// `policy.instances` says; after a panic it is used again as it is.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn_handler<S, H>(source: S, policy: BatchPolicy, handler: H) -> Self
    where
        S: Source<Req, Resp>,
        H: Handler<Req, Resp>,
    {
        let (processor, task) = Self::pair_handler(source, policy, handler);
        tokio::spawn(task);
        processor
    }

    /// Makes a processor as [`spawn_handler`](Self::spawn_handler) does, without starting it.
    pub fn pair_handler<S, H>(source: S, policy: BatchPolicy, handler: H) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        H: Handler<Req, Resp>,
    {
        if policy.run_timeout.is_some() {
            Self::start(source, policy, || vec![Remote::fixed_task(handler)])
        } else {
            Self::start(source, policy, || vec![Inline::fixed(handler)])
        }
    }

    /// Starts a processor with `policy.instances` handlers that each have state: a connection, a
    /// device. `make` gets the instance's number, from 0, and is called again for an instance
    /// whose handler has panicked.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. When `make` panics, its instance is out of service (a `tracing`
    /// error says so); when none is left the processor ends.
    pub fn spawn_each<S, H, M>(source: S, policy: BatchPolicy, make: M) -> Self
    where
        S: Source<Req, Resp>,
        H: Handler<Req, Resp>,
        M: FnMut(usize) -> H + Send + 'static,
    {
        let (processor, task) = Self::pair_each(source, policy, make);
        tokio::spawn(task);
        processor
    }

    fn pair_each<S, H, M>(source: S, policy: BatchPolicy, make: M) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        H: Handler<Req, Resp>,
        M: FnMut(usize) -> H + Send + 'static,
    {
        let make: Make<H> = Arc::new(Mutex::new(make));
        let instances = policy.instances.get();
        // A batch on the processor's own task saves a hop. But a closure that holds its thread
        // holds the task then: others could not run beside it, nor could its time be kept.
        if instances == 1 && policy.run_timeout.is_none() {
            return Self::start(source, policy, || vec![Inline::new(make)]);
        }
        Self::start(source, policy, move || {
            let tasks = (0..instances).map(|index| Remote::task(Arc::clone(&make), index));
            tasks.collect()
        })
    }

    /// Attaches to the source at once, so that a request sent from now on finds a processor; the
    /// instances are made when the task is first polled.
    fn start<S, I>(
        source: S,
        policy: BatchPolicy,
        make_instances: impl FnOnce() -> Vec<I> + Send + 'static,
    ) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        I: Instance<Req, Resp>,
    {
        let consumer = source.attach();
        // A source that is kept would keep its transport open.
        drop(source);
        let control = Arc::new(Control::new());
        let ended = EndGuard(Arc::clone(&control));
        let for_task = Arc::clone(&control);
        let task = async move {
            let _ended = ended;
            run::run(consumer, policy, make_instances(), for_task).await;
        };
        let processor = Self {
            control,
            stop_on_drop: true,
            types: PhantomData,
        };
        (processor, ProcessorTask(Box::pin(task)))
    }
}

impl<Req, Resp> BatchProcessor<Req, Resp> {
    /// Ends the processor in good order, by `deadline` (counted from now) at the latest.
    ///
    /// It takes no more requests. What it has read runs, as far as time allows; what could not be
    /// started is given back, and other processors have it at once; what still runs at the
    /// deadline is given up, and its callers get an error. Requests that no processor is left for
    /// end with [`Closed`](ErrorKind::Closed) on a transport that can know it, so stop sending
    /// before draining the last processor.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) when the processor had ended before.
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not take the drain back: it goes on to its deadline. Calling
    /// again, with a deadline of its own, joins it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use dynamic_batcher::BatchPolicy;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> dynamic_batcher::Result<()> {
    /// let (batcher, processor) =
    ///     dynamic_batcher_memory::spawn(BatchPolicy::default(), |batch: Vec<u8>| batch);
    /// let report = processor.drain(Duration::from_secs(5)).await?;
    /// assert!(report.ended && report.abandoned == 0);
    /// # drop(batcher);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain(&self, deadline: Duration) -> Result<DrainReport> {
        let control = &self.control;
        if control.phase() == Phase::Ended {
            return Err(Error::new(ErrorKind::Closed, "the processor has ended"));
        }
        let before = control.answered.load(Ordering::Relaxed);
        let deadline = later(Instant::now(), deadline);
        control.drain(deadline);
        let ended = timeout_at(deadline, control.reached(Phase::Ended))
            .await
            .is_ok();
        Ok(DrainReport {
            answered: control.answered.load(Ordering::Relaxed) - before,
            released: control.released.load(Ordering::Relaxed),
            abandoned: if ended {
                control.abandoned.load(Ordering::Relaxed)
            } else {
                control.running.load(Ordering::Relaxed)
            },
            ended,
        })
    }

    /// Waits until the processor takes requests: its handlers are made.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) when it drains or has ended.
    ///
    /// # Cancellation
    ///
    /// Safe: it only waits.
    pub async fn ready(&self) -> Result<()> {
        match self.control.reached(Phase::Running).await {
            Phase::Running => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Closed,
                "the processor takes no more requests",
            )),
        }
    }

    /// Whether the processor has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.control.phase() != Phase::Ended
    }

    /// What the processor is doing.
    #[must_use]
    pub fn status(&self) -> ProcessorStatus {
        ProcessorStatus {
            phase: self.control.phase(),
            waiting: self.control.waiting.load(Ordering::Relaxed),
            running: self.control.running.load(Ordering::Relaxed),
            answered: self.control.answered.load(Ordering::Relaxed),
        }
    }

    /// Waits until the processor has ended, for whatever reason.
    ///
    /// # Cancellation
    ///
    /// Safe: it only waits.
    pub async fn ended(&self) {
        self.control.reached(Phase::Ended).await;
    }

    /// Lets the processor go on without a handle, until its source is closed.
    pub fn detach(mut self) {
        self.stop_on_drop = false;
    }
}

impl<Req, Resp> Drop for BatchProcessor<Req, Resp> {
    fn drop(&mut self) {
        if self.stop_on_drop {
            self.control.stop();
        }
    }
}

impl<Req, Resp> fmt::Debug for BatchProcessor<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchProcessor")
            .field("phase", &self.control.phase())
            .finish_non_exhaustive()
    }
}

impl Future for ProcessorTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ProcessorTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessorTask").finish_non_exhaustive()
    }
}

/// A closure as a handler.
struct Closure<F, M> {
    function: F,
    warned: AtomicBool,
    form: PhantomData<fn() -> M>,
}

/// A closure that all instances share.
struct Shared<F, M>(Arc<Closure<F, M>>);

impl<F, M> Closure<F, M> {
    fn new(function: F) -> Self {
        Self {
            function,
            warned: AtomicBool::new(false),
            form: PhantomData,
        }
    }
}

impl<Req, Resp, F, R, M> Handler<Req, Resp> for Shared<F, M>
where
    Req: Send,
    F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
    R: IntoOutcome<Resp, M>,
    M: 'static,
{
    async fn run(&mut self, batch: Vec<Req>, _: &BatchContext) -> Outcome<Resp> {
        // Real time, which is what a held thread costs, even where tokio's clock is paused.
        let called = std::time::Instant::now();
        let returned = (self.0.function)(batch);
        let held = called.elapsed();
        if held > SLOW_CLOSURE && !self.0.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a batch handler held its thread of the runtime for {held:?}: \
                 start it with `spawn_blocking`, which gives it a thread of its own"
            );
        }
        returned.into_outcome().await
    }
}
