//! The service as a process of its own, and requests to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
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

/// Asks the service, over a connection of its own: the status and the body.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut connection = TcpStream::connect(address).await?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    connection.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    connection.read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    Ok((status.parse().expect("a number"), body.to_owned()))
}

/// The JSON that the service answers with.
pub(crate) async fn get_json(address: SocketAddr, path: &str) -> Value {
    let (status, body) = ask(address, "GET", path, "").await.expect("an answer");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Waits until `is_so` gives true.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let come = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        timeout(LIMIT, come).await.is_ok(),
        "not within {LIMIT:?}: {what}"
    );
}
