//! The processor time of a process, and how often it wakes up, where the system says it.

use std::fs;
use std::iter::Sum;
use std::time::Duration;

/// What the threads of a process have had, to the nanosecond; Linux says it.
pub(crate) fn processor_time(process: u32) -> Option<Duration> {
    of_threads(process, "schedstat", of_thread)
}

/// How often the threads of a process have slept and gone on.
pub(crate) fn wake_ups(process: u32) -> Option<u64> {
    of_threads(process, "status", |status| {
        let name = "voluntary_ctxt_switches:";
        let count = status.lines().find_map(|line| line.strip_prefix(name));
        count?.trim().parse().ok()
    })
}

/// What a file says of each thread of a process, summed up.
fn of_threads<T: Sum>(process: u32, file: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let values = threads.map(|thread| {
        let path = thread.ok()?.path().join(file);
        read(&fs::read_to_string(path).ok()?)
    });
    values.sum()
}

/// What the thread that asks has had.
pub(crate) fn processor_time_of_this_thread() -> Option<Duration> {
    of_thread(&fs::read_to_string("/proc/thread-self/schedstat").ok()?)
}

/// The first of three numbers.
fn of_thread(schedstat: &str) -> Option<Duration> {
    let nanos = schedstat.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_first_number() {
        assert_eq!(of_thread("1500 20 3\n"), Some(Duration::from_nanos(1_500)));
        assert_eq!(of_thread(""), None);
    }
}
