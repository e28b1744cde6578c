//! The processor's handle: how it ends, what it is doing, and how it goes on.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::control::{Control, Phase};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::later;
use crate::policy::BatchPolicy;
use crate::status::ProcessorStatus;

/// A processor at work: takes requests from a source, gathers them into batches, runs a function
/// on each batch, and answers each request.
///
/// This is the handle; the work is done by a task. Dropping the handle stops the processor at
/// once: what waits is given back, what runs is dropped. [`drain`](Self::drain) ends it in good
/// order, [`detach`](Self::detach) lets it go on without a handle. It ends by itself, after
/// finishing what is there, when the last handle of a transport within this process is dropped: each
/// batcher has one, a processor has none. Between processes no such end is known, and it goes on.
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
/// Where nothing else says what a response is, `Vec<Result<T, E>>` can be read as the first form
/// too, with `Resp = Result<T, E>`, and does not compile: give the batcher its type,
/// `Batcher<Req, T>`, or say `BatchProcessor::<Req, T>::spawn`.
///
/// The outputs are as many as the requests and in their order. A panic, or any other number of
/// outputs, is an error for the callers of that batch alone; the processor goes on. With
/// [`OnBatchError`](crate::OnBatchError) it is an error for those requests alone that cause it.
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
/// To be polled within a tokio runtime that keeps time: without, it panics at its first timer.
///
/// # Cancellation
///
/// Dropping it is the sudden death of the processor: what waits goes back to its transport; the
/// callers of what runs get an error in process, and over Redis others run it again.
#[must_use = "a processor does nothing until its task is polled"]
pub struct ProcessorTask(pub(crate) Pin<Box<dyn Future<Output = ()> + Send>>);

/// How a drain went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Requests whose batch ended during the drain, with a response or with its handler's error.
    pub answered: usize,
    /// Requests that were read and not started, expired ones too, and given back: for other
    /// processors, if there are any.
    pub released: usize,
    /// Requests that were running at the deadline and were given up. In process their callers were
    /// told, with [`Lost`](ErrorKind::Lost) or [`Closed`](ErrorKind::Closed), unless `ended` is false:
    /// then they may be answered yet. Over Redis others run them again, as a further delivery.
    pub abandoned: usize,
    /// Whether the processor had left when the drain returned. False when a closure of `spawn` holds the
    /// thread, or its transport did not answer in time; it leaves as soon as it can. A thread of
    /// `spawn_blocking` on which a call still runs is not waited for.
    pub ended: bool,
}

impl<Req, Resp> BatchProcessor<Req, Resp> {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self {
            control,
            stop_on_drop: true,
            types: PhantomData,
        }
    }

    /// Ends the processor in good order, by `deadline` (counted from now) at the latest; later only while a
    /// closure of [`spawn`](Self::spawn) holds a thread of the runtime.
    ///
    /// It takes no more requests. What it has read runs, as far as time allows; what could not be
    /// started is given back, and other processors have it at once; what still runs at the
    /// deadline is given up: in process its callers get an error, over Redis others run it again, and
    /// that it was here counts as a delivery. So give it more time than a batch takes. Requests that no
    /// processor is left for end with [`Closed`](ErrorKind::Closed) on a transport that can know it, so
    /// stop sending before draining the last processor.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) when the processor had ended before. [`Config`](ErrorKind::Config)
    /// outside a tokio runtime, by which the deadline is kept; then there is no drain.
    ///
    /// # Panics
    ///
    /// On a runtime without time.
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not take the drain back: it goes on to its deadline. Calling
    /// again joins it; of several deadlines the earliest holds.
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
        Handle::try_current().map_err(|error| Error::with_source(ErrorKind::Config, error))?;
        let counts = &control.counts;
        let before = counts.answered();
        let deadline = later(Instant::now(), deadline);
        control.drain(deadline);
        let ended = timeout_at(deadline, control.reached(Phase::Ended))
            .await
            .is_ok();
        Ok(DrainReport {
            answered: counts.answered() - before,
            released: counts.released.get(),
            // What runs is given up later, or was while the processor was leaving.
            abandoned: counts.given_up.get() + counts.running.get(),
            ended,
        })
    }

    /// Waits until the processor takes requests: its handler, or the first of them, is made, and
    /// all are [warmed up](BatchPolicy::warm_up) if the policy says so.
    ///
    /// # Errors
    ///
    /// What ended it, as [`ended`](Self::ended) has it, if anything did; otherwise
    /// [`Closed`](ErrorKind::Closed) when the processor drains or has ended.
    ///
    /// # Cancellation
    ///
    /// Safe: it only waits.
    pub async fn ready(&self) -> Result<()> {
        match self.control.reached(Phase::Running).await {
            Phase::Running => Ok(()),
            _ => Err(self.control.failure().unwrap_or_else(|| {
                Error::new(ErrorKind::Closed, "the processor takes no more requests")
            })),
        }
    }

    /// Whether the processor has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.control.phase() != Phase::Ended
    }

    /// What the processor is doing, and what it has done so far. Holds nobody up for longer than it
    /// takes to look at the length of a queue; numbers that change while they are read may be of
    /// different moments.
    ///
    /// # Examples
    ///
    /// ```
    /// use dynamic_batcher::BatchPolicy;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> dynamic_batcher::Result<()> {
    /// let (batcher, processor) =
    ///     dynamic_batcher_memory::spawn(BatchPolicy::default(), |batch: Vec<u8>| batch);
    /// processor.ready().await?;
    /// let status = processor.status();
    /// let line = format!("{}, {} wait, {} run", status.phase, status.waiting, status.running);
    /// assert_eq!(line, "running, 0 wait, 0 run");
    /// # drop(batcher);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn status(&self) -> ProcessorStatus {
        self.control.status()
    }

    /// The policy in force: the one that the processor was started with, or the last that
    /// [`reconfigure`](Self::reconfigure) took.
    #[must_use]
    pub fn policy(&self) -> BatchPolicy {
        self.control.policy()
    }

    /// Has the processor go on by another policy, which replaces the one in force as a whole: begin
    /// with [`policy`](Self::policy), and change what has to differ.
    ///
    /// It holds between batches, as soon as the processor's task comes to it: at once, or, where a
    /// handler holds that task, when it returns. A batch that runs ends by the policy that it was
    /// started with. The requests that wait follow the new one, the open batch too: its window is
    /// the new `batch_time`, counted as ever from when its oldest request was sent, and if more
    /// wait than the new `batch_size`, they run in batches of that size.
    ///
    /// What cannot change: `instances`, and the handler with what goes with it, that is
    /// [`on_batch_error`](BatchPolicy::on_batch_error) and [`warm_up`](BatchPolicy::warm_up), of which
    /// this says nothing. A `run_timeout` can be changed or removed (`policy.run_timeout = None`)
    /// where there was one at the start, where there was more than one instance (but for
    /// [`spawn_handler`](Self::spawn_handler), which has one), and under `spawn_blocking`; elsewhere the
    /// handler runs on the processor's own task, where its time cannot be kept.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config) when the policy differs in what cannot change: nothing has
    /// changed then. [`Closed`](ErrorKind::Closed) when the processor has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::time::Duration;
    /// use dynamic_batcher::BatchPolicy;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> dynamic_batcher::Result<()> {
    /// // A lone request would wait for company for an hour.
    /// let policy = BatchPolicy::default().batch_time(Duration::from_secs(3600));
    /// let (batcher, processor) = dynamic_batcher_memory::spawn(policy, |batch: Vec<u8>| batch);
    /// let send = tokio::spawn(async move { batcher.send(1).await });
    ///
    /// processor.reconfigure(processor.policy().batch_time(Duration::from_millis(5)))?;
    /// assert_eq!(send.await.expect("it did not panic")?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconfigure(&self, policy: BatchPolicy) -> Result<()> {
        self.control.reconfigure(policy)
    }

    /// Waits until the processor has ended, for whatever reason.
    ///
    /// # Errors
    ///
    /// What ended it, if it ended by itself: what failed the warm-up, why nothing can be read any more,
    /// or [`Panic`](ErrorKind::Panic) when no handler is left, as each panicked and could not be made
    /// anew.
    ///
    /// # Cancellation
    ///
    /// Safe: it only waits.
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
    /// tokio::select! {
    ///     ended = processor.ended() => ended?,
    ///     // What tells this program to end, a signal for example.
    ///     () = async {} => drop(processor.drain(Duration::from_secs(5)).await?),
    /// }
    /// # drop(batcher);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ended(&self) -> Result<()> {
        self.control.reached(Phase::Ended).await;
        self.control.failure().map_or(Ok(()), Err)
    }

    /// Lets the processor go on without a handle, until its source is closed: in process, when the last
    /// batcher has gone; over Redis for as long as its runtime lives. Nobody can drain it then.
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
