//! The Python package at either end.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::closed_loop::{Spell, Tally};

/// Names an interpreter that has the package.
pub(crate) const INTERPRETER: &str = "DYNAMIC_BATCHER_TEST_PYTHON";

/// The interpreter, if the environment names one.
pub(crate) fn interpreter() -> Option<OsString> {
    std::env::var_os(INTERPRETER)
}

/// A process that runs a script of this repository.
fn script(path: &str, port: u16) -> io::Result<Command> {
    let interpreter = interpreter().ok_or_else(|| {
        let text = format!("{INTERPRETER} names no Python interpreter");
        io::Error::new(io::ErrorKind::NotFound, text)
    })?;
    let mut command = Command::new(interpreter);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .env_clear()
        .env("REDIS__HOST", "127.0.0.1")
        .env("REDIS__PORT", port.to_string());
    Ok(command)
}

/// The documented processor with the documented defaults: batches of 64, a window of 2 s.
pub(crate) fn processor(port: u16) -> io::Result<Command> {
    let mut command = script("../tests/it/python/processor.py", port)?;
    command.args(["64", "2"]);
    Ok(command)
}

/// Callers in one process, ended on drop.
pub(crate) struct Callers {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Report {
    requests: u64,
    seconds: f64,
    latencies: Vec<f64>,
}

impl Callers {
    /// Starts so many callers.
    pub(crate) fn start(port: u16, callers: u64, spell: Spell) -> Result<Self, Box<dyn Error>> {
        let mut process = script("python/callers.py", port)?
            .arg(callers.to_string())
            .arg(spell.warm_up.as_secs_f64().to_string())
            .arg(spell.measured.as_secs_f64().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("its output is piped")?;
        let output = BufReader::new(output).lines();
        Ok(Self { process, output })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for what they report. `at_edge` is called when the measurement begins and when it ends.
    pub(crate) fn finish(mut self, mut at_edge: impl FnMut()) -> Result<Tally, Box<dyn Error>> {
        // Why there is none stands in the standard error.
        let mut line = || {
            let line = self.output.next();
            line.ok_or_else(|| io::Error::other("the Python callers have ended"))?
        };
        for _begin_and_end in 0..2 {
            line()?;
            at_edge();
        }
        let report: Report = serde_json::from_str(&line()?)?;
        let latencies = report.latencies.into_iter().map(Duration::from_secs_f64);
        Ok(Tally {
            requests: report.requests,
            elapsed: Duration::from_secs_f64(report.seconds),
            latencies: latencies.collect(),
        })
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
