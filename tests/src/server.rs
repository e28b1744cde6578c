//! A real redis-server for tests: a child process on a free port of the loopback.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to come up.
const LIMIT: Duration = Duration::from_secs(20);

const SOCKET: &str = "redis.sock";

/// A server, stopped and its files removed on drop, also when a test panics. Where this process is killed
/// it stops too (on Unix), and its files stay.
///
/// The program is the one that the variable `DYNAMIC_BATCHER_TEST_REDIS_SERVER` names, else
/// `redis-server`.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    password: Option<&'static str>,
    durable: bool,
    directory: PathBuf,
    process: Child,
    /// Stops it when this process has ended, in whatever way.
    watch: Option<Child>,
}

impl RedisServer {
    /// Starts a server, with a password if there is one to be.
    ///
    /// # Panics
    ///
    /// When there is no such program, or it does not come up.
    #[must_use]
    pub fn start(password: Option<&'static str>) -> Self {
        Self::start_with(password, false)
    }

    /// Starts a server that has written everything to its disk before it answers.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_durable() -> Self {
        Self::start_with(None, true)
    }

    fn start_with(password: Option<&'static str>, durable: bool) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        // Another process may take the port before the server does: then it ends, and the next
        // port is tried.
        for _ in 0..10 {
            let port = free_port();
            let number = STARTED.fetch_add(1, Ordering::Relaxed);
            let name = format!("dynamic-batcher-{}-{number}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&directory).expect("a directory for the server");
            let process = spawn(port, password, durable, &directory);
            let watch = watch(&process);
            let mut server = Self {
                port,
                password,
                durable,
                directory,
                process,
                watch,
            };
            if server.is_up() {
                return server;
            }
        }
        panic!("no server could be started");
    }

    /// The port that it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of the unix socket that it listens on too.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// The password that it asks for.
    #[must_use]
    pub fn password(&self) -> Option<&'static str> {
        self.password
    }

    /// Kills it: nothing is saved, nothing is said to anybody.
    pub fn kill(&mut self) {
        // First, as another process may have the server's id afterwards.
        if let Some(mut watch) = self.watch.take() {
            let _ = watch.kill();
            let _ = watch.wait();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it and starts another in its place, on the same port: an empty one, unless it is a
    /// durable one.
    ///
    /// # Panics
    ///
    /// When it does not come up again.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.port, self.password, self.durable, &self.directory);
        self.watch = watch(&self.process);
        assert!(self.is_up(), "the server did not come back");
    }

    /// Waits until it listens, in both places. False if it has ended instead.
    fn is_up(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return false;
            }
            let listens = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
            if listens && self.socket_listens() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// A moment after the port does.
    #[cfg(unix)]
    fn socket_listens(&self) -> bool {
        std::os::unix::net::UnixStream::connect(self.socket()).is_ok()
    }

    #[cfg(not(unix))]
    fn socket_listens(&self) -> bool {
        true
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A port of the loopback that nobody listens on now.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A shell that waits for the end of its input, which comes with the end of this process, and then ends
/// the other one.
fn watch(process: &Child) -> Option<Child> {
    if !cfg!(unix) {
        return None;
    }
    let watch = Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$0\"", &process.id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Some(watch.expect("a shell"))
}

fn spawn(port: u16, password: Option<&str>, durable: bool, directory: &Path) -> Child {
    let program = std::env::var_os("DYNAMIC_BATCHER_TEST_REDIS_SERVER")
        .unwrap_or_else(|| "redis-server".into());
    Command::new(&program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendfsync", "always", "--appendonly"])
        .args([if durable { "yes" } else { "no" }, "--dir"])
        .arg(directory)
        .arg("--unixsocket")
        .arg(directory.join(SOCKET))
        .args(["--requirepass", password.unwrap_or_default()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("there is no server to test with ({program:?}: {error}): run ./scripts/test")
        })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn what_is_watched_ends_when_the_watch_has_nobody_to_wait_for() {
        let mut process = Command::new("sleep").arg("60").spawn().unwrap();
        let mut watch = watch(&process).unwrap();
        assert!(process.try_wait().unwrap().is_none());
        // As where this process ends.
        drop(watch.stdin.take());
        assert_eq!(process.wait().unwrap().signal(), Some(9));
        watch.wait().unwrap();
    }
}
