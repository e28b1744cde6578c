//! Tells who cannot connect where it was tried: mostly it is the wrong place.

use std::error::Error as StdError;
use std::fmt;

use dynamic_batcher::{Error, ErrorKind};

/// Where no connection could be made, and why.
#[derive(Debug)]
struct FailedAt {
    address: String,
    cause: Error,
}

impl fmt::Display for FailedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.cause.detail())
    }
}

impl StdError for FailedAt {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}

/// The same error with the address, if it is the connection's.
pub(super) fn failed_at(address: String, error: Error) -> Error {
    match error.kind() {
        kind @ ErrorKind::Connection => {
            let cause = error;
            Error::with_source(kind, FailedAt { address, cause })
        }
        _ => error,
    }
}
