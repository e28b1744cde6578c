//! One case of the suite: its name, what it needs, and the promise that it checks.

use std::fmt;
use std::num::NonZeroUsize;

use futures_util::future::BoxFuture;

use crate::fixture::{Capabilities, OpenOptions, WhenFull};
use crate::stage::Stage;

/// What the library promises its users, as far as it depends on the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// Every send ends: in a response or in a typed error, and never later than its timeout.
    G1,
    /// A response reaches the caller of its request and nobody else; a request runs once.
    G2,
    /// One bad request fails alone, one bad batch fails alone.
    G6,
    /// Overload is refused with the time after which to try again; nothing accepted is dropped.
    G7,
    /// A drain ends by its deadline, and what it gives back goes to others at once.
    G8,
    /// Batches are formed as the policy says.
    Forming,
    /// A request whose caller is gone is not started.
    Abandonment,
    /// Callers learn which batch served them.
    Info,
    /// What the documentation of `Transport`, `Source` and `Consumer` asks for.
    Contract,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One case. [`cases`](crate::cases) lists them all.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    promise: Promise,
    pub(crate) options: OpenOptions,
    pub(crate) needs: fn(&Capabilities) -> bool,
    /// It blocks threads, which a paused clock does not wait for.
    pub(crate) blocks_threads: bool,
    pub(crate) run: fn(Stage) -> BoxFuture<'static, ()>,
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        promise: Promise,
        run: fn(Stage) -> BoxFuture<'static, ()>,
    ) -> Self {
        Self {
            name,
            promise,
            options: OpenOptions {
                max_queue: None,
                when_full: WhenFull::Reject,
            },
            needs: |_| true,
            blocks_threads: false,
            run,
        }
    }

    pub(crate) const fn needs(mut self, needs: fn(&Capabilities) -> bool) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn blocks_threads(mut self) -> Self {
        self.blocks_threads = true;
        self
    }

    pub(crate) const fn max_queue(mut self, max_queue: usize) -> Self {
        self.options.max_queue = NonZeroUsize::new(max_queue);
        self
    }

    pub(crate) const fn waits_when_full(mut self) -> Self {
        self.options.when_full = WhenFull::Wait;
        self
    }

    /// What it checks, in words joined by underscores.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The promise that is broken when it fails.
    #[must_use]
    pub const fn promise(&self) -> Promise {
        self.promise
    }

    /// Whether it can be asked of a transport that can do `capabilities`.
    #[must_use]
    pub fn applies_to(&self, capabilities: &Capabilities) -> bool {
        (self.needs)(capabilities)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({} [{}])", self.name, self.promise)
    }
}

/// The case that a function of the same name runs.
macro_rules! case {
    ($promise:ident, $run:ident) => {
        $crate::case::Case::new(stringify!($run), $crate::case::Promise::$promise, |stage| {
            ::std::boxed::Box::pin($run(stage))
        })
    };
}
pub(crate) use case;
