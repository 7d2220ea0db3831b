//! The keeper: a process that outlives Brownout by a moment, so that even `kill -9` leaves nothing behind.
//!
//! It has a pipe as its standard input and nothing else: no terminal, no port, no other descriptor. A byte says that all is
//! well; the end of the pipe without one says that its parent is dead, and it puts back what the ledgers of the state
//! folder owe. It is `brownout keeper` to whoever looks at the list of processes. It does not carry the marker.

use super::ledger::Ledger;
use super::marker;
use super::restore::{Unpayable, restore_after};
use nix::sys::signal::{SigSet, Signal};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// How long the end of one that is dismissed is waited for.
const END: Duration = Duration::from_secs(2);

/// The program of this process is Brownout.
static OURS: AtomicBool = AtomicBool::new(false);

/// The program of this process knows the command `keeper`: from now on keepers are started.
pub fn known() {
    OURS.store(true, Ordering::Relaxed);
}

/// A keeper that watches. Dropping it without [`Keeper::dismiss`] is like dying.
#[derive(Debug)]
pub struct Keeper(Option<Watching>);

#[derive(Debug)]
struct Watching {
    pipe: ChildStdin,
    ended: mpsc::Receiver<()>,
}

/// Starts a keeper for this ledger of this state folder. In a program that is not Brownout there is none.
///
/// # Errors
/// When it cannot be started.
pub fn start(ledger: &Ledger, state: &Path) -> io::Result<Keeper> {
    if !OURS.load(Ordering::Relaxed) {
        tracing::warn!(
            "this program is not brownout, so nobody puts things back if it is killed but its next start"
        );
        return Ok(Keeper(None));
    }
    let mut child = Command::new(program()?)
        .arg0("brownout")
        .arg("keeper")
        .arg("--state")
        .arg(std::path::absolute(state)?)
        .args(["--run", ledger.marker().1])
        .env_remove(marker::RUN)
        .env_remove(marker::DEBT)
        .env(marker::KEEPER, ledger.marker().1)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pipe = child.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
    let (tell, ended) = mpsc::channel();
    std::thread::Builder::new().name("keeper".into()).spawn(move || {
        let _ = child.wait();
        drop(tell);
    })?;
    Ok(Keeper(Some(Watching { pipe, ended })))
}

/// This program; also when its file was replaced meanwhile.
fn program() -> io::Result<PathBuf> {
    match std::env::current_exe() {
        Ok(path) if path.exists() => Ok(path),
        _ if Path::new("/proc/self/exe").exists() => Ok("/proc/self/exe".into()),
        other => other,
    }
}

impl Keeper {
    /// Whether there is one.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.0.as_ref().is_some_and(|watching| watching.ended.try_recv() == Err(mpsc::TryRecvError::Empty))
    }

    /// All is well: it ends without doing anything.
    pub fn dismiss(self) {
        let Some(Watching { mut pipe, ended }) = self.0 else { return };
        // One that was killed has no need to know.
        let _ = pipe.write_all(b".");
        drop(pipe);
        let _: Result<(), _> = ended.recv_timeout(END);
    }
}

/// What a keeper does, until its parent has ended.
pub fn keep(state: &Path, run: Option<&str>) {
    let signals: SigSet =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect();
    // Signals that are held back are not heard; what it starts hears them again.
    let _ = signals.thread_block();
    leave_descriptors();
    let mut byte = [0];
    loop {
        match io::stdin().read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(1) => return,
            Ok(_) | Err(_) => break,
        }
    }
    // Nobody is there to be told; what fails stays in the ledger, for the next start.
    let _ = restore_after(state, Unpayable::Keep, run);
}

/// Closes what our parent's parent left open in us. Nothing of our own is open yet.
fn leave_descriptors() {
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The folder's own is closed already.
        let _ = nix::unistd::close(descriptor);
    }
}
