//! Ends every process that carries a marker in its environment, wherever it has gone.
//!
//! A marker is 128 random bits that only our children and theirs were given, so nobody else's process can be met by its number.
//! Children of marked ones are met too, and the groups of those whose number and start were noted, for what cannot be
//! read or was emptied. What is signalled is held by a descriptor, and looked at again before. Never ourselves, and never a
//! keeper, which puts back what somebody else owes. Knows nothing of ledgers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// The variable that tells which Brownout a process belongs to.
pub(super) const RUN: &str = "BROWNOUT_RUN";
/// The variable that tells which debt a command pays or brought about.
pub(super) const DEBT: &str = "BROWNOUT_DEBT";
/// The variable by which keepers are known.
pub(super) const KEEPER: &str = "BROWNOUT_KEEPER";

/// How long it is tried.
const LIMIT: Duration = Duration::from_secs(5);
/// From one look to the next. Between two that find nothing: a process that becomes a program has no environment at all for a
/// moment.
const PAUSE: Duration = Duration::from_millis(25);

/// The value of [`DEBT`].
pub(super) fn debt(run: &str, id: u64) -> String {
    format!("{run}.{id}")
}

/// What could not be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left(pub(super) Vec<u32>);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pids: Vec<String> = self.0.iter().map(u32::to_string).collect();
        let (one, pids) = (pids.len() == 1, pids.join(" "));
        let (noun, they) = if one { ("process", "it") } else { ("processes", "they") };
        write!(
            f,
            "{noun} {pids} could not be ended within {} s: look what {they} wait for, ",
            LIMIT.as_secs()
        )?;
        write!(f, "or whose {they} are; by hand: `kill -9 {pids}`")
    }
}

/// Ends every process whose environment has this variable with this value, and the groups of `children` (number and start) that
/// still are who they were; looks until none is left. How many were ended.
pub(super) fn end(name: &str, value: &str, children: &BTreeMap<u32, String>) -> Result<usize, Left> {
    let needle = format!("{name}={value}").into_bytes();
    let limit = Instant::now() + LIMIT;
    let (mut ended, mut quiet) = (BTreeSet::new(), 0);
    loop {
        let found = system::find(&needle, children);
        if found.is_empty() {
            quiet += 1;
            if quiet == 2 {
                return Ok(ended.len());
            }
        } else if Instant::now() >= limit {
            return Err(Left(found.iter().map(|found| found.pid).collect()));
        } else {
            quiet = 0;
        }
        let signalled = found.into_iter().filter_map(|found| system::kill(&found).map(|held| (found, held)));
        let (names, held): (Vec<_>, Vec<_>) = signalled.unzip();
        ended.extend(names.into_iter().map(|found| (found.pid, found.start)));
        system::wait(&held, PAUSE);
    }
}

/// When a process was started, in words that only it has: a number is given again, a start is not.
pub(super) fn start_of(pid: u32) -> Option<String> {
    system::start_of(pid)
}

#[cfg(target_os = "linux")]
mod system {
    use super::KEEPER;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::Read;
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    /// No environment is longer: the system gives a program less than this.
    const LONGEST: u64 = 8 << 20;

    /// A process, and when it was started, in ticks since the machine was.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Seen {
        pub(super) pid: u32,
        pub(super) start: u64,
        parent: u32,
        group: u32,
    }

    /// `None` for one that has ended.
    fn look(pid: u32) -> Option<Seen> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may have any letter in it, a `)` too.
        let mut words = stat.rsplit_once(") ")?.1.split(' ');
        let state = words.next()?;
        let (parent, group) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let start = words.nth(16)?.parse().ok()?;
        (!matches!(state, "Z" | "X" | "x")).then_some(Seen { pid, start, parent, group })
    }

    fn processes() -> Vec<Seen> {
        let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pid = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        folder.filter_map(pid).filter_map(look).collect()
    }

    fn environment(pid: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(file) = std::fs::File::open(format!("/proc/{pid}/environ")) {
            // It may end while it is read.
            let _ = file.take(LONGEST).read_to_end(&mut bytes);
        }
        bytes
    }

    pub(super) fn find(needle: &[u8], children: &BTreeMap<u32, String>) -> Vec<Seen> {
        let all = processes();
        let keeper = format!("{KEEPER}=").into_bytes();
        let (mut found, mut spared) = (BTreeSet::new(), BTreeSet::from([std::process::id()]));
        for seen in &all {
            let environment = environment(seen.pid);
            let mut variables = environment.split(|byte| *byte == 0);
            if spared.contains(&seen.pid) {
                continue;
            }
            if variables.clone().any(|variable| variable.starts_with(&keeper)) {
                spared.insert(seen.pid);
            } else if variables.any(|variable| variable == needle)
                || children.get(&seen.pid).is_some_and(|start| *start == told(seen.start))
            {
                found.insert(seen.pid);
            }
        }
        // A leader that still is who it was: so its group is its own, too.
        let groups: BTreeSet<u32> = found.iter().filter(|pid| children.contains_key(pid)).copied().collect();
        found.extend(all.iter().filter(|seen| groups.contains(&seen.group)).map(|seen| seen.pid));
        loop {
            let before = found.len();
            let born = all.iter().filter(|seen| found.contains(&seen.parent) && !spared.contains(&seen.pid));
            let born: Vec<u32> = born.map(|seen| seen.pid).collect();
            found.extend(born);
            if found.len() == before {
                break;
            }
        }
        all.into_iter().filter(|seen| found.contains(&seen.pid) && !spared.contains(&seen.pid)).collect()
    }

    /// Signals it if it still is who it was; the descriptor tells when it has ended.
    pub(super) fn kill(seen: &Seen) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(seen.pid).ok()?)?;
        let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        look(seen.pid).filter(|now| now.start == seen.start)?;
        pidfd_send_signal(&held, Signal::KILL).ok().map(|()| held)
    }

    /// Until all have ended, and `limit` at most; with nobody to wait for, that long.
    pub(super) fn wait(held: &[OwnedFd], limit: Duration) {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        if held.is_empty() {
            let _ = poll(&mut [], timeout);
        }
        for one in held {
            if poll(&mut [PollFd::new(one.as_fd(), PollFlags::POLLIN)], timeout) == Ok(0) {
                return;
            }
        }
    }

    pub(super) fn start_of(pid: u32) -> Option<String> {
        look(pid).map(|seen| told(seen.start))
    }

    fn told(start: u64) -> String {
        // Ticks count anew with each start of the machine.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        format!("{start}@{}", boot.trim())
    }
}

/// Where environments cannot be read, only the groups that were noted are ended.
#[cfg(not(target_os = "linux"))]
mod system {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    use std::collections::BTreeMap;
    use std::process::Command;
    use std::time::Duration;

    #[derive(Clone, Debug)]
    pub(super) struct Seen {
        pub(super) pid: u32,
        pub(super) start: String,
    }

    pub(super) fn find(_: &[u8], children: &BTreeMap<u32, String>) -> Vec<Seen> {
        let same = |(pid, start): &(&u32, &String)| start_of(**pid).as_ref() == Some(start);
        let seen = |(pid, start): (&u32, &String)| Seen { pid: *pid, start: start.clone() };
        children.iter().filter(same).map(seen).collect()
    }

    pub(super) fn kill(seen: &Seen) -> Option<()> {
        killpg(Pid::from_raw(i32::try_from(seen.pid).ok()?), Signal::SIGKILL).ok()
    }

    pub(super) fn wait(_: &[()], limit: Duration) {
        std::thread::park_timeout(limit);
    }

    pub(super) fn start_of(pid: u32) -> Option<String> {
        let done = Command::new("ps").args(["-o", "state=,lstart=", "-p", &pid.to_string()]).output().ok()?;
        let text = String::from_utf8(done.stdout).ok()?;
        let (state, start) = text.trim().split_once(char::is_whitespace)?;
        (!state.starts_with('Z')).then(|| start.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    fn unique(what: &str) -> String {
        format!("{what}-{}-{:?}", std::process::id(), std::thread::current().id())
    }

    fn sh(script: &str, run: &str) -> Child {
        Command::new("sh").args(["-c", script]).env(RUN, run).stdin(Stdio::null()).spawn().unwrap()
    }

    fn one(child: &Child) -> BTreeMap<u32, String> {
        BTreeMap::from([(child.id(), start_of(child.id()).unwrap())])
    }

    #[test]
    fn nobody_is_nobody_and_never_ourselves() {
        assert_eq!(end(RUN, &unique("nobody"), &BTreeMap::new()), Ok(0));
        let ours = BTreeMap::from([(std::process::id(), start_of(std::process::id()).unwrap())]);
        // our own group must not be met either, so it is only looked at
        assert!(system::find(b"NO=BODY", &ours).iter().all(|seen| seen.pid != std::process::id()));
    }

    #[test]
    fn those_that_left_group_session_and_environment_are_met() {
        let run = unique("gone");
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!(
            "setsid sh -c 'echo $$ >> {0}; exec sleep 600' & env -i sh -c 'echo $$ >> {0}; exec sleep 600' & \
             trap '' TERM; echo $$ >> {0}; kill -STOP $$",
            pids.display()
        );
        let mut child = sh(&script, &run);
        let read = || std::fs::read_to_string(&pids).unwrap_or_default();
        let limit = Instant::now() + Duration::from_secs(60);
        while read().lines().count() < 3 && Instant::now() < limit {
            std::thread::yield_now();
        }
        assert_eq!(end(RUN, &run, &BTreeMap::new()), Ok(3));
        child.wait().unwrap();
        for pid in read().lines() {
            assert_eq!(start_of(pid.parse().unwrap()), None, "{pid} is left");
        }
    }

    #[test]
    fn others_and_keepers_are_not_met() {
        let (run, other) = (unique("mine"), unique("mine-too"));
        let mut stranger = sh("exec sleep 600", &other);
        let mut keeper = Command::new("sleep").arg("600").env(RUN, &run).env(KEEPER, "1").spawn().unwrap();
        assert_eq!(end(RUN, &run, &BTreeMap::new()), Ok(0));
        assert!(start_of(stranger.id()).is_some() && start_of(keeper.id()).is_some());
        for child in [&mut stranger, &mut keeper] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_noted_child_is_met_only_if_it_still_is_who_it_was() {
        let start = || {
            let mut command = Command::new("sh");
            command
                .args(["-c", "sleep 600 & wait"])
                .env_clear()
                .env("PATH", "/bin:/usr/bin")
                .process_group(0);
            command.spawn().unwrap()
        };
        let mut child = start();
        let wrong = BTreeMap::from([(child.id(), "1@never".to_owned())]);
        assert_eq!(end(RUN, &unique("noted"), &wrong), Ok(0));
        assert!(end(RUN, &unique("noted"), &one(&child)).unwrap() >= 1);
        child.wait().unwrap();
    }
}
