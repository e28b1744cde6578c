//! What a long program is at, for who waits for it.

use std::io::{IsTerminal as _, stderr};

/// Shown on a terminal alone, on a line that the next one replaces, as does what is printed on
/// standard output there.
#[allow(
    clippy::print_stderr,
    reason = "results are the standard output, progress goes beside them"
)]
pub fn show(what: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{what}\r");
    }
}
