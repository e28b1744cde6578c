//! Benchmarks of dynamic-batcher against the least that the job can cost, side by side in one run.
//!
//! Machines differ and are noisy, so what counts is the ratio to a floor that was measured in the
//! same rounds, never the absolute figure.

mod aims;
pub mod arguments;
pub mod closed_loop;
pub mod inproc;
pub mod machine;
mod processor_time;
pub mod statistics;
pub mod wire;

/// The manual's page for those who come from another crate: its code needs those crates, which are
/// here.
#[cfg(doctest)]
#[doc = include_str!("../../core/docs/migrating.md")]
struct Migrating;
