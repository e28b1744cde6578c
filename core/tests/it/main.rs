//! What the crate's features promise, on the in-process transport.

#[cfg(feature = "tower")]
mod tower;
