//! Sends requests: gathers what many callers send at the same time into pipelines.

use std::sync::Arc;

use dynamic_batcher::Result;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::command::Command;
use crate::commands;
use crate::entry::StreamId;
use crate::outstanding::Outstanding;
use crate::replies::Answers;
use crate::value::Value;

/// The most commands in one pipeline, and the most pipelines on their way.
const PIPELINE: usize = 256;
const PIPELINES: usize = 4;

/// What is to be sent.
#[derive(Debug)]
pub(crate) enum Submission {
    /// The request with this number.
    Add { idem: u64, command: Command },
    /// The entry of a request that nobody waits for any more.
    Delete(StreamId),
}

/// Sends what comes, until the last sender is gone.
pub(crate) async fn submit(
    answers: Arc<Answers>,
    mut submissions: mpsc::UnboundedReceiver<Submission>,
) {
    // Nothing is sent before there is a place for its answer: a processor makes none.
    answers.make_stream_at_last().await;
    let Answers {
        client,
        outstanding,
        request_stream,
        ..
    } = &*answers;
    let mut sending = FuturesOrdered::new();
    let mut open = true;
    while open || !sending.is_empty() {
        let mut gathered = Vec::new();
        tokio::select! {
            biased;
            Some(gone) = sending.next(), if !sending.is_empty() => {
                let gone: Vec<StreamId> = gone;
                if !gone.is_empty() {
                    let delete = commands::delete_entries(request_stream, gone);
                    sending.push_back(send(&**client, outstanding, Vec::new(), vec![delete]));
                }
            }
            received = submissions.recv_many(&mut gathered, PIPELINE),
                if open && sending.len() < PIPELINES =>
            {
                open = received > 0;
                let mut idems = Vec::with_capacity(gathered.len());
                let mut pipeline = Vec::with_capacity(gathered.len());
                let mut deleted = Vec::new();
                for submission in gathered {
                    match submission {
                        Submission::Add { idem, command } => {
                            idems.push(idem);
                            pipeline.push(command);
                        }
                        Submission::Delete(id) => deleted.push(id),
                    }
                }
                if !deleted.is_empty() {
                    pipeline.push(commands::delete_entries(request_stream, deleted));
                }
                if !pipeline.is_empty() {
                    sending.push_back(send(&**client, outstanding, idems, pipeline));
                }
            }
        }
    }
}

/// Sends one pipeline, whose first commands add the requests of these numbers. Returns the entries
/// whose callers have gone meanwhile.
async fn send(
    client: &dyn Client,
    outstanding: &Outstanding,
    idems: Vec<u64>,
    pipeline: Vec<Command>,
) -> Vec<StreamId> {
    let mut gone = Vec::new();
    match client.send(pipeline).await {
        Ok(replies) => {
            for (idem, reply) in idems.into_iter().zip(replies) {
                match added(reply) {
                    Ok(id) if outstanding.set_id(idem, id) => {}
                    Ok(id) => gone.push(id),
                    Err(error) => {
                        outstanding.end(idem, Err(error));
                    }
                }
            }
        }
        // Which of them arrived is not known: none is sent again.
        Err(error) => {
            for idem in idems {
                outstanding.end(idem, Err(error.clone()));
            }
        }
    }
    gone
}

fn added(reply: Value) -> Result<StreamId> {
    StreamId::parse(&reply.text()?)
}
