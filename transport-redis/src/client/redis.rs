//! The crate `redis`: a multiplexed connection, on which a pipeline is one message.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use dynamic_batcher::{Error, ErrorKind, Result};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready, select_ok};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisResult,
};
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

use super::connection::{Connection, Shared};
use super::resp;
use crate::RedisConfig;
use crate::command::Command;
use crate::value::{Refusal, Value};

mod activity;
mod driver;
mod folded;

use activity::Activity;
use driver::Driver;
use folded::Folded;

pub(crate) type RedisClient = Shared<Multiplexed>;

/// Finds the server for the next connection: a client with its address and options.
type Find = Box<dyn Fn() -> BoxFuture<'static, RedisResult<redis::Client>> + Send + Sync>;

impl RedisClient {
    /// Connects with the options of a client: connections of its own.
    pub(crate) async fn connect(client: redis::Client) -> Result<Self> {
        Self::open(Box::new(move || ready(Ok(client.clone())).boxed())).await
    }

    /// Connects with the options of the client that is found for each connection.
    pub(crate) async fn find<F, Found>(find: F) -> Result<Self>
    where
        F: Fn() -> Found + Send + Sync + 'static,
        Found: Future<Output = RedisResult<redis::Client>> + Send + 'static,
    {
        Self::open(Box::new(move || find().boxed())).await
    }
}

/// The client with the options that do not depend on taste.
fn adapted(client: &redis::Client) -> RedisResult<redis::Client> {
    let info = client.get_connection_info().clone();
    // A command is small and waited for: without this it may wait for the answer to the one before
    // it, for as long as 40 ms.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    // The other version would answer with maps where this one has lists.
    let login = info.redis_settings().clone();
    let login = login.set_protocol(ProtocolVersion::RESP2);
    redis::Client::open(info.set_tcp_settings(tcp).set_redis_settings(login))
}

/// The options that a configuration stands for.
pub(crate) fn client(config: &RedisConfig) -> Result<redis::Client> {
    let mut login = RedisConnectionInfo::default().set_db(config.db.into());
    if let Some(username) = &config.username {
        login = login.set_username(username);
    }
    if let Some(password) = &config.password {
        login = login.set_password(password);
    }
    let (host, port) = (config.host.clone(), config.port);
    let address = match &config.socket {
        Some(path) => ConnectionAddr::Unix(path.clone()),
        None if config.tls => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
        None => ConnectionAddr::Tcp(host, port),
    };
    address
        .into_connection_info()
        .and_then(|info| redis::Client::open(info.set_redis_settings(login)))
        .map_err(not_opened)
}

pub(crate) struct Multiplexed {
    connection: MultiplexedConnection,
    /// Where the replies are folded; the crate sees to its own tasks.
    folding: Option<Folding>,
}

/// What belongs to a connection whose replies are folded.
struct Folding {
    activity: Activity,
    driver: Driver,
}

impl Multiplexed {
    async fn over(client: &redis::Client) -> RedisResult<Self> {
        // The crate's own limits are off, ours are for both clients: half a second for a reply, as
        // it has by default, is less than a server takes to write a snapshot on a slow disk.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let info = client.get_connection_info();
        let login = info.redis_settings();
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = connect_tcp(host, *port, info.tcp_settings()).await?;
                Self::folded(stream, login, config).await
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => {
                Self::folded(UnixStream::connect(path).await?, login, config).await
            }
            // What encrypts is the crate's, and so is the reading then.
            _ => {
                let opened = client.get_multiplexed_async_connection_with_config(&config);
                Ok(Self {
                    connection: opened.await?,
                    folding: None,
                })
            }
        }
    }

    /// Over a stream whose replies are folded.
    async fn folded<S>(
        stream: S,
        login: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let activity = Activity::new();
        let (stream, switch) = Folded::new(stream, activity.clone());
        let opened = MultiplexedConnection::new_with_config(login, stream, config);
        let (connection, driver) = opened.await?;
        switch.on();
        let driver = Driver::spawn(driver);
        Ok(Self {
            connection,
            folding: Some(Folding { activity, driver }),
        })
    }

    fn value(&self, reply: redis::Value) -> Result<Value> {
        match (&self.folding, reply) {
            (Some(_), redis::Value::BulkString(reply)) => resp::read(&reply.into()),
            (_, reply) => Ok(reply.into()),
        }
    }
}

/// Opens a connection with the crate's settings, to the address of the host that answers first.
async fn connect_tcp(host: &str, port: u16, settings: &TcpSettings) -> RedisResult<TcpStream> {
    let addresses = lookup_host((host, port)).await?;
    let attempts: Vec<_> = addresses
        .map(|address| Box::pin(TcpStream::connect(address)))
        .collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address").into());
    }
    let (stream, _slower) = select_ok(attempts).await?;
    stream.set_nodelay(settings.nodelay())?;
    let socket = redis::io::tcp::socket2::SockRef::from(&stream);
    if let Some(keepalive) = settings.keepalive() {
        socket.set_tcp_keepalive(keepalive)?;
    }
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(settings.user_timeout())?;
    Ok(stream)
}

#[async_trait]
impl Connection for Multiplexed {
    type Options = Find;

    async fn open(find: &Find) -> Result<Self> {
        let client = find().await.map_err(not_opened)?;
        let client = adapted(&client).map_err(not_opened)?;
        Self::over(&client).await.map_err(not_opened)
    }

    async fn send(&self, commands: &[Command]) -> Result<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            let bytes = command.name.len() + command.bytes.len();
            let mut packed = redis::Cmd::with_capacity(1 + command.ends.len(), bytes);
            packed.arg(command.name);
            for arg in command.iter() {
                packed.arg(arg);
            }
            pipeline.add_command(packed);
        }
        // A clone is a handle to the same connection, and must be had to send.
        let mut connection = self.connection.clone();
        let sent = connection.send_packed_commands(&pipeline, 0, commands.len());
        let replies = match &self.folding {
            Some(folding) => folding.driver.while_running(sent).await,
            None => sent.await,
        };
        match replies {
            Ok(replies) => replies.into_iter().map(|reply| self.value(reply)).collect(),
            Err(error) => Err(failed(error)),
        }
    }

    fn last_active(&self) -> Option<Instant> {
        self.folding.as_ref().map(|folding| folding.activity.last())
    }
}

/// Why there is no connection. The crate passes on what the server said in part, or not at all.
fn not_opened(error: redis::RedisError) -> Error {
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => refused("WRONGPASS", &error),
        redis::ErrorKind::Server(_) if error.detail() == Some("Authentication required.") => {
            refused("NOAUTH", &error)
        }
        redis::ErrorKind::Server(_) if error.detail().is_some_and(says_that_it_passes) => {
            failed(error)
        }
        redis::ErrorKind::Server(_) | redis::ErrorKind::Extension => {
            refused(error.code().unwrap_or("ERR"), &error)
        }
        redis::ErrorKind::InvalidClientConfig if error.to_string().contains("tls feature") => {
            let needs = "TLS needs a feature of the crate `redis`, as `tokio-rustls-comp` is";
            Error::with_source(ErrorKind::Config, error).within(needs)
        }
        redis::ErrorKind::InvalidClientConfig | redis::ErrorKind::RESP3NotSupported => {
            Error::with_source(ErrorKind::Config, error)
        }
        _ => failed(error),
    }
}

/// Of what the server said to `SELECT` the crate drops the first word.
fn says_that_it_passes(text: &str) -> bool {
    text.contains("is busy running a script") || text.contains("is loading the dataset")
}

fn refused(code: &str, error: &redis::RedisError) -> Error {
    let (code, message) = (code.to_owned(), error.to_string());
    Refusal { code, message }.into()
}

fn failed(error: redis::RedisError) -> Error {
    if error.kind() == redis::ErrorKind::Parse {
        // Its text has several lines.
        let text = error.to_string().replace('\n', ", ");
        let text = format!("what answers is no Redis: {text}");
        return Error::new(ErrorKind::Connection, text);
    }
    Error::with_source(ErrorKind::Connection, error)
}

impl From<redis::Value> for Value {
    fn from(value: redis::Value) -> Self {
        use redis::Value as Reply;
        let list = |values: Vec<Reply>| Self::list_of(values.into_iter().map(Self::from).collect());
        match value {
            Reply::Nil => Self::Nil,
            Reply::Int(number) => Self::Int(number),
            Reply::Boolean(truth) => Self::Int(truth.into()),
            Reply::BulkString(text) => Self::Text(text.into()),
            Reply::SimpleString(text) | Reply::VerbatimString { text, .. } => {
                Self::Text(text.into_bytes().into())
            }
            Reply::Okay => Self::Text(Bytes::from_static(b"OK")),
            Reply::Double(number) => Self::Text(number.to_string().into()),
            Reply::Array(values) | Reply::Set(values) | Reply::Push { data: values, .. } => {
                list(values)
            }
            Reply::Map(pairs) => list(pairs.into_iter().flat_map(<[Reply; 2]>::from).collect()),
            Reply::Attribute { data, .. } => (*data).into(),
            Reply::ServerError(error) => {
                let details = error.details().unwrap_or_default();
                Self::Refused(Refusal::new(&format!("{} {details}", error.code())))
            }
            // A big number, whose type depends on the crate's features, and what may come: nothing
            // that any command of ours is answered with, and text that is no number of theirs.
            other => Self::Text(format!("{other:?}").into()),
        }
    }
}
