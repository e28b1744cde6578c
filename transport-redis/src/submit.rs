//! Sends requests: gathers what many callers send at the same time into pipelines, and sends again
//! what did not arrive.

use std::sync::Arc;
use std::time::Duration;

use dynamic_batcher::trace::TraceContext;
use dynamic_batcher::{Backoff, Error, ErrorKind, OnFull, Result};
use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::admit::{Admit, Admitted};
use crate::client::{Client, send_accepted};
use crate::commands;
use crate::entry::StreamId;
use crate::give_way::give_way;
use crate::outstanding::Outstanding;

use self::line::Line;

mod line;

/// The most requests in one pipeline.
const PIPELINE: usize = 256;
/// The most pipelines on their way.
const PIPELINES: usize = 4;
/// The pause before sending again doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// After so long without success requests are no longer kept: their callers learn what is wrong.
const PATIENCE: Duration = Duration::from_secs(10);
/// A failure says nothing of the server any more when for so long nothing was to be sent: longer than a
/// pause.
const FORGOTTEN: Duration = Duration::from_secs(2);
/// How soon and how late a caller that waits for room asks again.
const SOONEST: Duration = Duration::from_millis(5);
const LATEST: Duration = Duration::from_secs(1);

/// What is to be sent.
#[derive(Debug)]
pub(crate) enum Submission {
    Add(Request),
    /// The entry of a request that nobody waits for any more.
    Delete(StreamId),
}

/// A request that is to be added.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its number, which names it on the wire: added a second time, it has one outcome all the same.
    pub(crate) idem: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) deadline: Instant,
    pub(crate) trace: Option<TraceContext>,
}

/// Sends what comes, until the last sender is gone.
pub(crate) struct Submitter {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) outstanding: Arc<Outstanding>,
    pub(crate) group: String,
    pub(crate) admit: Admit,
    pub(crate) on_full: OnFull,
}

/// What became of a pipeline.
#[derive(Default)]
struct Sent {
    /// Nothing: nobody waits any more for what was in it.
    nothing: bool,
    /// The requests that are to be sent again, and why.
    again: Vec<Request>,
    why: Option<Again>,
    /// The entries that are still to be deleted, those of callers that have gone meanwhile among
    /// them.
    delete: Vec<StreamId>,
}

enum Again {
    /// The server did not know the script.
    AtOnce,
    /// The queue is full, for about so long.
    Full(Duration),
    /// The server could not be reached, or is busy with itself.
    Failed(Error),
}

/// Sending fails.
#[derive(Clone, Copy)]
struct Failing {
    since: Instant,
    last: Instant,
}

impl Submitter {
    pub(crate) async fn run(self, mut inbox: mpsc::UnboundedReceiver<Submission>) {
        let mut line = Line::default();
        let mut delete: Vec<StreamId> = Vec::new();
        let mut sending = FuturesOrdered::new();
        let mut gathered = Vec::new();
        let mut open = true;
        let mut resume: Option<Instant> = None;
        let mut full = false;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut failing: Option<Failing> = None;
        loop {
            while resume.is_none()
                && sending.len() < self.places(full, &line)
                && !(line.is_empty() && delete.is_empty())
            {
                if sending.is_empty()
                    && failing.is_some_and(|failing| failing.last.elapsed() >= FORGOTTEN)
                {
                    backoff.reset();
                    failing = None;
                }
                let requests = line.take_pipeline();
                sending.push_back(self.send(requests, std::mem::take(&mut delete)));
            }
            if !open && sending.is_empty() && resume.is_none() {
                return;
            }
            tokio::select! {
                biased;
                Some(sent) = sending.next(), if !sending.is_empty() => {
                    let Sent { nothing, again, why, delete: left } = sent;
                    delete.extend(left);
                    line.put_back(again);
                    full = matches!(why, Some(Again::Full(_)));
                    match why {
                        // That says nothing of the server.
                        None if nothing => {}
                        None => {
                            backoff.reset();
                            failing = None;
                        }
                        Some(Again::AtOnce) => failing = None,
                        Some(Again::Full(retry_after)) => {
                            backoff.reset();
                            failing = None;
                            resume = Some(Instant::now() + retry_after.clamp(SOONEST, LATEST));
                        }
                        Some(Again::Failed(error)) => {
                            let last = Instant::now();
                            let since = failing.map_or(last, |failing| failing.since);
                            failing = Some(Failing { since, last });
                            if since.elapsed() >= PATIENCE {
                                self.give_up(&mut line, &mut inbox, &error);
                                delete.clear();
                            }
                            let pause = backoff.next_pause();
                            tracing::warn!("sending requests failed, trying again in {pause:?}: {error}");
                            resume = Some(Instant::now() + pause);
                        }
                    }
                }
                received = inbox.recv_many(&mut gathered, PIPELINE),
                    if open && sending.len() < PIPELINES =>
                {
                    open = received > 0;
                    // Of callers that one reply has woken the first one sends: the others have their
                    // turn, so that what they send goes in the same pipeline. Whether there are others is
                    // not known: none of them has entered yet.
                    give_way().await;
                    while gathered.len() < PIPELINE
                        && let Ok(submission) = inbox.try_recv()
                    {
                        gathered.push(submission);
                    }
                    for submission in gathered.drain(..) {
                        match submission {
                            Submission::Add(request) => line.push(request, &self.outstanding),
                            Submission::Delete(id) => delete.push(id),
                        }
                    }
                }
                () = sleep_until(resume.unwrap_or_else(Instant::now)), if resume.is_some() => {
                    resume = None;
                }
            }
        }
    }

    /// How many pipelines may be on their way. One beside others takes its share of what is outstanding
    /// at the least: smaller ones cost the server more, and what is in them waits behind the others
    /// anyway.
    fn places(&self, full: bool, line: &Line) -> usize {
        let share = (self.outstanding.len() / PIPELINES).min(PIPELINE);
        // While it is full nobody overtakes who waits.
        let alone = full || line.len() < share;
        if alone { 1 } else { PIPELINES }
    }

    /// Ends the calls whose requests wait, or have come meanwhile.
    fn give_up(
        &self,
        line: &mut Line,
        inbox: &mut mpsc::UnboundedReceiver<Submission>,
        error: &Error,
    ) {
        let come = std::iter::from_fn(|| inbox.try_recv().ok());
        let come = come.filter_map(|submission| match submission {
            Submission::Add(request) => Some(request),
            Submission::Delete(_) => None,
        });
        let given_up = line.drain().chain(come);
        let ended = given_up.map(|request| (request.idem, Err(error.clone())));
        self.outstanding.end_all(ended);
    }

    /// Sends one pipeline.
    async fn send(&self, mut requests: Vec<Request>, delete: Vec<StreamId>) -> Sent {
        self.outstanding
            .retain_waiting(&mut requests, |request| request.idem);
        let mut sent = Sent {
            nothing: requests.is_empty() && delete.is_empty(),
            ..Sent::default()
        };
        let (added, deleted) = join(self.add(&requests), self.delete(&delete)).await;
        match deleted {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Connection => {
                sent.delete = delete;
                sent.why = Some(Again::Failed(error));
            }
            Err(error) => tracing::warn!("entries that nobody waits for stay: {error}"),
        }
        match added {
            Ok(Admitted::Ids(ids)) => {
                let rest = requests.split_off(ids.len().min(requests.len()));
                let added = requests.iter().map(|request| request.idem).zip(ids);
                // Their callers have gone meanwhile.
                sent.delete.extend(self.outstanding.set_ids(added));
                if !rest.is_empty() {
                    self.refuse(rest, "", &mut sent);
                }
            }
            Ok(Admitted::NoMemory(text)) => self.refuse(requests, &text, &mut sent),
            Ok(Admitted::Unknown) => {
                sent.again = requests;
                sent.why = Some(Again::AtOnce);
            }
            Ok(Admitted::NotNow(error)) => {
                sent.again = requests;
                sent.why = Some(Again::Failed(error));
            }
            Err(error) if error.kind() == ErrorKind::Connection => {
                let idems = requests.iter().map(|each| each.idem);
                self.outstanding.set_unconfirmed(idems);
                sent.again = requests;
                sent.why = Some(Again::Failed(error));
            }
            Err(error) => {
                let ended = requests.iter().map(|each| (each.idem, Err(error.clone())));
                self.outstanding.end_all(ended);
            }
        }
        sent
    }

    async fn add(&self, requests: &[Request]) -> Result<Admitted> {
        match requests {
            [] => Ok(Admitted::Ids(Vec::new())),
            requests => self.admit.send(&*self.client, requests).await,
        }
    }

    async fn delete(&self, ids: &[StreamId]) -> Result<()> {
        match ids {
            [] => Ok(()),
            ids => {
                let stream = &self.admit.request_stream;
                let delete = commands::delete_entries(stream, ids.iter().copied());
                // A Python processor that has one never does.
                let ack = commands::acknowledge(stream, &self.group, ids.iter().copied());
                send_accepted(&*self.client, &[delete, ack]).await
            }
        }
    }

    /// There is no room for these.
    fn refuse(&self, requests: Vec<Request>, detail: &str, sent: &mut Sent) {
        const SENT_BEFORE: &str =
            "whether the request was let in is not known, and now the queue is full";
        let now = Instant::now();
        if self.on_full == OnFull::Wait {
            let idems = requests.iter().map(|request| request.idem);
            self.outstanding.set_refused(idems);
            sent.why = Some(Again::Full(self.outstanding.refuse(now)));
            sent.again = requests;
            return;
        }
        let refused = requests.iter().map(|request| {
            let error = match self.outstanding.is_unconfirmed(request.idem) {
                true => Error::new(ErrorKind::Connection, SENT_BEFORE),
                false => {
                    let retry_after = self.outstanding.refuse(now);
                    Error::new(ErrorKind::QueueFull { retry_after }, detail)
                }
            };
            (request.idem, Err(error))
        });
        let refused: Vec<_> = refused.collect();
        self.outstanding.end_all(refused);
    }
}

#[cfg(test)]
mod tests;
