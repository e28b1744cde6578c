//! Long programs say on a terminal what they are at, and nothing of it anywhere else.
#![cfg(unix)]

use std::process::{Command, Stdio};

/// What is of the shortest workload, of which there is a round for each of three times.
const ARGUMENTS: [&str; 3] = ["--quick", "--only", "idle"];
/// Runs a command on a terminal of its own.
const ON_A_TERMINAL: &str =
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// Everything that a command prints.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    let printed = printed.concat();
    assert!(output.status.success(), "{printed}");
    printed
}

#[test]
fn progress_is_shown_on_a_terminal_and_not_in_a_pipe() {
    let program = env!("CARGO_BIN_EXE_inproc");
    let piped = run(Command::new(program).args(ARGUMENTS));
    assert!(piped.contains("idle-1ms"), "{piped}");
    assert!(!piped.contains(['\r', '\x1b']), "{piped:?}");
    assert!(!piped.contains("round 1 of 3"), "{piped}");

    let python = std::env::var_os("DYNAMIC_BATCHER_TEST_PYTHON").unwrap_or("python3".into());
    let on_terminal = ["-c", ON_A_TERMINAL, program];
    let shown = run(Command::new(python).args(on_terminal).args(ARGUMENTS));
    assert!(shown.contains("\r\x1b[Kidle: round 1 of 3"), "{shown:?}");
}
