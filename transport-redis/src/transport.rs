//! The transport: one object for callers and processors, over either client crate.

use std::fmt;
use std::sync::Arc;

use dynamic_batcher::{
    CallMeta, Coded, Decode, Encode, Error, ErrorKind, Json, Observer, Reply, Result, Source,
    Transport,
};

use crate::caller::{Caller, random_name};
use crate::callers::Callers;
use crate::client::Client;
use crate::client::observed::ObservedClient;
use crate::clock::Clock;
use crate::commands;
use crate::config::RedisConfig;
use crate::dead::DeadLetters;
use crate::keys::Keys;
use crate::place::{CONSUMER_PREFIX, Place};
use crate::source::RedisConsumer;
use crate::value::Value;

/// The oldest server with all commands that are used.
const OLDEST_SERVER: (u32, u32) = (6, 2);

/// Everything over bytes, shared by all handles.
#[derive(Clone)]
pub(crate) struct RedisWire(Arc<Shared>);

struct Shared {
    client: Arc<dyn Client>,
    config: RedisConfig,
    keys: Keys,
    clock: Clock,
    callers: Callers,
}

impl RedisWire {
    /// Checks the server and the names, and makes what is missing there.
    async fn open(client: Arc<dyn Client>, config: RedisConfig) -> Result<Self> {
        config.check()?;
        let keys = Keys::new(config.stream_key_request.clone())?;
        let response = commands::create_group_at_end(
            &config.stream_key_response,
            &config.stream_group_batcher,
        );
        let prepare = [
            commands::server_info(),
            commands::create_group(keys.request(), &config.stream_group_processor),
            commands::create_group(&keys.again(), &config.stream_group_processor),
            response,
        ];
        let mut replies = client.send(&prepare).await?.into_iter();
        check_version(replies.next().unwrap_or(Value::Nil))?;
        for reply in replies {
            reply.made()?;
        }
        let clock = Clock::read(&*client).await?;
        warn_of_other_streams(&*client, &keys, &config.stream_group_processor).await?;
        Ok(Self(Arc::new(Shared {
            client,
            config,
            keys,
            clock,
            callers: Callers::default(),
        })))
    }

    /// The same connections, of which an observer is told.
    fn observed(&self, observer: impl Observer) -> Self {
        let shared = &self.0;
        let client = ObservedClient::new(Arc::clone(&shared.client), observer);
        Self(Arc::new(Shared {
            client: Arc::new(client),
            config: shared.config.clone(),
            keys: shared.keys.clone(),
            clock: shared.clock.clone(),
            callers: Callers::default(),
        }))
    }

    pub(crate) fn client(&self) -> &dyn Client {
        &*self.0.client
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    fn caller(&self) -> Result<Arc<Caller>> {
        let Shared {
            client,
            keys,
            config,
            callers,
            ..
        } = &*self.0;
        callers.here(|runtime| Caller::start(runtime, client, keys, config))
    }
}

/// Warns of another request stream in the same database. Best effort: of many keys it sees a part.
async fn warn_of_other_streams(client: &dyn Client, keys: &Keys, group: &str) -> Result<()> {
    let find = commands::find_other_streams(keys.request(), &keys.again(), group);
    let found = client.send(&[find]).await?.pop().unwrap_or(Value::Nil);
    // Whoever may not look is not warned.
    for other in found.list().unwrap_or_default() {
        let other = String::from_utf8_lossy(&other.text()?).into_owned();
        tracing::warn!(
            "{other:?} in the same database looks like another request stream beside {:?}: where \
             Python callers or processors take part, give each a database of its own, since their \
             responses are kept under ids that both streams may have",
            keys.request()
        );
    }
    Ok(())
}

fn check_version(info: Value) -> Result<()> {
    let info = match info.accepted()? {
        Value::Text(text) => String::from_utf8_lossy(&text).into_owned(),
        _ => String::new(),
    };
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .map(str::trim);
    let numbers = version.and_then(|version| {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    });
    match numbers {
        Some(numbers) if numbers >= OLDEST_SERVER => Ok(()),
        _ => {
            let (major, minor) = OLDEST_SERVER;
            let found = version.unwrap_or("of unknown version");
            Err(Error::new(
                ErrorKind::Config,
                format!("the server is {found}, allowed is Redis {major}.{minor} or later"),
            ))
        }
    }
}

impl Transport<Vec<u8>, Vec<u8>> for RedisWire {
    async fn call(&self, body: Vec<u8>, meta: CallMeta) -> Result<Reply<Vec<u8>>> {
        self.caller()?.call(body, meta).await
    }
}

impl Source<Vec<u8>, Vec<u8>> for RedisWire {
    type Consumer = RedisConsumer;

    fn attach(&self) -> RedisConsumer {
        let shared = &self.0;
        RedisConsumer::new(Place {
            client: Arc::clone(&shared.client),
            clock: shared.clock.clone(),
            request_stream: shared.keys.request().to_owned(),
            again_stream: shared.keys.again(),
            dead_stream: shared.keys.dead(),
            reply_prefix: shared.keys.reply(""),
            group: shared.config.stream_group_processor.clone(),
            consumer: format!("{CONSUMER_PREFIX}{}", random_name()),
            lease: shared.config.lease,
            grace: shared.config.grace,
            max_deliveries: shared.config.max_deliveries.get(),
            max_dead_letters: shared.config.max_dead_letters.get(),
        })
    }
}

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
/// had, since nobody tells the caller more.
///
/// # Runtimes
///
/// A transport may be used on several tokio runtimes, and outlive the one that it was made on, as one
/// in a static does. Each runtime that calls are made on has its own timers, reply stream and connection
/// for that; a call that goes on elsewhere when its runtime has ended ends at once in
/// [`Connection`](ErrorKind::Connection). The connection for everything else belongs to the runtime
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
    /// [`Connection`](ErrorKind::Connection) when the server cannot be reached, is no Redis, or does not
    /// answer: after 5 s for the connection, 10 s for a reply. [`Config`](ErrorKind::Config) when a
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
        let client = crate::client::redis::client(&config)?;
        Self::with_redis(client, config).await
    }

    /// As [`connect`](Self::connect), with the options of a client of the crate `redis`: TLS, an ACL
    /// user, a unix socket, as that crate has them. The transport opens connections of its own with
    /// them; of `config` all counts but where the server is and how to log in: address, socket, `tls`, user,
    /// password and `db`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), which also says when it panics and that it may be dropped.
    #[cfg(feature = "client-redis")]
    pub async fn with_redis(client: redis::Client, config: RedisConfig) -> Result<Self> {
        let client = crate::client::redis::RedisClient::connect(client).await?;
        Self::open(Arc::new(client), config).await
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
        let client = crate::client::redis::RedisClient::find(find).await?;
        Self::open(Arc::new(client), config).await
    }

    /// Connects through the crate `fred`, with JSON.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), which also says when it panics and that it may be dropped.
    #[cfg(feature = "client-fred")]
    pub async fn connect_fred(config: RedisConfig) -> Result<Self> {
        let client = crate::client::fred::client(&config)?;
        Self::with_fred(&client, config).await
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
        let client = crate::client::fred::FredClient::connect(client).await?;
        Self::open(Arc::new(client), config).await
    }

    #[cfg(any(feature = "client-redis", feature = "client-fred"))]
    async fn open(client: Arc<dyn Client>, config: RedisConfig) -> Result<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_or_says_no_version_is_refused() {
        let info = |text: &str| Value::Text(format!("# Server\r\n{text}\r\n").into_bytes());
        for good in ["6.2.0", "6.10.1", "7.0.15", "8.0.1"] {
            let checked = check_version(info(&format!("redis_version:{good}")));
            assert!(checked.is_ok(), "{good}: {checked:?}");
        }
        for bad in [
            "redis_version:6.0.16",
            "redis_version:5.0.7",
            "redis_version:x",
            "",
        ] {
            let error = check_version(info(bad)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
            assert!(
                error.to_string().contains("allowed is Redis 6.2"),
                "{error}"
            );
        }
    }
}
