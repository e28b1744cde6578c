//! Dynamic batching over Redis: where its parts find each other.
//!
//! This crate holds what a caller and a processor in different processes must agree on before they
//! speak: the connection and the names, [`RedisConfig`], read from the same environment variables
//! as the Python package `dynamic-batcher` reads, and the [`Keys`] in Redis that follow from them.

mod config;
mod keys;

pub use config::RedisConfig;
pub use keys::Keys;
