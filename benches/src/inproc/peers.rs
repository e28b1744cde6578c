//! Other crates that do the same job, each set up as its documentation recommends for many requests.
//!
//! None of them has a deadline for a call, and none is given one.

pub(crate) mod amate;
pub(crate) mod batch_aint_one;
pub(crate) mod batched_fn;
pub(crate) mod tower_batch_control;
