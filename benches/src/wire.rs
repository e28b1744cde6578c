//! Batching between processes over Redis, beside what its layouts cost by themselves and the Python
//! package. Each run has a server of its own.

pub mod aims;
mod floor;
pub mod idle;
pub mod long;
pub mod measure;
mod payload;
mod probe;
pub mod processors;
mod python;
pub mod report;
mod resp;
pub mod results;
mod rust;
pub mod subject;
pub mod workload;
