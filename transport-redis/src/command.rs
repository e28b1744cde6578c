//! A command for the server, whichever client crate sends it.

use std::fmt;

use crate::numbers::Number;

/// A command: its name and its arguments, as they go over the wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// All arguments, one after the other: a command with thousands of them is one piece of memory.
    pub(crate) bytes: Vec<u8>,
    /// Where each of them ends.
    pub(crate) ends: Vec<usize>,
    once: bool,
}

impl Command {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            bytes: Vec::new(),
            ends: Vec::new(),
            once: false,
        }
    }

    /// Marks a command that must not be sent again while it is not known whether it has arrived.
    /// Of all others a repetition changes nothing, or nothing that anybody could notice.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    pub(crate) fn may_be_repeated(&self) -> bool {
        !self.once
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.push(arg);
        self
    }

    pub(crate) fn number(mut self, arg: impl Number) -> Self {
        self.push_number(arg);
        self
    }

    pub(crate) fn args<A: AsRef<[u8]>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().for_each(|arg| self.push(arg));
        self
    }

    pub(crate) fn numbers<A: Number>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().for_each(|arg| self.push_number(arg));
        self
    }

    pub(crate) fn push(&mut self, arg: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(arg.as_ref());
        self.ends.push(self.bytes.len());
    }

    /// An argument in two parts.
    pub(crate) fn push_joined(&mut self, first: &[u8], second: &[u8]) {
        self.bytes.extend_from_slice(first);
        self.push(second);
    }

    pub(crate) fn push_number(&mut self, arg: impl Number) {
        arg.write_to(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// The arguments.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.iter()
            .try_for_each(|arg| write!(f, " {}", arg.escape_ascii()))
    }
}
