//! The end of requests at a processor: which commands tell their callers and clean up.

use std::collections::HashMap;
use std::time::Duration;

use dynamic_batcher::{Answer, BatchInfo, Error};

use crate::command::Command;
use crate::commands;
use crate::dead::Burial;
use crate::entry::StreamId;
use crate::place::Place;
use crate::reply::{self, Outgoing};
use crate::request::Caller;
use crate::source::RedisTicket;
use crate::types::ResponseStream;

/// What a Python caller reads as the failure of its request.
const FAILED: &str = "null";

/// The end of some requests.
pub(crate) struct Ending {
    /// In this order: a death in between means a second delivery, never a lost answer, and leaves
    /// nothing for good.
    pub(crate) commands: Vec<Command>,
    pub(crate) tickets: Vec<RedisTicket>,
    /// The entries that are to be acknowledged later: their Python callers may look for them among
    /// the pending ones.
    pub(crate) seen_later: Vec<StreamId>,
}

/// Ends requests: with responses, or with errors.
pub(crate) fn end(
    place: &Place,
    batch: Option<&BatchInfo>,
    answers: Vec<Answer<Vec<u8>, RedisTicket>>,
) -> Ending {
    let mut commands = Vec::new();
    let mut seen_later = Vec::new();
    let mut acknowledged = Vec::new();
    let mut streams: HashMap<&str, Vec<Outgoing<'_>>> = HashMap::new();
    let answers = answers.into_iter();
    let (tickets, outcomes): (Vec<_>, Vec<_>) = answers
        .map(|answer| (answer.ticket, (answer.outcome, answer.queued)))
        .unzip();
    for ((position, ticket), (outcome, queued)) in (0..).zip(&tickets).zip(outcomes) {
        let id = ticket.id();
        match &ticket.caller {
            Caller::Documented => {
                let json = outcome.unwrap_or_else(|error| {
                    tracing::warn!("the request {id} of a Python caller failed: {error}");
                    FAILED.into()
                });
                commands.push(response(id, json));
                seen_later.push(id);
            }
            Caller::Stream { reply_to, idem } => {
                let outgoing = Outgoing {
                    idem,
                    outcome,
                    position,
                    queued,
                };
                streams.entry(reply_to).or_default().push(outgoing);
                acknowledged.push(id);
            }
            Caller::Nobody { body } => {
                let reason = outcome.err().map(|error| error.to_string());
                let burial = Burial {
                    id,
                    body: body.as_deref(),
                    reason: &reason.unwrap_or_default(),
                    deliveries: ticket.deliveries,
                    consumer: &place.consumer,
                    last_delivered: None,
                    acknowledge: true,
                };
                commands.push(burial.command(place));
            }
        }
    }
    for (stream, replies) in streams {
        commands.extend(reply::commands(stream, batch, &replies));
    }
    let deleted: Vec<_> = acknowledged.iter().chain(&seen_later).copied().collect();
    if !deleted.is_empty() {
        commands.push(commands::delete_entries(&place.request_stream, deleted));
    }
    // Last: an entry that nobody has and that was not deleted would stay for ever, while one that is
    // pending and deleted is acknowledged after the grace.
    if !acknowledged.is_empty() {
        let acknowledge = commands::acknowledge(&place.request_stream, &place.group, acknowledged);
        commands.push(acknowledge);
    }
    Ending {
        commands,
        tickets,
        seen_later,
    }
}

/// Tells a caller that its request has failed, if anybody can be told.
pub(crate) fn failure(id: StreamId, caller: &Caller, error: &Error) -> Vec<Command> {
    match caller {
        Caller::Documented => vec![response(id, FAILED.into())],
        Caller::Stream { reply_to, idem } => {
            let outgoing = Outgoing {
                idem,
                outcome: Err(error.clone()),
                position: 0,
                queued: Duration::ZERO,
            };
            reply::commands(reply_to, None, &[outgoing])
        }
        Caller::Nobody { .. } => Vec::new(),
    }
}

fn response(id: StreamId, body: Vec<u8>) -> Command {
    commands::set_response(ResponseStream {
        stream_id: id.to_string(),
        body,
    })
}
