//! The processor time of a process, where the system says it.

use std::fs;
use std::time::Duration;

/// What the threads of a process have had, to the nanosecond; Linux says it.
pub(crate) fn processor_time(process: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let times = threads.map(|thread| {
        let path = thread.ok()?.path().join("schedstat");
        of_thread(&fs::read_to_string(path).ok()?)
    });
    times.sum()
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
