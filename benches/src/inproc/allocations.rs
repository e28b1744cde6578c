//! How much a subject allocates for each request.

use std::io;
use std::time::Duration;

use alloc_tracker::Session;
use tokio::runtime::Builder;

use crate::closed_loop::Load;
use crate::inproc::arrivals;
use crate::inproc::drive::{ClosedLoop, OpenLoop};
use crate::inproc::subject::Subject;
use crate::inproc::workload::{Mode, Pattern, Task, Workload};

/// For each request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allocations {
    pub(crate) count: f64,
    pub(crate) bytes: f64,
}

/// What the whole process allocates, all threads together, counted apart from the time. The difference
/// between two runs leaves out what starting takes. `None` where no requests are sent.
///
/// The counter is in every allocation of the timed runs too, of all subjects alike: it adds a few
/// nanoseconds to each, so that time is never flattered by it.
pub(crate) fn per_request(subject: Subject, workload: Workload) -> io::Result<Option<Allocations>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let measured = match workload.pattern {
        Pattern::Callers(callers) | Pattern::LongRun(callers) => {
            let each = match (workload.task, workload.mode) {
                (Task::Costly, _) => 10,
                (_, Mode::Window(_)) => 30,
                (_, Mode::AtOnce) => 20_000_u64.div_ceil(callers).min(300),
            };
            compare(|times| {
                let each = each * times;
                let load = Load::Counted { each };
                let drive = ClosedLoop { callers, load };
                runtime.block_on(subject.run(workload.task, workload.mode, drive));
                each * callers
            })
        }
        Pattern::Bursts(rate) => compare(|times| {
            let length = Duration::from_millis(100) * times as u32;
            let bursts = arrivals::bursts(f64::from(rate), length, times);
            let requests = bursts.iter().map(|burst| burst.size as u64).sum();
            let warm_up = Duration::ZERO;
            let drive = OpenLoop { bursts, warm_up };
            runtime.block_on(subject.run(workload.task, workload.mode, drive));
            requests
        }),
        Pattern::Idle => return Ok(None),
    };
    Ok(Some(measured))
}

/// `run` gives the number of its requests, which is about so many times that of the shortest run.
fn compare(mut run: impl FnMut(u64) -> u64) -> Allocations {
    // Once beforehand, for what is allocated once in a program.
    run(1);
    let once = count(|| run(1));
    let thrice = count(|| run(3));
    let requests = thrice.requests as f64 - once.requests as f64;
    let per_request = |once: u64, thrice: u64| (thrice as f64 - once as f64) / requests;
    Allocations {
        count: per_request(once.count, thrice.count),
        bytes: per_request(once.bytes, thrice.bytes),
    }
}

struct Counted {
    requests: u64,
    count: u64,
    bytes: u64,
}

fn count(run: impl FnOnce() -> u64) -> Counted {
    let session = Session::new();
    let operation = session.operation("run");
    let span = operation.measure_process();
    let requests = run();
    drop(span);
    let report = session.to_report();
    let operations = report.operations().map(|(_, operation)| operation);
    let (count, bytes) = operations.fold((0, 0), |(count, bytes), operation| {
        (
            count + operation.total_allocations_count(),
            bytes + operation.total_bytes_allocated(),
        )
    });
    Counted {
        requests,
        count,
        bytes,
    }
}
