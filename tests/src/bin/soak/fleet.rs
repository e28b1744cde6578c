//! The server, the peers round it, and the book of their requests.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use dynamic_batcher_conformance::RedisServer;
use dynamic_batcher_conformance::faults::{
    Client, Ledger, Message, Peer, PeerConfig, Probe, Proxy, Role,
};
use tokio::time::sleep;

/// The first argument of a process that is a peer.
pub(crate) const PEER: &str = "peer";

const PROCESSORS: usize = 3;
const CALLERS: usize = 3;
/// How long a caller waits: longer than any fault holds it up.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests may go on after the last fault, and what is left in Redis be cleaned up.
const SETTLED: Duration = Duration::from_secs(90);
/// The numbers of one caller's requests begin at a multiple of this.
const IDS: i64 = 1_000_000_000;

pub(crate) struct Fleet {
    pub(crate) server: RedisServer,
    pub(crate) proxy: Proxy,
    /// Ours, behind the proxy.
    pub(crate) processors: Vec<Peer>,
    pub(crate) callers: Vec<Peer>,
    pub(crate) ledger: Ledger,
    /// Of each process that has been there, by its name, the most memory in KiB.
    pub(crate) memory: BTreeMap<String, u64>,
    client: Client,
    program: std::path::PathBuf,
    /// Connected directly, and spared: the package loses what its processors hold.
    python_processor: Option<Peer>,
    python_caller: Option<Peer>,
    killed: Vec<Peer>,
    /// Of which callers requests may have no end.
    forgiven: Vec<i64>,
    started: i64,
    /// The number of the caller in each place.
    numbers: Vec<i64>,
    measured: Instant,
}

impl Fleet {
    pub(crate) async fn start(client: Client, seed: u64) -> Result<Self, Box<dyn Error>> {
        let server = RedisServer::start(None);
        let proxy = Proxy::start(server.port(), seed).await;
        let mut fleet = Self {
            server,
            proxy,
            processors: Vec::new(),
            callers: Vec::new(),
            ledger: Ledger::default(),
            memory: BTreeMap::new(),
            client,
            program: std::env::current_exe()?,
            python_processor: None,
            python_caller: None,
            killed: Vec::new(),
            forgiven: Vec::new(),
            started: 0,
            numbers: Vec::new(),
            measured: Instant::now(),
        };
        fleet.processors = (0..PROCESSORS).map(|_| fleet.new_processor()).collect();
        for _ in 0..CALLERS {
            let (number, caller) = fleet.new_caller();
            fleet.numbers.push(number);
            fleet.callers.push(caller);
        }
        fleet.python_processor = fleet.new_python(Role::Processor);
        fleet.python_caller = fleet.new_python(Role::Caller);
        for peer in fleet.processors.iter().chain(&fleet.callers) {
            peer.ready().await;
        }
        Ok(fleet)
    }

    fn config(&self) -> PeerConfig {
        let mut config = PeerConfig::default();
        config.client = self.client;
        config.port = self.proxy.port();
        config.timeout = TIMEOUT;
        config.rest = Duration::from_millis(10);
        config.pause = Duration::from_millis(5);
        // So many that no request is given up because it was so often in the wrong place.
        config.max_deliveries = config.max_deliveries.saturating_mul(config.max_deliveries);
        config
    }

    fn new_processor(&self) -> Peer {
        Peer::start(self.peer(), &self.config())
    }

    fn new_caller(&mut self) -> (i64, Peer) {
        let mut config = self.config();
        config.role = Role::Caller;
        let number = self.number();
        config.first_id = number * IDS;
        (number, Peer::start(self.peer(), &config))
    }

    fn number(&mut self) -> i64 {
        self.started += 1;
        self.started
    }

    fn peer(&self) -> Command {
        let mut program = Command::new(&self.program);
        program.arg(PEER);
        program
    }

    fn new_python(&mut self, role: Role) -> Option<Peer> {
        let interpreter = std::env::var_os("DYNAMIC_BATCHER_TEST_PYTHON")?;
        let mut config = self.config();
        config.role = role;
        config.first_id = self.number() * IDS;
        // It keeps ten times as many requests on the stream: more than all callers can send.
        config.batch_size = config.batch_size.saturating_mul(config.batch_size);
        let mut python = Command::new(interpreter);
        python
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/it/python/peer.py"))
            .env("REDIS__HOST", "127.0.0.1")
            .env("REDIS__PORT", self.server.port().to_string());
        Some(Peer::start(python, &config))
    }

    /// Kills a processor; another takes its place.
    pub(crate) fn replace_processor(&mut self, place: usize) {
        let new = self.new_processor();
        let mut killed = std::mem::replace(&mut self.processors[place], new);
        killed.kill();
    }

    /// Kills a caller; another takes its place.
    pub(crate) fn replace_caller(&mut self, place: usize) {
        let (number, caller) = self.new_caller();
        let mut killed = std::mem::replace(&mut self.callers[place], caller);
        killed.kill();
        self.forgiven
            .push(std::mem::replace(&mut self.numbers[place], number));
        self.killed.push(killed);
    }

    /// Notes what peers have said.
    pub(crate) fn hear(&mut self) {
        for processor in &self.processors {
            drop(processor.take_said());
        }
        let python = self.python_caller.iter();
        for caller in self.callers.iter().chain(&self.killed).chain(python) {
            for message in caller.take_said() {
                match message {
                    Message::Sent(id) => self.ledger.sent(id),
                    Message::Ended(end) => self.ledger.ended(&end),
                    Message::Ready | Message::Runs(_) | Message::Left { .. } => {}
                }
            }
        }
    }

    /// Notes from time to time how much memory peers take. A peer that could not connect has ended,
    /// and is replaced.
    pub(crate) fn tend(&mut self) {
        if self.measured.elapsed() >= Duration::from_millis(500) {
            self.measured = Instant::now();
            self.measure();
            self.replace_ended();
        }
    }

    fn replace_ended(&mut self) {
        for place in 0..self.processors.len() {
            if self.processors[place].has_ended() {
                self.replace_processor(place);
            }
        }
        for place in 0..self.callers.len() {
            if self.callers[place].has_ended() {
                self.replace_caller(place);
            }
        }
    }

    fn measure(&mut self) {
        let mut processes = vec![
            ("server".to_owned(), self.server.pid()),
            ("soak".to_owned(), std::process::id()),
        ];
        let mut add = |name: &str, peers: &mut dyn Iterator<Item = &Peer>| {
            let named = peers.enumerate();
            processes.extend(named.map(|(place, peer)| (format!("{name} {place}"), peer.pid())));
        };
        add("processor", &mut self.processors.iter());
        add("caller", &mut self.callers.iter());
        add("Python processor", &mut self.python_processor.iter());
        add("Python caller", &mut self.python_caller.iter());
        for (name, pid) in processes {
            let peak = self.memory.entry(name).or_default();
            *peak = peak_memory(pid).unwrap_or_default().max(*peak);
        }
    }

    /// Lets all finish what was sent and leave; what is left in Redis then.
    pub(crate) async fn end(&mut self) -> Vec<String> {
        for caller in self.callers.iter_mut().chain(&mut self.python_caller) {
            caller.leave(TIMEOUT);
        }
        let start = Instant::now();
        while start.elapsed() < SETTLED && !self.have_left() {
            self.hear();
            sleep(Duration::from_millis(20)).await;
        }
        self.hear();
        let forgiven = &self.forgiven;
        self.ledger.forget(|id| forgiven.contains(&(id / IDS)));
        self.callers.clear();
        self.python_processor = None;

        let probe = Probe::new(self.server.port());
        let left = probe.left_after(PROCESSORS, SETTLED).await;
        for processor in &mut self.processors {
            processor.leave(TIMEOUT);
        }
        while start.elapsed() < SETTLED * 2 && !self.processors.iter_mut().all(Peer::has_ended) {
            sleep(Duration::from_millis(20)).await;
        }
        if left.is_empty() {
            return probe.left_after(0, SETTLED).await;
        }
        left
    }

    fn have_left(&mut self) -> bool {
        let mut callers = self.callers.iter_mut().chain(&mut self.python_caller);
        callers.all(Peer::has_ended)
    }
}

/// The most memory that a process has had, in KiB; known on Linux alone.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.parse().ok()
}
