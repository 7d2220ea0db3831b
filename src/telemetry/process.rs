//! What the process itself takes: `process_*`, read from `/proc`. What cannot be read is left out.

use super::metrics::Page;
use std::time::{SystemTime, UNIX_EPOCH};

/// Adds the families of the process, which began at `started`.
pub(crate) fn families(started: SystemTime, page: &mut Page) {
    let one = |value: f64| [(Vec::new(), value)];
    if let Ok(time) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID) {
        let seconds = time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9;
        page.counter_f64(
            "process_cpu_seconds_total",
            "User and system CPU time spent, in seconds.",
            one(seconds),
        );
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // The directory that is being read is one of them.
        let open = open.count().saturating_sub(1);
        page.gauge("process_open_fds", "Open file descriptors.", one(open as f64));
    }
    if let Ok((soft, _)) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
        page.gauge("process_max_fds", "The most file descriptors that may be open.", one(soft as f64));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (key, scale, name, help) in [
        ("VmSize:", 1024.0, "process_virtual_memory_bytes", "Virtual memory, in bytes."),
        ("VmRSS:", 1024.0, "process_resident_memory_bytes", "Resident memory, in bytes."),
        ("Threads:", 1.0, "process_threads", "Threads."),
    ] {
        if let Some(value) = field(&status, key) {
            page.gauge(name, help, one(value * scale));
        }
    }
    if let Ok(since) = started.duration_since(UNIX_EPOCH) {
        let help = "When the process began, in seconds since 1970.";
        page.gauge("process_start_time_seconds", help, one(since.as_secs_f64()));
    }
}

/// The number after a key of `/proc/self/status`.
fn field(status: &str, key: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}
