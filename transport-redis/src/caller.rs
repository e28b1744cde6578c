//! The caller's side: what one runtime sends, and the tasks that bring its answers.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::process;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dynamic_batcher::{CallMeta, Result};
use tokio::runtime::{Handle, Id};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::admit::Admit;
use crate::call::Call;
use crate::client::Client;
use crate::commands;
use crate::config::RedisConfig;
use crate::entry::StreamId;
use crate::keys::Keys;
use crate::outstanding::{Expired, Outstanding};
use crate::replies::Answers;
use crate::submit::{Request, Submission, Submitter};
use crate::value::Value;

/// What sends from one runtime, with a reply stream of its own. Its tasks end with it, but for the one that
/// sends: what has been dropped together with it is still withdrawn.
pub(crate) struct Caller {
    runtime: Id,
    outstanding: Arc<Outstanding>,
    submissions: mpsc::UnboundedSender<Submission>,
    client: Arc<dyn Client>,
    reply_stream: String,
    submitter: AbortHandle,
    tasks: [AbortHandle; 3],
}

impl Caller {
    /// Starts the tasks.
    pub(crate) fn start(
        runtime: &Handle,
        client: &Arc<dyn Client>,
        keys: &Keys,
        config: &RedisConfig,
    ) -> Self {
        let max_queue = config.max_queue.get();
        let outstanding = Arc::new(Outstanding::new(max_queue));
        let reply_stream = keys.reply(&random_name());
        let (submissions, inbox) = mpsc::unbounded_channel();
        let submitter = Submitter {
            client: Arc::clone(client),
            outstanding: Arc::clone(&outstanding),
            group: config.stream_group_processor.clone(),
            admit: Admit::new(keys.request().to_owned(), reply_stream.clone(), max_queue),
            on_full: config.on_full,
        };
        let answers = Arc::new(Answers {
            client: Arc::clone(client),
            outstanding: Arc::clone(&outstanding),
            request_stream: keys.request().to_owned(),
            group: config.stream_group_processor.clone(),
            reply_stream: reply_stream.clone(),
            delay: config.delay,
            routed: Mutex::new(StreamId::MIN),
        });
        let tasks = [
            runtime.spawn(Arc::clone(&answers).read_stream()),
            runtime.spawn(answers.sweep_keys()),
            runtime.spawn(keep_deadlines(
                Arc::clone(client),
                Closing(Arc::clone(&outstanding)),
                keys.request().to_owned(),
                config.stream_group_processor.clone(),
            )),
        ];
        Self {
            runtime: runtime.id(),
            outstanding,
            submissions,
            client: Arc::clone(client),
            reply_stream,
            submitter: runtime.spawn(submitter.run(inbox)).abort_handle(),
            tasks: tasks.map(|task| task.abort_handle()),
        }
    }

    /// Whether it sends from that runtime. Not after a runtime has ended: another may have its id.
    pub(crate) fn serves(&self, runtime: Id) -> bool {
        self.runtime == runtime && !self.has_ended()
    }

    /// Whether its runtime has, or something it cannot do without.
    pub(crate) fn has_ended(&self) -> bool {
        let mut tasks = self.tasks.iter().chain([&self.submitter]);
        tasks.any(AbortHandle::is_finished)
    }

    /// Sends one request, whose outcome the call waits for.
    ///
    /// # Errors
    ///
    /// `Encode` where no server takes a request of that length: it is not sent.
    pub(crate) fn call(self: &Arc<Self>, body: Vec<u8>, meta: CallMeta) -> Result<Call> {
        let body = commands::fitting(body)?;
        let (idem, outcome) = self.outstanding.enter(meta);
        let request = Request {
            idem,
            body,
            deadline: meta.deadline,
            trace: meta.trace_context(),
        };
        // Where its task has ended, so has the call.
        let _ = self.submissions.send(Submission::Add(request));
        Ok(Call::new(Arc::clone(self), idem, outcome))
    }

    /// Nobody waits for the outcome of this request any more: it is withdrawn.
    pub(crate) fn abandon(&self, idem: u64) {
        if let Some(id) = self.outstanding.abandon(idem) {
            let _ = self.submissions.send(Submission::Delete(id));
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        // It would expire by itself; where there is a runtime it need not.
        if let Ok(runtime) = Handle::try_current() {
            let client = Arc::clone(&self.client);
            let delete = commands::delete_key(&self.reply_stream);
            runtime.spawn(async move { client.send(&[delete]).await });
        }
    }
}

/// Ends all calls when the task that keeps their deadlines does: with its runtime.
struct Closing(Arc<Outstanding>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Ends calls at their deadlines: one timer for all of them.
async fn keep_deadlines(client: Arc<dyn Client>, closing: Closing, stream: String, group: String) {
    /// While nothing waits, only a new deadline wakes it.
    const LONG: Duration = Duration::from_secs(24 * 60 * 60);
    let outstanding = &closing.0;
    loop {
        let (expired, next) = outstanding.expire(Instant::now());
        if !expired.is_empty() {
            // Not awaited here: other deadlines come meanwhile.
            tokio::spawn(withdraw(
                Arc::clone(&client),
                expired,
                stream.clone(),
                group.clone(),
            ));
        }
        let next = next.unwrap_or_else(|| Instant::now() + LONG);
        // Either way it is time to look again.
        let _ = timeout_at(next, outstanding.earlier_deadline.notified()).await;
    }
}

/// Deletes the entries of expired requests, also from those that are pending, and tells their calls,
/// also whether a processor had them: those that were never delivered have surely not been started.
async fn withdraw(client: Arc<dyn Client>, expired: Vec<Expired>, stream: String, group: String) {
    /// The calls are late already: where the server does not answer they are told at once.
    const LIMIT: Duration = Duration::from_millis(50);
    let ids: Vec<_> = expired.iter().filter_map(Expired::id).collect();
    let mut ask = Vec::new();
    for id in &ids {
        // In this order: between the two, processors may read.
        ask.push(commands::delete_entries(&stream, [*id]));
        ask.push(commands::pending_entry(&stream, &group, *id));
    }
    let answers = timeout(LIMIT, async move {
        if ask.is_empty() {
            return Ok(Vec::new());
        }
        // A Python processor never does.
        ask.push(commands::acknowledge(&stream, &group, ids));
        client.send(&ask).await
    });
    let mut answers = answers
        .await
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default()
        .into_iter();
    for each in expired {
        let known = each.id();
        let known = known.and_then(|_| Some((answers.next()?, answers.next()?)));
        let delivered = match known {
            // It was there to be deleted and not pending.
            Some((Value::Int(1), Value::List(pending))) => Some(!pending.is_empty()),
            Some((Value::Int(_), Value::List(_) | Value::Nil)) => Some(true),
            _ => None,
        };
        each.end(delivered);
    }
}

/// A name that no other process draws.
pub(crate) fn random_name() -> String {
    let keys = [RandomState::new(), RandomState::new()];
    name_drawn_by(process::id(), SystemTime::now(), &keys)
}

/// The standard library's hasher keys are its source of randomness, drawn once for each thread: a process
/// that was forked has those of its parent, and draws other names for its number. Of a machine that was
/// copied as it ran, all but the time is the same.
fn name_drawn_by(process: u32, at: SystemTime, keys: &[RandomState; 2]) -> String {
    let [first, second] = keys.each_ref().map(|keys| keys.hash_one((process, at)));
    format!("{first:016x}{second:016x}")
}

#[cfg(test)]
mod tests;
