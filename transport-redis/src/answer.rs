//! The end of requests at a processor: which commands tell their callers and clean up.

use std::collections::HashSet;
use std::time::Duration;

use dynamic_batcher::{BatchInfo, Error, Result};
use tokio::time::Instant;

use crate::client::{pipeline_len, send_repeatedly};
use crate::command::Command;
use crate::commands;
use crate::dead::{Body, Burial};
use crate::entry::StreamId;
use crate::place::Place;
use crate::reply::{self, Outgoing};
use crate::request::Caller;
use crate::source::{RawAnswer, RedisTicket};
use crate::types::ResponseStream;
use crate::value::Value;

/// What a Python caller reads as the failure of its request.
const FAILED: &str = "null";

/// The end of some requests.
pub(crate) struct Ending {
    pub(crate) commands: Vec<Command>,
    /// The requests that each of the commands ends.
    ids: Vec<Vec<StreamId>>,
    pub(crate) tickets: Vec<RedisTicket>,
    /// The entries that are to be deleted once their answers are there, and acknowledged later:
    /// their Python callers may look for them among the pending ones.
    pub(crate) seen_later: Vec<StreamId>,
}

impl Ending {
    fn push(&mut self, command: Command, ids: Vec<StreamId>) {
        self.commands.push(command);
        self.ids.push(ids);
    }

    /// Takes out the tickets of the requests that have not ended: the server has refused what was to
    /// end them, or a reply to it has not come.
    pub(crate) fn take_unended(&mut self, replies: &[Value]) -> Vec<RedisTicket> {
        let replies = replies.iter().map(Some).chain(std::iter::repeat(None));
        let (mut unended, mut others) = (HashSet::new(), HashSet::new());
        for (ids, reply) in self.ids.iter().zip(replies) {
            match reply {
                None | Some(Value::Refused(_)) => unended.extend(ids.iter().copied()),
                // They are for others to end.
                Some(Value::Int(0)) => others.extend(ids.iter().copied()),
                Some(_) => {}
            }
        }
        self.seen_later
            .retain(|id| !unended.contains(id) && !others.contains(id));
        let is_unended = |ticket: &mut RedisTicket| unended.contains(&ticket.id());
        self.tickets.extract_if(.., is_unended).collect()
    }
}

/// Ends requests: with responses, or with errors, of which nobody is told whose request another processor
/// has by then.
pub(crate) fn end(place: &Place, batch: Option<&BatchInfo>, answers: Vec<RawAnswer>) -> Ending {
    let answers = answers.into_iter();
    let (tickets, outcomes): (Vec<_>, Vec<_>) = answers
        .map(|answer| {
            let outcome = answer.outcome.and_then(commands::fitting);
            (answer.ticket, (outcome, answer.queued))
        })
        .unzip();
    let mut ending = Ending {
        commands: Vec::new(),
        ids: Vec::new(),
        tickets: Vec::new(),
        seen_later: Vec::new(),
    };
    let mut replies = Vec::with_capacity(tickets.len());
    for ((position, ticket), (outcome, queued)) in (0..).zip(&tickets).zip(outcomes) {
        let id = ticket.id();
        match &ticket.caller {
            Caller::Documented => {
                let respond = match outcome {
                    Ok(json) => response(id, json),
                    Err(error) => {
                        tracing::warn!("the request {id} of a Python caller failed: {error}");
                        commands::respond_failed(place, id, FAILED)
                    }
                };
                ending.push(respond, vec![id]);
                ending.seen_later.push(id);
            }
            Caller::Stream { reply_to, idem } => {
                replies.push(Outgoing {
                    id,
                    reply_to,
                    idem,
                    outcome,
                    position,
                    queued,
                });
            }
            Caller::Nobody { body } => {
                let reason = outcome.err().map(|error| error.to_string());
                let burial = Burial {
                    id,
                    body: body.as_deref().map_or(Body::None, Body::Given),
                    reason: &reason.unwrap_or_default(),
                    deliveries: ticket.deliveries,
                    consumer: &place.consumer,
                    last_delivered: None,
                    acknowledge: true,
                };
                ending.push(burial.command(place), vec![id]);
            }
        }
    }
    // What has failed comes last: what of it is left out changes no place of a response in its batch.
    replies.sort_by_key(|reply| (reply.reply_to, reply.outcome.is_err()));
    for (reply_to, part) in reply::parts(&replies) {
        let ids: Vec<_> = part.iter().map(|reply| reply.id).collect();
        let answer = if part.iter().any(|reply| reply.outcome.is_err()) {
            commands::answer_failed(place, reply_to, &ids)
        } else {
            commands::answer(place, reply_to, &ids)
        };
        ending.push(reply::write(answer, batch, part), ids);
    }
    drop(replies);
    ending.tickets = tickets;
    ending
}

/// Sends commands that may be repeated, as [`send_repeatedly`], for a lease; in pipelines, so that what
/// is large keeps nobody else waiting for all of it. The replies, and why there are no more.
pub(crate) async fn send(place: &Place, mut commands: Vec<Command>) -> (Vec<Value>, Result<()>) {
    let start = Instant::now();
    let mut replies = Vec::new();
    loop {
        let lengths = commands.iter().map(|command| command.bytes.len());
        let others = commands.split_off(pipeline_len(lengths));
        let patience = place.lease.saturating_sub(start.elapsed());
        match send_repeatedly(&*place.client, commands, patience).await {
            Ok(got) => replies.extend(got),
            Err(error) => return (replies, Err(error)),
        }
        if others.is_empty() {
            return (replies, Ok(()));
        }
        commands = others;
    }
}

/// Tells a caller that its request has failed, if anybody can be told.
pub(crate) fn failure(id: StreamId, caller: &Caller, error: &Error) -> Option<Command> {
    match caller {
        // Unless it was answered meanwhile.
        Caller::Documented => Some(response(id, FAILED.into()).arg("NX")),
        Caller::Stream { reply_to, idem } => {
            let outgoing = Outgoing {
                id,
                reply_to,
                idem,
                outcome: Err(error.clone()),
                position: 0,
                queued: Duration::ZERO,
            };
            let add = commands::add_if_there(reply_to);
            Some(reply::write(add, None, &[outgoing]))
        }
        Caller::Nobody { .. } => None,
    }
}

fn response(id: StreamId, body: Vec<u8>) -> Command {
    commands::set_response(ResponseStream {
        stream_id: id.to_string(),
        body,
    })
}
