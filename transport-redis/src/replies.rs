//! Receives answers, from whichever place they come first: the reply stream of this caller, or the
//! string key named like the request's id, which a Python processor sets.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynamic_batcher::{Backoff, Error, ErrorKind, Reply, Result};
use tokio::time::{Instant, sleep};

use crate::client::{Client, Dedicated, send_accepted, send_one};
use crate::commands::{self, REPLY_STREAM_EXPIRY};
use crate::entry::{Entry, StreamId};
use crate::give_way::give_way;
use crate::outstanding::Outstanding;
use crate::reply;
use crate::value::Value;

/// How long a read of the reply stream blocks.
const BLOCK: Duration = Duration::from_secs(5);
/// What a reply may take beyond that.
const SLACK: Duration = Duration::from_secs(5);
const ENTRIES: usize = 1_000;
/// How often at most what has been read is trimmed, and at least the expiry is put off.
const TRIM_EVERY: Duration = Duration::from_millis(100);
const REFRESH_EVERY: Duration = Duration::from_secs(15);
/// The pause before connecting again doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The longest interval at which keys are looked at while answers come on the stream.
const LONGEST_SWEEP: Duration = Duration::from_secs(1);
/// How long after an answer in a key the shortest interval holds.
const KEYS_REMEMBERED: Duration = Duration::from_secs(10);
/// The most keys that one look takes.
const SWEPT: usize = 10_000;

/// What the two places of answers have in common.
pub(crate) struct Answers {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) outstanding: Arc<Outstanding>,
    pub(crate) request_stream: String,
    pub(crate) group: String,
    pub(crate) reply_stream: String,
    /// The shortest interval at which keys are looked at.
    pub(crate) delay: Duration,
    /// The last entry of the reply stream that has been routed, by whoever reads there.
    pub(crate) routed: Mutex<StreamId>,
}

impl Answers {
    /// Reads the reply stream for ever.
    pub(crate) async fn read_stream(self: Arc<Self>) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let error = match self.read_connection(&mut backoff).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let pause = backoff.next_pause();
            tracing::warn!("reading replies failed, trying again in {pause:?}: {error}");
            sleep(pause).await;
        }
    }

    /// Reads on one connection, for as long as it works.
    async fn read_connection(&self, backoff: &mut Backoff) -> Result<Infallible> {
        // Connections may be lost faster than the expiry is put off below, and none of them be had for longer.
        let expiry = commands::expire(&self.reply_stream, REPLY_STREAM_EXPIRY);
        self.client.send(&[expiry]).await?;
        let mut connection = self.client.dedicated().await?;
        // What is there was not trimmed, so it was not read, or its trimming was lost.
        let mut last = StreamId::MIN;
        let mut refreshed = Instant::now();
        let mut trimmed = Instant::now();
        let mut untrimmed = false;
        loop {
            let read = self.read_some(&mut *connection, last).await?;
            backoff.reset();
            if let Some(read) = read {
                last = read;
                untrimmed = true;
                // Callers that were answered together have their turn, so that what they send next can be
                // added meanwhile.
                give_way().await;
            }
            let mut upkeep = Vec::new();
            if untrimmed && trimmed.elapsed() >= TRIM_EVERY {
                upkeep.push(commands::trim_before(&self.reply_stream, last.next()));
                trimmed = Instant::now();
                untrimmed = false;
            }
            let refresh = refreshed.elapsed() >= REFRESH_EVERY;
            if refresh {
                upkeep.push(commands::expire(&self.reply_stream, REPLY_STREAM_EXPIRY));
                refreshed = Instant::now();
            }
            if upkeep.is_empty() {
                continue;
            }
            let done = self.client.send(&upkeep).await?.pop();
            // It was lost, and will be made again with the next request: its ids begin anew.
            if refresh && done == Some(Value::Int(0)) {
                last = StreamId::MIN;
            }
        }
    }

    /// Waits for entries and ends their calls; the last one's id.
    async fn read_some(
        &self,
        connection: &mut dyn Dedicated,
        after: StreamId,
    ) -> Result<Option<StreamId>> {
        let read = commands::read(&self.reply_stream, after, ENTRIES, BLOCK);
        let reply = connection.send(read, BLOCK + SLACK).await?;
        let mut last = None;
        for (_, entries) in Entry::by_stream(reply)? {
            last = self.route(entries).or(last);
        }
        Ok(last)
    }

    fn route(&self, entries: Vec<Entry>) -> Option<StreamId> {
        let mut last = None;
        for Entry { id, fields } in entries {
            last = Some(id);
            let replies = reply::parse(&fields);
            let count = replies.len();
            let ended = self.outstanding.end_all(replies);
            if self.is_new(id) {
                self.dropped(count - ended);
                self.outstanding.drained(count);
            }
        }
        last
    }

    /// Whether an entry had not been routed before: a connection that is made anew, and the look for
    /// what is lost, read it a second time.
    fn is_new(&self, id: StreamId) -> bool {
        let mut routed = self.routed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = id > *routed;
        *routed = id.max(*routed);
        is_new
    }

    /// Tells of answers that nobody waited for any more.
    fn dropped(&self, answers: usize) {
        if answers > 0
            && let Some(observer) = self.client.observer()
        {
            observer.tell(|observer| observer.duplicates_dropped(answers));
        }
    }

    /// Looks at the keys for ever: often while answers are found there, seldom while they come on
    /// the stream, not at all while nothing is outstanding.
    pub(crate) async fn sweep_keys(self: Arc<Self>) {
        let mut interval = self.delay;
        let mut found_last: Option<Instant> = None;
        let mut looked_thoroughly = Instant::now();
        loop {
            if self.outstanding.is_empty() {
                self.outstanding.any.notified().await;
                continue;
            }
            sleep(interval).await;
            let thorough = looked_thoroughly.elapsed() >= LONGEST_SWEEP;
            if thorough {
                looked_thoroughly = Instant::now();
            }
            let found = match self.sweep(thorough).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!("looking for answers failed: {error}");
                    false
                }
            };
            if found {
                found_last = Some(Instant::now());
            }
            let keys_answer = found_last.is_some_and(|at| at.elapsed() < KEYS_REMEMBERED);
            interval = if keys_answer {
                self.delay
            } else {
                (interval * 2).min(LONGEST_SWEEP.max(self.delay))
            };
        }
    }

    /// Looks once; whether an answer was found. A thorough look also finds what was lost.
    async fn sweep(&self, thorough: bool) -> Result<bool> {
        let known = self.outstanding.with_ids(SWEPT);
        if known.is_empty() {
            return Ok(false);
        }
        let requests: Vec<_> = known.iter().map(|(idem, id, _)| (*idem, *id)).collect();
        let found = self.take_from_keys(&requests).await?;
        if thorough {
            // Who has been sent just now may be answered just now.
            let old = known
                .into_iter()
                .filter(|(_, _, sent)| sent.elapsed() >= LONGEST_SWEEP);
            let old: Vec<_> = old.map(|(idem, id, _)| (idem, id)).collect();
            self.find_lost(&old).await?;
        }
        Ok(found)
    }

    /// Takes the answers that are there from the keys of these requests.
    async fn take_from_keys(&self, requests: &[(u64, StreamId)]) -> Result<bool> {
        let ids = requests.iter().map(|(_, id)| *id);
        let get = commands::get_responses(&self.request_stream, ids);
        let values = send_one(&*self.client, get).await?.list()?;
        let values = values.into_iter().skip(1);
        let mut answers = Vec::new();
        for ((idem, id), value) in requests.iter().zip(values) {
            if let Some(json) = value.optional_text()? {
                answers.push((*idem, *id, json));
            }
        }
        if answers.is_empty() {
            return Ok(false);
        }
        // A Python processor never acknowledges, and one that has died since its answer has not
        // deleted the entry: no other would, once it is acknowledged. Cleaned up before the calls are
        // told, after which this process may end at any time.
        let ids = || answers.iter().map(|(_, id, _)| *id);
        let clean = [
            commands::delete_responses(ids()),
            commands::delete_entries(&self.request_stream, ids()),
            commands::acknowledge(&self.request_stream, &self.group, ids()),
        ];
        let cleaned = self.client.send(&clean).await;
        let count = answers.len();
        let answers = answers.into_iter();
        let answers = answers.map(|(idem, _, json)| (idem, Ok(Reply::new(json.into(), None))));
        let ended = self.outstanding.end_all(answers);
        self.dropped(count - ended);
        self.outstanding.drained(count);
        cleaned?;
        Ok(true)
    }

    /// Ends the calls whose answers are on the reply stream, and trims these: its reader may be late, or
    /// have no connection.
    async fn route_unread(&self) -> Result<()> {
        loop {
            let unread = commands::range(&self.reply_stream, StreamId::MIN, ENTRIES);
            let entries = Entry::all(send_one(&*self.client, unread).await?)?;
            let may_be_more = entries.len() == ENTRIES;
            let Some(last) = self.route(entries) else {
                return Ok(());
            };
            let trim = commands::trim_before(&self.reply_stream, last.next());
            send_accepted(&*self.client, &[trim]).await?;
            if !may_be_more {
                return Ok(());
            }
        }
    }

    /// Ends the calls of those requests that are nowhere: in this order, so that no answer is
    /// overlooked: neither on the stream nor pending, no reply, no response key.
    async fn find_lost(&self, requests: &[(u64, StreamId)]) -> Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        let ids = requests.iter().map(|(_, id)| *id);
        let find = commands::find_missing(&self.request_stream, &self.group, ids);
        let mut missing = Vec::new();
        for id in send_one(&*self.client, find).await?.list()? {
            missing.push(StreamId::parse(&id.text()?)?);
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.route_unread().await?;
        let missing: Vec<_> = requests
            .iter()
            .filter(|(_, id)| missing.contains(id))
            .copied()
            .collect();
        self.take_from_keys(&missing).await?;
        for (idem, id) in missing {
            let error = Error::new(
                ErrorKind::Lost,
                format!("its entry {id} was removed from the stream before it was answered"),
            );
            self.outstanding.end(idem, Err(error));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
