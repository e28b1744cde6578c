//! Each answer in a key of its own, which the caller looks for.

use std::collections::VecDeque;
use std::time::Duration;

use crate::closed_loop::Tally;
use crate::wire::floor::in_flight::InFlight;
use crate::wire::floor::{acknowledge, delete, read_entries, read_together, together};
use crate::wire::payload::Values;
use crate::wire::resp::{Commands, Connection};

/// The most requests whose answers are looked for at once. Answers come nearly in the order of
/// requests, so that looking for the oldest is enough: looking for thousands, of which few are there,
/// costs the server more than all the rest.
const LOOKED_FOR: usize = 256;

/// Looks for answers all the time, or after such a pause.
pub(super) fn call<F: FnMut()>(
    mut connection: Connection,
    mut in_flight: InFlight<F>,
    pause: Option<Duration>,
) -> Tally {
    // The oldest first: the key that the answer will have, and the request's number.
    let mut unanswered: VecDeque<(Vec<u8>, u64)> = VecDeque::new();
    let mut missing = Vec::new();
    let mut added = Vec::new();
    let mut body = Vec::new();
    let mut taken = Commands::default();
    let mut taken_count = 0;
    while in_flight.go_on() {
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
        added.clear();
        let unsent = in_flight.unsent();
        together(&mut connection.commands, unsent, |commands| {
            while let Some((request, values)) = in_flight.next() {
                body.clear();
                serde_json::to_writer(&mut body, &values).expect("numbers are JSON");
                let add = commands.command(5);
                add.word(b"XADD").word(b"request").word(b"*");
                add.word(b"body").word(&body);
                added.push(request);
            }
        });
        let delete = taken_count > 0;
        if delete {
            let delete = connection.commands.command(1 + taken_count).word(b"DEL");
            delete.encoded(&taken);
            taken.clear();
            taken_count = 0;
        }
        let looked_for = unanswered.len().min(LOOKED_FOR);
        if looked_for > 0 {
            let get = connection.commands.command(1 + looked_for).word(b"MGET");
            for (key, _) in unanswered.range(..looked_for) {
                get.word(key);
            }
        }
        connection.send();

        read_together(&mut connection, added.len());
        for request in &added {
            let id = connection.text().unwrap_or_default();
            unanswered.push_back((id.to_vec(), *request));
        }
        if delete {
            connection.number();
        }
        if looked_for > 0 {
            connection.list();
            in_flight.received();
        }
        for (key, request) in unanswered.drain(..looked_for) {
            if let Some(json) = connection.text() {
                in_flight.answered(request, json);
                taken.word(&key);
                taken_count += 1;
            } else {
                missing.push((key, request));
            }
        }
        for each in missing.drain(..).rev() {
            unanswered.push_front(each);
        }
    }
    in_flight.tally()
}

/// `acknowledges`: at once, which callers of the Python package would take for a loss.
pub(super) fn process(mut connection: Connection, read: &Commands, acknowledges: bool) -> ! {
    connection.commands.encoded(read);
    let mut ids = Commands::default();
    let mut answers = Vec::new();
    loop {
        connection.send();
        for _ in 0..answers.len() {
            connection.text();
        }
        if !answers.is_empty() {
            if acknowledges {
                connection.number();
            }
            // XDEL
            connection.number();
        }
        ids.clear();
        answers.clear();
        read_entries(&mut connection, |id, fields, connection| {
            ids.word(id);
            for _ in 0..fields {
                connection.text();
                let body = connection.text().unwrap_or_default();
                let values: Values = serde_json::from_slice(body).expect("a request");
                answers.push((id.to_vec(), values.sum()));
            }
        });
        for (id, sum) in &answers {
            let json = serde_json::to_vec(sum).expect("numbers are JSON");
            let set = connection.commands.command(5).word(b"SET");
            set.word(id).word(&json).word(b"EX").word(b"600");
        }
        if acknowledges {
            acknowledge(&mut connection.commands, answers.len(), &ids);
        }
        delete(&mut connection.commands, answers.len(), &ids);
        connection.commands.encoded(read);
    }
}
