#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod case;
mod cases;
mod controlled;
mod erased;
#[cfg(feature = "faults")]
pub mod faults;
mod fixture;
mod payload;
mod run;
mod server;
mod stage;
mod suite;

pub use case::{Case, Promise};
pub use cases::cases;
pub use fixture::{Capabilities, Fixture, OpenOptions, WhenFull};
pub use payload::{Request, Response};
pub use server::{RedisServer, free_port};
pub use suite::{Suite, run_case};
