//! A command for the server, whichever client crate sends it.

/// A command: its name and its arguments, as they go over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<Vec<u8>>,
}

impl Command {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            args: Vec::new(),
        }
    }

    pub(crate) fn arg(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A number, or what else is written as text.
    pub(crate) fn number(self, arg: impl std::fmt::Display) -> Self {
        self.arg(format!("{arg}"))
    }

    pub(crate) fn args<A: Into<Vec<u8>>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
}
