//! A network to break: a proxy on the loopback in front of a server.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// What comes is passed on.
    Fine,
    /// In pieces of random sizes, each in a packet of its own.
    InPieces,
    /// Each piece after this time.
    Slow(Duration),
    /// Connections are accepted, and stay open, and nothing is passed on.
    Stalled,
    /// Open connections go on, new ones are closed at once.
    Refusing,
    /// Each connection is cut after a random number of bytes, at most this.
    Cutting(usize),
}

/// A proxy; it ends on drop.
///
/// What is random in it follows from its seed, which it says when it is dropped by a panic; not
/// from it alone, since when bytes come is the machine's.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    seed: u64,
    orders: watch::Sender<Orders>,
    listening: AbortHandle,
}

#[derive(Clone, Copy, Debug)]
struct Orders {
    network: Network,
    /// Counted up, all connections that are open are cut.
    cuts: u64,
    /// Counted up, nothing is passed on any more on those that are open.
    freezes: u64,
    /// Counted up, all that are open are closed towards the client, and still read from it.
    half_closes: u64,
}

impl Proxy {
    /// Starts a proxy for the server at a port of the loopback, on the current runtime.
    ///
    /// # Panics
    ///
    /// When there is no runtime, or no port is free.
    pub async fn start(server: u16, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (orders, received) = watch::channel(Orders {
            network: Network::Fine,
            cuts: 0,
            freezes: 0,
            half_closes: 0,
        });
        let rng = Arc::new(Mutex::new(Rng::with_seed(seed)));
        let listening = tokio::spawn(listen(listener, server, received, rng));
        Self {
            port,
            seed,
            orders,
            listening: listening.abort_handle(),
        }
    }

    /// The port that it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the network.
    pub fn set(&self, network: Network) {
        self.orders.send_modify(|orders| orders.network = network);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Lets all connections fall silent for ever: they stay open, and nothing is passed on.
    pub fn freeze(&self) {
        self.orders.send_modify(|orders| orders.freezes += 1);
    }

    /// Closes all connections towards their clients alone.
    pub fn half_close(&self) {
        self.orders.send_modify(|orders| orders.half_closes += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        if std::thread::panicking() {
            let seed = self.seed;
            #[allow(clippy::print_stderr, reason = "it belongs to the failure of a test")]
            {
                eprintln!("the proxy's seed was {seed}");
            }
        }
    }
}

async fn listen(
    listener: TcpListener,
    server: u16,
    orders: watch::Receiver<Orders>,
    rng: Arc<Mutex<Rng>>,
) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if orders.borrow().network == Network::Refusing {
            continue;
        }
        let rng = rng.lock().unwrap_or_else(PoisonError::into_inner).fork();
        tokio::spawn(connect(client, server, orders.clone(), rng));
    }
}

/// One connection: ends, and closes both sides, when either direction does for other reasons than
/// that its sender has nothing more to say.
async fn connect(
    client: TcpStream,
    server: u16,
    orders: watch::Receiver<Orders>,
    mut rng: Rng,
) -> Option<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))
        .await
        .ok()?;
    client.set_nodelay(true).ok()?;
    server.set_nodelay(true).ok()?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = Pump::new(orders.clone(), rng.fork(), false);
    let down = Pump::new(orders, rng, true);
    tokio::try_join!(
        up.run(from_client, to_server),
        down.run(from_server, to_client)
    )
    .ok()?;
    Some(())
}

/// The connection is to be closed.
struct Cut;

impl From<std::io::Error> for Cut {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

/// One direction of a connection.
struct Pump {
    orders: watch::Receiver<Orders>,
    at_start: Orders,
    rng: Rng,
    /// While the network is cutting: how many bytes are still passed on.
    left: Option<usize>,
    to_client: bool,
}

impl Pump {
    fn new(mut orders: watch::Receiver<Orders>, rng: Rng, to_client: bool) -> Self {
        let at_start = *orders.borrow_and_update();
        Self {
            orders,
            at_start,
            rng,
            left: None,
            to_client,
        }
    }

    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<(), Cut> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let now = *self.orders.borrow_and_update();
            if now.cuts != self.at_start.cuts {
                return Err(Cut);
            }
            if now.freezes != self.at_start.freezes {
                return self.until_cut().await;
            }
            if self.to_client && now.half_closes != self.at_start.half_closes {
                to.shutdown().await?;
                return self.until_cut().await;
            }
            match now.network {
                Network::Cutting(most) => {
                    self.left.get_or_insert_with(|| self.rng.usize(..=most));
                }
                _ => self.left = None,
            }
            tokio::select! {
                changed = self.orders.changed() => if changed.is_err() { return Err(Cut) },
                read = from.read(&mut buffer), if now.network != Network::Stalled => {
                    let count = read?;
                    if count == 0 {
                        to.shutdown().await?;
                        return Ok(());
                    }
                    self.pass_on(&buffer[..count], &mut to).await?;
                }
            }
        }
    }

    async fn pass_on(&mut self, mut bytes: &[u8], to: &mut OwnedWriteHalf) -> Result<(), Cut> {
        while !bytes.is_empty() {
            let now = *self.orders.borrow();
            if now.cuts != self.at_start.cuts {
                return Err(Cut);
            }
            let mut count = bytes.len();
            match now.network {
                Network::InPieces => count = self.rng.usize(1..=count),
                Network::Slow(pause) => sleep(pause).await,
                _ => {}
            }
            count = count.min(self.left.unwrap_or(count));
            let (piece, rest) = bytes.split_at(count);
            to.write_all(piece).await?;
            bytes = rest;
            if let Some(left) = &mut self.left {
                *left -= count;
                if *left == 0 {
                    return Err(Cut);
                }
            }
        }
        Ok(())
    }

    async fn until_cut(&mut self) -> Result<(), Cut> {
        let cuts = self.at_start.cuts;
        // Its sender gone, it is to be closed as well.
        let _ = self.orders.wait_for(|orders| orders.cuts != cuts).await;
        Err(Cut)
    }
}
