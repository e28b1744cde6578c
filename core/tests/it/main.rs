//! What the crate's features promise, on the in-process transport.

#[cfg(feature = "metrics")]
mod book;
#[cfg(feature = "metrics")]
mod flushes;
mod leaving;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "metrics")]
mod names;
mod panics;
mod reconfigure;
mod starts;
mod status;
#[cfg(feature = "tower")]
mod tower;
