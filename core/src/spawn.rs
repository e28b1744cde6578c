//! The ways to start a processor.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Mutex;

use crate::attached::Attached;
use crate::closure::Closure;
use crate::control::{Control, EndGuard};
use crate::error::{Error, ErrorKind, panic_text};
use crate::handler::{Handler, IntoOutcome, Now};
use crate::instance::{Inline, Instance, Make, Remote};
use crate::policy::ProcessorPolicy;
use crate::processor::{BatchProcessor, ProcessorTask};
use crate::run;
use crate::status::QueueLength;
use crate::transport::{Consumer as _, Source};

impl<Req: Send + 'static, Resp: Send + 'static> BatchProcessor<Req, Resp> {
    /// Starts a processor with a closure as its handler: see [Handlers](Self#handlers).
    ///
    /// With `policy.instances` of 1 and no `run_timeout` the closure runs on the processor's own
    /// task, else on a task for each instance. So one that computes or blocks holds a thread of the
    /// runtime, and what else is to run there, deadlines among it, waits for it: start such a one with
    /// [`spawn_blocking`](Self::spawn_blocking). A `tracing` warning says so once when a call took over
    /// 100 ms. On a runtime with threads of its own one that returns no future is helped out: after a call
    /// that took 10 ms, and until a hundred took less than 1 ms, the other tasks of its thread go on elsewhere
    /// while it runs ([`block_in_place`](tokio::task::block_in_place)). Meanwhile each call takes
    /// some tens of microseconds more, and a thread of those that the runtime has for blocking.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. On one that keeps no time (`enable_time`) the processor's own task
    /// panics at its first timer, and the processor has ended.
    pub fn spawn<S, F, R, M>(source: S, policy: impl Into<ProcessorPolicy<Req>>, handler: F) -> Self
    where
        S: Source<Req, Resp>,
        F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
        R: IntoOutcome<Resp, M> + 'static,
        M: 'static,
    {
        let on_worker = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        let closure = Closure::<F, M>::new(handler, on_worker);
        Self::spawn_each(source, policy, move |_| closure.clone())
    }

    /// Makes a processor as [`spawn`](Self::spawn) does, without starting it: to run its task
    /// where one wants, or to test it step by step. A closure that takes long is not helped out, as it is
    /// not known where it will run.
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
    pub fn pair<S, F, R, M>(
        source: S,
        policy: impl Into<ProcessorPolicy<Req>>,
        handler: F,
    ) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
        R: IntoOutcome<Resp, M> + 'static,
        M: 'static,
    {
        let closure = Closure::<F, M>::new(handler, false);
        Self::pair_each(source, policy, move |_| closure.clone())
    }

    /// Starts a processor that runs a closure on threads of its own, `policy.instances` of them:
    /// for functions that compute or block. The closure returns the outcome itself, no future.
    ///
    /// The threads are not tokio's: they do not hold up the runtime's shutdown, and a paused clock
    /// does not wait for them, so a test of such a processor runs on the real clock. A call cannot be
    /// stopped from outside; after a `run_timeout` its callers have their error and its thread
    /// takes the next batch when it returns. What was read for that batch waits for it too.
    ///
    /// After a batch a thread looks for the next one before it sleeps, for a sixteenth of the time that the
    /// last one took and 100 µs at the most.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
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
    pub fn spawn_blocking<S, F, R>(
        source: S,
        policy: impl Into<ProcessorPolicy<Req>>,
        handler: F,
    ) -> Self
    where
        S: Source<Req, Resp>,
        F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
        R: IntoOutcome<Resp, Now> + 'static,
    {
        let (processor, task) = Self::pair_blocking(source, policy, handler);
        tokio::spawn(task);
        processor
    }

    /// Makes a processor as [`spawn_blocking`](Self::spawn_blocking) does, without starting it: its
    /// threads start when the task is first polled.
    pub fn pair_blocking<S, F, R>(
        source: S,
        policy: impl Into<ProcessorPolicy<Req>>,
        handler: F,
    ) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        F: Fn(Vec<Req>) -> R + Send + Sync + 'static,
        R: IntoOutcome<Resp, Now> + 'static,
    {
        let handler = Arc::new(handler);
        Self::pair_blocking_each(source, policy, move |_| {
            let handler = Arc::clone(&handler);
            move |batch| handler(batch)
        })
    }

    /// Starts a processor whose threads, `policy.instances` of them, each make a function of their
    /// own: for a model or a device per thread. `make` gets the instance's number, from 0, and is
    /// called on its thread, so what it makes need not be `Send`; it is called again when the
    /// function has panicked, after that was dropped.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn). When `make` panics, its instance is out of service (a `tracing`
    /// error says so); when none is left the processor ends, as [`ended`](Self::ended) tells.
    pub fn spawn_blocking_each<S, M, F, R>(
        source: S,
        policy: impl Into<ProcessorPolicy<Req>>,
        make: M,
    ) -> Self
    where
        S: Source<Req, Resp>,
        M: Fn(usize) -> F + Send + Sync + 'static,
        F: FnMut(Vec<Req>) -> R + 'static,
        R: IntoOutcome<Resp, Now> + 'static,
    {
        let (processor, task) = Self::pair_blocking_each(source, policy, make);
        tokio::spawn(task);
        processor
    }

    /// Makes a processor as [`spawn_blocking_each`](Self::spawn_blocking_each) does, without starting
    /// it: its threads start when the task is first polled.
    pub fn pair_blocking_each<S, M, F, R>(
        source: S,
        policy: impl Into<ProcessorPolicy<Req>>,
        make: M,
    ) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        M: Fn(usize) -> F + Send + Sync + 'static,
        F: FnMut(Vec<Req>) -> R + 'static,
        R: IntoOutcome<Resp, Now> + 'static,
    {
        let policy = policy.into();
        let instances = policy.batch.instances.get();
        Self::start(source, policy, move || {
            let make = Arc::new(make);
            let threads = (0..instances).map(|index| Remote::thread(Arc::clone(&make), index));
            threads
                .filter_map(|thread| {
                    thread
                        .inspect_err(|error| tracing::error!("a thread could not start: {error}"))
                        .ok()
                })
                .collect()
        })
    }

    /// Starts a processor with one handler that has state. It runs one batch at a time: its policy has
    /// one instance, whatever `policy.instances` says, and [`policy`](BatchProcessor::policy) says so. After a panic it is used again as it is.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    pub fn spawn_handler<S, H>(
        source: S,
        policy: impl Into<ProcessorPolicy<Req>>,
        handler: H,
    ) -> Self
    where
        S: Source<Req, Resp>,
        H: Handler<Req, Resp>,
    {
        let (processor, task) = Self::pair_handler(source, policy, handler);
        tokio::spawn(task);
        processor
    }

    /// Makes a processor as [`spawn_handler`](Self::spawn_handler) does, without starting it.
    pub fn pair_handler<S, H>(
        source: S,
        policy: impl Into<ProcessorPolicy<Req>>,
        handler: H,
    ) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        H: Handler<Req, Resp>,
    {
        let mut policy = policy.into();
        policy.batch.instances = NonZeroUsize::MIN;
        if policy.batch.run_timeout.is_some() {
            Self::start(source, policy, || vec![Remote::fixed_task(handler)])
        } else {
            Self::start(source, policy, || vec![Inline::fixed(handler)])
        }
    }

    /// Starts a processor with `policy.instances` handlers that each have state: a connection, a
    /// device. `make` gets the instance's number, from 0, and is called again for an instance
    /// whose handler has panicked, after that was dropped. It runs on the runtime, so it has to be
    /// quick: where making takes long, as loading a model does, use
    /// [`spawn_blocking_each`](Self::spawn_blocking_each).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn). When `make` panics, its instance is out of service (a `tracing`
    /// error says so); when none is left the processor ends, as [`ended`](Self::ended) tells.
    pub fn spawn_each<S, H, M>(source: S, policy: impl Into<ProcessorPolicy<Req>>, make: M) -> Self
    where
        S: Source<Req, Resp>,
        H: Handler<Req, Resp>,
        M: FnMut(usize) -> H + Send + 'static,
    {
        let (processor, task) = Self::pair_each(source, policy, make);
        tokio::spawn(task);
        processor
    }

    /// Makes a processor as [`spawn_each`](Self::spawn_each) does, without starting it.
    pub fn pair_each<S, H, M>(
        source: S,
        policy: impl Into<ProcessorPolicy<Req>>,
        make: M,
    ) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        H: Handler<Req, Resp>,
        M: FnMut(usize) -> H + Send + 'static,
    {
        let make: Make<H> = Arc::new(Mutex::new(make));
        let policy = policy.into();
        let instances = policy.batch.instances.get();
        // A batch on the processor's own task saves a hop. But a closure that holds its thread
        // holds the task then: others could not run beside it, nor could its time be kept.
        if instances == 1 && policy.batch.run_timeout.is_none() {
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
        policy: ProcessorPolicy<Req>,
        make_instances: impl FnOnce() -> Vec<I> + Send + 'static,
    ) -> (Self, ProcessorTask)
    where
        S: Source<Req, Resp>,
        I: Instance<Req, Resp>,
    {
        let consumer = Arc::new(source.attach());
        let asked = Arc::downgrade(&consumer);
        let queue_length = QueueLength::of(move || asked.upgrade().map_or(0, |it| it.queued()));
        // A source that is kept would keep its transport open.
        drop(source);
        let control = Arc::new(Control::new(
            policy.batch.clone(),
            I::HOLDS_TASK,
            queue_length,
        ));
        let ended = EndGuard(Arc::clone(&control));
        let attached = Attached::new(consumer, Arc::clone(&control));
        let for_task = Arc::clone(&control);
        let task = async move {
            let EndGuard(control) = &ended;
            let run = async move { run::run(attached, policy, make_instances(), for_task).await };
            // Nothing of it is used after a panic.
            if let Err(panic) = AssertUnwindSafe(run).catch_unwind().await {
                let text = format!("the processor's own task panicked: {}", panic_text(&*panic));
                control.fail(Error::new(ErrorKind::Panic, text));
                resume_unwind(panic);
            }
        };
        let processor = Self::new(control);
        (processor, ProcessorTask(Box::pin(task)))
    }
}
