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
    /// busy; a lone caller waits for nobody.
    Run,
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
    /// is there runs. Default: 2 s.
    pub batch_time: Duration,
    /// How many batches may run at the same time in this processor. Default: 1.
    pub instances: NonZeroUsize,
    /// What an idle processor does with less than a full batch. Default: [`WhenIdle::Wait`].
    pub when_idle: WhenIdle,
    /// The longest that a handler may run before its batch is given up with
    /// [`HandlerTimeout`](crate::ErrorKind::HandlerTimeout). The future of an async handler is
    /// dropped then; a blocking one cannot be stopped, its instance takes no batch until it
    /// returns. Default: `None`, no limit.
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

    /// Sets [`run_timeout`](Self#structfield.run_timeout).
    #[must_use]
    pub fn run_timeout(mut self, run_timeout: Duration) -> Self {
        self.run_timeout = Some(run_timeout);
        self
    }

    /// Sets [`observer`](Self#structfield.observer).
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
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
