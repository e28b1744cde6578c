//! The chapters of the manual.

#[doc = include_str!("../docs/choosing.md")]
pub mod choosing {}

#[doc = include_str!("../docs/faq.md")]
pub mod faq {}

// Compiled where the other crates are, in the benchmarks.
#[cfg_attr(not(doctest), doc = include_str!("../docs/migrating.md"))]
#[cfg_attr(doctest, doc = "")]
pub mod migrating {}

#[doc = include_str!("../docs/writing_a_transport.md")]
pub mod writing_a_transport {}
