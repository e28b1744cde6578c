//! The connection and the names, from code or from the Python package's environment variables.

use std::ffi::OsString;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use dynamic_batcher::{OnFull, Result, env};

mod check;
mod url;
mod vars;

/// Where Redis is and what the batching calls its keys there.
///
/// A value set in code wins over the environment, which wins over the default: the Python
/// package's rule, and its names and defaults.
///
/// | variable | field | default | allowed |
/// |---|---|---|---|
/// | `REDIS__HOST` | `host` | `localhost` | not empty |
/// | `REDIS__PORT` | `port` | 6379 | 1 to 65535 |
/// | `REDIS__DB` | `db` | 0 | 0 to 4294967295 |
/// | `REDIS__PASSWORD` | `password` | none | anything; empty means none |
/// | `REDIS__STREAM_KEY_REQUEST` | `stream_key_request` | `request` | not empty |
/// | `REDIS__STREAM_GROUP_PROCESSOR` | `stream_group_processor` | `processor` | not empty |
/// | `REDIS__STREAM_KEY_RESPONSE` | `stream_key_response` | `response` | not empty |
/// | `REDIS__STREAM_GROUP_BATCHER` | `stream_group_batcher` | `batcher` | not empty |
///
/// What is not allowed is refused before anything is sent: what the environment or a URL says when it is
/// read, the rest when connecting. `Debug` does not show the password.
///
/// The processors of one request stream should agree on `lease`, `grace`, `max_deliveries` and
/// `max_dead_letters`, which callers do not use; `delay`, `max_queue` and `on_full` are each caller's
/// own.
///
/// # Examples
///
/// ```
/// use dynamic_batcher_redis::RedisConfig;
///
/// let config = RedisConfig::default().host("cache.internal").password("secret");
/// assert_eq!(config.port, 6379);
/// assert!(!format!("{config:?}").contains("secret"));
///
/// let config = RedisConfig::from_env()?.url("rediss://batch:secret@cache.internal/3")?;
/// assert_eq!((config.db, config.tls), (3, true));
/// # Ok::<(), dynamic_batcher::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisConfig {
    /// The server's name or address. Default: `localhost`.
    pub host: String,
    /// The server's port. Default: 6379.
    pub port: u16,
    /// The path of the server's unix socket, instead of `host` and `port`. Default: `None`.
    pub socket: Option<PathBuf>,
    /// Whether the connection is encrypted: the client crate has to be built with TLS. Default:
    /// `false`.
    pub tls: bool,
    /// The number of the database. Default: 0.
    pub db: u32,
    /// The user, where the server has more than the default one; not without a password. Default:
    /// `None`.
    pub username: Option<String>,
    /// The password, if the server asks for one. Default: `None`.
    pub password: Option<String>,
    /// The key of the stream that requests are put on. Default: `request`.
    pub stream_key_request: String,
    /// The consumer group of the processors on it. Default: `processor`.
    pub stream_group_processor: String,
    /// The key of a stream that every client of the Python package creates and none uses.
    /// Default: `response`.
    pub stream_key_response: String,
    /// The consumer group on that. Default: `batcher`.
    pub stream_group_batcher: String,
    /// The shortest interval at which a caller looks for the answer of a Python processor; one of
    /// ours is noticed at once. The Python caller's `delay`. Default: 10 ms; 1 ms to a day.
    pub delay: Duration,
    /// How long a processor may be silent before others take its requests over. While it lives it
    /// renews the lease of what it has, so that a batch may run for longer. Default: 30 s; 100 ms to a
    /// day.
    pub lease: Duration,
    /// How long an entry of a Python caller stays in the pending list after it was answered, if the
    /// caller does not take its answer: longer than any such caller's `delay`. What Python
    /// processors leave pending is taken over after this time too. Default: 60 s; the lease to a day.
    pub grace: Duration,
    /// How often a request is delivered before it is given up. A delivery counts when its lease ran out,
    /// and when a handler had started and the processor was stopped, or its drain came to its deadline.
    /// Its caller gets [`Undeliverable`](dynamic_batcher::ErrorKind::Undeliverable), and it goes to the dead letters.
    /// Default: 3.
    pub max_deliveries: NonZeroU32,
    /// About how many dead letters are kept, the newest (`XADD … MAXLEN ~`). Default: 10000;
    /// `NonZeroUsize::MAX` keeps all.
    pub max_dead_letters: NonZeroUsize,
    /// The most requests that may be on the request stream, of all callers, waiting or running,
    /// when this caller adds one (`XLEN`). Default: 65536.
    pub max_queue: NonZeroUsize,
    /// What a send meets when that many are there. Default: [`OnFull::Reject`].
    pub on_full: OnFull,
}

impl Default for RedisConfig {
    fn default() -> Self {
        const MAX_DELIVERIES: NonZeroU32 = NonZeroU32::new(3).unwrap();
        const MAX_DEAD_LETTERS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
        const MAX_QUEUE: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
        Self {
            host: "localhost".into(),
            port: 6379,
            socket: None,
            tls: false,
            db: 0,
            username: None,
            password: None,
            stream_key_request: "request".into(),
            stream_group_processor: "processor".into(),
            stream_key_response: "response".into(),
            stream_group_batcher: "batcher".into(),
            delay: Duration::from_millis(10),
            lease: Duration::from_secs(30),
            grace: Duration::from_secs(60),
            max_deliveries: MAX_DELIVERIES,
            max_dead_letters: MAX_DEAD_LETTERS,
            max_queue: MAX_QUEUE,
            on_full: OnFull::Reject,
        }
    }
}

impl RedisConfig {
    /// The default with what the environment says: see the table above.
    ///
    /// # Errors
    ///
    /// [`Config`](dynamic_batcher::ErrorKind::Config) when a variable holds what is not allowed;
    /// the text names the variable, what it holds (but for the password) and what is allowed.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(env::process)
    }

    /// As [`from_env`](Self::from_env), with the variables looked up by `var`: for settings kept
    /// elsewhere, and for tests.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        vars::read(var)
    }

    /// Sets where the server is, and how to log in there, to what the URL says, and leaves the
    /// names as they are:
    ///
    /// - `redis://[user[:password]@]host[:port][/db]`, with `rediss://` encrypted,
    /// - `unix:///path/to/socket[?db=3][&user=…][&pass=…]`.
    ///
    /// What the URL does not say has its default, not what the environment says.
    ///
    /// # Errors
    ///
    /// [`Config`](dynamic_batcher::ErrorKind::Config) when it is no such URL; the text does not show the password.
    pub fn url(self, url: &str) -> Result<Self> {
        url::apply(self, url)
    }

    /// Sets [`host`](Self#structfield.host).
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Sets [`port`](Self#structfield.port).
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets [`socket`](Self#structfield.socket).
    #[must_use]
    pub fn socket(mut self, socket: impl Into<PathBuf>) -> Self {
        self.socket = Some(socket.into());
        self
    }

    /// Sets [`tls`](Self#structfield.tls).
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Sets [`db`](Self#structfield.db).
    #[must_use]
    pub fn db(mut self, db: u32) -> Self {
        self.db = db;
        self
    }

    /// Sets [`username`](Self#structfield.username).
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets [`password`](Self#structfield.password).
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets [`stream_key_request`](Self#structfield.stream_key_request).
    #[must_use]
    pub fn stream_key_request(mut self, key: impl Into<String>) -> Self {
        self.stream_key_request = key.into();
        self
    }

    /// Sets [`stream_group_processor`](Self#structfield.stream_group_processor).
    #[must_use]
    pub fn stream_group_processor(mut self, group: impl Into<String>) -> Self {
        self.stream_group_processor = group.into();
        self
    }

    /// Sets [`stream_key_response`](Self#structfield.stream_key_response).
    #[must_use]
    pub fn stream_key_response(mut self, key: impl Into<String>) -> Self {
        self.stream_key_response = key.into();
        self
    }

    /// Sets [`stream_group_batcher`](Self#structfield.stream_group_batcher).
    #[must_use]
    pub fn stream_group_batcher(mut self, group: impl Into<String>) -> Self {
        self.stream_group_batcher = group.into();
        self
    }

    /// Sets [`delay`](Self#structfield.delay).
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets [`lease`](Self#structfield.lease).
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets [`grace`](Self#structfield.grace).
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets [`max_deliveries`](Self#structfield.max_deliveries).
    #[must_use]
    pub fn max_deliveries(mut self, max_deliveries: NonZeroU32) -> Self {
        self.max_deliveries = max_deliveries;
        self
    }

    /// Sets [`max_dead_letters`](Self#structfield.max_dead_letters).
    #[must_use]
    pub fn max_dead_letters(mut self, max_dead_letters: NonZeroUsize) -> Self {
        self.max_dead_letters = max_dead_letters;
        self
    }

    /// Sets [`max_queue`](Self#structfield.max_queue).
    #[must_use]
    pub fn max_queue(mut self, max_queue: NonZeroUsize) -> Self {
        self.max_queue = max_queue;
        self
    }

    /// Sets [`on_full`](Self#structfield.on_full).
    #[must_use]
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }
}

impl RedisConfig {
    /// Where the server is, for people.
    pub(crate) fn address(&self) -> String {
        match &self.socket {
            Some(path) => path.display().to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("socket", &self.socket)
            .field("tls", &self.tls)
            .field("db", &self.db)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("stream_key_request", &self.stream_key_request)
            .field("stream_group_processor", &self.stream_group_processor)
            .field("stream_key_response", &self.stream_key_response)
            .field("stream_group_batcher", &self.stream_group_batcher)
            .field("delay", &self.delay)
            .field("lease", &self.lease)
            .field("grace", &self.grace)
            .field("max_deliveries", &self.max_deliveries)
            .field("max_dead_letters", &self.max_dead_letters)
            .field("max_queue", &self.max_queue)
            .field("on_full", &self.on_full)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let shown = format!("{:?}", RedisConfig::default().password("hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
