//! The suite as a test program: every case on every fixture, by the names that cargo's test
//! harness would print.

use std::fmt;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::case::Case;
use crate::cases::cases;
use crate::fixture::{Fixture, SharedFixture};
use crate::run::run;

/// The cases on each of the fixtures given.
#[derive(Default)]
pub struct Suite {
    fixtures: Vec<SharedFixture>,
}

impl Suite {
    /// Adds a transport.
    #[must_use]
    pub fn with(mut self, fixture: impl Fixture) -> Self {
        self.fixtures.push(Arc::new(fixture));
        self
    }

    /// Runs all cases that the command line asks for, as the `main` of a test with
    /// `harness = false`. Trials are called `fixture::case [promise]`; what a transport cannot do
    /// is listed as ignored.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let trials = self.fixtures.iter().flat_map(|fixture| {
            let trial = |case: &Case| trial(Arc::clone(fixture), *case);
            cases().map(trial).collect::<Vec<_>>()
        });
        let mut arguments = Arguments::from_args();
        // Where time is real, cases wait for most of theirs.
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        arguments.test_threads.get_or_insert(4 * cores);
        libtest_mimic::run(&arguments, trials.collect()).exit_code()
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.fixtures.iter().map(|fixture| fixture.name());
        f.debug_list().entries(names).finish()
    }
}

/// Runs one case on one transport, whether or not the transport claims to be able to.
///
/// # Errors
///
/// What the case found, as text; or that it hung.
pub fn run_case(fixture: impl Fixture, case: &Case) -> Result<(), String> {
    run(Arc::new(fixture), *case)
}

fn trial(fixture: SharedFixture, case: Case) -> Trial {
    let name = format!("{}::{} [{}]", fixture.name(), case.name(), case.promise());
    Trial::ignorable_test(name, move || {
        if !case.applies_to(&fixture.capabilities()) {
            return Ok(Completion::ignored_with(
                "beyond this transport's capabilities",
            ));
        }
        run(fixture, case).map_err(Failed::from)?;
        Ok(Completion::Completed)
    })
}
