//! Answers of a batch in one entry of the caller's stream, which the caller waits on.

use std::time::{Duration, Instant};

use crate::closed_loop::Tally;
use crate::wire::floor::in_flight::InFlight;
use crate::wire::floor::{acknowledge, delete, read_entries, read_together, together};
use crate::wire::payload::Values;
use crate::wire::resp::{Commands, Connection};

/// Of the shape that processors of the library would accept.
const REPLY_STREAM: &str = "{request}:reply:0123456789abcdef0123456789abcdef";
/// As often as the library does it at most.
const TRIM_EVERY: Duration = Duration::from_millis(100);
/// Fewer entries are deleted one by one as fast as by a look and a cut.
const MIN_RUN: u64 = 8;
/// Ends the entries ARGV[3..] of the stream KEYS[1], between whose ids there is room for no other, in the
/// group ARGV[1]: where nothing stands before them the stream is cut off before ARGV[2], the id behind the
/// last, else they are deleted one by one. As the library does it, which loses nobody's requests.
const END: &str = "\
    local stream, first = KEYS[1], '(' .. ARGV[3]
    local before = redis.call('XPENDING', stream, ARGV[1], '-', first, 1)
    if #before == 0 then before = redis.call('XRANGE', stream, '-', first, 'COUNT', 1) end
    if #before == 0 then redis.call('XTRIM', stream, 'MINID', ARGV[2])
    else redis.call('XDEL', stream, unpack(ARGV, 3)) end
    return redis.call('XACK', stream, ARGV[1], unpack(ARGV, 3))";

/// One connection is enough: while nothing has been answered there is nothing to be sent.
pub(super) fn call<F: FnMut()>(mut connection: Connection, mut in_flight: InFlight<F>) -> Tally {
    connection.ask(&format!("XADD {REPLY_STREAM} * made 1"));
    let refresh = format!("EXPIRE {REPLY_STREAM} 60");
    connection.commands.line(&refresh);
    connection.send();
    connection.number();
    let mut last = b"0".to_vec();
    let mut trimmed = Instant::now();
    let mut body = Vec::new();
    while in_flight.go_on() {
        let added = in_flight.unsent();
        together(&mut connection.commands, added, |commands| {
            while let Some((request, values)) = in_flight.next() {
                body.clear();
                serde_json::to_writer(&mut body, &values).expect("numbers are JSON");
                let add = commands.command(13);
                add.word(b"XADD").word(b"request").word(b"*");
                add.word(b"body").word(&body);
                add.word(b"v").word(b"1");
                add.word(b"reply_to").word(REPLY_STREAM.as_bytes());
                add.word(b"idem").number(request);
                add.word(b"timeout_ms").word(b"100000");
            }
        });
        let upkeep = trimmed.elapsed() >= TRIM_EVERY;
        if upkeep {
            trimmed = Instant::now();
            connection.commands.line(&refresh);
            let trim = connection.commands.command(4).word(b"XTRIM");
            trim.word(REPLY_STREAM.as_bytes())
                .word(b"MINID")
                .word(&last);
        }
        let read = connection.commands.command(8).word(b"XREAD");
        read.word(b"COUNT").word(b"1000").word(b"BLOCK").word(b"0");
        read.word(b"STREAMS")
            .word(REPLY_STREAM.as_bytes())
            .word(&last);
        connection.send();

        read_together(&mut connection, added);
        for _ in 0..added {
            connection.text();
        }
        if upkeep {
            connection.number();
            connection.number();
        }
        receive(&mut connection, &mut in_flight, &mut last);
    }
    in_flight.tally()
}

fn receive<F: FnMut()>(
    connection: &mut Connection,
    in_flight: &mut InFlight<F>,
    last: &mut Vec<u8>,
) {
    read_entries(connection, |id, fields, connection| {
        in_flight.received();
        last.clear();
        last.extend_from_slice(id);
        for _ in 0..fields {
            let name = std::str::from_utf8(connection.text().unwrap_or_default());
            let request = name.ok().and_then(|name| name.parse().ok());
            let value = connection.text().unwrap_or_default();
            match (request, value) {
                (Some(request), [b'+', json @ ..]) => in_flight.answered(request, json),
                // What else is there: the field that made the stream, those that tell of a batch.
                (None, _) => {}
                (Some(request), _) => panic!("the request {request} has failed"),
            }
        }
    });
}

/// `cuts`: as the library does, where nothing stands before a batch.
pub(super) fn process(mut connection: Connection, read: &Commands, cuts: bool) -> ! {
    let load = connection.commands.command(3).word(b"SCRIPT");
    load.word(b"LOAD").word(END.as_bytes());
    connection.send();
    let end = connection.text().unwrap_or_default().to_vec();
    connection.commands.encoded(read);
    let mut ids = Commands::default();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    // How many numbers say that a batch has ended.
    let mut ended = 0;
    let mut replies = Replies::default();
    let mut idem = Vec::new();
    let mut sum = Vec::new();
    loop {
        connection.send();
        for _ in 0..replies.streams.len() {
            connection.text();
        }
        for _ in 0..ended {
            connection.number();
        }
        ids.clear();
        replies.streams.clear();
        let mut count = 0;
        read_entries(&mut connection, |id, fields, connection| {
            ids.word(id);
            if count == 0 {
                first.clear();
                first.extend_from_slice(id);
            }
            last.clear();
            last.extend_from_slice(id);
            count += 1;
            let mut reply_to = None;
            for _ in 0..fields {
                match connection.text().unwrap_or_default() {
                    b"body" => {
                        let body = connection.text().unwrap_or_default();
                        let values: Values = serde_json::from_slice(body).expect("a request");
                        sum.clear();
                        sum.push(b'+');
                        serde_json::to_writer(&mut sum, &values.sum()).expect("numbers are JSON");
                    }
                    b"idem" => {
                        idem.clear();
                        idem.extend_from_slice(connection.text().unwrap_or_default());
                    }
                    b"reply_to" => {
                        let stream = connection.text().unwrap_or_default();
                        reply_to = Some(replies.place(stream));
                    }
                    _ => drop(connection.text()),
                }
            }
            let stream = reply_to.expect("every entry says where its answer goes");
            let stream = &mut replies.streams[stream];
            stream.count += 1;
            stream.fields.word(&idem).word(&sum);
        });
        for stream in &replies.streams {
            let add = connection.commands.command(4 + 2 * stream.count);
            add.word(b"XADD").word(&stream.key).word(b"NOMKSTREAM");
            add.word(b"*").encoded(&stream.fields);
        }
        ended = if count == 0 {
            0
        } else if cuts && is_run(&first, &last, count as u64) {
            let command = connection.commands.command(6 + count).word(b"EVALSHA");
            command.word(&end).word(b"1").word(b"request");
            command.word(b"processor").word(behind(&last).as_bytes());
            command.encoded(&ids);
            1
        } else {
            acknowledge(&mut connection.commands, count, &ids);
            delete(&mut connection.commands, count, &ids);
            2
        };
        connection.commands.encoded(read);
    }
}

/// Whether so many ids leave no room between them, and are enough to be cut off.
fn is_run(first: &[u8], last: &[u8], count: u64) -> bool {
    let ((millis, from), (end, to)) = (parts(first), parts(last));
    count >= MIN_RUN && millis == end && to - from + 1 == count
}

/// The id that follows this one.
fn behind(id: &[u8]) -> String {
    let (millis, sequence) = parts(id);
    format!("{millis}-{}", sequence + 1)
}

/// The two numbers of an id.
fn parts(id: &[u8]) -> (u64, u64) {
    let text = std::str::from_utf8(id).ok();
    let (millis, sequence) = text.and_then(|id| id.split_once('-')).expect("an id");
    let number = |text: &str| text.parse().expect("a number");
    (number(millis), number(sequence))
}

/// The replies of a batch, by the stream that they go to.
#[derive(Default)]
struct Replies {
    streams: Vec<Stream>,
}

struct Stream {
    key: Vec<u8>,
    count: usize,
    fields: Commands,
}

impl Replies {
    /// The place of a stream among them.
    fn place(&mut self, key: &[u8]) -> usize {
        let found = self.streams.iter().position(|stream| stream.key == key);
        found.unwrap_or_else(|| {
            self.streams.push(Stream {
                key: key.to_vec(),
                count: 0,
                fields: Commands::default(),
            });
            self.streams.len() - 1
        })
    }
}
