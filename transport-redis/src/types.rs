//! The data types that the Python package documents: what the server tells of a pending request, and
//! a response as it is handed back.

use dynamic_batcher::Result;
use serde::{Deserialize, Serialize};

use crate::value::Value;

/// A request that was delivered and not acknowledged, as the server's pending list shows it
/// (`XPENDING`). The Python package's type of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRequestStream {
    /// The id of its entry.
    pub message_id: String,
    /// The consumer that has it.
    pub consumer: String,
    /// Milliseconds since it was last delivered.
    pub time_since_delivered: u64,
    /// How often it was delivered.
    pub times_delivered: u64,
}

/// A response and the id of the request that it answers. The Python package's type of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseStream<T> {
    /// The id of the request's entry, which is the key of the response.
    pub stream_id: String,
    /// The response.
    pub body: T,
}

impl PendingRequestStream {
    /// Reads the reply to the extended form of XPENDING.
    pub(crate) fn all(reply: Value) -> Result<Vec<Self>> {
        reply.list()?.into_iter().map(Self::one).collect()
    }

    fn one(value: Value) -> Result<Self> {
        let mut parts = value.list()?.into_iter();
        let mut next = || parts.next().unwrap_or(Value::Nil);
        let text = |value: Value| -> Result<String> {
            Ok(String::from_utf8_lossy(&value.text()?).into_owned())
        };
        let number =
            |value: Value| -> Result<u64> { Ok(u64::try_from(value.int()?).unwrap_or_default()) };
        Ok(Self {
            message_id: text(next())?,
            consumer: text(next())?,
            time_since_delivered: number(next())?,
            times_delivered: number(next())?,
        })
    }
}
