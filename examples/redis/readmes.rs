//! The code in the READMEs, compiled and run: this package depends on all that they name.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Workspace;

#[cfg(doctest)]
#[doc = include_str!("../../core/README.md")]
struct Core;

#[cfg(doctest)]
#[doc = include_str!("../../transport-memory/README.md")]
struct Memory;

#[cfg(doctest)]
#[doc = include_str!("../../transport-redis/README.md")]
struct Redis;
