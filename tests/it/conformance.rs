//! The suite over the transports of this workspace.

use std::process::ExitCode;

use dynamic_batcher::{Coded, Json};
use dynamic_batcher_conformance::{Capabilities, Fixture, OpenOptions, Request, Response, Suite};
use dynamic_batcher_memory::MemoryTransport;

mod fixtures;
// It is written as a program of its own.
#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/own_transport.rs"]
mod own_transport;

use fixtures::{Memory, config, in_process};
use own_transport::ChannelTransport;

fn main() -> ExitCode {
    Suite::default()
        .with(Memory)
        .with(MemoryOfBytes)
        .with(OwnTransport)
        .main()
}

/// The in-process transport carrying bytes, so that every request and response goes through a codec.
struct MemoryOfBytes;

impl Fixture for MemoryOfBytes {
    type Transport = Coded<MemoryTransport<Vec<u8>, Vec<u8>>, Json>;
    type Source = Self::Transport;

    fn name(&self) -> &str {
        "memory_of_bytes"
    }

    fn capabilities(&self) -> Capabilities {
        in_process()
    }

    async fn open(&self, options: OpenOptions) -> (Self::Transport, Self::Source) {
        let transport = Coded::new(MemoryTransport::new(config(options)), Json);
        (transport.clone(), transport)
    }
}

/// The transport that the examples build, as somebody else would.
struct OwnTransport;

impl Fixture for OwnTransport {
    type Transport = ChannelTransport<Request, Response>;
    type Source = ChannelTransport<Request, Response>;

    fn name(&self) -> &str {
        "own_transport"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            bounded_queue: false,
            waits_when_full: false,
            ..in_process()
        }
    }

    async fn open(&self, _: OpenOptions) -> (Self::Transport, Self::Source) {
        let transport = ChannelTransport::default();
        (transport.clone(), transport)
    }
}
