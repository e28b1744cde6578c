//! Dynamic batching.

mod any;
mod batch;
mod batcher;
mod codec;
mod coded;
mod control;
mod env;
mod error;
mod former;
mod handler;
mod held;
mod instance;
mod meta;
mod observer;
mod policy;
mod processor;
mod run;
mod slots;
mod transport;
mod window;

pub use any::AnyTransport;
pub use batcher::{Batcher, DEFAULT_TIMEOUT, SendOptions};
#[cfg(feature = "json")]
pub use codec::Json;
pub use codec::{Decode, Encode};
pub use coded::{Coded, CodedTicket};
pub use control::Phase;
pub use error::{BoxError, Error, ErrorKind, Result};
pub use handler::{BatchContext, Handler, IntoOutcome, Later, Now, Outcome};
pub use meta::{BatchId, BatchInfo, CallMeta, CloseReason, ItemInfo, Reply};
pub use observer::{BatchReport, NotRun, Observer};
pub use policy::{BatchPolicy, WhenIdle};
pub use processor::{BatchProcessor, DrainReport, ProcessorStatus, ProcessorTask};
pub use transport::{Answer, Consumer, Delivery, Source, Transport};
