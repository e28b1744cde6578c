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
