//! What keeps requests from being lost or left behind: leases kept and taken over, entries given
//! back, acknowledgements that wait for their Python caller.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamic_batcher::{Error, Result};
use tokio::time::{Instant, sleep, timeout_at};

use crate::backlog;
use crate::client::{send_accepted, send_one, send_though_full};
use crate::commands;
use crate::dead::{self, Exhausted};
use crate::entry::{Entry, StreamId};
use crate::inbox::Inbox;
use crate::place::{CONSUMER_PREFIX, Place};
use crate::reader;
use crate::value::Value;

/// How often it is seen whether Python callers have taken their answers.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(500);
/// How long the consumer of a processor that lives may be silent: longer than a read blocks. Before Redis
/// 7.2 a read that finds nothing counts as silence; the consumer that is removed then is made again by the
/// next one that does, and had nothing.
const SILENT: Duration = Duration::from_secs(10);
/// The most entries taken over at a time.
const TAKEN: usize = 64;
/// The most answers of Python callers that are looked for at a time.
const LOOKED_FOR: usize = 4_000;

/// Keeps the leases of what is held, takes over what others let lapse, acknowledges what has been
/// seen: for as long as the consumer is there.
pub(crate) async fn keep(inbox: Arc<Inbox>) {
    let every = inbox.place.lease / 3;
    let mut due = Instant::now();
    let mut refused = Refused::default();
    let mut has_all_taken = true;
    loop {
        let is_due = Instant::now() >= due;
        match round(&inbox, is_due, &mut refused, &mut has_all_taken).await {
            Ok(()) if is_due => due = Instant::now() + every,
            Ok(()) => {}
            Err(error) => tracing::debug!("keeping leases failed, trying again: {error}"),
        }
        // What lapsed can be taken when it was not wanted, or not permitted, before: at once.
        tokio::select! {
            () = inbox.may_take.notified() => due = Instant::now(),
            () = rest(&inbox, due, ACKNOWLEDGE_EVERY.min(every)) => {}
        }
    }
}

/// What is to be done, and where it `is_due` what is done every third of a lease. The leases come first,
/// and what the server refuses keeps nothing else from being done.
async fn round(
    inbox: &Arc<Inbox>,
    is_due: bool,
    refused: &mut Refused,
    has_all_taken: &mut bool,
) -> Result<()> {
    let place = &inbox.place;
    if is_due {
        refused.note("keeping leases", keep_leases(inbox).await)?;
    }
    refused.note("giving back", give_back_dropped(inbox).await)?;
    let acknowledged = acknowledge_seen(inbox).await.map(drop);
    refused.note("acknowledging", acknowledged)?;
    if !is_due {
        return Ok(());
    }
    let read = place.clock.refresh(&*place.client).await;
    refused.note("reading the server's clock", read)?;
    refused.note("removing dead consumers", remove_dead(place).await)?;
    let taken = take_over_for_sure(inbox, has_all_taken).await;
    refused.note("taking over", taken)?;
    refused.note("looking at the backlog", backlog::tell(place).await)
}

/// The steps that the server refuses, for a reason that somebody has to change something about.
#[derive(Default)]
struct Refused(HashSet<&'static str>);

impl Refused {
    /// Says so, once until it is accepted again. Any other error is handed on.
    fn note(&mut self, step: &'static str, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) if self.0.insert(step) => tracing::warn!("{step} failed: {error}"),
            Err(_) => {}
            Ok(()) => {
                self.0.remove(step);
            }
        }
        Ok(())
    }
}

/// Waits until `due`. Where something is to be given back or acknowledged, or what was due has
/// failed, for a `pause`.
async fn rest(inbox: &Inbox, due: Instant, pause: Duration) {
    if Instant::now() < due && !inbox.has_upkeep() {
        let _ = timeout_at(due, inbox.upkeep.notified()).await;
        if !inbox.has_upkeep() {
            return;
        }
    }
    sleep(pause).await;
}

async fn keep_leases(inbox: &Inbox) -> Result<()> {
    let place = &inbox.place;
    // What has waited for a whole lease behind other batches is for others to have.
    inbox.drop_waiting(place.lease);
    let held = inbox.held();
    if held.is_empty() {
        return Ok(());
    }
    let keep = commands::keep(&place.request_stream, &place.group, &place.consumer, held);
    let lost = send_one(&*place.client, keep).await?.list()?.into_iter();
    let lost = lost.map(|id| StreamId::parse(&id.text()?));
    inbox.lose(&lost.collect::<Result<Vec<_>>>()?);
    Ok(())
}

/// Takes over and gives up. Where `has_all_taken` is false the reply to the last attempt was lost: what
/// it has taken is on this consumer, unseen.
async fn take_over_for_sure(inbox: &Arc<Inbox>, has_all_taken: &mut bool) -> Result<()> {
    if !*has_all_taken {
        reader::take_own_pending(inbox).await?;
    }
    *has_all_taken = false;
    let (_, exhausted) = take_over(inbox).await?;
    *has_all_taken = true;
    dead::give_up(&inbox.place, exhausted).await
}

/// Takes over what was found when nothing was wanted: now something is. It has waited for longer than
/// all that is new.
pub(crate) async fn take_overdue(inbox: &Arc<Inbox>) -> Result<()> {
    let (_, exhausted) = take_over(inbox).await?;
    give_up_as_permitted(&inbox.place, exhausted).await
}

/// Takes over entries whose lease has lapsed, no more than are wanted; they count as delivered once
/// more. Whether there are others, and those that were delivered as often as is permitted.
async fn take_over(inbox: &Arc<Inbox>) -> Result<(bool, Vec<Exhausted>)> {
    let _taking = inbox.taking.lock().await;
    let (wanted, mut holding) = inbox.wanted_and_holding();
    let wanted = wanted.min(TAKEN);
    let (mut taken, mut exhausted) = (Vec::new(), Vec::new());
    let (mut last_waits, mut more) = (false, false);
    let mut next = Some(Bytes::from_static(b"-"));
    while let Some(from) = next {
        let part = take_part(&inbox.place, wanted - taken.len(), holding, &from).await?;
        holding |= !part.taken.is_empty();
        taken.extend(part.taken);
        exhausted.extend(part.exhausted);
        last_waits |= part.last_waits;
        more |= part.more;
        next = part.next;
    }
    inbox
        .place
        .check_clock(taken.iter().map(|(entry, _)| entry.id))
        .await?;
    inbox.deliver_taken(taken, last_waits, more);
    Ok((more, exhausted))
}

/// What one look at a bounded number of entries has come to.
struct Part {
    taken: Vec<(Entry, u32)>,
    exhausted: Vec<Exhausted>,
    last_waits: bool,
    /// From where to go on.
    next: Option<Bytes>,
    /// There are others to take.
    more: bool,
}

async fn take_part(place: &Place, most: usize, holding: bool, from: &[u8]) -> Result<Part> {
    let take = commands::take_over(place, most, holding, from);
    let reply = send_one(&*place.client, take).await?;
    let mut parts = reply.list()?.into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let taken = next().list()?.into_iter().map(taken);
    let taken = taken.collect::<Result<_>>()?;
    let exhausted = next().list()?.into_iter();
    let exhausted = exhausted.map(|each| self::exhausted(place, each));
    Ok(Part {
        taken,
        exhausted: exhausted.collect::<Result<_>>()?,
        last_waits: next().int()? > 0,
        next: next().optional_text()?.filter(|from| !from.is_empty()),
        more: next().int()? > 0,
    })
}

fn taken(value: Value) -> Result<(Entry, u32)> {
    let mut parts = value.list()?.into_iter().skip(1);
    let before = count(parts.next())?;
    let entry = Entry::one(parts.next().unwrap_or(Value::Nil))?;
    Ok((entry, before.saturating_add(1)))
}

fn exhausted(place: &Place, value: Value) -> Result<Exhausted> {
    let mut parts = value.list()?.into_iter().skip(1);
    let deliveries = count(parts.next())?;
    let consumer = parts.next().unwrap_or(Value::Nil).text()?;
    let idle = parts.next().unwrap_or(Value::Nil).int()?;
    let idle = u64::try_from(idle).unwrap_or_default();
    Ok(Exhausted {
        entry: Entry::one(parts.next().unwrap_or(Value::Nil))?,
        deliveries,
        consumer: String::from_utf8_lossy(&consumer).into_owned(),
        last_delivered: place.clock.millis().saturating_sub(idle),
    })
}

fn count(value: Option<Value>) -> Result<u32> {
    let count = value.unwrap_or(Value::Nil).int()?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Removes the consumers of processors that have died, once nothing is pending on them.
async fn remove_dead(place: &Place) -> Result<()> {
    let silent = place.lease.max(SILENT);
    let streams = [(&place.request_stream, false), (&place.again_stream, true)];
    let remove = streams.map(|(stream, notices)| {
        commands::remove_dead(stream, &place.group, CONSUMER_PREFIX, silent, notices)
    });
    send_accepted(&*place.client, &remove).await
}

/// Somebody has given entries back, and says so on a stream of its own.
pub(crate) async fn take_given_back(inbox: &Arc<Inbox>, notices: Vec<StreamId>) -> Result<()> {
    let place = &inbox.place;
    let stream = &place.again_stream;
    let mut commands = vec![
        commands::delete_entries(stream, notices.iter().copied()),
        commands::acknowledge(stream, &place.group, notices),
    ];
    let (more, exhausted) = take_over(inbox).await?;
    if more {
        // The others are for somebody who wants them.
        commands.push(notice(place));
    }
    for reply in send_though_full(&*place.client, &commands).await? {
        reply.accepted()?;
    }
    give_up_as_permitted(place, exhausted).await
}

/// Gives up what was delivered often enough, for who reads.
async fn give_up_as_permitted(place: &Place, exhausted: Vec<Exhausted>) -> Result<()> {
    match dead::give_up(place, exhausted).await {
        // The same is refused where leases are kept, and said there. Reading goes on.
        Err(error) if !error.is_retryable() => Ok(()),
        given_up => given_up,
    }
}

/// Gives back the entries whose tickets were dropped, so that another consumer has them at once.
pub(crate) async fn give_back_dropped(inbox: &Inbox) -> Result<()> {
    // What was given back although the reply was lost may have been taken over again, by this consumer
    // too.
    let _taking = inbox.taking.lock().await;
    let dropped = inbox.dropped();
    let count = dropped.len();
    if count == 0 {
        return Ok(());
    }
    let place = &inbox.place;
    let given = send_accepted(&*place.client, &[commands::give_back(place, dropped)]).await;
    if !given.as_ref().is_err_and(Error::is_retryable) {
        inbox.given_back(count);
    }
    given
}

fn notice(place: &Place) -> commands::Command {
    let fields = ["from".into(), place.consumer.clone().into_bytes()];
    commands::add(&place.again_stream, fields)
}

/// Acknowledges the entries of Python callers that have taken their answers, or had time enough to.
/// True when none is left.
pub(crate) async fn acknowledge_seen(inbox: &Inbox) -> Result<bool> {
    let place = &inbox.place;
    let waiting = inbox.unacknowledged(LOOKED_FOR);
    if waiting.is_empty() {
        return Ok(true);
    }
    let look = waiting.iter().map(|(id, _)| commands::has_response(*id));
    let there = place.client.send(&look.collect::<Vec<_>>()).await?;
    let mut seen = BTreeSet::new();
    for ((id, since), there) in waiting.iter().zip(there) {
        if there.int()? == 0 || since.elapsed() >= place.grace {
            seen.insert(*id);
        }
    }
    if !seen.is_empty() {
        let ids = seen.iter().copied();
        let acknowledge = commands::acknowledge(&place.request_stream, &place.group, ids);
        send_accepted(&*place.client, &[acknowledge]).await?;
        inbox.acknowledged(&seen);
    }
    Ok(seen.len() == waiting.len() && waiting.len() < LOOKED_FOR)
}

#[cfg(test)]
#[cfg(feature = "client-redis")]
mod tests;
