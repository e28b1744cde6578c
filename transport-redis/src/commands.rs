//! Every command that is sent, built once for both client crates.

use std::time::Duration;

pub(crate) use crate::command::Command;
use crate::entry::StreamId;
use crate::types::ResponseStream;

/// How long a response for a Python caller is kept.
pub(crate) const RESPONSE_EXPIRY: Duration = Duration::from_secs(600);
/// How long a reply stream outlives its caller's last sign of life.
pub(crate) const REPLY_STREAM_EXPIRY: Duration = Duration::from_secs(60);

/// Returns those of the ids ARGV[2..] that are neither in the stream KEYS[1] nor pending in the
/// group ARGV[1].
const FIND_MISSING: &str = "\
local missing = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  if #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if pending.err or #pending == 0 then missing[#missing + 1] = id end
  end
end
return missing";

/// Takes over entries of the stream KEYS[1] that have been idle in the group ARGV[1] for ARGV[3]
/// milliseconds, at most ARGV[5] of them, for the consumer ARGV[2]. Those that are gone from the
/// stream wait for a Python caller to see them pending: they are acknowledged when idle for ARGV[4]
/// milliseconds, and untouched before. The consumer named as the group, the Python package's, keeps
/// its entries until then too. Looks at a bounded number of entries, so as not to hold the server up.
/// Returns for each entry taken its id, its deliveries before, itself.
const TAKE_OVER: &str = "\
local key, group, me = KEYS[1], ARGV[1], ARGV[2]
local grace, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local taken, from, seen = {}, '-', 0
while seen < 2000 do
  local pending = redis.pcall('XPENDING', key, group, 'IDLE', ARGV[3], from, '+', 100)
  if pending.err or #pending == 0 then return taken end
  for _, entry in ipairs(pending) do
    local id, owner, idle, deliveries = entry[1], entry[2], entry[3], entry[4]
    local there = #redis.call('XRANGE', key, id, id) > 0
    if not there then
      if idle >= grace then redis.call('XACK', key, group, id) end
    elseif #taken < most and (owner ~= group or idle >= grace) then
      local claimed = redis.call('XCLAIM', key, group, me, ARGV[3], id)
      if #claimed > 0 then taken[#taken + 1] = {id, deliveries, claimed[1]} end
    end
  end
  seen = seen + #pending
  from = '(' .. pending[#pending][1]
end
return taken";

/// Resets the idle time of those of the ids ARGV[3..] that the consumer ARGV[2] still has in the
/// group ARGV[1] of the stream KEYS[1]: blindly, it would steal back what another has taken over.
const KEEP: &str = "\
for i = 3, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])
  if #pending > 0 and #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
  end
end
return 0";

/// Removes the consumer ARGV[2] from the group ARGV[1] of the stream KEYS[1] if nothing is pending
/// on it: what is would be forgotten with it.
const LEAVE: &str = "\
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if not pending.err and #pending == 0 then
  return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return 0";

fn script(text: &str, key: &str) -> Command {
    Command::new("EVAL").arg(text).number(1).arg(key)
}

pub(crate) fn time() -> Command {
    Command::new("TIME")
}

pub(crate) fn server_info() -> Command {
    Command::new("INFO").arg("server")
}

/// Creates a group that reads from the beginning: what was added before the group existed counts.
pub(crate) fn create_group(stream: &str, group: &str) -> Command {
    let create = Command::new("XGROUP").arg("CREATE").arg(stream);
    create.arg(group).number(0).arg("MKSTREAM")
}

/// Creates a group that reads what is added from now on.
pub(crate) fn create_group_at_end(stream: &str, group: &str) -> Command {
    let create = Command::new("XGROUP").arg("CREATE").arg(stream);
    create.arg(group).arg("$").arg("MKSTREAM")
}

pub(crate) fn add(stream: &str, fields: impl IntoIterator<Item = Vec<u8>>) -> Command {
    Command::new("XADD").arg(stream).arg("*").args(fields)
}

/// Adds to a stream only if it is there: that of a dead caller must not be revived.
pub(crate) fn add_if_there(stream: &str, fields: impl IntoIterator<Item = Vec<u8>>) -> Command {
    let add = Command::new("XADD").arg(stream).arg("NOMKSTREAM");
    add.arg("*").args(fields)
}

pub(crate) fn delete_entries(stream: &str, ids: impl IntoIterator<Item = StreamId>) -> Command {
    Command::new("XDEL").arg(stream).args(texts(ids))
}

pub(crate) fn acknowledge(
    stream: &str,
    group: &str,
    ids: impl IntoIterator<Item = StreamId>,
) -> Command {
    Command::new("XACK").arg(stream).arg(group).args(texts(ids))
}

pub(crate) fn trim_before(stream: &str, first_kept: StreamId) -> Command {
    let trim = Command::new("XTRIM").arg(stream).arg("MINID");
    trim.number(first_kept)
}

pub(crate) fn expire(key: &str, after: Duration) -> Command {
    Command::new("EXPIRE").arg(key).number(after.as_secs())
}

pub(crate) fn range(stream: &str, from: StreamId) -> Command {
    Command::new("XRANGE").arg(stream).number(from).arg("+")
}

/// Reads the entries after `after`, waiting for one.
pub(crate) fn read(stream: &str, after: StreamId, count: usize, wait: Duration) -> Command {
    let read = Command::new("XREAD").arg("COUNT").number(count);
    let read = read.arg("BLOCK").number(wait.as_millis());
    read.arg("STREAMS").arg(stream).number(after)
}

/// Takes new entries of the streams for a consumer; with `wait`, waits for one.
pub(crate) fn read_group(
    streams: &[&str],
    group: &str,
    consumer: &str,
    count: usize,
    wait: Option<Duration>,
) -> Command {
    let read = Command::new("XREADGROUP").arg("GROUP").arg(group);
    let read = read.arg(consumer).arg("COUNT").number(count);
    let read = match wait {
        Some(wait) => read.arg("BLOCK").number(wait.as_millis()),
        None => read,
    };
    let read = read.arg("STREAMS").args(streams.iter().copied());
    read.args(streams.iter().map(|_| ">"))
}

/// What is pending on a consumer.
pub(crate) fn pending(stream: &str, group: &str, consumer: &str, count: usize) -> Command {
    let pending = Command::new("XPENDING").arg(stream).arg(group);
    pending.arg("-").arg("+").number(count).arg(consumer)
}

/// Whether an entry is pending, on whomever.
pub(crate) fn pending_entry(stream: &str, group: &str, id: StreamId) -> Command {
    let pending = Command::new("XPENDING").arg(stream).arg(group);
    pending.number(id).number(id).number(1)
}

pub(crate) fn entry(stream: &str, id: StreamId) -> Command {
    Command::new("XRANGE").arg(stream).number(id).number(id)
}

/// Gives an entry back: it looks as if its lease had run out, and the delivery does not count.
pub(crate) fn give_back(
    stream: &str,
    group: &str,
    consumer: &str,
    id: StreamId,
    lease: Duration,
    deliveries_before: u32,
) -> Command {
    let claim = Command::new("XCLAIM").arg(stream).arg(group).arg(consumer);
    let claim = claim.number(0).number(id);
    let claim = claim.arg("IDLE").number(lease.as_millis());
    let claim = claim.arg("RETRYCOUNT").number(deliveries_before);
    claim.arg("JUSTID")
}

pub(crate) fn set_response(response: ResponseStream<Vec<u8>>) -> Command {
    let ResponseStream { stream_id, body } = response;
    let set = Command::new("SET").arg(stream_id).arg(body);
    set.arg("EX").number(RESPONSE_EXPIRY.as_secs())
}

pub(crate) fn get_responses(ids: impl IntoIterator<Item = StreamId>) -> Command {
    Command::new("MGET").args(texts(ids))
}

pub(crate) fn delete_responses(ids: impl IntoIterator<Item = StreamId>) -> Command {
    Command::new("DEL").args(texts(ids))
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
    script(FIND_MISSING, stream).arg(group).args(texts(ids))
}

/// See [`TAKE_OVER`].
pub(crate) fn take_over(
    stream: &str,
    group: &str,
    consumer: &str,
    lease: Duration,
    grace: Duration,
    count: usize,
) -> Command {
    let take = script(TAKE_OVER, stream).arg(group).arg(consumer);
    let take = take.number(lease.as_millis()).number(grace.as_millis());
    take.number(count)
}

/// See [`KEEP`].
pub(crate) fn keep(
    stream: &str,
    group: &str,
    consumer: &str,
    ids: impl IntoIterator<Item = StreamId>,
) -> Command {
    script(KEEP, stream)
        .arg(group)
        .arg(consumer)
        .args(texts(ids))
}

/// See [`LEAVE`].
pub(crate) fn leave(stream: &str, group: &str, consumer: &str) -> Command {
    script(LEAVE, stream).arg(group).arg(consumer)
}

fn texts(ids: impl IntoIterator<Item = StreamId>) -> impl Iterator<Item = String> {
    ids.into_iter().map(|id| id.to_string())
}
