//! The floors: what a layout of the data in Redis costs by itself. One bare thread sends requests
//! and receives answers, another one (of a process of its own) takes batches and answers them. Both
//! speak the protocol by hand and do nothing that the layout does not ask for: no leases, no
//! deadlines, no withdrawal, no reconnection, no errors.

mod documented;
mod in_flight;
mod reply_stream;

use std::time::Duration;

use crate::closed_loop::{Spell, Tally};
use crate::wire::resp::{Commands, Connection};
use crate::wire::workload::BATCH_SIZE;
use in_flight::InFlight;

/// How often the Python package looks for an answer.
const PYTHON_DELAY: Duration = Duration::from_millis(10);

/// Where answers stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// Each in a key of its own, named like its request: the layout that the Python package has.
    Documented,
    /// The same with the Python package at the other end: answers are looked for as seldom as that
    /// package does, and nothing is acknowledged, as that package's callers need it.
    Python,
    /// Those of a batch together in one entry of the caller's stream.
    ReplyStream,
    /// The same, where the request stream is cut off behind a batch, as this library does it: where the server
    /// sees that nothing else stands there.
    Cut,
}

impl Layout {
    /// Keeps so many requests on their way. `at_edge` is called when the measurement begins and when
    /// it ends.
    pub(crate) fn call(
        self,
        port: u16,
        callers: u64,
        spell: Spell,
        at_edge: impl FnMut(),
    ) -> Tally {
        let connection = Connection::open(port);
        let in_flight = InFlight::new(callers, spell, at_edge);
        match self {
            Self::Documented => documented::call(connection, in_flight, None),
            Self::Python => documented::call(connection, in_flight, Some(PYTHON_DELAY)),
            Self::ReplyStream | Self::Cut => reply_stream::call(connection, in_flight),
        }
    }

    /// Answers requests until the process is ended.
    pub(crate) fn process(self, port: u16) -> ! {
        let mut connection = Connection::open(port);
        let create = "XGROUP CREATE request processor 0 MKSTREAM";
        connection.commands.line(create);
        connection.send();
        // An error when another processor was faster, which is as good.
        let _ = connection.item();
        let consumer = std::process::id();
        let mut read = Commands::default();
        read.line(&format!(
            "XREADGROUP GROUP processor {consumer} COUNT {BATCH_SIZE} BLOCK 0 STREAMS request >"
        ));
        match self {
            Self::Documented => documented::process(connection, &read, true),
            Self::Python => documented::process(connection, &read, false),
            Self::ReplyStream => reply_stream::process(connection, &read, false),
            Self::Cut => reply_stream::process(connection, &read, true),
        }
    }
}

/// Gathers `count` requests, and has the server take them in one step: a processor that waits would
/// else be given the first one by itself, before the server has read the others.
fn together(commands: &mut Commands, count: usize, gather: impl FnOnce(&mut Commands)) {
    if count > 1 {
        commands.line("MULTI");
    }
    gather(commands);
    if count > 1 {
        commands.line("EXEC");
    }
}

/// Reads what the server says before the replies to these requests.
fn read_together(connection: &mut Connection, count: usize) {
    if count > 1 {
        // OK, and QUEUED for each.
        for _ in 0..=count {
            connection.text();
        }
        assert_eq!(connection.list(), count);
    }
}

/// Reads the entries that a read of one stream gives. `each` has an entry's id and number of fields,
/// and reads these.
fn read_entries(connection: &mut Connection, mut each: impl FnMut(&[u8], usize, &mut Connection)) {
    let mut id = Vec::new();
    for _stream in 0..connection.list() {
        // Its key and its entries.
        connection.list();
        connection.text();
        for _entry in 0..connection.list() {
            connection.list();
            id.clear();
            id.extend_from_slice(connection.text().unwrap_or_default());
            let fields = connection.list() / 2;
            each(&id, fields, connection);
        }
    }
}

fn acknowledge(commands: &mut Commands, count: usize, ids: &Commands) {
    let acknowledge = commands.command(3 + count).word(b"XACK");
    acknowledge.word(b"request").word(b"processor").encoded(ids);
}

fn delete(commands: &mut Commands, count: usize, ids: &Commands) {
    let delete = commands.command(2 + count).word(b"XDEL");
    delete.word(b"request").encoded(ids);
}
