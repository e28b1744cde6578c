//! Typed dynamic batching: many callers with one request each, one function for many at once.
//!
//! # The problem
//!
//! Some functions cost hardly more for sixty requests than for one: a model's forward pass, a bulk
//! database read, an embedding call. But requests come one at a time, from tasks that know nothing
//! of each other. A *batcher* takes each caller's one request; a *processor* gathers requests until
//! it has [`batch_size`](BatchPolicy#structfield.batch_size) of them or
//! [`batch_time`](BatchPolicy#structfield.batch_time) has passed, runs one function
//! `Fn(Vec<Req>) -> Vec<Resp>`, and every caller gets exactly its own response, or an error that
//! says what happened.
//!
//! # The first batch
//!
//! This crate has the batcher, the processor and the traits of a transport between them. A
//! transport comes from a crate of its own: within one process `dynamic-batcher-memory`, which
//! needs no server and moves values of any `Send` type; between processes, and with Python on the
//! other side if need be, `dynamic-batcher-redis`. The code is the same.
//!
//! ```
//! use std::time::Duration;
//!
//! use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
//! use dynamic_batcher_memory::MemoryTransport;
//!
//! struct Values {
//!     values: Vec<i64>,
//! }
//!
//! #[derive(Debug, PartialEq)]
//! struct Sum {
//!     sum: i64,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> dynamic_batcher::Result<()> {
//! let transport = MemoryTransport::default();
//! let batcher: Batcher<Values, Sum> = Batcher::new(transport.clone());
//! let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
//! let processor = BatchProcessor::spawn(transport, policy, |batch: Vec<Values>| {
//!     batch.into_iter().map(|v| Sum { sum: v.values.iter().sum() }).collect::<Vec<_>>()
//! });
//!
//! assert_eq!(batcher.send(Values { values: vec![1, 5, 2] }).await?, Sum { sum: 8 });
//! processor.drain(Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Give each task a clone of the batcher. From here:
//!
//! - the function computes for more than a millisecond: [`BatchProcessor::spawn_blocking`];
//! - it has state, a model or a connection: [`Handler`], [`BatchProcessor::spawn_each`] and
//!   [`BatchProcessor::spawn_blocking_each`];
//! - single requests can fail: return `Vec<Result<Resp, E>>`, see [`BatchProcessor`];
//! - one request can fail its whole batch: [`OnBatchError`];
//! - a caller has many requests: [`Batcher::send_many`];
//! - a caller waits for less than 100 s: [`SendOptions::timeout`];
//! - what was in a batch, and why it was closed: [`Batcher::send_for_reply`] and [`ItemInfo`], or
//!   an [`Observer`] for all batches;
//! - where a request's time went: the spans of the module [`trace`].
//!
//! # Choosing a policy
//!
//! The default is that of the Python package: a batch of 64, or whatever has come 2 s after its
//! oldest request was sent. Two seconds suit a job that nobody watches. For a service:
//!
//! - [`WhenIdle::Run`] lets an idle processor take what is there. A lone caller waits for nobody,
//!   and under load batches form by themselves while the function runs. Begin with this.
//! - A window ([`WhenIdle::Wait`] with a `batch_time` of a few milliseconds) pays when the first
//!   requests of a burst would otherwise run in a small, dear batch. It is kept to a few tenths of
//!   a millisecond.
//! - `batch_size` is the largest batch that the function takes in its stride.
//! - `instances` is how many batches run at the same time: the number of devices, or of cores.
//! - [`warm_up`](BatchPolicy::warm_up) runs batches of your own before the first request, where a
//!   first run takes long.
//!
//! [*Choosing*](docs::choosing) has what each costs, with figures, and how to see whether it is right.
//! Most settings can [change](BatchProcessor::reconfigure) while the processor works; its
//! [`status`](BatchProcessor::status) says what waits, and for how long.
//!
//! # What a caller can rely on
//!
//! **One outcome, in time.** Every send ends in one response or one [`Error`], by its timeout
//! (100 s unless it says otherwise) or at most 100 ms later. The deadline is enforced by the
//! transport, not by the processor, so it holds while the request is queued, while an async or a
//! blocking handler is busy with it, and when nobody ever processes. It is late where a closure that
//! never awaits holds a thread of the caller's runtime, which may be the one that keeps the time: one that
//! returns no future, on a runtime with threads of its own, mostly only until it is
//! [known](BatchProcessor::spawn) to take long, and never with `spawn_blocking`. [`ErrorKind::Timeout`]
//! says whether a handler had started.
//!
//! **Its own outcome.** A panic, a wrong number of outputs, a batch that fails or runs too long is
//! an error for the callers of that batch alone; an item's own error is that item's alone. The
//! processor goes on. (A program built with `panic = "abort"` ends at a panic instead.) Errors keep the handler's text, and in process the handler's own error as
//! their [`source`](std::error::Error::source). Nothing asks a type of yours to be `Clone`.
//!
//! **Isolation, where you ask for it.** With [`BatchPolicy::on_batch_error`] a batch that fails as a
//! whole is run again in parts: the requests that are at fault get the error of a run of their own,
//! the others their responses. [`OnBatchError::Bisect`] finds one culprit among 64 in at most 12
//! more runs. It is for functions that may run a request more than once, with requests that are
//! `Clone`, and pays where failures are rare and a request's own fault; where a function can tell
//! which request failed, `Vec<Result<Resp, E>>` costs nothing.
//!
//! **At least once.** A request runs once, or, after its processor died or lost its lease, again:
//! [`BatchContext::attempt`] tells a [`Handler`] whose effects are not idempotent; closures are not
//! told. (Isolation runs it again too, on the same attempt.) One that was delivered as often as the transport permits without
//! an answer is given up, with [`ErrorKind::Undeliverable`].
//!
//! **Overload is refused.** A transport whose queue is bounded lets no more in than it may hold: the
//! others get [`ErrorKind::QueueFull`], which says [when](Error::retry_after) to come back. With
//! [`OnFull::Wait`] they wait instead, and the number of callers is the bound.
//!
//! **Order.** Within a batch requests stand in the order in which they came. Batches start in that
//! order too, and with more than one instance or processor they may end in any. Requests that were
//! given back come before the others; one on its last permitted delivery runs in a batch of its
//! own, ahead of the open one.
//!
//! **Cancellation.** Dropping the future of a send abandons its request: if no handler has started
//! on it, none will, and it takes no place in a batch; if one has, its output is dropped. (Between
//! processes a processor is not told of what it has read already: that may still run.) The
//! futures of [`BatchProcessor::ready`], [`ended`](BatchProcessor::ended) and
//! [`drain`](BatchProcessor::drain) can be dropped at any time; a drain goes on all the same.
//! Dropping a [`BatchProcessor`] stops it, dropping a [`ProcessorTask`] kills it: either way what
//! waited goes to other processors, and what ran ends in an error for its callers in process, and is
//! run again by others over Redis.
//!
//! **The end.** When the last processor goes, callers on a transport that can know it get
//! [`ErrorKind::Closed`] at once. When the last handle of an in-process transport goes (a batcher
//! has one, a processor has none), its processors finish and end; those over Redis go on.
//!
//! # Testing your own handler
//!
//! With the in-process transport and tokio's paused clock a test of a handler needs no server and
//! no time: windows and timeouts pass as fast as the test can run. (Not with `spawn_blocking`: the
//! paused clock does not wait for threads, and would run to the next deadline.) See
//! `examples/test_your_handler.rs` in the repository.
//!
//! # Chapters
//!
//! - [*Choosing a policy*](docs::choosing), with figures;
//! - [*writing a transport*](docs::writing_a_transport), with a small one;
//! - [*coming from another crate*](docs::migrating);
//! - [*why not otherwise*](docs::faq).
//!
//! # Features
//!
//! | feature | what | default |
//! |---|---|---|
//! | `json` | the `Json` codec, for transports that carry bytes | no |
//! | `metrics` | the module `telemetry`: an [`Observer`] that counts and times through the facade `metrics`; and one for a [`Batcher`] | no |
//! | `opentelemetry` | the spans of the module [`trace`] keep to OpenTelemetry's contexts: links, and traces from process to process | no |
//! | `tower` | a [`Batcher`] is a `tower::Service` | no |
//!
//! # Your own transport
//!
//! Implement [`Transport`], [`Source`] and [`Consumer`]; each states its contract. Run the suite
//! of `dynamic-batcher-conformance` on it, as [the chapter on it](docs::writing_a_transport) does.
//! A transport that carries bytes implements them for `Vec<u8>` and is lifted to all types by
//! [`Coded`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod any;
mod attached;
mod attend;
mod backoff;
mod batch;
mod batcher;
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench;
#[cfg_attr(not(feature = "metrics"), path = "calls/untold.rs")]
mod calls;
mod closure;
mod codec;
mod coded;
mod control;
pub mod docs;
pub mod env;
mod error;
mod former;
mod handler;
mod held;
mod instance;
mod isolate;
mod leave;
mod meta;
mod observer;
mod policy;
mod processor;
mod run;
#[cfg(feature = "tower")]
mod service;
mod slots;
mod spawn;
mod status;
#[cfg(feature = "metrics")]
pub mod telemetry;
pub mod trace;
mod transport;
mod turns;
mod warm_up;
mod window;

pub use admission::{Admission, OnFull};
pub use any::AnyTransport;
pub use backoff::Backoff;
pub use batcher::{Batcher, DEFAULT_TIMEOUT, SendOptions};
#[cfg(feature = "json")]
pub use codec::Json;
pub use codec::{Decode, Encode};
pub use coded::{Coded, CodedTicket};
pub use control::Phase;
pub use error::{BoxError, Error, ErrorKind, Result};
pub use handler::{BatchContext, Handler, IntoOutcome, Later, Now, Outcome};
pub use meta::{BatchId, BatchInfo, CallMeta, CloseReason, ItemInfo, Reply};
pub use observer::{Backlog, BatchReport, BatchStart, CallFailure, Load, NotRun, Observer};
pub use policy::{BatchPolicy, OnBatchError, ProcessorPolicy, WhenIdle};
pub use processor::{BatchProcessor, DrainReport, ProcessorTask};
pub use status::{ProcessorStatus, Totals};
pub use transport::{Answer, Consumer, Delivery, Source, Transport};
