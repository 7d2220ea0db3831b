//! A process group: what a command is started as, so that a signal meant for it meets all of it and none of us.
//!
//! It can be signalled until its leader was waited for: after that its number may be another's. Whatever is left of it when
//! the leader ends is killed before its number is given back. Knows nothing of why a command runs.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};

/// The group of a child that leads one. Signals to one that was waited for go nowhere.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    alive: Mutex<bool>,
}

impl Group {
    /// The group that the process of this number leads; it was not waited for yet.
    pub(crate) fn led_by(leader: u32) -> Self {
        // A number beyond those of processes: signals to it meet nobody.
        Self { id: Pid::from_raw(i32::try_from(leader).unwrap_or(i32::MAX)), alive: Mutex::new(true) }
    }

    /// The process id of its leader.
    pub(crate) fn pid(&self) -> u32 {
        self.id.as_raw().unsigned_abs()
    }

    /// Whether its leader has ended, also if nobody has noticed yet.
    pub(crate) fn has_ended(&self) -> bool {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(target_os = "linux")]
        if *alive {
            use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
            return waitid(Id::Pid(self.id), flags) != Ok(WaitStatus::StillAlive);
        }
        !*alive
    }

    /// Tells all of it.
    pub(crate) fn signal(&self, signal: Signal) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if *alive {
            let _ = killpg(self.id, signal);
        }
    }

    /// The leader has ended and was not waited for yet: kills what is left, and never signals again.
    pub(crate) fn bury(&self) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *alive) {
            let _ = killpg(self.id, Signal::SIGKILL);
        }
    }

    /// Waits for the leader, ends what is left of its group, and only then gives its number back. It blocks.
    ///
    /// # Errors
    /// When the leader cannot be waited for.
    pub(crate) fn wait(&self, mut leader: Child) -> io::Result<ExitStatus> {
        #[cfg(target_os = "linux")]
        {
            use nix::sys::wait::{Id, WaitPidFlag, waitid};
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(self.id), flags) == Err(nix::errno::Errno::EINTR) {}
            self.bury();
        }
        let status = leader.wait();
        self.bury();
        status
    }
}

/// An exit code; 128 and more: the signal that ended it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(128)
}
