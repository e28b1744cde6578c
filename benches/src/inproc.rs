//! Batching within one process, beside a bare channel.

pub mod measure;
pub mod report;
pub mod subject;
pub mod workload;
