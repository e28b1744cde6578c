//! The results, for people and for programs.

use serde_json::{Value, json};

use crate::inproc::measure::{Figure, Results};
use crate::inproc::subject::Subject;

/// The first lines of the table: what its columns are.
#[must_use]
pub fn header() -> String {
    let columns = line(
        ["workload", "subject"],
        [
            "requests/s",
            "ns/request",
            "× floor",
            "of ideal",
            "p50 µs",
            "p99 µs",
            "allocs/req",
            "bytes/req",
        ]
        .map(str::to_owned),
    );
    let rule = "-".repeat(columns.chars().count());
    format!(
        "× floor: time per request over floor-mpsc's; of ideal: requests/s over those of full \
         batches without a pause\n\n{columns}\n{rule}"
    )
}

/// One line of the table.
#[must_use]
pub fn row(results: &Results, subject: Subject) -> String {
    let figure = |figure: Figure, decimals| text(results.figure(subject, figure), decimals);
    line(
        [results.workload.name, subject.name()],
        [
            figure(|round| round.requests_per_s, 0),
            figure(|round| Some(1e9 / round.requests_per_s?), 0),
            text(ratio_to_floor(results, subject), 2),
            figure(|round| round.share_of_ideal, 3),
            figure(|round| round.p50, 2),
            figure(|round| round.p99, 2),
            figure(|round| round.allocations, 2),
            figure(|round| round.bytes, 0),
        ],
    )
}

/// One subject under one workload as a JSON object.
#[must_use]
pub fn json_line(results: &Results, subject: Subject) -> Value {
    let figure = |figure: Figure| results.figure(subject, figure);
    json!({
        "workload": results.workload.name,
        "subject": subject.name(),
        "requests_per_s": figure(|round| round.requests_per_s),
        "p50_us": figure(|round| round.p50),
        "p99_us": figure(|round| round.p99),
        "ns_per_request": figure(|round| Some(1e9 / round.requests_per_s?)),
        "ratio_to_floor_mpsc": ratio_to_floor(results, subject),
        "share_of_ideal": figure(|round| round.share_of_ideal),
        "allocations_per_request": figure(|round| round.allocations),
        "bytes_per_request": figure(|round| round.bytes),
        "late_over_early": figure(|round| round.late_over_early),
        "grown_bytes_per_request": figure(|round| round.grown),
        "wake_ups_per_s": figure(|round| round.wake_ups),
        "idle_cpu_us_per_s": figure(|round| round.idle_cpu),
    })
}

fn ratio_to_floor(results: &Results, subject: Subject) -> Option<f64> {
    results.time_ratio(subject, Subject::FloorMpsc)
}

fn text(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
}

fn line([workload, subject]: [&str; 2], figures: [String; 8]) -> String {
    let names = format!("{workload:<15} {subject:<19}");
    let figures = figures.map(|figure| format!(" {figure:>10}"));
    names + &figures.concat()
}
