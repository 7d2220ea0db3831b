//! What the tests of supervision have in common.

use super::ledger::Ledger;
use crate::model::{Restart, Service};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A service that is a shell script.
pub(super) fn service(name: &str, script: &str) -> Service {
    Service {
        name: name.parse().unwrap(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        cwd: None,
        clean_env: false,
        env: Vec::new(),
        user: None,
        grace: Duration::from_secs(10),
        after: Vec::new(),
        show_env: Vec::new(),
        ready: None,
        restart: Restart::default(),
        skipped: None,
        line: 1,
    }
}

/// A ledger in a folder of its own.
pub(super) fn ledger() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    (folder, ledger)
}

/// Waits for something, within a bound.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(tokio::time::Instant::now() < limit, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The number that a script wrote into a file.
pub(super) async fn pid_in(path: &Path) -> i32 {
    let read = || std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'));
    until("a file with a number", || read().is_some()).await;
    read().unwrap().trim().parse().unwrap()
}

/// Whether a process is there and has not ended.
pub(super) fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
