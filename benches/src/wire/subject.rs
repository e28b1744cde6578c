//! What is measured: this library, the floors under it, and the Python package.

use crate::wire::floor::Layout;

/// Callers and processors that share a request stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What the Python package's layout costs by itself.
    FloorDocumented,
    /// What this library's layout costs by itself.
    FloorReplyStream,
    /// The same by a processor that need not delete each entry by itself, in the way that this library found.
    FloorCut,
    /// This library over the crate `redis`, at both ends.
    OursRedis,
    /// This library over the crate `fred`, at both ends.
    OursFred,
    /// The floor's caller, processors of this library.
    FloorToOurs,
    /// The floor's caller, a processor of the Python package.
    FloorToPython,
    /// Callers of this library, a processor of the Python package.
    RustToPython,
    /// Callers of the Python package, the floor's processor.
    PythonToFloor,
    /// Callers of the Python package, a processor of this library.
    PythonToRust,
    /// The Python package at both ends.
    PythonToPython,
}

/// One end of a subject.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Floor(Layout),
    Ours(Client),
    Python,
}

/// The crate that this library speaks to the server through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Redis,
    Fred,
}

impl Subject {
    /// All subjects.
    pub const ALL: [Self; 11] = [
        Self::FloorDocumented,
        Self::FloorReplyStream,
        Self::FloorCut,
        Self::OursRedis,
        Self::OursFred,
        Self::FloorToOurs,
        Self::FloorToPython,
        Self::RustToPython,
        Self::PythonToFloor,
        Self::PythonToRust,
        Self::PythonToPython,
    ];

    /// How it is called in the results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FloorDocumented => "floor-documented",
            Self::FloorReplyStream => "floor-reply-stream",
            Self::FloorCut => "floor-cut",
            Self::OursRedis => "ours-redis",
            Self::OursFred => "ours-fred",
            Self::FloorToOurs => "floor→ours",
            Self::FloorToPython => "floor→python",
            Self::RustToPython => "rust→python",
            Self::PythonToFloor => "python→floor",
            Self::PythonToRust => "python→rust",
            Self::PythonToPython => "python→python",
        }
    }

    /// The subject of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// Whether it needs a Python interpreter with the package.
    #[must_use]
    pub fn needs_python(self) -> bool {
        matches!(self.caller(), End::Python) || matches!(self.processor(), End::Python)
    }

    /// Who asks.
    pub(crate) fn caller(self) -> End {
        match self {
            Self::FloorDocumented => End::Floor(Layout::Documented),
            Self::FloorReplyStream | Self::FloorToOurs => End::Floor(Layout::ReplyStream),
            Self::FloorCut => End::Floor(Layout::Cut),
            Self::FloorToPython => End::Floor(Layout::Python),
            Self::OursRedis | Self::RustToPython => End::Ours(Client::Redis),
            Self::OursFred => End::Ours(Client::Fred),
            Self::PythonToFloor | Self::PythonToRust | Self::PythonToPython => End::Python,
        }
    }

    /// Who answers.
    pub(crate) fn processor(self) -> End {
        match self {
            Self::FloorToPython | Self::RustToPython | Self::PythonToPython => End::Python,
            Self::PythonToFloor => End::Floor(Layout::Python),
            Self::PythonToRust | Self::FloorToOurs => End::Ours(Client::Redis),
            other => other.caller(),
        }
    }
}
