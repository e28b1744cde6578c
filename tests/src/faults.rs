//! What the fault tests are made of: processes to kill, a network to break, and a book of what every
//! request has come to.
//!
//! Over Redis alone, with real processes on the loopback. A *peer* is a caller or a processor in a
//! process of its own (the program `peer`).

mod job;
mod ledger;
mod peer;
mod probe;
pub mod progress;
mod proxy;
pub mod role;
mod signal;

pub use job::{Act, Done, Job, serve};
pub use ledger::{End, Failure, Ledger, Verdict, send};
pub use peer::{Client, Message, Peer, PeerConfig, Role};
pub use probe::{Consumer, Probe};
pub use proxy::{Network, Proxy};
pub use signal::{Signal, signal};
