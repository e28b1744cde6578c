//! The groups of the streams, made where they are missing.

use dynamic_batcher::Result;

use crate::client::{Client, send_one};
use crate::commands;
use crate::value::Value;

/// A group that is to be there.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) stream: &'a str,
    pub(crate) name: &'a str,
    /// After which id it reads.
    pub(crate) from: &'static str,
}

/// It reads from the beginning: what was added before the group existed counts.
pub(crate) const BEGINNING: &str = "0";
/// It reads what is added from now on.
pub(crate) const NOW: &str = "$";

/// Makes groups, and their streams. One that is there is as good.
pub(crate) async fn make(client: &dyn Client, groups: &[Group<'_>]) -> Result<()> {
    let create: Vec<_> = groups.iter().map(commands::create_group).collect();
    let replies = client.send(&create).await?;
    for (group, reply) in groups.iter().zip(replies) {
        match reply {
            // A server that is full refuses also what changes nothing.
            Value::Refused(refusal) if refusal.is_out_of_memory() => {
                let create = commands::create_group_though_full(group);
                send_one(client, create).await?.made()?;
            }
            reply => reply.made()?,
        }
    }
    Ok(())
}
