//! Hooks: commands of the user's that bring a fault about on what Brownout does not run, and take it back.
//!
//! The undo is owed, on disk, before the other is run, and is always run, also if that failed. Each is a group of its own with a
//! limit; what it leaves running ends with it. An undo may be run twice (a crash between its end and the note of it), so
//! it must be able to. Everything here blocks. Knows nothing of when.

use super::entries::Owed;
use super::group::Group;
use super::ledger::Ledger;
use super::veil::{hidden_in, secrets, veiled};
use super::{Debt, marker};
use crate::model::Hook;
use crate::units::Name;
use nix::sys::signal::Signal;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So much of the end of what a command says is kept.
const TAIL: usize = 2048;
/// How long the rest of its output is waited for when it has ended.
const REST: Duration = Duration::from_millis(500);

/// A hook that was applied, or was tried to be: [`Applied::undo`] takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "what is applied must be undone"]
pub struct Applied {
    debt: u64,
    fault: String,
    service: String,
    undo: Vec<String>,
    within: Duration,
}

/// Owes the undo of a hook, then runs its `apply`. The inner result is how that ended: a sentence for the user if it failed.
///
/// # Errors
/// When the ledger cannot be written: then nothing was done.
pub fn apply(
    ledger: &Ledger,
    fault: &Name,
    service: &Name,
    hook: &Hook,
) -> io::Result<(Applied, Result<(), String>)> {
    let applied = Applied {
        debt: 0,
        fault: fault.to_string(),
        service: service.to_string(),
        undo: hook.undo.clone(),
        within: hook.within,
    };
    let debt = ledger.owe(Debt::Run {
        fault: applied.fault.clone(),
        service: applied.service.clone(),
        argv: hook.undo.clone(),
        within: hook.within,
    })?;
    let done = match ledger.debt(debt) {
        Some(Owed { cwd, .. }) => {
            carry_out(&hook.apply, &cwd, hook.within, &markers(ledger.marker().1, debt))
        }
        None => Err("is not in the ledger".into()),
    };
    let done = done.map_err(|why| {
        let hidden = hidden_in(&hook.apply, std::env::vars_os());
        let (line, why) = (shown(&hook.apply, &hidden), veiled(&why, &secrets(std::env::vars_os())));
        format!("fault `{fault}` could not be applied to service `{service}`: `{line}` {why}")
    });
    Ok((Applied { debt, ..applied }, done))
}

/// Ends what is being applied for a fault on a service: it is to be undone, and nobody waits for it.
pub(super) fn stop(ledger: &Ledger, fault: &Name, service: &Name) {
    for (id, debt) in ledger.owed() {
        if let Debt::Run { fault: of, service: on, .. } = debt
            && of == fault.as_str()
            && on == service.as_str()
        {
            // What does not end is told by its undo, which waits for it.
            let _ = marker::end(marker::DEBT, &marker::debt(ledger.marker().1, id), &Default::default());
        }
    }
}

impl Applied {
    /// Runs the undo, and pays the debt if it ended with 0.
    ///
    /// # Errors
    /// A sentence for the user, with how it is done by hand; it stays owed.
    pub fn undo(&self, ledger: &Ledger) -> Result<(), String> {
        let Some(Owed { cwd, hidden, .. }) = ledger.debt(self.debt) else { return Ok(()) };
        let debt = Undo {
            fault: &self.fault,
            service: &self.service,
            argv: &self.undo,
            within: self.within,
            cwd: &cwd,
            hidden: &hidden,
        };
        debt.run(ledger.marker().1, self.debt)?;
        ledger.paid(self.debt).map_err(|error| {
            format!("fault `{}` was undone, and the next start does it again: {error}", self.fault)
        })
    }
}

/// A command that is owed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo<'d> {
    pub(super) fault: &'d str,
    pub(super) service: &'d str,
    pub(super) argv: &'d [String],
    pub(super) within: Duration,
    pub(super) cwd: &'d Path,
    pub(super) hidden: &'d [(String, String)],
}

impl Undo<'_> {
    /// Runs it, once nothing is left of what was run for the same debt before.
    pub(super) fn run(&self, run: &str, debt: u64) -> Result<(), String> {
        let before = marker::end(marker::DEBT, &marker::debt(run, debt), &Default::default());
        let done = match before {
            Ok(_) => carry_out(self.argv, self.cwd, self.within, &markers(run, debt)),
            Err(left) => Err(format!("was not run: {left}")),
        };
        done.map_err(|why| {
            // It has our whole environment, and may tell of it.
            let why = veiled(&veiled(&why, self.hidden), &secrets(std::env::vars_os()));
            let command = shown(self.argv, self.hidden);
            let folder = line(&[self.cwd.to_string_lossy().into_owned()]);
            format!(
                "fault `{}` on service `{}` could not be undone: `{command}` {why}\nby hand: (cd {folder} && {command})",
                self.fault, self.service
            )
        })
    }
}

/// A command as messages show it.
pub(super) fn shown(argv: &[String], hidden: &[(String, String)]) -> String {
    line(&argv.iter().map(|word| veiled(word, hidden)).collect::<Vec<_>>())
}

/// A command as it is typed into a shell.
fn line(argv: &[String]) -> String {
    // Only a NUL cannot be quoted, and no command has one.
    shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_else(|_| argv.join(" "))
}

fn markers(run: &str, debt: u64) -> [(&'static str, String); 2] {
    [(marker::RUN, run.to_owned()), (marker::DEBT, marker::debt(run, debt))]
}

/// Runs a command to its end; how it failed, to be read after its name.
fn carry_out(
    argv: &[String],
    cwd: &Path,
    within: Duration,
    env: &[(&'static str, String)],
) -> Result<(), String> {
    let cannot = |error: io::Error| format!("cannot be started: {error}");
    let (program, args) = argv.split_first().ok_or("is no command")?;
    let (output, input) = io::pipe().map_err(cannot)?;
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(cwd)
        .env_remove(marker::KEEPER)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(input.try_clone().map_err(cannot)?)
        .stderr(input);
    let child = command.spawn().map_err(cannot)?;
    // Our ends of the pipe, which would keep it open.
    drop(command);
    let group = Arc::new(Group::led_by(child.id()));
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let (tell, ended) = mpsc::channel();
    let (close, closed) = mpsc::channel();
    let (of, to) = (Arc::clone(&group), Arc::clone(&tail));
    let threads = std::thread::Builder::new()
        .name("hook".into())
        .spawn(move || tell.send(of.wait(child)))
        .and_then(|_| {
            std::thread::Builder::new().name("hook".into()).spawn(move || {
                keep(output, &to);
                drop(close);
            })
        });
    if let Err(error) = threads {
        group.signal(Signal::SIGKILL);
        return Err(format!("cannot be watched: {error}"));
    }
    let why = match ended.recv_timeout(within) {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => how(status),
        Ok(Err(error)) => format!("cannot be waited for: {error}"),
        Err(RecvTimeoutError::Disconnected) => "cannot be waited for".into(),
        Err(RecvTimeoutError::Timeout) => {
            group.signal(Signal::SIGKILL);
            let _ = ended.recv_timeout(REST);
            format!("did not end within {}, and was ended", crate::units::Span(within))
        }
    };
    let _: Result<(), _> = closed.recv_timeout(REST);
    Err(why + &said(&tail.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Reads to the end and keeps the last of it.
fn keep(mut output: io::PipeReader, tail: &Mutex<VecDeque<u8>>) {
    let mut bytes = [0; 1024];
    loop {
        match output.read(&mut bytes) {
            Ok(0) => return,
            Ok(read) => {
                let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                tail.extend(&bytes[..read]);
                let over = tail.len().saturating_sub(TAIL);
                tail.drain(..over);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(Ok(signal))) => format!("was ended by {}", signal.as_str()),
        (None, _) => "was ended".into(),
    }
}

/// The end of what it said, to follow a sentence; nothing if it said nothing.
fn said(tail: &VecDeque<u8>) -> String {
    let bytes: Vec<u8> = tail.iter().copied().collect();
    let text = String::from_utf8_lossy(&bytes);
    // Half a line at the front is no line.
    let whole = if bytes.len() == TAIL { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    whole.trim_end().lines().fold(String::new(), |all, line| all + "\n  | " + line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::restore::{Unpayable, restore};

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn hook(apply: &str, undo: &str, within: Duration) -> Hook {
        Hook { apply: sh(apply), undo: sh(undo), within }
    }

    fn names() -> (Name, Name) {
        ("stall".parse().unwrap(), "db".parse().unwrap())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn owed_before_it_is_applied_and_paid_when_it_is_undone() {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path()).unwrap();
        let (fault, service) = names();
        let (file, env) = (home.path().join("on"), home.path().join("env"));
        // the ledger already says how to take back what is just being done
        let owed = format!(
            "grep -q 'rm -f' {}/ledger/*.jsonl && : > {} && echo $BROWNOUT_RUN $BROWNOUT_DEBT > {}",
            home.path().display(),
            file.display(),
            env.display()
        );
        let hook = hook(&owed, &format!("rm -f {}", file.display()), LONG);
        let (applied, done) = apply(&ledger, &fault, &service, &hook).unwrap();
        assert_eq!(done, Ok(()));
        assert!(file.exists());
        let run = ledger.marker().1;
        assert_eq!(std::fs::read_to_string(env).unwrap(), format!("{run} {run}.1\n"));
        assert_eq!(applied.undo(&ledger), Ok(()));
        assert!(!file.exists() && ledger.owed().is_empty());
        assert_eq!(applied.undo(&ledger), Ok(()), "again: nothing is owed");
    }

    #[test]
    fn a_failure_says_how_it_ended_what_it_said_and_what_to_type() {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path()).unwrap();
        let (fault, service) = names();
        let hook = hook("seq 2000; echo it is locked >&2; exit 3", "echo 'no way'; kill -9 $$", LONG);
        let (applied, done) = apply(&ledger, &fault, &service, &hook).unwrap();
        let text = done.unwrap_err();
        assert!(text.starts_with("fault `stall` could not be applied to service `db`: `sh -c "), "{text}");
        assert!(
            text.contains("ended with exit code 3\n  | ") && text.ends_with("\n  | it is locked"),
            "{text}"
        );
        assert!(text.len() < 2 * TAIL, "{}", text.len());
        let text = applied.undo(&ledger).unwrap_err();
        assert!(text.contains("was ended by SIGKILL\n  | no way\nby hand: (cd /"), "{text}");
        assert!(text.ends_with(r#"&& sh -c "echo 'no way'; kill -9 "'$$')"#), "{text}");
        assert_eq!(ledger.owed().len(), 1, "it stays owed");
    }

    #[test]
    fn one_that_does_not_end_is_ended_and_so_is_what_it_leaves() {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path()).unwrap();
        let (fault, service) = names();
        let left = home.path().join("left");
        let leaves = format!("sleep 600 & echo $! > {}; exit 0", left.display());
        let hook = hook("sleep 600 & sleep 600", &leaves, Duration::from_millis(300));
        let (applied, done) = apply(&ledger, &fault, &service, &hook).unwrap();
        assert!(done.unwrap_err().contains("did not end within 300ms, and was ended"));
        let mut patient = applied;
        patient.within = LONG;
        assert_eq!(patient.undo(&ledger), Ok(()));
        assert_eq!(marker::end(marker::RUN, ledger.marker().1, &Default::default()), Ok(0));
        assert!(!std::fs::read_to_string(left).unwrap().is_empty());
    }

    #[test]
    fn an_undo_begins_when_nothing_is_left_of_its_apply() {
        let home = tempfile::tempdir().unwrap();
        let (fault, service) = names();
        let file = home.path().join("on");
        // it leaves its group, and would come after the undo
        let late = format!(
            "setsid sh -c 'echo $$ > {0}; exec sleep 600' & while ! test -s {0}; do :; done",
            file.display()
        );
        // killed, though maybe not waited for by whoever adopted it
        let undo = format!("! grep -qs '^State:.[RSDT]' /proc/$(cat {})/status", file.display());
        let ledger = Ledger::open(home.path()).unwrap();
        let (_applied, done) = apply(&ledger, &fault, &service, &hook(&late, &undo, LONG)).unwrap();
        assert_eq!(done, Ok(()));
        drop(ledger);
        let restored = restore(home.path(), Unpayable::Keep);
        assert_eq!(restored.failures, []);
        assert_eq!(restored.put_back.len(), 1, "{:?}", restored.put_back);
    }
}
