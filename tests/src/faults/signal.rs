//! Signals to processes that a test has started.

use std::process::Command;

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends a process at once; it is not told.
    Kill,
    /// Stops a process where it is.
    Stop,
    /// Lets a stopped process go on.
    Continue,
}

/// Sends a signal to the process `pid`.
///
/// # Panics
///
/// When it cannot be sent: the process has ended and was waited for.
pub fn signal(pid: u32, signal: Signal) {
    let name = match signal {
        Signal::Kill => "-KILL",
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
    };
    let status = Command::new("kill").arg(name).arg(pid.to_string()).status();
    let sent = status.is_ok_and(|status| status.success());
    assert!(sent, "{name} could not be sent to {pid}");
}
