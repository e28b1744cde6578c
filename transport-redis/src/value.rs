//! A reply of the server, whichever client crate received it.

use std::fmt;
use std::mem;

use bytes::Bytes;
use dynamic_batcher::{Error, ErrorKind, Result};

use crate::texts::Texts;

/// A reply, with the differences between the versions of the protocol taken out: text is text,
/// whether it came as a bulk or a simple string, and a map is the list of its keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Nil,
    Int(i64),
    /// Often a part of the memory that the whole reply is in.
    Text(Bytes),
    /// A list of one text or more.
    Texts(Texts),
    /// A list of a text and of a list of one text or more, as an entry of a stream is.
    Entry(Bytes, Texts),
    /// Any other list: see [`list_of`](Self::list_of).
    List(Vec<Self>),
    /// The server refused the command.
    Refused(Refusal),
}

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Its first word: `ERR`, `NOGROUP`, `WRONGTYPE` …
    pub(crate) code: String,
    /// What follows.
    pub(crate) message: String,
}

impl Refusal {
    /// Reads the text of an error reply.
    pub(crate) fn new(text: &str) -> Self {
        // What a script has run into, Redis 6 puts behind words of its own.
        let text = match text.strip_prefix("ERR Error running script") {
            Some(script) => script.split_once(": -").map_or(text, |(_, reply)| reply),
            None => text,
        };
        let (code, message) = text.split_once(' ').unwrap_or((text, ""));
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// The server's memory is full.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.code == "OOM"
    }

    /// Whether it passes by itself; of the others somebody has to change something.
    pub(crate) fn passes(&self) -> bool {
        let passing = [
            "LOADING",
            "READONLY",
            "BUSY",
            "TRYAGAIN",
            "MASTERDOWN",
            "CLUSTERDOWN",
            "NOREPLICAS",
            "MISCONF",
            "UNBLOCKED",
            "NOSCRIPT",
        ];
        // It has no word of its own.
        let is_crowded = self.message.contains("max number of clients");
        passing.contains(&&*self.code) || self.is_out_of_memory() || is_crowded
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.code.as_str() {
            "NOAUTH" => ": set the password, REDIS__PASSWORD",
            "WRONGPASS" => {
                ": correct the user or the password, REDIS__PASSWORD, or leave it out where there is none"
            }
            "NOPERM" => ": allow the user of this connection that command and key",
            "WRONGTYPE" => ": another program uses this key, choose another name",
            "READONLY" => ": it is a replica, connect to the primary",
            "MISCONF" => ": it cannot save its data, see its log",
            _ if self.message.contains("DB index") => ": it has fewer databases, see REDIS__DB",
            _ if self.is_out_of_memory() => ": its maxmemory is reached",
            _ => "",
        };
        let Self { code, message } = self;
        write!(f, "the server refused: {code} {message}{advice}")
    }
}

impl Value {
    pub(crate) fn int(self) -> Result<i64> {
        match self {
            Self::Int(number) => Ok(number),
            other => Err(other.unexpected("a number")),
        }
    }

    pub(crate) fn text(self) -> Result<Bytes> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.unexpected("text")),
        }
    }

    /// Text, or `None` where there is nothing.
    pub(crate) fn optional_text(self) -> Result<Option<Bytes>> {
        match self {
            Self::Nil => Ok(None),
            other => other.text().map(Some),
        }
    }

    /// A list; nothing is the empty one, as the server answers reads that found nothing.
    pub(crate) fn list(self) -> Result<Vec<Self>> {
        match self {
            Self::List(values) => Ok(values),
            Self::Texts(texts) => Ok(texts.apart().into_iter().map(Self::Text).collect()),
            Self::Entry(id, fields) => Ok(vec![Self::Text(id), Self::Texts(fields)]),
            Self::Nil => Ok(Vec::new()),
            other => Err(other.unexpected("a list")),
        }
    }

    /// A list of texts; nothing is the empty one.
    pub(crate) fn texts(self) -> Result<Texts> {
        match self {
            Self::Texts(texts) => Ok(texts),
            Self::Nil => Ok(Texts::default()),
            Self::List(values) if values.is_empty() => Ok(Texts::default()),
            other => Err(other.unexpected("a list of texts")),
        }
    }

    /// An entry of a stream: its id, and its fields, of which one that was deleted meanwhile has none.
    pub(crate) fn entry(self) -> Result<(Bytes, Texts)> {
        match self {
            Self::Entry(id, fields) => Ok((id, fields)),
            other => {
                let mut parts = other.list()?.into_iter();
                let mut next = || parts.next().unwrap_or(Self::Nil);
                Ok((next().text()?, next().texts()?))
            }
        }
    }

    /// The same, unless the server refused.
    pub(crate) fn accepted(self) -> Result<Self> {
        match self {
            Self::Refused(refusal) => Err(refusal.into()),
            value => Ok(value),
        }
    }

    /// Refused, because the server's memory is full.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_out_of_memory())
    }

    /// Of a command that makes a group: one that is there already is as good.
    pub(crate) fn made(self) -> Result<()> {
        match self {
            Self::Refused(refusal) if refusal.code == "BUSYGROUP" => Ok(()),
            reply => reply.accepted().map(drop),
        }
    }

    /// The one way to make a list of values. With an error in it, it is that error, as every client has it.
    pub(crate) fn list_of(mut values: Vec<Self>) -> Self {
        if let Some(refused) = values.iter().position(|v| matches!(v, Self::Refused(_))) {
            return values.swap_remove(refused);
        }
        if let [Self::Text(id), Self::Texts(fields)] = &mut values[..] {
            return Self::Entry(mem::take(id), mem::take(fields));
        }
        if values.is_empty() || !values.iter().all(|v| matches!(v, Self::Text(_))) {
            return Self::List(values);
        }
        let texts = values.into_iter().filter_map(|value| match value {
            Self::Text(text) => Some(text),
            _ => None,
        });
        Self::Texts(texts.collect())
    }

    /// That it is not what was `expected`. What is in it is not told: that may be long, and is the users'
    /// own.
    pub(crate) fn unexpected(self, expected: &str) -> Error {
        let answer = match self {
            Self::Refused(refusal) => return refusal.into(),
            Self::Nil => "nothing".to_owned(),
            Self::Int(number) => format!("the number {number}"),
            Self::Text(text) => format!("a text of {} bytes", text.len()),
            Self::List(values) => format!("a list of {}", values.len()),
            Self::Texts(texts) => format!("a list of {} texts", texts.len()),
            Self::Entry(..) => "an entry".to_owned(),
        };
        Error::new(
            ErrorKind::Connection,
            format!("the server answered with {answer} where {expected} was expected"),
        )
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.passes() {
            true => ErrorKind::Connection,
            false => ErrorKind::Config,
        };
        Self::new(kind, refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_has_run_into_is_read_as_if_it_had_been_answered_itself() {
        let script = "Error running script (call to f_27672c): @user_script:1: @user_script: 1: ";
        for (reply, passes) in [
            (
                "READONLY You can't write against a read only replica.",
                true,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                true,
            ),
            ("WRONGTYPE Operation against a key", false),
        ] {
            let refusal = Refusal::new(&format!("ERR {script}-{reply}"));
            assert_eq!(refusal, Refusal::new(reply));
            assert_eq!(refusal.passes(), passes, "{refusal}");
        }
        let own = Refusal::new(&format!("ERR {script}attempt to compare nil with number"));
        assert_eq!(own.code, "ERR");
        assert!(own.message.ends_with("nil with number"), "{own}");
    }
}
