//! The signals that ask a program to end in good order.

use std::io;

/// Hears ctrl-c, and what a service manager sends, from here on. Each call of what it returns waits for
/// one; one that comes between two calls is there for the second.
pub(crate) fn listen() -> io::Result<impl AsyncFnMut()> {
    #[cfg(unix)]
    let (mut pressed, mut asked) = {
        use tokio::signal::unix::{SignalKind, signal};
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    #[cfg(windows)]
    let (mut pressed, mut asked) = {
        use tokio::signal::windows::{ctrl_break, ctrl_c};
        (ctrl_c()?, ctrl_break()?)
    };
    Ok(async move || {
        tokio::select! {
            _ = pressed.recv() => {}
            _ = asked.recv() => {}
        }
    })
}
