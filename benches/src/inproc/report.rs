//! The results, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::inproc::measure::Figures;
use crate::inproc::workload::Workload;

/// The first lines of the table: what its columns are.
#[must_use]
pub fn header() -> String {
    let [workload, subject] = ["workload", "subject"];
    let [rate, time, ratio] = ["requests/s", "ns/request", "× floor"];
    let [p50, p99, allocations, bytes] = ["p50 µs", "p99 µs", "allocs/req", "bytes/req"];
    let columns = format!(
        "{workload:<14} {subject:<19} {rate:>11} {time:>11} {ratio:>8} \
         {p50:>9} {p99:>9} {allocations:>10} {bytes:>10}"
    );
    let rule = "-".repeat(columns.chars().count());
    format!("{columns}\n{rule}")
}

/// One line of the table.
#[must_use]
pub fn row(workload: Workload, figures: &Figures) -> String {
    let ratio = figures.ratio_to_floor;
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "{:<14} {:<19} {:>11.0} {:>11.0} {ratio:>8} {:>9.2} {:>9.2} {:>10.2} {:>10.0}",
        workload.name,
        figures.subject.name(),
        figures.requests_per_s,
        ns_per_request(figures),
        micros(figures.p50),
        micros(figures.p99),
        figures.allocations_per_request,
        figures.bytes_per_request,
    )
}

/// One subject under one workload as a JSON object.
#[must_use]
pub fn json_line(workload: Workload, figures: &Figures) -> Value {
    json!({
        "workload": workload.name,
        "subject": figures.subject.name(),
        "requests_per_s": figures.requests_per_s,
        "p50_us": micros(figures.p50),
        "p99_us": micros(figures.p99),
        "ns_per_request": ns_per_request(figures),
        "ratio_to_floor_mpsc": figures.ratio_to_floor,
        "allocations_per_request": figures.allocations_per_request,
        "bytes_per_request": figures.bytes_per_request,
    })
}

fn ns_per_request(figures: &Figures) -> f64 {
    1e9 / figures.requests_per_s
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
