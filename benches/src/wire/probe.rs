//! What a run costs: processor time on either side and in the server, wake-ups, commands, and memory.

use std::time::Duration;

use crate::processor_time::{processor_time, wake_ups};
use crate::wire::resp::Connection;

/// Looks at the processes of a run when its measurement begins and when it ends.
pub(crate) struct Probe {
    server: Connection,
    /// Of the callers' process, those of the processors, that of the server.
    processes: [Vec<u32>; 3],
    looks: Vec<Look>,
}

struct Look {
    times: Sides<Duration>,
    wake_ups: Sides<u64>,
    commands: u64,
}

/// Of the callers' process, of the processors' together, of the server's; `None` where the system
/// does not say.
pub(crate) type Sides<T> = [Option<T>; 3];

/// What the measured part of a run cost.
pub(crate) struct Cost {
    pub(crate) times: Sides<Duration>,
    /// How often a thread has slept and gone on.
    pub(crate) wake_ups: Sides<u64>,
    pub(crate) commands: u64,
    /// The most memory that the server's data and connections took at any time, in bytes.
    pub(crate) peak_memory: u64,
}

impl Probe {
    pub(crate) fn new(port: u16, callers: u32, processors: Vec<u32>) -> Self {
        let mut server = Connection::open(port);
        let info = server.ask("INFO server");
        let server_id = field(&info, "process_id:");
        let server_id = server_id.expect("the server says its process's number");
        Self {
            server,
            processes: [vec![callers], processors, vec![server_id as u32]],
            looks: Vec::new(),
        }
    }

    pub(crate) fn look(&mut self) {
        let times = self.processes.each_ref().map(|side| {
            let times = side.iter().map(|id| processor_time(*id));
            times.sum()
        });
        let wake_ups = self.processes.each_ref().map(|side| {
            let wake_ups = side.iter().map(|id| wake_ups(*id));
            wake_ups.sum()
        });
        let commands = commands(&self.server.ask("INFO commandstats"));
        self.looks.push(Look {
            times,
            wake_ups,
            commands,
        });
    }

    /// The difference between two looks.
    ///
    /// # Panics
    ///
    /// When there were not two.
    pub(crate) fn cost(mut self) -> Cost {
        let [begin, end] = &*self.looks else {
            panic!("a measurement has two ends");
        };
        let times = |side: usize| Some(end.times[side]?.saturating_sub(begin.times[side]?));
        let wake_ups =
            |side: usize| Some(end.wake_ups[side]?.saturating_sub(begin.wake_ups[side]?));
        let peak_memory = field(&self.server.ask("INFO memory"), "used_memory_peak:");
        Cost {
            times: [0, 1, 2].map(times),
            wake_ups: [0, 1, 2].map(wake_ups),
            commands: end.commands - begin.commands,
            peak_memory: peak_memory.unwrap_or_default(),
        }
    }
}

/// How many commands the server has run, those of this file apart.
fn commands(stats: &str) -> u64 {
    let counts = stats.lines().filter_map(|line| {
        let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let calls = figures.strip_prefix("calls=")?.split(',').next()?;
        (name != "info").then_some(calls.parse::<u64>().ok()?)
    });
    counts.sum()
}

/// The number that a line of `INFO` gives.
fn field(info: &str, name: &str) -> Option<u64> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_but_for_the_questions_about_them() {
        let stats = "# Commandstats\r\n\
            cmdstat_xadd:calls=12,usec=80,usec_per_call=6.67,rejected_calls=0,failed_calls=0\r\n\
            cmdstat_info:calls=3,usec=9,usec_per_call=3.00,rejected_calls=0,failed_calls=0\r\n\
            cmdstat_xgroup|create:calls=1,usec=7,usec_per_call=7.00\r\n";
        assert_eq!(commands(stats), 13);
        assert_eq!(
            field("# Server\r\nprocess_id:42\r\n", "process_id:"),
            Some(42)
        );
    }
}
