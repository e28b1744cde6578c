//! A mixed fleet: peers of the Python package beside ours. Its processors lose what they hold when
//! they are killed, so ours are the ones that die here.

use std::process::Stdio;

use dynamic_batcher_conformance::faults::Act;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::rig::{Client, LEASE, PATIENCE, Rig, eventually, kind, start};

const CALLERS: i64 = 16;
const REQUESTS: i64 = 30;
/// The Python callers' sums are beyond those of the others.
const FIRST: i64 = 1_000_000_000;

fn python(rig: &Rig, script: &str, arguments: &[&str]) -> Child {
    let interpreter = std::env::var_os("DYNAMIC_BATCHER_TEST_PYTHON")
        .expect("there is no Python package to test with: run ./scripts/test");
    Command::new(interpreter)
        .arg(format!("{}/it/python/{script}", env!("CARGO_MANIFEST_DIR")))
        .args(arguments)
        .env_clear()
        .env("REDIS__HOST", "127.0.0.1")
        .env("REDIS__PORT", rig.server.port().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts")
}

/// Sends a number of requests in each of some tasks; every answer is right.
async fn python_callers(rig: &Rig) {
    let bodies = |caller: i64| {
        let body = move |request| json!({ "values": [FIRST, caller * 1_000 + request] });
        (0..REQUESTS).map(body).collect::<Vec<_>>()
    };
    let callers: Vec<_> = (0..CALLERS).map(bodies).collect();
    let work = json!({ "delay": 0.01, "timeout": 10, "callers": callers });
    let mut process = python(rig, "callers.py", &[]);
    let mut stdin = process.stdin.take().expect("it is piped");
    let work = work.to_string();
    stdin.write_all(work.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = process.wait_with_output().await.expect("it runs");
    let calls: Vec<Vec<(Value, f64)>> = serde_json::from_slice(&output.stdout).expect("answers");
    for (caller, calls) in (0..).zip(calls) {
        for (request, (answer, seconds)) in (0..).zip(calls) {
            let sum = FIRST + caller * 1_000 + request;
            assert_eq!(answer, json!({ "sum": sum }), "after {seconds} s");
        }
    }
}

pub(crate) async fn a_mixed_fleet_loses_nothing_when_rust_processors_are_killed(client: Client) {
    let rig = Rig::new(client);
    // It keeps ten times its batch size of the stream: more than all callers can send.
    let _python = python(&rig, "processor.py", &["64", "0.05"]);
    let mut processors = rig.processors(2).await;
    let caller = rig.caller().await;
    let load = rig.load(&caller, 32, PATIENCE);
    let kills = async {
        for kill in 0..4 {
            rig.answered(100).await;
            let processor = &mut processors[kill % 2];
            processor.kill();
            *processor = start(&rig.config());
            processor.ready().await;
        }
    };
    tokio::join!(kills, python_callers(&rig));
    load.stop().await;
    rig.ledger.assert(&[]);
    drop(caller);
    rig.end_after_deaths(processors).await;
}

/// As a Python processor trims the stream while a batch runs for most of a lease.
pub(crate) async fn a_failure_is_told_also_of_what_was_trimmed_meanwhile(client: Client) {
    let rig = Rig::new(client);
    let mut config = rig.config();
    config.pause = LEASE * 4 / 5;
    let processor = rig.processor_with(config).await;
    let caller = rig.caller().await;
    let ours = rig.begin_one(&caller, rig.job().act(Act::Fail), PATIENCE);
    eventually("it runs", || processor.has_run().len() == 1).await;
    let trim = || rig.probe.say::<i64>("XTRIM request MAXLEN 0");
    trim();
    let end = ours.await.expect("it does not panic");
    assert_eq!(kind(&end), "Handler", "{end:?}");

    let body = serde_json::to_string(&rig.job().act(Act::Fail)).expect("numbers");
    let theirs: String = rig.probe.say(&format!("XADD request * body {body}"));
    eventually("it runs", || processor.has_run().len() == 2).await;
    trim();
    let answer = || rig.probe.say::<Option<String>>(&format!("GET {theirs}"));
    eventually("it has its answer", || answer().is_some()).await;
    assert_eq!(answer().as_deref(), Some("null"));
    rig.probe.say::<()>(&format!("DEL {theirs}"));
    rig.ledger.assert(&["Handler"]);
    drop(caller);
    rig.end(vec![processor]).await;
}
