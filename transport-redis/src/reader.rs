//! Reads the request stream for one consumer, on a connection of its own, as much as is wanted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::{Backoff, Result};
use tokio::time::sleep;

use crate::client::{Dedicated, send_one};
use crate::commands;
use crate::entry::{Entry, StreamId};
use crate::groups::{self, Group};
use crate::inbox::Inbox;
use crate::reclaim;
use crate::types::PendingRequestStream;
use crate::value::Value;

/// How long a read blocks: a processor with nothing to do sends one command in this time.
const BLOCK: Duration = Duration::from_secs(5);
/// What a reply may take beyond that.
const SLACK: Duration = Duration::from_secs(5);
/// The pause before connecting again doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The most pending entries that are looked at in one command.
const PENDING: usize = 1_000;
/// The most entries that are fetched in one pipeline: whatever else goes over the connection waits for
/// as long as they take, and they may be large.
const FETCHED: usize = 16;

/// Reads until the consumer leaves, or for good until something has to be changed by somebody.
pub(crate) async fn read(inbox: Arc<Inbox>) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let error = match read_connection(&inbox, &mut backoff).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if !error.is_retryable() {
            inbox.fail(error);
            return;
        }
        let pause = backoff.next_pause();
        tracing::warn!("reading requests failed, trying again in {pause:?}: {error}");
        sleep(pause).await;
    }
}

async fn read_connection(inbox: &Arc<Inbox>, backoff: &mut Backoff) -> Result<Infallible> {
    let place = &inbox.place;
    let mut connection = place.client.dedicated().await?;
    // What was delivered to a connection that died is pending on this consumer, unseen.
    take_own_pending(inbox).await?;
    loop {
        let wanted = inbox.wanted();
        if wanted == 0 {
            inbox.wanted.notified().await;
            continue;
        }
        if !inbox.begin_reading() {
            reclaim::take_overdue(inbox).await?;
            continue;
        }
        // It ends with the first entry, even when several came in one packet: the next one finds the
        // others.
        let read = read_some(inbox, &mut *connection, wanted).await;
        inbox.end_reading();
        read?;
        backoff.reset();
    }
}

/// Reads once, and waits for something to come.
async fn read_some(
    inbox: &Arc<Inbox>,
    connection: &mut dyn Dedicated,
    wanted: usize,
) -> Result<()> {
    let place = &inbox.place;
    let streams = [&*place.request_stream, &*place.again_stream];
    let read = commands::read_group(&streams, &place.group, &place.consumer, wanted, BLOCK);
    let reply = match connection.send(read, BLOCK + SLACK).await? {
        Value::Refused(refusal) if matches!(&*refusal.code, "NOGROUP" | "UNBLOCKED") => {
            make_groups(inbox).await?;
            return Ok(());
        }
        reply => reply.accepted()?,
    };
    for (stream, entries) in Entry::by_stream(reply)? {
        if stream == place.request_stream.as_bytes() {
            place
                .check_clock(entries.iter().map(|entry| entry.id))
                .await?;
            inbox.deliver_read(entries);
        } else {
            let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
            reclaim::take_given_back(inbox, ids).await?;
        }
    }
    Ok(())
}

/// Creates the groups where they are missing.
pub(crate) async fn make_groups(inbox: &Inbox) -> Result<()> {
    let place = &inbox.place;
    let groups = [&place.request_stream, &place.again_stream].map(|stream| Group {
        stream,
        name: &place.group,
        from: groups::BEGINNING,
    });
    groups::make(&*place.client, &groups).await
}

/// Delivers what is pending on this consumer and not held: not by reading it again, which would
/// count as a delivery. What was given back looks as if its lease had lapsed, and is not meant: it is
/// taken over, as by any other.
pub(crate) async fn take_own_pending(inbox: &Arc<Inbox>) -> Result<()> {
    let _taking = inbox.taking.lock().await;
    let place = &inbox.place;
    let mut from = StreamId::MIN;
    loop {
        let look = commands::pending(place, from, PENDING);
        let found = match send_one(&*place.client, look).await? {
            Value::Refused(refusal) if refusal.code == "NOGROUP" => {
                return make_groups(inbox).await;
            }
            reply => PendingRequestStream::all(reply)?,
        };
        let last = found.last().filter(|_| found.len() == PENDING);
        let next = last.map(pending).transpose()?.map(|(id, _)| id.next());
        let since = |each: &PendingRequestStream| Duration::from_millis(each.time_since_delivered);
        let leased = found.iter().filter(|each| since(each) < place.lease);
        let leased = leased.map(pending).collect::<Result<_>>()?;
        take_unseen(inbox, inbox.unseen(leased)).await?;
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// What is pending: its id, and the number of its deliveries.
fn pending(each: &PendingRequestStream) -> Result<(StreamId, u32)> {
    let id = StreamId::parse(each.message_id.as_bytes())?;
    let deliveries = u32::try_from(each.times_delivered).unwrap_or(u32::MAX);
    Ok((id, deliveries))
}

async fn take_unseen(inbox: &Arc<Inbox>, unseen: Vec<(StreamId, u32)>) -> Result<()> {
    let place = &inbox.place;
    for part in unseen.chunks(FETCHED) {
        // Before they are fetched: nothing is awaited between that and their delivery, in which a read could
        // bring them too, and they be answered.
        place.check_clock(part.iter().map(|(id, _)| *id)).await?;
        let fetch = part
            .iter()
            .map(|(id, _)| commands::entry(&place.request_stream, *id));
        let replies = place.client.send(&fetch.collect::<Vec<_>>()).await?;
        let mut entries = Vec::new();
        for ((_, deliveries), reply) in part.iter().zip(replies) {
            // One that is gone was withdrawn by its caller, or waits to be acknowledged by others.
            entries.extend(Entry::all(reply)?.pop().map(|entry| (entry, *deliveries)));
        }
        inbox.deliver_unseen(entries);
    }
    Ok(())
}
