//! The Redis transport of `dynamic-batcher`: callers and processors in different processes, on
//! different hosts, in different languages.
//!
//! Wire-compatible, in both directions, with the Python package `dynamic-batcher` 1.0.6.1: Python
//! callers with Rust processors, Rust callers with Python processors, and mixed fleets on the same
//! stream. What it does where that package loses or hangs is in
//! [*coming from the Python package*](coming_from_python).
//!
//! - [`RedisTransport`]: for both sides, over either of two client crates.
//! - [`RedisConfig`]: where Redis is and what the keys are called, from code or from the Python
//!   package's environment variables.
//!
//! # Features
//!
//! | feature | what | default |
//! |---|---|---|
//! | `client-redis` | [`RedisTransport::connect`], over the crate `redis` | yes |
//! | `client-fred` | `RedisTransport::connect_fred`, over the crate `fred` | no |
//!
//! Both can be compiled in; which one is used is a value, and nothing else differs.
//!
//! TLS is a feature of the client crate: name that crate beside this one, with the feature of the
//! kind of TLS that you use (`tokio-rustls-comp` and others of `redis`, `enable-rustls` and others of
//! `fred`), and a URL `rediss://…` works. Certificates of your own, Sentinel, and whatever else a
//! client crate offers come with a client of yours: [`RedisTransport::with_redis`] takes its options.
//!
//! # What is in Redis
//!
//! Requests on a stream, as the Python package has them, with fields beside `body` that tell a
//! processor of ours where to answer; answers of a batch to one caller in one entry of that caller's
//! reply stream; for Python callers the response under the entry's id for 600 s. Of a finished
//! request nothing stays. [`Keys`] has all names. Redis 6.2 or later; not Redis Cluster. For a server
//! to try it with, `docker compose up --detach` in the repository.
//!
//! Two request streams in one database can give their entries the same id, and the documented
//! response key is that id alone: where Python callers or processors take part, give each stream a
//! database of its own.

#[cfg(not(any(feature = "client-redis", feature = "client-fred")))]
compile_error!("dynamic-batcher-redis needs a client: enable `client-redis` or `client-fred`");

mod admit;
mod answer;
mod caller;
mod client;
mod clock;
mod command;
mod commands;
mod config;
mod dead;
mod entry;
mod inbox;
mod keys;
mod outstanding;
mod place;
mod reader;
mod reclaim;
mod replies;
mod reply;
mod request;
mod source;
mod submit;
mod transport;
mod types;
mod value;

#[doc = include_str!("../docs/coming_from_python.md")]
pub mod coming_from_python {}

pub use config::RedisConfig;
pub use dead::{DeadLetter, DeadLetters};
pub use keys::Keys;
pub use source::{RedisConsumer, RedisTicket};
pub use transport::RedisTransport;
pub use types::{PendingRequestStream, ResponseStream};
