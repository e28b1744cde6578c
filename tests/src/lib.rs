#![doc = include_str!("../README.md")]

mod case;
mod cases;
mod controlled;
mod erased;
mod fixture;
mod payload;
mod run;
mod stage;
mod suite;

pub use case::{Case, Promise};
pub use cases::cases;
pub use fixture::{Capabilities, Fixture, OpenOptions, WhenFull};
pub use payload::{Request, Response};
pub use suite::{Suite, run_case};
