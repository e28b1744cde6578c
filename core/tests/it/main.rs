//! What the crate's features promise, on the in-process transport.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "metrics")]
mod names;
#[cfg(feature = "tower")]
mod tower;
