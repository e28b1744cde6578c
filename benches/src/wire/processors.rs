//! The processors of a run, each a process: the benchmark itself in a hidden mode, or Python.

use std::error::Error;
use std::io;
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::wire::resp::Connection;
use crate::wire::subject::{End, Subject};
use crate::wire::workload::{Handler, Workload};
use crate::wire::{python, rust};

/// The first argument of the benchmark when it is to be a processor.
pub const MODE: &str = "processor";

/// How long they may take to come up.
const LIMIT: Duration = Duration::from_secs(20);

/// Ended on drop.
pub(crate) struct Processors(Vec<Child>);

impl Processors {
    /// Starts so many, and waits until all of them read the request stream.
    pub(crate) fn start(
        subject: Subject,
        workload: Workload,
        port: u16,
        threads: NonZeroUsize,
    ) -> Result<Self, Box<dyn Error>> {
        let mut processors = Self(Vec::new());
        let count = workload.processors;
        for _ in 0..count {
            let child = command(subject, workload.handler, port, threads)?
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?;
            processors.0.push(child);
        }
        let mut connection = Connection::open(port);
        let start = Instant::now();
        while readers(&connection.ask("CLIENT LIST")) < count {
            if start.elapsed() > LIMIT {
                return Err(format!("a processor of {} does not read", subject.name()).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(processors)
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).collect()
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(
    subject: Subject,
    handler: Handler,
    port: u16,
    threads: NonZeroUsize,
) -> io::Result<Command> {
    if matches!(subject.processor(), End::Python) {
        return python::processor(port);
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        MODE,
        subject.name(),
        handler.name(),
        &port.to_string(),
        &threads.to_string(),
    ]);
    Ok(command)
}

/// How many connections have last sent a read of the request stream: a read that waits counts too,
/// which makes no consumer yet.
fn readers(clients: &str) -> usize {
    let reads = |client: &&str| client.contains(" cmd=xreadgroup ");
    clients.lines().filter(reads).count()
}

/// What the benchmark does when it is a processor, until it is ended.
///
/// # Errors
///
/// When the arguments are not those that the benchmark gives itself, or the server is not there.
pub fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [name, handler, port, threads] = arguments else {
        return Err("a processor is started by the benchmark alone".into());
    };
    let port = port.parse()?;
    let handler =
        Handler::named(handler).ok_or_else(|| format!("there is no handler {handler}"))?;
    let subject = Subject::named(name);
    // Its input ends when the benchmark does, in whatever way.
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    match subject.map(Subject::processor) {
        Some(End::Floor(layout)) => layout.process(port),
        Some(End::Ours(client)) => {
            rust::runtime(threads.parse()?)?.block_on(rust::process(client, port, handler))
        }
        Some(End::Python) | None => Err(format!("there is no processor of {name}").into()),
    }
}
