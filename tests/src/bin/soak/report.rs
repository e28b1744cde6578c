//! What a soak has found.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::fleet::Fleet;
use crate::trouble::Trouble;

/// What is printed.
#[derive(Serialize)]
pub(crate) struct Report {
    seconds: u64,
    seed: u64,
    requests: usize,
    faults: u32,
    lost: usize,
    wrong: usize,
    stalled: usize,
    leftovers: usize,
    outcomes: BTreeMap<String, usize>,
    faults_by_kind: BTreeMap<String, u32>,
    peak_memory_kib: BTreeMap<String, u64>,
    examples: Vec<String>,
    left: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        time: Duration,
        seed: u64,
        fleet: &Fleet,
        trouble: &Trouble,
        left: Vec<String>,
    ) -> Self {
        // None of the faults is a reason for a request to fail.
        let verdict = fleet.ledger.verdict(&[]);
        Self {
            seconds: time.as_secs(),
            seed,
            requests: verdict.requests,
            faults: trouble.count.values().sum(),
            lost: verdict.lost,
            wrong: verdict.wrong,
            stalled: verdict.stalled,
            leftovers: left.len(),
            outcomes: verdict.outcomes,
            faults_by_kind: trouble.count.clone(),
            peak_memory_kib: fleet.memory.clone(),
            examples: verdict.examples,
            left,
        }
    }

    /// Whether all requests were answered as they should be, and nothing is left.
    pub(crate) fn is_good(&self) -> bool {
        [self.lost, self.wrong, self.stalled, self.leftovers] == [0; 4]
    }
}
