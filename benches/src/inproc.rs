//! Batching within one process, beside the crates that do the same and the least that it can cost.

pub mod aims;
mod allocations;
mod arrivals;
pub mod choosing;
mod drive;
mod floor;
mod idle;
mod job;
pub mod measure;
mod ours;
mod peers;
pub mod report;
pub mod subject;
pub mod workload;

use std::num::NonZeroUsize;

/// The workers of the runtime, unless it is said how many: of two, one can wake the other.
pub const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();
