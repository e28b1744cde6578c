//! The results, for people and for programs.

use serde_json::{Value, json};

use crate::wire::measure::{Figure, Results};
use crate::wire::subject::Subject;

/// The first lines of the table: what its columns are.
#[must_use]
pub fn header() -> String {
    let columns = line(
        ["workload", "subject"],
        [
            "requests/s",
            "× floor",
            "× python",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "caller",
            "processor",
            "server",
            "cmds/req",
            "peak MB",
        ]
        .map(str::to_owned),
    );
    let rule = "-".repeat(columns.chars().count());
    format!(
        "× floor: time per request over floor-reply-stream's; × python: requests/s over \
         python→python's\ncaller, processor, server: µs of processor time per request\n\n\
         {columns}\n{rule}"
    )
}

/// One line of the table.
#[must_use]
pub fn row(results: &Results, subject: Subject) -> String {
    let figure = |figure: Figure, decimals| text(results.figure(subject, figure), decimals);
    line(
        [results.workload.name, subject.name()],
        [
            figure(|round| Some(round.requests_per_s), 0),
            text(ratio_to_floor(results, subject), 2),
            text(multiple_of_python(results, subject), 1),
            figure(|round| Some(round.p50), 0),
            figure(|round| Some(round.p99), 0),
            figure(|round| Some(round.p999), 0),
            figure(|round| round.callers_cpu, 1),
            figure(|round| round.processors_cpu, 1),
            figure(|round| round.server_cpu, 1),
            figure(|round| Some(round.commands), 2),
            figure(|round| Some(round.peak_memory / 1e6), 1),
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
        "requests_per_s": figure(|round| Some(round.requests_per_s)),
        "p50_us": figure(|round| Some(round.p50)),
        "p99_us": figure(|round| Some(round.p99)),
        "p999_us": figure(|round| Some(round.p999)),
        "callers_cpu_us_per_request": figure(|round| round.callers_cpu),
        "processors_cpu_us_per_request": figure(|round| round.processors_cpu),
        "server_cpu_us_per_request": figure(|round| round.server_cpu),
        "commands_per_request": figure(|round| Some(round.commands)),
        "peak_memory_bytes": figure(|round| Some(round.peak_memory)),
        "ratio_to_floor_reply_stream": ratio_to_floor(results, subject),
        "multiple_of_python": multiple_of_python(results, subject),
    })
}

/// Time per request over that of the floor.
fn ratio_to_floor(results: &Results, subject: Subject) -> Option<f64> {
    let time: Figure = |round| Some(1.0 / round.requests_per_s);
    results.ratio(subject, Subject::FloorReplyStream, time)
}

/// Requests in the time that Python needs for one.
fn multiple_of_python(results: &Results, subject: Subject) -> Option<f64> {
    let rate: Figure = |round| Some(round.requests_per_s);
    results.ratio(subject, Subject::PythonToPython, rate)
}

fn text(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
}

fn line([workload, subject]: [&str; 2], figures: [String; 11]) -> String {
    let names = format!("{workload:<18} {subject:<18}");
    let figures = figures.map(|figure| format!(" {figure:>10}"));
    names + &figures.concat()
}
