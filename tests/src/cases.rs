//! All cases, by topic.

use crate::case::Case;

mod abandonment;
mod contract;
mod deadlines;
mod delivery;
mod drain;
mod failures;
mod forms;
mod info;
mod instances;
mod isolation;
mod lifecycle;
mod overload;
mod reconfigure;
mod warm_up;
mod windows;

const TOPICS: [&[Case]; 15] = [
    delivery::CASES,
    windows::CASES,
    deadlines::CASES,
    abandonment::CASES,
    failures::CASES,
    isolation::CASES,
    forms::CASES,
    drain::CASES,
    lifecycle::CASES,
    instances::CASES,
    reconfigure::CASES,
    warm_up::CASES,
    overload::CASES,
    info::CASES,
    contract::CASES,
];

/// Every case of the suite.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    TOPICS.iter().flat_map(|topic| topic.iter())
}
