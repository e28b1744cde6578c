//! The chapters of the manual.

#[doc = include_str!("../docs/writing_a_transport.md")]
pub mod writing_a_transport {}
