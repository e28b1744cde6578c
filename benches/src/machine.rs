//! What else the machine does, where the system says it.

use std::num::NonZeroUsize;

/// Its processors, and how many threads have wanted one of late.
#[must_use]
pub fn load() -> String {
    let processors = std::thread::available_parallelism().map_or(0, NonZeroUsize::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{processors} processors, load average {load}")
}
