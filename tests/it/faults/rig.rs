//! What every test of a fault has: a server, peers round it, and the book of its requests.

use std::num::NonZeroU32;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use dynamic_batcher::Batcher;
pub(crate) use dynamic_batcher_conformance::faults::Client;
use dynamic_batcher_conformance::faults::{
    Act, Done, End, Job, Ledger, Peer, PeerConfig, Probe, Role,
};
use dynamic_batcher_conformance::{RedisServer, faults};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The lease of all processors here.
pub(crate) const LEASE: Duration = Duration::from_secs(1);
/// More deliveries of one request than there are faults in one test.
const MANY: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// How long a caller waits that is to be answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long anything may take that has no time of its own.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// Within this an error is told that need not wait for anything.
pub(crate) const SOON: Duration = Duration::from_secs(5);

pub(crate) type Caller = Arc<Batcher<Job, Done>>;

pub(crate) struct Rig {
    pub(crate) client: Client,
    pub(crate) server: RedisServer,
    pub(crate) probe: Probe,
    pub(crate) ledger: Arc<Ledger>,
    ids: Arc<AtomicI64>,
}

impl Rig {
    pub(crate) fn new(client: Client) -> Self {
        Self::with(client, RedisServer::start(None))
    }

    pub(crate) fn with(client: Client, server: RedisServer) -> Self {
        Self {
            client,
            probe: Probe::new(server.port()),
            server,
            ledger: Arc::default(),
            ids: Arc::default(),
        }
    }

    /// What peers here have in common.
    pub(crate) fn config(&self) -> PeerConfig {
        let mut config = PeerConfig::default();
        config.client = self.client;
        config.port = self.server.port();
        config.lease = LEASE;
        // What is killed again and again may be so with the same request.
        config.max_deliveries = MANY;
        config
    }

    /// A caller in this process.
    pub(crate) async fn caller(&self) -> Caller {
        self.caller_at(self.server.port()).await
    }

    /// The same, at the port of a proxy.
    pub(crate) async fn caller_at(&self, port: u16) -> Caller {
        let config = self.config().redis().port(port);
        let transport = self.client.connect(config).await;
        Arc::new(Batcher::new(transport.expect("the server answers")))
    }

    pub(crate) async fn processor(&self) -> Peer {
        self.processor_with(self.config()).await
    }

    pub(crate) async fn processor_with(&self, config: PeerConfig) -> Peer {
        let peer = start(&config);
        peer.ready().await;
        peer
    }

    pub(crate) async fn processors(&self, number: usize) -> Vec<Peer> {
        let mut peers: Vec<_> = (0..number).map(|_| start(&self.config())).collect();
        for peer in &mut peers {
            peer.ready().await;
        }
        peers
    }

    /// A caller in a process of its own.
    pub(crate) async fn caller_process(&self, mut config: PeerConfig) -> Peer {
        config.role = Role::Caller;
        self.processor_with(config).await
    }

    /// The next job.
    pub(crate) fn job(&self) -> Job {
        Job::new(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends one job, and has it in the book.
    pub(crate) async fn send(&self, caller: &Caller, job: Job) -> End {
        self.ledger.send(caller, job, PATIENCE).await
    }

    /// Sends one plain job.
    pub(crate) async fn call(&self, caller: &Caller) -> End {
        self.send(caller, self.job()).await
    }

    pub(crate) async fn act(&self, caller: &Caller, act: Act) -> End {
        self.send(caller, self.job().act(act)).await
    }

    /// Begins to send `number` jobs at once.
    pub(crate) fn begin(&self, caller: &Caller, number: usize, timeout: Duration) -> Vec<Begun> {
        let jobs = (0..number).map(|_| self.job());
        jobs.map(|job| self.begin_one(caller, job, timeout))
            .collect()
    }

    pub(crate) fn begin_one(&self, caller: &Caller, job: Job, timeout: Duration) -> Begun {
        let (ledger, caller) = (Arc::clone(&self.ledger), Arc::clone(caller));
        tokio::spawn(async move { ledger.send(&caller, job, timeout).await })
    }

    /// Keeps `tasks` tasks sending, each one job after the other.
    pub(crate) fn load(&self, caller: &Caller, tasks: usize, timeout: Duration) -> Load {
        let stopped = Arc::new(AtomicBool::new(false));
        let tasks = (0..tasks).map(|_| {
            let (ledger, caller) = (Arc::clone(&self.ledger), Arc::clone(caller));
            let (ids, stopped) = (Arc::clone(&self.ids), Arc::clone(&stopped));
            tokio::spawn(async move {
                while !stopped.load(Ordering::Relaxed) {
                    let job = Job::new(ids.fetch_add(1, Ordering::Relaxed));
                    let end = ledger.send(&caller, job, timeout).await;
                    if end.outcome.is_err() {
                        sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Load { stopped, tasks }
    }

    /// Waits until so many more requests have been answered.
    pub(crate) async fn answered(&self, more: usize) {
        let answered = || self.ledger.verdict(&[]).count("Ok");
        let all = answered() + more;
        eventually("requests are answered", || answered() >= all).await;
    }

    /// Ends processors in good order, after which nothing may be left in Redis.
    pub(crate) async fn end(self, processors: Vec<Peer>) {
        self.probe.is_clean(processors.len(), LIMIT).await;
        leave(processors).await;
        self.probe.is_clean(0, LIMIT).await;
    }

    /// The same where others have died. The consumer of a dead one may have been taken for that of one
    /// that lives, which before Redis 7.2 has none until it has read something; and only the living
    /// clean up, so another one sees to it.
    pub(crate) async fn end_after_deaths(self, processors: Vec<Peer>) {
        self.probe.is_clean(processors.len(), LIMIT).await;
        leave(processors).await;
        let names = || {
            let consumers = self.probe.consumers("request").into_iter();
            let names = consumers.map(|each| each.name);
            names
                .filter(|name| name.starts_with("rust-"))
                .collect::<Vec<_>>()
        };
        let dead = names();
        if !dead.is_empty() {
            let another = self.processor().await;
            let is_removed = || names().iter().all(|name| !dead.contains(name));
            eventually("what the dead have left is removed", is_removed).await;
            leave(vec![another]).await;
        }
        self.probe.is_clean(0, LIMIT).await;
    }
}

/// A request on its way.
pub(crate) type Begun = JoinHandle<End>;

pub(crate) async fn ends(begun: Vec<Begun>) -> Vec<End> {
    let mut ends = Vec::with_capacity(begun.len());
    for each in begun {
        ends.push(each.await.expect("it does not panic"));
    }
    ends
}

/// Tasks that send until they are stopped.
pub(crate) struct Load {
    stopped: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Stops sending and waits for the ends of what was sent.
    pub(crate) async fn stop(self) {
        self.stopped.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("it does not panic");
        }
    }
}

pub(crate) fn start(config: &PeerConfig) -> Peer {
    Peer::start(Command::new(env!("CARGO_BIN_EXE_peer")), config)
}

/// Drains processors; a caller finishes.
pub(crate) async fn leave(mut peers: Vec<Peer>) {
    for peer in &mut peers {
        peer.leave(LIMIT);
    }
    for peer in &peers {
        let left = peer.left(LIMIT + SOON).await;
        assert!(
            matches!(left, faults::Message::Left { ended: true, .. }),
            "{left:?}"
        );
    }
}

pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    within(LIMIT, what, is_so).await;
}

pub(crate) async fn within(limit: Duration, what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The kind of error that a request ended in.
pub(crate) fn kind(end: &End) -> &str {
    match &end.outcome {
        Ok(_) => "Ok",
        Err(failure) => &failure.kind,
    }
}
