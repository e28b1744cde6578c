//! The groups of the streams, made where they are missing.

use dynamic_batcher::Result;

use crate::client::{Client, send_though_full};
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

/// Makes groups, and their streams. One that is there is as good: a server that is full refuses also what
/// changes nothing.
pub(crate) async fn make(client: &dyn Client, groups: &[Group<'_>]) -> Result<()> {
    let create: Vec<_> = groups.iter().map(commands::create_group).collect();
    let made = send_though_full(client, &create).await?;
    made.into_iter().try_for_each(Value::made)
}
