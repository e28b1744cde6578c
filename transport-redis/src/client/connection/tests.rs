//! One connection for all: how many are opened, for whom, and when one is put away.

use std::sync::Mutex as Blocking;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;
use crate::value::Refusal;

/// What a server does, as far as a connection sees it.
#[derive(Default)]
struct Server {
    opened: AtomicUsize,
    /// Whether it can be reached.
    down: Blocking<bool>,
    /// How long opening takes.
    opening: Blocking<Duration>,
    /// The reply to anything but PING; `None`: the connection fails.
    reply: Blocking<Option<Value>>,
    /// Taken by each command that waits to be answered.
    gate: Option<Semaphore>,
    /// Where the client crate shows it.
    last_active: Blocking<Option<Instant>>,
}

struct Fake {
    number: usize,
    server: Arc<Server>,
}

fn get<T: Clone>(value: &Blocking<T>) -> T {
    value.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<T>(value: &Blocking<T>, to: T) {
    *value.lock().unwrap() = to;
}

#[async_trait]
impl Connection for Fake {
    type Options = Arc<Server>;

    async fn open(server: &Arc<Server>) -> Result<Self> {
        let number = server.opened.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(get(&server.opening)).await;
        match get(&server.down) {
            true => Err(Error::new(ErrorKind::Connection, format!("down {number}"))),
            false => Ok(Self {
                number,
                server: Arc::clone(server),
            }),
        }
    }

    async fn send(&self, commands: &[Command]) -> Result<Vec<Value>> {
        if commands[0].name == "PING" {
            return Ok(vec![Value::Nil]);
        }
        if let Some(gate) = &self.server.gate {
            gate.acquire().await.unwrap().forget();
        }
        match get(&self.server.reply) {
            Some(Value::Nil) => Ok(vec![Value::Int(self.number as i64)]),
            Some(reply) => Ok(vec![Value::Int(0), reply]),
            None => Err(Error::new(ErrorKind::Connection, "cut")),
        }
    }

    fn last_active(&self) -> Option<Instant> {
        get(&self.server.last_active)
    }
}

/// A server that answers with the number of the connection.
fn server() -> Server {
    Server {
        reply: Blocking::new(Some(Value::Nil)),
        ..Server::default()
    }
}

async fn connect(server: Server) -> (Arc<Shared<Fake>>, Arc<Server>) {
    let server = Arc::new(server);
    let client = Shared::open(Arc::clone(&server)).await.unwrap();
    (Arc::new(client), server)
}

async fn send(client: &Shared<Fake>) -> Result<Vec<Value>> {
    client.send(&[Command::new("GET")]).await
}

fn send_many(
    client: &Arc<Shared<Fake>>,
    count: usize,
) -> Vec<tokio::task::JoinHandle<Result<Vec<Value>>>> {
    let spawn = |_| {
        let client = Arc::clone(client);
        tokio::spawn(async move { send(&client).await })
    };
    (0..count).map(spawn).collect()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_failed_is_put_away_and_the_next_send_makes_another() {
    let (client, server) = connect(server()).await;
    assert_eq!(send(&client).await.unwrap(), [Value::Int(0)]);
    set(&server.reply, None);
    assert_eq!(
        send(&client).await.unwrap_err().kind(),
        ErrorKind::Connection
    );
    set(&server.reply, Some(Value::Nil));
    for _ in 0..2 {
        assert_eq!(send(&client).await.unwrap(), [Value::Int(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_wait_share_one_attempt_that_fails_or_succeeds() {
    let (client, server) = connect(server()).await;
    set(&server.reply, None);
    send(&client).await.unwrap_err();
    set(&server.reply, Some(Value::Nil));
    set(&server.down, true);
    set(&server.opening, Duration::from_secs(3));
    let start = Instant::now();
    for each in send_many(&client, 1_000) {
        let error = each.await.unwrap().unwrap_err();
        assert!(error.to_string().ends_with("down 1"), "{error}");
    }
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    // Who comes later tries for itself.
    set(&server.down, false);
    for each in send_many(&client, 1_000) {
        assert_eq!(each.await.unwrap().unwrap(), [Value::Int(2)]);
    }
    assert_eq!(server.opened.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn many_that_see_the_same_connection_fail_put_away_no_other() {
    let gated = Server {
        gate: Some(Semaphore::new(0)),
        ..server()
    };
    let (client, server) = connect(gated).await;
    let waiting = send_many(&client, 2);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let gate = server.gate.as_ref().unwrap();
    set(&server.reply, None);
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    // A new one is made before the second sees the first one fail.
    let third = send_many(&client, 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.opened.load(Ordering::Relaxed), 2);
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(waiting.iter().all(|each| each.is_finished()));
    set(&server.reply, Some(Value::Nil));
    gate.add_permits(2);
    assert_eq!(send(&client).await.unwrap(), [Value::Int(1)]);
    for each in third {
        assert_eq!(each.await.unwrap().unwrap(), [Value::Int(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_reply_within_the_limit_is_a_failure_and_a_dropped_send_is_none() {
    let gated = Server {
        gate: Some(Semaphore::new(0)),
        ..server()
    };
    let (client, server) = connect(gated).await;
    let dropped = send_many(&client, 1).remove(0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    dropped.abort();
    let start = Instant::now();
    send(&client).await.unwrap_err();
    assert_eq!(start.elapsed(), REPLY_LIMIT);
    assert_eq!(server.opened.load(Ordering::Relaxed), 1);
    server.gate.as_ref().unwrap().add_permits(1);
    assert_eq!(send(&client).await.unwrap(), [Value::Int(1)]);
}

/// Lets something move five times, each time shortly before the limit; when the last was.
async fn move_slowly(server: &Server) -> Instant {
    for _ in 0..5 {
        tokio::time::sleep(REPLY_LIMIT - Duration::from_millis(1)).await;
        set(&server.last_active, Some(Instant::now()));
    }
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_awaited_while_anything_moves_and_for_the_limit_after_that() {
    let slow = Server {
        gate: Some(Semaphore::new(0)),
        last_active: Blocking::new(Some(Instant::now())),
        ..server()
    };
    let (client, server) = connect(slow).await;
    let mut own = client.dedicated().await.unwrap();
    let get = || Command::new("GET");
    let both = async { tokio::join!(send(&client), own.send(get(), REPLY_LIMIT)) };
    let answer = async {
        move_slowly(&server).await;
        server.gate.as_ref().unwrap().add_permits(2);
    };
    let ((shared, dedicated), ()) = tokio::join!(both, answer);
    assert_eq!(shared.unwrap(), [Value::Int(0)]);
    assert_eq!(dedicated.unwrap(), Value::Int(1));

    let both = async {
        let now = |_| Instant::now();
        let shared = async { send(&client).await.map_err(now) };
        let dedicated = async { own.send(get(), REPLY_LIMIT).await.map_err(now) };
        tokio::join!(shared, dedicated)
    };
    let ((shared, dedicated), last) = tokio::join!(both, move_slowly(&server));
    assert_eq!(shared.unwrap_err() - last, REPLY_LIMIT);
    assert_eq!(dedicated.unwrap_err() - last, REPLY_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_seen_to_move_what_goes_out_has_its_time_beside_the_limit() {
    let gated = Server {
        gate: Some(Semaphore::new(0)),
        ..server()
    };
    let (client, _server) = connect(gated).await;
    let start = Instant::now();
    let send = async |bytes: usize| {
        let command = Command::new("SET").arg(vec![b'x'; bytes]);
        client.send(&[command]).await.unwrap_err();
        start.elapsed()
    };
    let seconds = |seconds| REPLY_LIMIT + Duration::from_secs(seconds);
    // The small one is behind both.
    let ended = tokio::join!(send(3_000_000), send(4_000_000), send(0));
    assert_eq!(ended, (seconds(3), seconds(7), seconds(7)));

    let mut own = client.dedicated().await.unwrap();
    let large = Command::new("SET").arg(vec![b'x'; 3_000_000]);
    own.send(large, REPLY_LIMIT).await.unwrap_err();
    // It is not awaited any more.
    let start = Instant::now();
    let small = own.send(Command::new("GET"), REPLY_LIMIT);
    small.await.unwrap_err();
    assert_eq!(start.elapsed(), REPLY_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_left_after_its_replies_were_returned() {
    let (client, server) = connect(server()).await;
    let refused = |code: &str| Value::Refused(Refusal::new(code));
    set(&server.reply, Some(refused("LOADING")));
    send(&client).await.unwrap();
    set(&server.reply, Some(refused("READONLY")));
    let replies = send(&client).await.unwrap();
    assert_eq!(replies, [Value::Int(0), refused("READONLY")]);
    set(&server.reply, Some(Value::Nil));
    assert_eq!(send(&client).await.unwrap(), [Value::Int(1)]);
}
