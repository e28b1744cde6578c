//! Every command that is sent, built once for both client crates.

use std::time::Duration;

use dynamic_batcher::{Error, ErrorKind, Result};

pub(crate) use crate::command::Command;
use crate::entry::StreamId;
use crate::groups::Group;
use crate::place::Place;
use crate::request;
use crate::types::ResponseStream;

/// How long a response for a Python caller is kept.
pub(crate) const RESPONSE_EXPIRY: Duration = Duration::from_secs(600);
/// How long a reply stream outlives its caller's last sign of life.
pub(crate) const REPLY_STREAM_EXPIRY: Duration = Duration::from_secs(60);
/// Fewer entries are deleted one by one as fast as by the steps that cutting the stream off takes.
const MIN_RUN: usize = 8;

// What has to happen in one step. Each says at its top what it takes and returns.
const THOUGH_FULL: &str = include_str!("lua/though_full.lua");
const ADMIT: &str = include_str!("lua/admit.lua");
pub(crate) const ANSWER: &str = code(include_str!("lua/answer.lua"));
const ANSWER_FAILED: &str = include_str!("lua/answer_failed.lua");
const RESPOND_FAILED: &str = include_str!("lua/respond_failed.lua");
const FIND_MISSING: &str = include_str!("lua/find_missing.lua");
const TAKE_OVER: &str = include_str!("lua/take_over.lua");
const KEEP: &str = include_str!("lua/keep.lua");
const LEAVE: &str = include_str!("lua/leave.lua");
const BURY: &str = include_str!("lua/bury.lua");
const GIVE_BACK: &str = include_str!("lua/give_back.lua");
const FIND_OTHER_STREAMS: &str = include_str!("lua/find_other_streams.lua");
const REPLAY: &str = include_str!("lua/replay.lua");
const REMOVE_DEAD: &str = include_str!("lua/remove_dead.lua");

/// The longest text that a server takes as long as nobody sets `proto-max-bulk-len`, but for the sign before
/// a response. One that is sent more closes the connection, and with it ends what others send.
pub(crate) const MOST_BYTES: usize = (512 << 20) - 1;

/// The body of a request or response, unless it is too long.
pub(crate) fn fitting(body: Vec<u8>) -> Result<Vec<u8>> {
    match body.len() {
        0..=MOST_BYTES => Ok(body),
        len => {
            let text = format!("it has {len} bytes, Redis takes {MOST_BYTES}");
            Err(Error::new(ErrorKind::Encode, text))
        }
    }
}

/// A count as the server takes it, which counts with a sign.
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A script without the comment at its top: the server would read and hash it each time, for each batch.
const fn code(script: &str) -> &str {
    let mut rest = script;
    while let [b'-', b'-', ..] = rest.as_bytes() {
        let mut line = 0;
        while rest.as_bytes()[line] != b'\n' {
            line += 1;
        }
        (_, rest) = rest.split_at(line + 1);
    }
    rest
}

fn script(text: &str, key: &str) -> Command {
    Command::new("EVAL").arg(text).number(1).arg(key)
}

pub(crate) fn time() -> Command {
    Command::new("TIME")
}

pub(crate) fn ping() -> Command {
    Command::new("PING")
}

pub(crate) fn server_info() -> Command {
    Command::new("INFO").arg("server")
}

/// See `lua/find_other_streams.lua`.
pub(crate) fn find_other_streams(stream: &str, again_stream: &str, group: &str) -> Command {
    let find = Command::new("EVAL").arg(FIND_OTHER_STREAMS).number(0);
    find.arg(stream).arg(again_stream).arg(group)
}

/// Creates a group.
pub(crate) fn create_group(group: &Group<'_>) -> Command {
    let create = Command::new("XGROUP").arg("CREATE").arg(group.stream);
    create.arg(group.name).arg(group.from).arg("MKSTREAM")
}

/// The same command in a form that a server also takes whose memory is full; scripts see to that
/// themselves. See `lua/though_full.lua`.
pub(crate) fn though_full(command: Command) -> Command {
    if command.name == "EVAL" {
        return command;
    }
    // Behind CREATE, where it is a group's.
    let place = usize::from(command.name == "XGROUP");
    let key = command.iter().nth(place).unwrap_or_default();
    let run = Command::new("EVAL").arg(THOUGH_FULL).number(1).arg(key);
    run.arg(command.name).args(command.iter())
}

/// Makes the server keep the script of [`admit`]; its name there is the reply.
pub(crate) fn load_admit() -> Command {
    Command::new("SCRIPT").arg("LOAD").arg(ADMIT)
}

/// Begins the command that adds requests as far as there is room; the name of a further field, or
/// nothing, and what is each one's own are to follow. `known` is the name under which the server keeps the script. Sent again it adds a
/// second entry of the same `idem`, which has no second outcome.
pub(crate) fn admit(
    known: Option<&str>,
    stream: &str,
    reply_stream: &str,
    max_queue: usize,
) -> Command {
    let admit = match known {
        Some(name) => Command::new("EVALSHA").arg(name),
        None => Command::new("EVAL").arg(ADMIT),
    };
    let admit = admit.number(2).arg(stream).arg(reply_stream);
    let admit = admit.number(max_queue);
    let admit = admit.number(REPLY_STREAM_EXPIRY.as_secs());
    admit.args(request::SAME)
}

pub(crate) fn add(stream: &str, fields: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Command {
    Command::new("XADD").arg(stream).arg("*").args(fields)
}

/// Adds to a stream only if it is there: that of a dead caller must not be revived. The fields are to
/// follow.
pub(crate) fn add_if_there(stream: &str) -> Command {
    Command::new("XADD").arg(stream).arg("NOMKSTREAM").arg("*")
}

/// See `lua/answer.lua`; the fields are to follow.
pub(crate) fn answer(place: &Place, reply_stream: &str, ids: &[StreamId]) -> Command {
    let answer = Command::new("EVAL").arg(ANSWER).number(2);
    let answer = answer.arg(&place.request_stream).arg(reply_stream);
    let runs = StreamId::runs(ids).take_while(|run| run.len() >= MIN_RUN);
    let runs = runs.filter_map(|run| Some((run.len(), run.last()?.next())));
    let runs: Vec<_> = runs.collect();
    let answer = answer.arg(&place.group);
    let answer = answer
        .number(ids.len())
        .number(runs.len())
        .numbers(ids.iter().copied());
    let add = |answer: Command, (count, end)| answer.number(count).number(end);
    runs.into_iter().fold(answer, add)
}

/// The same where some have failed, see `lua/answer_failed.lua`.
pub(crate) fn answer_failed(place: &Place, reply_stream: &str, ids: &[StreamId]) -> Command {
    let answer = Command::new("EVAL").arg(ANSWER_FAILED).number(2);
    let answer = answer.arg(&place.request_stream).arg(reply_stream);
    let answer = answer.arg(&place.group).number(ids.len());
    answer.arg(&place.consumer).numbers(ids.iter().copied())
}

pub(crate) fn delete_entries(stream: &str, ids: impl IntoIterator<Item = StreamId>) -> Command {
    Command::new("XDEL").arg(stream).numbers(ids)
}

pub(crate) fn acknowledge(
    stream: &str,
    group: &str,
    ids: impl IntoIterator<Item = StreamId>,
) -> Command {
    Command::new("XACK").arg(stream).arg(group).numbers(ids)
}

pub(crate) fn trim_before(stream: &str, first_kept: StreamId) -> Command {
    let trim = Command::new("XTRIM").arg(stream).arg("MINID");
    trim.number(first_kept)
}

pub(crate) fn expire(key: &str, after: Duration) -> Command {
    Command::new("EXPIRE").arg(key).number(after.as_secs())
}

/// Entries from `from` on, at most `count`.
pub(crate) fn range(stream: &str, from: StreamId, count: usize) -> Command {
    let range = Command::new("XRANGE").arg(stream).number(from).arg("+");
    range.arg("COUNT").number(signed(count))
}

pub(crate) fn length(stream: &str) -> Command {
    Command::new("XLEN").arg(stream)
}

/// Reads the entries after `after`, waiting for one.
pub(crate) fn read(stream: &str, after: StreamId, count: usize, wait: Duration) -> Command {
    let read = Command::new("XREAD").arg("COUNT").number(count);
    let read = read.arg("BLOCK").number(wait.as_millis());
    read.arg("STREAMS").arg(stream).number(after)
}

/// Takes new entries of the streams for a consumer, waiting for one.
pub(crate) fn read_group(
    streams: &[&str],
    group: &str,
    consumer: &str,
    count: usize,
    wait: Duration,
) -> Command {
    let read = Command::new("XREADGROUP").arg("GROUP").arg(group);
    let read = read.arg(consumer).arg("COUNT").number(signed(count));
    let read = read.arg("BLOCK").number(wait.as_millis());
    let read = read.arg("STREAMS").args(streams.iter().copied());
    // What a first one has taken is pending on the consumer: there it is looked for, not here.
    read.args(streams.iter().map(|_| ">")).once()
}

/// What is pending on a consumer, from an id on.
pub(crate) fn pending(place: &Place, from: StreamId, count: usize) -> Command {
    let pending = Command::new("XPENDING").arg(&place.request_stream);
    let pending = pending.arg(&place.group).number(from).arg("+");
    pending.number(count).arg(&place.consumer)
}

/// Whether an entry is pending, on whomever.
pub(crate) fn pending_entry(stream: &str, group: &str, id: StreamId) -> Command {
    let pending = Command::new("XPENDING").arg(stream).arg(group);
    pending.number(id).number(id).number(1)
}

pub(crate) fn entry(stream: &str, id: StreamId) -> Command {
    Command::new("XRANGE").arg(stream).number(id).number(id)
}

/// See `lua/give_back.lua`; for each entry the deliveries that count.
pub(crate) fn give_back(
    place: &Place,
    entries: impl IntoIterator<Item = (StreamId, u32)>,
) -> Command {
    let give = Command::new("EVAL").arg(GIVE_BACK).number(2);
    let give = give.arg(&place.request_stream).arg(&place.again_stream);
    let give = give.arg(&place.group).arg(&place.consumer);
    let give = give.number(place.lease.as_millis());
    entries.into_iter().fold(give, |give, (id, deliveries)| {
        give.number(id).number(deliveries)
    })
}

pub(crate) fn set_response(response: ResponseStream<Vec<u8>>) -> Command {
    let ResponseStream { stream_id, body } = response;
    let set = Command::new("SET").arg(stream_id).arg(body);
    set.arg("EX").number(RESPONSE_EXPIRY.as_secs())
}

/// See `lua/respond_failed.lua`.
pub(crate) fn respond_failed(place: &Place, id: StreamId, body: &str) -> Command {
    let respond = Command::new("EVAL").arg(RESPOND_FAILED).number(2);
    let respond = respond.arg(&place.request_stream).number(id);
    let respond = respond.arg(&place.group).arg(&place.consumer);
    respond.arg(body).number(RESPONSE_EXPIRY.as_secs())
}

/// The responses, behind a nil, for the stream is no string: a reply may not begin with another's text,
/// see `client/fred`.
pub(crate) fn get_responses(stream: &str, ids: impl IntoIterator<Item = StreamId>) -> Command {
    Command::new("MGET").arg(stream).numbers(ids)
}

pub(crate) fn delete_responses(ids: impl IntoIterator<Item = StreamId>) -> Command {
    Command::new("DEL").numbers(ids)
}

pub(crate) fn delete_key(key: &str) -> Command {
    Command::new("DEL").arg(key)
}

pub(crate) fn has_response(id: StreamId) -> Command {
    Command::new("EXISTS").number(id)
}

pub(crate) fn find_missing(
    stream: &str,
    group: &str,
    ids: impl IntoIterator<Item = StreamId>,
) -> Command {
    script(FIND_MISSING, stream).arg(group).numbers(ids)
}

/// See `lua/take_over.lua`. Sent again, it takes others: the first ones are pending on the consumer.
pub(crate) fn take_over(place: &Place, count: usize, holding: bool, from: &[u8]) -> Command {
    let take = script(TAKE_OVER, &place.request_stream).arg(&place.group);
    let take = take.arg(&place.consumer).number(place.lease.as_millis());
    let take = take.number(place.grace.as_millis()).number(count);
    let take = take.number(place.max_deliveries);
    take.number(u8::from(holding)).arg(from).once()
}

/// See `lua/bury.lua`; the letter's fields are to follow, behind the body of the entry if that is to be
/// taken.
pub(crate) fn bury(place: &Place, id: StreamId, acknowledge: bool, take_body: bool) -> Command {
    let bury = Command::new("EVAL").arg(BURY).number(2);
    let bury = bury.arg(&place.request_stream).arg(&place.dead_stream);
    let bury = bury.arg(&place.group).number(id);
    let bury = bury.number(u8::from(acknowledge));
    bury.number(signed(place.max_dead_letters))
        .number(u8::from(take_body))
}

/// Whether a command is one that [`bury`] makes.
pub(crate) fn is_burial(command: &Command) -> bool {
    command.name == "EVAL" && command.iter().next() == Some(BURY.as_bytes())
}

/// See `lua/replay.lua`. Sent again, it finds no letter.
pub(crate) fn replay(dead_stream: &str, stream: &str, letter: StreamId) -> Command {
    let replay = Command::new("EVAL").arg(REPLAY).number(2).arg(dead_stream);
    replay.arg(stream).number(letter)
}

/// See `lua/remove_dead.lua`. `notices`: the stream is not that of the requests.
pub(crate) fn remove_dead(
    stream: &str,
    group: &str,
    prefix: &str,
    silent: Duration,
    notices: bool,
) -> Command {
    let remove = script(REMOVE_DEAD, stream).arg(group).arg(prefix);
    let remove = remove.number(silent.as_millis());
    remove.number(u8::from(notices))
}

/// See `lua/keep.lua`.
pub(crate) fn keep(
    stream: &str,
    group: &str,
    consumer: &str,
    ids: impl IntoIterator<Item = StreamId>,
) -> Command {
    script(KEEP, stream).arg(group).arg(consumer).numbers(ids)
}

/// See `lua/leave.lua`: of the request stream, and of that of the notices.
pub(crate) fn leave(place: &Place) -> [Command; 2] {
    let streams = [(&place.request_stream, 0), (&place.again_stream, 1)];
    streams.map(|(stream, notices)| {
        let leave = script(LEAVE, stream).arg(&place.group).arg(&place.consumer);
        leave.number(notices).number(place.lease.as_millis())
    })
}

#[cfg(test)]
mod tests;
