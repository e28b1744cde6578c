//! The requests and answers of all subjects: next to no work, and JSON as the Python package has it.

use serde::{Deserialize, Serialize};

/// A request.
#[derive(Deserialize, Serialize)]
pub(crate) struct Values {
    values: [u64; 3],
}

/// The answer to it.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Sum {
    sum: u64,
}

impl Values {
    /// The request of a caller that has sent so many before.
    pub(crate) fn new(caller: u64, count: u64) -> Self {
        Self {
            values: [caller, count, 5],
        }
    }

    /// The right answer.
    pub(crate) fn sum(&self) -> Sum {
        Sum {
            sum: self.values.iter().sum(),
        }
    }
}
