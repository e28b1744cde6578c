//! The crate `fred`: a task that owns the connection, to which each command is a message.
//!
//! It takes a list of three to five for a publication and drops it, so that every later reply
//! answers the command before, when its first text is `message` or another word of publish and
//! subscribe. No command may be sent whose reply is a flat list that begins with a user's text.

use std::pin::pin;

use async_trait::async_trait;
use dynamic_batcher::{Error, ErrorKind, Result};
use fred::bytes::Bytes;
use fred::clients::Client;
use fred::error::Error as Trouble;
use fred::interfaces::{ClientLike, FredResult};
use fred::types::config::{Config, ServerConfig};
use fred::types::{
    Builder, ClusterHash, CustomCommand, Resp3Frame as Frame, RespVersion, Value as Reply,
};
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture, Either};
use tokio::task::{AbortHandle, JoinError};
use tokio::time::Instant;

use super::connection::{Connection, Shared};
use crate::RedisConfig;
use crate::command::Command;
use crate::value::{Refusal, Value};

pub(crate) type FredClient = Shared<Routed>;

impl FredClient {
    /// Connects with the options of a client: connections of its own.
    pub(crate) async fn connect(client: &Client) -> Result<Self> {
        let mut options = Builder::from_config(client.client_config());
        options.set_connection_config(client.connection_config().clone());
        options.with_config(|config| {
            config.fail_fast = true;
            // The other version would answer with maps where this one has lists.
            config.version = RespVersion::RESP2;
        });
        options.with_connection_config(|config| {
            // Without repetitions, and without a policy to reconnect: a command could arrive twice.
            config.max_command_attempts = 1;
            // A command is small and waited for: without this it may wait for the answer to the
            // one before it, for as long as 40 ms.
            config.tcp.nodelay = Some(true);
        });
        Self::open(options).await
    }
}

/// The options that a configuration stands for.
pub(crate) fn client(config: &RedisConfig) -> Result<Client> {
    let database = u8::try_from(config.db).map_err(|_| {
        let text = format!(
            "the database is {}, allowed with this client is 0 to 255",
            config.db
        );
        Error::new(ErrorKind::Config, text)
    })?;
    let mut options = address(config)?;
    options.database = Some(database);
    options.username = config.username.clone();
    options.password = config.password.clone();
    Builder::from_config(options).build().map_err(not_opened)
}

fn address(config: &RedisConfig) -> Result<Config> {
    #[cfg(unix)]
    if let Some(path) = &config.socket {
        let server = ServerConfig::Unix { path: path.clone() };
        return Ok(Config {
            server,
            ..Config::default()
        });
    }
    #[cfg(not(unix))]
    if config.socket.is_some() {
        let text = "`socket` is set, which this client has on Unix alone";
        return Err(Error::new(ErrorKind::Config, text));
    }
    if !config.tls {
        let server = ServerConfig::new_centralized(&config.host, config.port);
        return Ok(Config {
            server,
            ..Config::default()
        });
    }
    // By URL: the types of TLS are there only with a feature of the crate, which is the user's.
    let host = match config.host.contains(':') {
        true => format!("[{}]", config.host),
        false => config.host.clone(),
    };
    let url = format!("rediss://{host}:{}", config.port);
    let options = Config::from_url_centralized(&url).map_err(not_opened)?;
    // Without the feature it would go on unencrypted.
    match options.uses_tls() {
        true => Ok(options),
        false => {
            let text = "TLS is asked for and `fred` is built without: enable its feature \
                        `enable-rustls` or another of its kind";
            Err(Error::new(ErrorKind::Config, text))
        }
    }
}

pub(crate) struct Routed {
    client: Client,
    /// Dropped, a client leaves its task running, and the connection open.
    task: AbortHandle,
    /// Why the task has ended. The client does not look: what it is given then is never answered.
    ended: future::Shared<BoxFuture<'static, Trouble>>,
}

impl Drop for Routed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Connection for Routed {
    type Options = Builder;

    async fn open(options: &Builder) -> Result<Self> {
        let client = options.build().map_err(not_opened)?;
        let task = client.connect();
        // What is sent from here on waits until the connection is there, or the task has ended.
        Ok(Self {
            client,
            task: task.abort_handle(),
            ended: task.map(cause).boxed().shared(),
        })
    }

    async fn send(&self, commands: &[Command]) -> Result<Vec<Value>> {
        let received = pin!(self.request(commands));
        match future::select(received, self.ended.clone()).await {
            Either::Left((Ok(replies), _)) => Ok(replies),
            Either::Left((Err(error), _)) => Err(Error::with_source(ErrorKind::Connection, error)),
            Either::Right((error, _)) => Err(not_opened(error)),
        }
    }

    fn last_active(&self) -> Option<Instant> {
        None
    }
}

impl Routed {
    /// Sends commands; an error is the client's.
    async fn request(&self, commands: &[Command]) -> FredResult<Vec<Value>> {
        let number = commands.len();
        let mut commands = commands.iter().map(|command| {
            let custom = CustomCommand::new_static(command.name, ClusterHash::FirstKey, false);
            (custom, args(command))
        });
        if number == 1
            && let Some((custom, args)) = commands.next()
        {
            let frame = self.client.custom_raw(custom, args).await?;
            return Ok(vec![read(frame)]);
        }
        let pipeline = self.client.pipeline();
        for (custom, args) in commands {
            pipeline.custom::<(), _>(custom, args).await?;
        }
        let mut replies = pipeline.try_all().await;
        if replies.len() == number {
            return Ok(replies.into_iter().map(value).collect());
        }
        // The client failed, and says so in the place of all replies. (For a pipeline of one that
        // would look like an error reply.)
        Err(match replies.pop() {
            Some(Err(error)) => error,
            Some(Ok(_)) | None => Trouble::new_canceled(),
        })
    }
}

/// The arguments, which share one piece of memory.
fn args(Command { bytes, ends, .. }: &Command) -> Vec<Reply> {
    let bytes = Bytes::copy_from_slice(bytes);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let args = starts.zip(ends);
    args.map(|(start, end)| Reply::Bytes(bytes.slice(start..*end)))
        .collect()
}

fn cause(ended: Result<FredResult<()>, JoinError>) -> Trouble {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) | Err(_) => Trouble::new_canceled(),
    }
}

/// Why there is no connection; of what the server said, the crate passes on every word.
fn not_opened(error: Trouble) -> Error {
    use fred::error::ErrorKind as Kind;
    match error.kind() {
        Kind::Auth | Kind::Unknown | Kind::InvalidArgument => Refusal::new(error.details()).into(),
        Kind::Config | Kind::Url => Error::with_source(ErrorKind::Config, error),
        _ => Error::with_source(ErrorKind::Connection, error),
    }
}

/// What the server sent, without the crate's values between: those look at each text.
fn read(frame: Frame) -> Value {
    match frame {
        Frame::BlobString { data, .. } | Frame::SimpleString { data, .. } => Value::Text(data),
        Frame::Number { data, .. } => Value::Int(data),
        Frame::Null => Value::Nil,
        Frame::Array { data, .. } => Value::list_of(data.into_iter().map(read).collect()),
        other => value(other.try_into()),
    }
}

fn value(reply: FredResult<Reply>) -> Value {
    match reply {
        Ok(reply) => reply.into(),
        Err(error) => Value::Refused(Refusal::new(error.details())),
    }
}

impl From<Reply> for Value {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Null => Self::Nil,
            Reply::Integer(number) => Self::Int(number),
            Reply::Boolean(truth) => Self::Int(truth.into()),
            Reply::Bytes(text) => Self::Text(text),
            Reply::String(text) => Self::Text(text.into_inner()),
            Reply::Queued => Self::Text(Bytes::from_static(b"QUEUED")),
            Reply::Double(number) => Self::Text(number.to_string().into()),
            Reply::Array(values) => Self::list_of(values.into_iter().map(Self::from).collect()),
            Reply::Map(map) => {
                let pairs = map.inner().into_iter();
                Self::list_of(
                    pairs
                        .flat_map(|(k, v)| [Reply::from(k).into(), v.into()])
                        .collect(),
                )
            }
        }
    }
}
