//! The results, for people and for programs.

use serde_json::{Value, json};

use crate::wire::idle::Idle;
use crate::wire::results::{Figure, Results};
use crate::wire::subject::Subject;
use crate::wire::workload::Workload;

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

/// The table of those that have nothing to do.
#[must_use]
pub fn idle_table(idle: &[Idle]) -> String {
    let head = "µs of processor time and wake-ups of threads in a second without requests\n";
    let columns = [
        "caller µs",
        "wake-ups",
        "processor µs",
        "wake-ups",
        "server µs",
        "wake-ups",
        "commands",
    ];
    let columns = line([Workload::IDLE.name, "subject"], columns.map(str::to_owned));
    let rows = idle.iter().map(|idle| {
        let [callers, processor, server] = idle.cpu.map(|time| text(time, 0));
        let [callers_woken, processor_woken, server_woken] =
            idle.wake_ups.map(|count| text(count, 1));
        let figures = [
            callers,
            callers_woken,
            processor,
            processor_woken,
            server,
            server_woken,
            text(Some(idle.commands), 1),
        ];
        line([Workload::IDLE.name, idle.subject.name()], figures)
    });
    let rows = rows.collect::<Vec<_>>().join("\n");
    format!(
        "{head}\n{columns}\n{}\n{rows}",
        "-".repeat(columns.chars().count())
    )
}

/// One that has nothing to do as a JSON object.
#[must_use]
pub fn idle_json_line(idle: &Idle) -> Value {
    let [callers, processor, server] = idle.cpu;
    let [callers_woken, processor_woken, server_woken] = idle.wake_ups;
    json!({
        "workload": Workload::IDLE.name,
        "subject": idle.subject.name(),
        "requests_per_s": 0.0,
        "p50_us": null,
        "p99_us": null,
        "callers_cpu_us_per_s": callers,
        "processors_cpu_us_per_s": processor,
        "server_cpu_us_per_s": server,
        "callers_wake_ups_per_s": callers_woken,
        "processors_wake_ups_per_s": processor_woken,
        "server_wake_ups_per_s": server_woken,
        "commands_per_s": idle.commands,
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

fn line<const N: usize>([workload, subject]: [&str; 2], figures: [String; N]) -> String {
    let names = format!("{workload:<20} {subject:<18}");
    let figures = figures.map(|figure| format!(" {figure:>12}"));
    names + &figures.concat()
}
