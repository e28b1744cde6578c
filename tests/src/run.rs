//! Runs one case on one transport: on a thread, a runtime and a clock of its own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::case::Case;
use crate::fixture::SharedFixture;
use crate::stage::{Clock, Stage};

/// By this real time a case has ended or has failed.
const WATCHDOG: Duration = Duration::from_secs(60);
/// A case that waits for what never comes ends here by the clock that it runs on: on a paused one
/// no real time passes until then.
const LONGEST_ON_PAUSED_CLOCK: Duration = Duration::from_secs(2 * 3600);
const LONGEST_ON_REAL_CLOCK: Duration = Duration::from_secs(50);

/// Runs a case. `Err` says why it failed.
pub(crate) fn run(fixture: SharedFixture, case: Case) -> Result<(), String> {
    let (sender, outcome) = mpsc::channel();
    thread::Builder::new()
        .name(case.name().to_owned())
        .spawn(move || {
            let played = catch_unwind(AssertUnwindSafe(|| play(&fixture, &case)));
            // Nobody listens after the watchdog has barked.
            let _ = sender.send(played.unwrap_or_else(|panic| Err(text(&*panic))));
        })
        .map_err(|error| format!("no thread for the case: {error}"))?;
    outcome
        .recv_timeout(WATCHDOG)
        .unwrap_or_else(|_| Err(format!("hung: not ended after {WATCHDOG:?}")))
}

fn play(fixture: &SharedFixture, case: &Case) -> Result<(), String> {
    let capabilities = fixture.capabilities();
    let (clock, longest) = if capabilities.paused_clock && !case.blocks_threads {
        (Clock::Paused, LONGEST_ON_PAUSED_CLOCK)
    } else {
        (Clock::Real, LONGEST_ON_REAL_CLOCK)
    };
    let runtime = runtime(clock).map_err(|error| format!("no runtime for the case: {error}"))?;
    runtime.block_on(async {
        let (batcher, source) = fixture.open(case.options).await;
        let stage = Stage {
            batcher,
            source,
            clock,
        };
        timeout(longest, (case.run)(stage))
            .await
            .map_err(|_| format!("hung: waits for what does not come within {longest:?}"))
    })
}

fn runtime(clock: Clock) -> std::io::Result<Runtime> {
    match clock {
        Clock::Paused => Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build(),
        Clock::Real => Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build(),
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panicked with a value that is no text".to_owned())
}
