//! The processes of services: leaders of groups of their own, with a marker by which even what left its group is found.
//!
//! A child is waited for on a thread of its own, which is there before the child is. What is left of its group is killed when it
//! ends; after that nobody signals the group. Knows nothing of why a service is started.

use super::env::Vars;
use super::group::Group;
use super::ledger::Ledger;
use crate::model::Service;
use nix::sys::signal::Signal;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{SendError, sync_channel};
use tokio::sync::oneshot;

/// How a process ended: its exit code, or the number of a signal, or neither if nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<Signal>,
}

/// A process that leads a group. Dropping this does not end it.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) group: Arc<Group>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
    /// Told once: it has ended, all of its group was killed, and it was waited for.
    pub(super) ended: oneshot::Receiver<Exit>,
}

/// Who a service runs as.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The one of this name.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn named(name: &str) -> io::Result<Self> {
        let found = nix::unistd::User::from_name(name).map_err(io::Error::from)?;
        let none = || io::Error::new(io::ErrorKind::NotFound, format!("there is no user `{name}`"));
        found.map(|user| Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() }).ok_or_else(none)
    }
}

/// Starts one of the commands of a service with this environment, in its folder, as its user, with nothing to read. Its output
/// is piped if it is `heard`, and goes nowhere otherwise.
///
/// # Errors
/// When it cannot be started.
pub(super) fn start(
    service: &Service,
    argv: &[String],
    vars: &Vars,
    heard: bool,
    ledger: &Ledger,
) -> io::Result<Leader> {
    let (program, args) =
        argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no command"))?;
    let output = || if heard { Stdio::piped() } else { Stdio::null() };
    let (marker, run) = ledger.marker();
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(vars).env(marker, run);
    command.stdin(Stdio::null()).stdout(output()).stderr(output());
    if let Some(cwd) = &service.cwd {
        command.current_dir(cwd);
    }
    if let Some(user) = service.user.as_deref().map(User::named).transpose()? {
        command.uid(user.uid).gid(user.gid);
    }
    let leader = lead(&mut command).map_err(|error| match &service.cwd {
        Some(cwd) if !cwd.is_dir() => {
            io::Error::new(error.kind(), format!("there is no folder `{}`", cwd.display()))
        }
        _ => error,
    })?;
    ledger.child(leader.group.pid());
    Ok(leader)
}

fn lead(command: &mut Command) -> io::Result<Leader> {
    let (hand, handed) = sync_channel::<(Child, Arc<Group>)>(1);
    let (tell, ended) = oneshot::channel();
    let wait = |child, group: &Group| group.wait(child).map_or_else(|_| Exit::default(), Exit::from);
    // First: nothing is started that nobody waits for.
    std::thread::Builder::new().name("waits".into()).spawn(move || {
        if let Ok((child, group)) = handed.recv() {
            let _ = tell.send(wait(child, &group));
        }
    })?;
    let mut child = command.process_group(0).spawn()?;
    let group = Arc::new(Group::led_by(child.id()));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    if let Err(SendError((child, group))) = hand.send((child, Arc::clone(&group))) {
        group.signal(Signal::SIGKILL);
        wait(child, &group);
        return Err(io::Error::other("nobody waits for it"));
    }
    Ok(Leader { group, stdout, stderr, ended })
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal().and_then(|signal| Signal::try_from(signal).ok()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::env;
    use crate::supervise::testing::{ledger, pid_in, service, until};

    fn ours() -> Vars {
        std::env::vars_os().collect()
    }

    fn run(service: &Service) -> io::Result<Leader> {
        let (_state, ledger) = ledger();
        start(service, &service.command, &env::vars(&ours(), service, &[]), true, &ledger)
    }

    #[tokio::test]
    async fn how_it_ended_is_told_and_its_group_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; exit 3", path.display());
        let leader = run(&service("one", &script)).unwrap();
        let group = Arc::clone(&leader.group);
        assert_eq!(leader.ended.await.unwrap(), Exit { code: Some(3), signal: None });
        assert!(group.has_ended());
        let left = pid_in(&path).await;
        until("what it forked has ended", || !alive(left)).await;

        let leader = run(&service("one", "kill -9 $$")).unwrap();
        assert_eq!(leader.ended.await.unwrap(), Exit { code: None, signal: Some(Signal::SIGKILL) });
    }

    #[tokio::test]
    async fn an_end_is_seen_before_it_is_told() {
        let leader = run(&service("one", "while :; do sleep 600; done")).unwrap();
        assert!(!leader.group.has_ended());
        leader.group.signal(Signal::SIGKILL);
        until("it has ended", || leader.group.has_ended()).await;
    }

    #[tokio::test]
    async fn folder_user_and_environment() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = service("one", "test \"$(pwd -P) $MODE $HOME\" = \"$WANT\"");
        one.cwd = Some(folder.path().to_owned());
        one.clean_env = true;
        let want = format!("{} test ", folder.path().canonicalize().unwrap().display());
        one.env = [("MODE", "test"), ("WANT", &want), ("PATH", "/usr/bin:/bin")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        assert_eq!(run(&one).unwrap().ended.await.unwrap().code, Some(0));

        one.cwd = Some(folder.path().join("gone"));
        assert!(run(&one).unwrap_err().to_string().contains("there is no folder"));
        one.cwd = None;
        one.user = Some("nobody-of-this-name".into());
        assert_eq!(run(&one).unwrap_err().to_string(), "there is no user `nobody-of-this-name`");
        let name = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        one.user = Some(name);
        one.command = vec!["true".into()];
        match run(&one) {
            Ok(leader) => assert_eq!(leader.ended.await.unwrap().code, Some(0)),
            // Only root may set groups, even if they are its own.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        one.command = vec!["/no/such/program".into()];
        one.user = None;
        assert_eq!(run(&one).unwrap_err().kind(), io::ErrorKind::NotFound);
        one.command.clear();
        assert!(run(&one).is_err());
    }

    fn alive(pid: i32) -> bool {
        crate::supervise::testing::is_alive(pid)
    }
}
