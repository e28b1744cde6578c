//! The Redis transport of `dynamic-batcher`: callers and processors in different processes, on
//! different hosts, in different languages.
//!
//! Wire-compatible, in both directions, with the Python package `dynamic-batcher` 1.0.6.1: Python
//! callers with Rust processors, Rust callers with Python processors, and mixed fleets on the same
//! stream.
//!
//! - [`RedisTransport`]: for both sides, over either of two client crates.
//! - [`RedisConfig`]: where Redis is, what the keys are called, leases and limits; from code, from a
//!   URL, or from the Python package's environment variables.
//! - [`DeadLetters`]: the requests that were given up.
//!
//! And three pages:
//!
//! - [*guarantees*](guarantees): what you can rely on, what happens at each fault, and the tests that
//!   show it;
//! - [*production*](production): the server's settings, its users, sizes, what to watch;
//! - [*coming from the Python package*](coming_from_python): what is where, and what is different.
//!
//! # Features
//!
//! | feature | what | default |
//! |---|---|---|
//! | `client-redis` | [`RedisTransport::connect`], over the crate `redis` | yes |
//! | `client-fred` | `RedisTransport::connect_fred`, over the crate `fred` | no |
//! | `opentelemetry` | the traces of callers go on in the processors, see [`trace`](dynamic_batcher::trace) | no |
//!
//! Both clients can be compiled in; which one is used is a value. With `fred` a database is 0 to 255,
//! a unix socket is on Unix alone, there is no counterpart of [`RedisTransport::with_redis_found`], and a
//! password that the server does not ask for is ignored, with `redis` refused; nothing else differs.
//!
//! TLS is a feature of the client crate: name that crate beside this one, in the version that this one uses
//! (`redis` 1, `fred` 10), with the feature of the
//! kind of TLS that you use (`tokio-rustls-comp` and others of `redis`, `enable-rustls` and others of
//! `fred`), and a URL `rediss://…` works. Certificates of your own, and whatever else a client crate's
//! options offer, come with a client of yours: [`RedisTransport::with_redis`] takes its options, and
//! [`RedisTransport::with_redis_found`] asks for them before each connection, as Sentinel needs it.
//!
//! # Leases, and requests that are given up
//!
//! What a processor has read is leased to it for [`lease`](RedisConfig#structfield.lease) (30 s), which
//! it renews for as long as it lives. When a lease runs out, or a processor is stopped with requests
//! running, others take those over, which counts as one more delivery; a connection that was lost does
//! not. Before the last of
//! [`max_deliveries`](RedisConfig#structfield.max_deliveries) (3) a request is taken by a processor that
//! holds nothing else, and runs alone. After the last one it goes to the [dead letters](DeadLetters)
//! and its caller gets [`Undeliverable`](dynamic_batcher::ErrorKind::Undeliverable). What cannot be
//! read, from a writer that cannot be told, goes there too. Letters do not
//! expire: somebody removes them or sends them again, as `examples/redis/dead_letters.rs` in the
//! repository does.
//!
//! # The queue is bounded
//!
//! Each pipeline of requests is added by one script, which first looks how many entries the stream has
//! (`XLEN`: waiting and running, of all callers) and adds those that there is room for, up to
//! [`max_queue`](RedisConfig#structfield.max_queue) (65536). The others get
//! [`QueueFull`](dynamic_batcher::ErrorKind::QueueFull) at once, with a time after which to come back,
//! or with [`OnFull::Wait`](dynamic_batcher::OnFull::Wait) wait for room until their timeouts. A server
//! whose memory is full is a full queue too.
//!
//! # When the connection fails
//!
//! Both sides connect again by themselves. Requests of which it is not known whether they have arrived
//! are sent again, so that one may stand there, and run, twice: it has a number of its caller's (`idem`),
//! under which the first outcome counts and no other. When sending has failed for 10 s, since the first
//! failure, the requests that still are to be sent end in [`Connection`](dynamic_batcher::ErrorKind::Connection)
//! (the 10 s begin anew where nothing was to be sent for 2 s), and so does
//! one that meets a full queue when it is sent again, since it may have been let in before; timeouts
//! hold all the while. Answers are sent again for as long as a lease. A caller that looks for what it
//! has sent, and finds neither the request nor an answer, ends the call with
//! [`Lost`](dynamic_batcher::ErrorKind::Lost).
//!
//! # Draining
//!
//! A processor that drains reads nothing new, answers what runs, and gives back what it has read and
//! not started, which does not count as a delivery. What still runs at the deadline goes to others too
//! and counts as one, as it does when a processor is stopped: give a drain more time than a batch takes.
//! A notice tells the others, who take it at once.
//! Then it waits, at most until the deadline, until Python callers have taken their answers, and
//! removes its consumer.
//!
//! # What is in Redis
//!
//! | key | what | for how long |
//! |---|---|---|
//! | `request` | the requests: a stream, as the Python package has it, with fields beside `body` that tell a processor of ours where to answer | each entry until it was answered |
//! | its group `processor` | a consumer `rust-…` for each processor of ours | until it drains; one that died is removed by the others when nothing is pending on it and it has been silent for a lease, and 10 s at least |
//! | `{request}:reply:…` | the answers to one caller of ours: a stream, with an entry for each batch | trimmed by the caller; expires 60 s after its last sign of life |
//! | the id of a request | the response for a Python caller | 600 s, unless it takes it before |
//! | `{request}:again` | notices that requests were given back: a stream, with the group `processor` and its consumers | each notice until one has read it |
//! | `{request}:dead` | the dead letters: a stream | until removed; about the newest 10,000 |
//! | `response`, with the group `batcher` | nothing: the Python package makes it, and so do we | |
//!
//! Of a finished request nothing stays. [`Keys`] has all names. Redis 6.2 or later; not Redis Cluster.
//! For a server to try it with, `docker compose up --detach` in the repository.
//!
//! Two request streams in one database can give their entries the same id, and the documented
//! response key is that id alone: where Python callers or processors take part, give each stream a
//! database of its own.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "client-redis", feature = "client-fred")))]
compile_error!("dynamic-batcher-redis needs a client: enable `client-redis` or `client-fred`");

mod admit;
mod answer;
mod backlog;
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench;
mod call;
mod caller;
mod callers;
mod client;
mod clock;
mod command;
mod commands;
mod config;
mod dead;
mod entry;
mod give_way;
mod groups;
mod idem;
mod inbox;
mod keys;
mod numbers;
mod outstanding;
mod place;
mod reader;
mod reclaim;
mod replies;
mod reply;
mod request;
mod source;
#[cfg(test)]
mod strategies;
mod submit;
mod texts;
mod transport;
mod types;
mod value;
mod wire;

#[doc = include_str!("../docs/coming_from_python.md")]
pub mod coming_from_python {}

#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("../docs/production.md")]
pub mod production {}

pub use config::RedisConfig;
pub use dead::{DeadLetter, DeadLetters};
pub use keys::Keys;
pub use source::{RedisConsumer, RedisTicket};
pub use transport::RedisTransport;
pub use types::{PendingRequestStream, ResponseStream};
