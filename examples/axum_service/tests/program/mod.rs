//! The service, and others, as processes of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A process of an example, killed on drop.
pub(crate) struct Program {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts the example `name`, which cargo builds beside the tests.
    pub(crate) fn start(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut directory = std::env::current_exe().expect("this program has a path");
        directory.pop();
        directory.pop();
        let program: PathBuf = directory.join("examples").join(name);
        assert!(
            program.exists(),
            "{name} is not built: run `cargo build --workspace --examples`"
        );
        let mut process = Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let output = process.stdout.take().expect("it is piped");
        let lines = BufReader::new(output).lines();
        Self { process, lines }
    }

    /// Starts the service on a free port, and says where it listens.
    pub(crate) async fn service(
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> (Self, SocketAddr) {
        let arguments = [&["--listen", "127.0.0.1:0"], arguments].concat();
        let mut service = Self::start("axum_service", &arguments, variables);
        let line = service.line().await;
        let address = line.strip_prefix("listening on http://");
        let address = address.and_then(|address| address.parse().ok());
        (service, address.unwrap_or_else(|| panic!("{line}")))
    }

    /// Sends it the signal of this name.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.process.id().expect("it has not ended").to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(sent.expect("there is a command `kill`").success());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = timeout(LIMIT, self.process.wait()).await;
        status.expect("it ends in time").expect("it is a child")
    }

    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(LIMIT, self.lines.next_line()).await;
        let line = line
            .expect("it prints in time")
            .expect("its output is read");
        line.expect("it has not ended")
    }
}

/// Waits until `is_so` gives true.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFnMut() -> bool) {
    within(LIMIT, what, is_so).await;
}

/// The same, with a limit of its own.
pub(crate) async fn within(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let come = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        timeout(limit, come).await.is_ok(),
        "not within {limit:?}: {what}"
    );
}
