//! The transport: one object for callers and processors, over either client crate.

use std::fmt;
use std::sync::Arc;

use dynamic_batcher::{
    CallMeta, Coded, Decode, Encode, Error, ErrorKind, Json, Observer, Reply, Result, Source,
    Transport,
};

use crate::client::{Client, send_accepted};
use crate::commands;
use crate::config::RedisConfig;
use crate::dead::DeadLetters;
use crate::source::RedisConsumer;
use crate::wire::RedisWire;

/// The Redis transport: callers and processors in different processes, on different hosts, in
/// different languages.
///
/// `C` is the codec of requests and responses, [`Json`] unless something else is said: what the
/// Python package speaks. Clones are handles of the same connections; one given to a
/// [`Batcher`](dynamic_batcher::Batcher) sends, one given to a
/// [`BatchProcessor`](dynamic_batcher::BatchProcessor) serves.
///
/// # Delivery
///
/// At least once: a request whose processor died is taken over by another when its
/// [`lease`](RedisConfig#structfield.lease) has run out, and then it may run a second time. Its caller
/// has one outcome all the same. See the page of [guarantees](crate::guarantees).
///
/// # Deadlines
///
/// A call ends at its deadline, enforced in the caller's process; a processor does not start a
/// request whose caller has given up. `Timeout` says `started` of every request that a processor
/// had, since nobody tells the caller more, and of one that was sent again after a connection had failed,
/// since the first one may have arrived and run.
///
/// # Runtimes
///
/// A transport may be used on several tokio runtimes, and outlive the one that it was made on, as one
/// in a static does. Each runtime that calls are made on has its own timers, reply stream and connection
/// for that; a call that goes on elsewhere when its runtime has ended ends at once in
/// [`Connection`](dynamic_batcher::ErrorKind::Connection). The connection for everything else belongs to the runtime
/// that needed it first, and another opens it anew once that has ended. (One that is kept and not run,
/// as a current-thread one outside of `block_on`, holds the others up for 10 s, but not their timeouts.)
///
/// # Examples
///
/// ```no_run
/// use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher};
/// use dynamic_batcher_redis::{RedisConfig, RedisTransport};
///
/// # async fn example() -> dynamic_batcher::Result<()> {
/// let transport = RedisTransport::connect(RedisConfig::from_env()?).await?;
/// // or, with the feature `client-fred`: RedisTransport::connect_fred(config).await?
/// let batcher: Batcher<Vec<i64>, i64> = Batcher::new(transport.clone());
/// let processor = BatchProcessor::spawn(transport, BatchPolicy::from_env()?, |batch: Vec<Vec<i64>>| {
///     batch.iter().map(|values| values.iter().sum()).collect::<Vec<i64>>()
/// });
/// assert_eq!(batcher.send(vec![1, 5, 2]).await?, 8);
/// # drop(processor);
/// # Ok(())
/// # }
/// ```
pub struct RedisTransport<C = Json>(Coded<RedisWire, C>);

impl RedisTransport {
    /// Connects through the crate `redis`, with JSON.
    ///
    /// # Errors
    ///
    /// [`Connection`](dynamic_batcher::ErrorKind::Connection) when the server cannot be reached, is no Redis, or does not
    /// answer: after 5 s for the connection, 10 s of silence for a reply. [`Config`](dynamic_batcher::ErrorKind::Config) when a
    /// setting is out of its range, as [`RedisConfig`] states it, when the server refuses the password or
    /// a command, is one before 6.2, or when a key is of another type.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or on one that keeps no time.
    ///
    /// # Cancellation
    ///
    /// Safe: dropping the future closes the connection. The groups may have been made by then.
    #[cfg(feature = "client-redis")]
    pub async fn connect(config: RedisConfig) -> Result<Self> {
        config.check_address()?;
        let client = crate::client::redis::client(&config)?;
        let address = config.address();
        let connected = Self::with_redis(client, config).await;
        connected.map_err(|error| failed_at(&address, error))
    }

    /// As [`connect`](Self::connect), with the options of a client of the crate `redis`: TLS, an ACL
    /// user, a unix socket, as that crate has them. The transport opens connections of its own with
    /// them, and with its settings of TCP but for the linger time; of `config` all counts but where the
    /// server is and how to log in: address, socket, `tls`, user, password and `db`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), which also says when it panics and that it may be dropped.
    #[cfg(feature = "client-redis")]
    pub async fn with_redis(client: redis::Client, config: RedisConfig) -> Result<Self> {
        Self::open(crate::client::redis::RedisClient::connect(client), config).await
    }

    /// As [`with_redis`](Self::with_redis), with the client that `find` gives, which is asked anew
    /// before each connection: for a server whose address changes, as behind Sentinel.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and what `find` fails with; panics and may be dropped as that.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use dynamic_batcher_redis::{RedisConfig, RedisTransport};
    ///
    /// /// Asks Sentinel: `SentinelClient::async_get_client`, with the feature `sentinel` of `redis`.
    /// async fn primary() -> redis::RedisResult<redis::Client> {
    ///     redis::Client::open("redis://10.0.0.7")
    /// }
    ///
    /// # async fn example() -> dynamic_batcher::Result<()> {
    /// let config = RedisConfig::from_env()?;
    /// let transport = RedisTransport::with_redis_found(primary, config).await?;
    /// # let _ = transport;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "client-redis")]
    pub async fn with_redis_found<F, Found>(find: F, config: RedisConfig) -> Result<Self>
    where
        F: Fn() -> Found + Send + Sync + 'static,
        Found: Future<Output = redis::RedisResult<redis::Client>> + Send + 'static,
    {
        Self::open(crate::client::redis::RedisClient::find(find), config).await
    }

    /// Connects through the crate `fred`, with JSON.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), which also says when it panics and that it may be dropped.
    #[cfg(feature = "client-fred")]
    pub async fn connect_fred(config: RedisConfig) -> Result<Self> {
        config.check_address()?;
        let client = crate::client::fred::client(&config)?;
        let address = config.address();
        let connected = Self::with_fred(&client, config).await;
        connected.map_err(|error| failed_at(&address, error))
    }

    /// As [`connect_fred`](Self::connect_fred), with the options of a client of the crate `fred`.
    /// The transport opens connections of its own with them; of `config` counts what does for
    /// `with_redis`: all but where the server is and how to log in.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), which also says when it panics and that it may be dropped.
    #[cfg(feature = "client-fred")]
    pub async fn with_fred(client: &fred::clients::Client, config: RedisConfig) -> Result<Self> {
        Self::open(crate::client::fred::FredClient::connect(client), config).await
    }

    #[cfg(any(feature = "client-redis", feature = "client-fred"))]
    async fn open<C: Client>(
        connect: impl Future<Output = Result<C>>,
        config: RedisConfig,
    ) -> Result<Self> {
        config.check()?;
        let client = Arc::new(connect.await?);
        Ok(Self(Coded::new(
            RedisWire::open(client, config).await?,
            Json,
        )))
    }
}

impl<C> RedisTransport<C> {
    /// The same transport, with an observer that is told of commands, dead letters, answers that came
    /// too late and the backlog. Clones that were made before do not tell it, and send for themselves,
    /// with a reply stream of their own: set it first. Processors and batchers have observers of their
    /// own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use dynamic_batcher::{BatchPolicy, Observer};
    /// use dynamic_batcher_redis::{RedisConfig, RedisTransport};
    ///
    /// struct Log;
    ///
    /// impl Observer for Log {
    ///     fn dead_letters(&self, requests: usize) {
    ///         println!("given up: {requests}");
    ///     }
    /// }
    ///
    /// # async fn example() -> dynamic_batcher::Result<()> {
    /// let transport = RedisTransport::connect(RedisConfig::from_env()?).await?.observer(Log);
    /// # let _ = transport;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn observer(self, observer: impl Observer) -> Self {
        Self(self.0.map_inner(|wire| wire.observed(observer)))
    }

    /// The same connections with another codec. Python peers speak [`Json`] alone.
    #[must_use]
    pub fn with_codec<D>(&self, codec: D) -> RedisTransport<D> {
        RedisTransport(Coded::new(self.0.inner().clone(), codec))
    }

    /// Asks the server for a sign of life: for a check of readiness. Waits while a connection is
    /// made anew, so put a `timeout` around it. That processors are there it does not tell.
    ///
    /// # Errors
    ///
    /// [`Connection`](dynamic_batcher::ErrorKind::Connection) when the server cannot be reached, is busy, or is still
    /// loading; after 10 s of silence.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use dynamic_batcher_redis::RedisTransport;
    ///
    /// async fn is_ready(transport: &RedisTransport) -> bool {
    ///     let second = Duration::from_secs(1);
    ///     matches!(tokio::time::timeout(second, transport.ping()).await, Ok(Ok(())))
    /// }
    /// ```
    pub async fn ping(&self) -> Result<()> {
        send_accepted(self.0.inner().client(), &[commands::ping()]).await
    }

    /// The requests that were given up.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(self.0.inner().clone())
    }
}

impl<Req, Resp, C> Transport<Req, Resp> for RedisTransport<C>
where
    C: Encode<Req> + Decode<Resp>,
    Req: Send,
    Resp: Send,
{
    fn call(&self, req: Req, meta: CallMeta) -> impl Future<Output = Result<Reply<Resp>>> + Send {
        self.0.call(req, meta)
    }

    fn call_many(
        &self,
        reqs: Vec<Req>,
        meta: CallMeta,
    ) -> impl Future<Output = Vec<Result<Reply<Resp>>>> + Send {
        self.0.call_many(reqs, meta)
    }
}

impl<Req, Resp, C> Source<Req, Resp> for RedisTransport<C>
where
    C: Decode<Req> + Encode<Resp>,
    Req: Send,
    Resp: Send,
{
    type Consumer = Coded<RedisConsumer, C>;

    fn attach(&self) -> Self::Consumer {
        Source::<Req, Resp>::attach(&self.0)
    }
}

impl<C> Clone for RedisTransport<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> fmt::Debug for RedisTransport<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTransport").finish_non_exhaustive()
    }
}

/// Who cannot connect is told where it was tried: mostly it is the wrong place.
#[cfg(any(feature = "client-redis", feature = "client-fred"))]
fn failed_at(address: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Connection => error.within(address),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
