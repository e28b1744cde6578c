//! How batches are formed and run: the settings of a processor.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::env;
use crate::error::Result;
use crate::observer::Observer;

/// What an idle processor does with requests that are too few for a full batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenIdle {
    /// Waits for company until the oldest has been queued for `batch_time`. The documented
    /// behaviour of the Python package.
    #[default]
    Wait,
    /// Runs what is there at once. Batches form by themselves under load, while the instances are
    /// busy; a lone caller waits for nobody. Callers that were answered together and send again at once
    /// are served together: the first of them does not run alone.
    Run,
}

/// What becomes of a batch that fails as a whole: its handler returned one error for all, panicked,
/// or returned a wrong number of outputs.
///
/// By default all its callers get that error, though it may be the fault of one request. A handler
/// that may safely run a request **more than once** can have the batch run again in parts instead:
/// the culprits are found, and the others are served. Set it with
/// [`BatchPolicy::on_batch_error`].
///
/// - Each caller gets the outcome of a run that its request was in: a culprit the error of its
///   own run, alone; the others their results.
/// - It takes `Clone` of the requests, and time: each request is cloned once for each of its runs,
///   the first too, and the answers of the batch are sent together, after its last run.
/// - A handler that serves requests one by one, or can, had better return `Vec<Result<Resp, E>>`:
///   an item's own error is that item's alone, and nothing runs twice.
/// - Where every request fails, as when a database is down, every request is run alone in the end.
///
/// In detail: `run_timeout` limits each run; a run that passes it is not divided but the last, and
/// requests that were to run after it get the error of their run before. So do those that were to
/// run after the handler panicked and could not be made anew. A part whose callers' deadlines have
/// all passed is not run again. The runs are those of one batch, for its callers
/// ([`BatchInfo`](crate::BatchInfo), whose `ran` is the time of all of them), for a drain, and for
/// [`BatchContext::id`](crate::BatchContext::id); otherwise the handler sees in its context the
/// requests that it was given, whose [`attempt`](crate::BatchContext::attempt) counts deliveries,
/// not runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnBatchError {
    /// All its callers get the error. Nothing is cloned and nothing run again.
    #[default]
    FailAll,
    /// It is halved, and what fails of it halved again, until the culprit stands alone. In a batch
    /// of n one culprit costs at most 2 · log₂ n runs more, and a number of culprits at most as
    /// many times that. A half is not run as it is when the other half has been served: the
    /// culprit is known to be in it.
    Bisect,
    /// Its requests are run one by one: n runs more. For small batches, and where most of a batch
    /// would fail.
    Singles,
}

/// How a processor forms and runs batches.
///
/// A value passed here wins over the environment, which wins over the default: start from
/// [`default`](Self::default), which reads no environment, or from [`from_env`](Self::from_env),
/// and set what has to differ.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
/// use std::time::Duration;
/// use dynamic_batcher::{BatchPolicy, WhenIdle};
///
/// const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(256).unwrap();
///
/// let policy = BatchPolicy::default()
///     .batch_size(BATCH_SIZE)
///     .batch_time(Duration::from_millis(5))
///     .when_idle(WhenIdle::Run);
/// assert_eq!(policy.batch_size, BATCH_SIZE);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct BatchPolicy {
    /// The most requests that one batch may hold. Default: 64.
    pub batch_size: NonZeroUsize,
    /// The longest that a request may be queued, while an instance is free, before its batch runs
    /// although it is not full. Counted from when the request was sent. Zero means no window: what
    /// is there runs; more than a year counts as a year. A lone request whose timeout is shorter ends in
    /// [`Timeout`](crate::ErrorKind::Timeout). Default: 2 s.
    pub batch_time: Duration,
    /// How many batches may run at the same time in this processor. Default: 1.
    pub instances: NonZeroUsize,
    /// What an idle processor does with less than a full batch. Default: [`WhenIdle::Wait`].
    pub when_idle: WhenIdle,
    /// The longest that a handler may run before its batch is given up with
    /// [`HandlerTimeout`](crate::ErrorKind::HandlerTimeout). The future of an async handler is
    /// dropped then; a blocking one cannot be stopped, its instance takes no batch until it
    /// returns. What holds a thread of the runtime may keep this from being seen until it returns. Default:
    /// `None`, no limit.
    pub run_timeout: Option<Duration>,
    /// Who is told of each batch. Default: `None`.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Default for BatchPolicy {
    fn default() -> Self {
        const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(64).unwrap();
        Self {
            batch_size: BATCH_SIZE,
            batch_time: Duration::from_secs(2),
            instances: NonZeroUsize::MIN,
            when_idle: WhenIdle::Wait,
            run_timeout: None,
            observer: None,
        }
    }
}

impl BatchPolicy {
    /// The default with what the environment says, under the Python package's names:
    ///
    /// | variable | sets | allowed |
    /// |---|---|---|
    /// | `DYNAMIC_BATCHER__BATCH_SIZE` | `batch_size` | 1 to 1000000 |
    /// | `DYNAMIC_BATCHER__BATCH_TIME` | `batch_time` | 0 to 86400 seconds, fractions allowed |
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) when a variable holds anything else (the empty text
    /// too); the text names the variable, what it holds and what is allowed. Where the Python
    /// package silently takes a size of 0 for 64, this is an error.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(env::process)
    }

    /// As [`from_env`](Self::from_env), with the variables looked up by `var`: for settings kept
    /// elsewhere, and for tests.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    ///
    /// # Examples
    ///
    /// ```
    /// use dynamic_batcher::BatchPolicy;
    ///
    /// let error = BatchPolicy::from_vars(|name| {
    ///     (name == "DYNAMIC_BATCHER__BATCH_SIZE").then(|| "many".into())
    /// })
    /// .unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "bad configuration: DYNAMIC_BATCHER__BATCH_SIZE is \"many\", \
    ///      allowed is a whole number from 1 to 1000000"
    /// );
    /// ```
    pub fn from_vars(var: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self> {
        let mut policy = Self::default();
        if let Some(size) = env::batch_size(&var)? {
            policy.batch_size = size;
        }
        if let Some(time) = env::batch_time(&var)? {
            policy.batch_time = time;
        }
        Ok(policy)
    }

    /// Sets [`batch_size`](Self#structfield.batch_size).
    #[must_use]
    pub fn batch_size(mut self, batch_size: NonZeroUsize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Sets [`batch_time`](Self#structfield.batch_time).
    #[must_use]
    pub fn batch_time(mut self, batch_time: Duration) -> Self {
        self.batch_time = batch_time;
        self
    }

    /// Sets [`instances`](Self#structfield.instances).
    #[must_use]
    pub fn instances(mut self, instances: NonZeroUsize) -> Self {
        self.instances = instances;
        self
    }

    /// Sets [`when_idle`](Self#structfield.when_idle).
    #[must_use]
    pub fn when_idle(mut self, when_idle: WhenIdle) -> Self {
        self.when_idle = when_idle;
        self
    }

    /// Sets [`run_timeout`](Self#structfield.run_timeout). To remove one, set the field to `None`.
    #[must_use]
    pub fn run_timeout(mut self, run_timeout: Duration) -> Self {
        self.run_timeout = Some(run_timeout);
        self
    }

    /// Sets [`observer`](Self#structfield.observer). To remove one, set the field to `None`.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl BatchPolicy {
    /// Sets what becomes of a batch that fails as a whole, which by default is
    /// [`FailAll`](OnBatchError::FailAll). The last of the settings: the result is for a processor
    /// of these requests, which must be `Clone`.
    ///
    /// # Examples
    ///
    /// ```
    /// use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, OnBatchError, WhenIdle};
    /// use dynamic_batcher_memory::MemoryTransport;
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let transport = MemoryTransport::default();
    /// let batcher: Batcher<f64, f64> = Batcher::new(transport.clone());
    /// let policy = BatchPolicy::default()
    ///     .when_idle(WhenIdle::Run)
    ///     .on_batch_error(OnBatchError::Bisect);
    /// let _processor = BatchProcessor::spawn(transport, policy, |batch: Vec<f64>| {
    ///     if batch.iter().any(|x| x.is_nan()) {
    ///         return Err("not a number");
    ///     }
    ///     Ok(batch.into_iter().map(f64::sqrt).collect::<Vec<_>>())
    /// });
    ///
    /// let roots = batcher.send_many(vec![1.0, f64::NAN, 9.0]).await;
    /// assert_eq!(roots[0].as_ref().ok(), Some(&1.0));
    /// assert_eq!(
    ///     roots[1].as_ref().unwrap_err().to_string(),
    ///     "the handler failed: not a number"
    /// );
    /// assert_eq!(roots[2].as_ref().ok(), Some(&3.0));
    /// # }
    /// ```
    #[must_use]
    pub fn on_batch_error<Req: Clone>(self, on_batch_error: OnBatchError) -> ProcessorPolicy<Req> {
        ProcessorPolicy::from(self).on_batch_error(on_batch_error)
    }

    /// Has each handler serve sample batches before the processor takes its first request: for
    /// models whose first runs, or the first of each batch size, take long. As
    /// [`on_batch_error`](Self::on_batch_error), to be set after the settings of this type.
    ///
    /// `samples` is called once for each instance and returns the batches, of one request or more,
    /// in the order in which they are to run. The instances warm up side by side, as far as they
    /// can run so; the processor is [ready](crate::BatchProcessor::ready) when all have done so.
    /// What is sent meanwhile waits with the transport. `run_timeout` does not count here, nor do
    /// these batches in totals or for an observer; in [`BatchId`](crate::BatchId) their number is 0.
    /// A handler that is made anew after a panic is not warmed up.
    ///
    /// What fails here would fail requests. So the first error, for a batch or for one of its
    /// requests, a panic, a wrong number of outputs, or a handler that cannot be made, ends the
    /// processor before it has read anything, and is the error of
    /// [`ready`](crate::BatchProcessor::ready). An empty sample batch is an error of kind
    /// [`Config`](crate::ErrorKind::Config).
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
    /// let batcher: Batcher<f64, f64> = Batcher::new(transport.clone());
    /// let policy = BatchPolicy::default()
    ///     .when_idle(WhenIdle::Run)
    ///     .warm_up(|| [1, 8, 64].map(|size| vec![1.0; size]).to_vec());
    /// let processor = BatchProcessor::spawn_blocking(transport, policy, |batch: Vec<f64>| {
    ///     batch.into_iter().map(f64::sqrt).collect::<Vec<_>>()
    /// });
    /// processor.ready().await?; // all three have run
    /// assert_eq!(batcher.send(4.0).await?, 2.0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn warm_up<Req>(
        self,
        samples: impl Fn() -> Vec<Vec<Req>> + Send + Sync + 'static,
    ) -> ProcessorPolicy<Req> {
        ProcessorPolicy::from(self).warm_up(samples)
    }
}

/// A [`BatchPolicy`] with what depends on the type of the requests: what a processor is started
/// with.
///
/// Every `BatchPolicy` is one, [`BatchPolicy::on_batch_error`] and [`BatchPolicy::warm_up`] make
/// others.
pub struct ProcessorPolicy<Req> {
    pub(crate) batch: BatchPolicy,
    /// `None` for [`OnBatchError::FailAll`], which must work without `Clone`.
    pub(crate) isolation: Option<Isolation<Req>>,
    pub(crate) samples: Option<Samples<Req>>,
}

/// The batches that warm a handler up.
pub(crate) type Samples<Req> = Arc<dyn Fn() -> Vec<Vec<Req>> + Send + Sync>;

/// How a batch is run, once it is formed.
pub(crate) struct RunPolicy<Req> {
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) isolation: Option<Isolation<Req>>,
}

/// How to run a batch again, and how to copy its requests for that.
pub(crate) struct Isolation<Req> {
    pub(crate) on_error: OnBatchError,
    pub(crate) copy: fn(&[Req]) -> Vec<Req>,
}

impl<Req> ProcessorPolicy<Req> {
    /// As [`BatchPolicy::on_batch_error`].
    #[must_use]
    pub fn on_batch_error(mut self, on_batch_error: OnBatchError) -> Self
    where
        Req: Clone,
    {
        let isolation = Isolation {
            on_error: on_batch_error,
            copy: <[Req]>::to_vec,
        };
        self.isolation = (on_batch_error != OnBatchError::FailAll).then_some(isolation);
        self
    }

    /// As [`BatchPolicy::warm_up`].
    #[must_use]
    pub fn warm_up(mut self, samples: impl Fn() -> Vec<Vec<Req>> + Send + Sync + 'static) -> Self {
        self.samples = Some(Arc::new(samples));
        self
    }

    pub(crate) fn run_policy(&self) -> RunPolicy<Req> {
        RunPolicy {
            run_timeout: self.batch.run_timeout,
            isolation: self.isolation,
        }
    }
}

impl<Req> From<BatchPolicy> for ProcessorPolicy<Req> {
    fn from(batch: BatchPolicy) -> Self {
        Self {
            batch,
            isolation: None,
            samples: None,
        }
    }
}

// Derived, these would ask it of the requests.

impl<Req> Copy for RunPolicy<Req> {}

impl<Req> Clone for RunPolicy<Req> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Req> Copy for Isolation<Req> {}

impl<Req> Clone for Isolation<Req> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Req> Clone for ProcessorPolicy<Req> {
    fn clone(&self) -> Self {
        Self {
            batch: self.batch.clone(),
            isolation: self.isolation,
            samples: self.samples.clone(),
        }
    }
}

impl<Req> fmt::Debug for ProcessorPolicy<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_error = self.isolation.map(|isolation| isolation.on_error);
        f.debug_struct("ProcessorPolicy")
            .field("batch", &self.batch)
            .field("on_batch_error", &on_error.unwrap_or_default())
            .field("warm_up", &self.samples.is_some())
            .finish()
    }
}

impl fmt::Debug for BatchPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchPolicy")
            .field("batch_size", &self.batch_size)
            .field("batch_time", &self.batch_time)
            .field("instances", &self.instances)
            .field("when_idle", &self.when_idle)
            .field("run_timeout", &self.run_timeout)
            .field("observer", &self.observer.is_some())
            .finish()
    }
}
