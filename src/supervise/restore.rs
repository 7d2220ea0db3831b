//! Puts back what a dead Brownout left: pays every ledger that nobody has locked, the newest debt first.
//!
//! Whoever has the lock of a file is the only one who pays it, and notes each payment before the next, so it can be killed
//! anywhere and begun again, by anybody, twice at once. A file that cannot be understood is told and kept; so is one that others
//! could have written, because its commands are run. Everything here blocks.

use super::entries::{Book, Debt, Entry, Owed};
use super::hook::{Undo, shown};
use super::ledger::{END, Sheet, folder_of, sync};
use super::{Failure, marker};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// How long somebody else who puts back is waited for.
const OTHERS: Duration = Duration::from_secs(60);
/// How long one that is known to be dead may still have its lock.
const DYING: Duration = Duration::from_secs(5);
/// No ledger is longer.
const LONGEST: u64 = 64 << 20;
/// How often a file is opened again that was replaced meanwhile.
const TRIES: usize = 8;
/// The exit code.
const NOT_RESTORED: u8 = 7;

/// What becomes of what cannot be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpayable {
    /// It stays in its ledger.
    Keep,
    /// It is told and dropped.
    Forget,
}

/// What was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Each thing that was put back, in words.
    pub put_back: Vec<String>,
    /// What could not be, and how it is done by hand: exit code 7.
    pub failures: Vec<Failure>,
    /// Ledgers of others that live.
    pub busy: usize,
}

/// Puts back what dead ones left in this state folder. It blocks: for as long as the commands take that were owed.
#[must_use]
pub fn restore(state: &Path, unpayable: Unpayable) -> Restored {
    restore_after(state, unpayable, None)
}

/// The same; the one with this id is dead, or is about to be.
pub(super) fn restore_after(state: &Path, unpayable: Unpayable, dead: Option<&str>) -> Restored {
    let mut restored = Restored::default();
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    let folder = folder_of(&state);
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return restored,
        Err(error) => {
            restored.fail(format!("`{}` cannot be read: {error}", folder.display()));
            return restored;
        }
    };
    paths.retain(|path| path.extension().is_some_and(|end| end == END));
    paths.sort();
    for path in paths {
        let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let file = match take(&path, dead == Some(id)) {
            Ok(Taken::Ours(file)) => file,
            Ok(Taken::Gone) => continue,
            Ok(Taken::Busy) => {
                restored.busy += 1;
                continue;
            }
            Ok(Taken::Underway(pid)) => {
                restored.fail(format!(
                    "`{}` is being put back by process {pid} for more than {} s: wait until it has ended",
                    path.display(),
                    OTHERS.as_secs()
                ));
                continue;
            }
            Err(why) => {
                restored.fail(format!("`{}` {why}", path.display()));
                // It may be anybody's: only its name is ours to take away.
                if unpayable == Unpayable::Forget {
                    restored.remove(&path);
                }
                continue;
            }
        };
        let before = restored.failures.len();
        restored.pay(id, file, &path);
        if restored.failures.len() == before || unpayable == Unpayable::Forget {
            restored.remove(&path);
        }
    }
    restored
}

enum Taken {
    /// Its lock is ours.
    Ours(File),
    /// It was paid meanwhile.
    Gone,
    /// Its owner lives.
    Busy,
    /// This process puts it back, and takes long.
    Underway(u32),
}

/// Opens a file and takes its lock, if its owner is dead. The error is to be read after its name.
fn take(path: &Path, dead: bool) -> Result<Taken, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    for _ in 0..TRIES {
        let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).append(true).custom_flags(flags.bits()).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Taken::Gone),
            Err(error) => return Err(cannot(error)),
        };
        let meta = file.metadata().map_err(cannot)?;
        if !meta.is_file() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
            return Err(format!(
                "is not for you alone (owner {}, mode {:o}), so others could have written the commands in it: \
                 look at it, then `chmod 600` it, or delete it (`brownout restore --forget`)",
                meta.uid(),
                meta.mode() & 0o7777
            ));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
            Err(TryLockError::WouldBlock) => match wait_for(&file, dead).map_err(cannot)? {
                Wait::Locked => {}
                Wait::Lives => return Ok(Taken::Busy),
                Wait::Underway(pid) => return Ok(Taken::Underway(pid)),
            },
        }
        // Whoever had the lock may have taken the file away, or have written it anew.
        let same = |other: std::fs::Metadata| (other.dev(), other.ino()) == (meta.dev(), meta.ino());
        if path.symlink_metadata().is_ok_and(same) {
            return Ok(Taken::Ours(file));
        }
    }
    Err("is replaced again and again".into())
}

enum Wait {
    Locked,
    Lives,
    Underway(u32),
}

/// Waits for the lock of a file that somebody has: its owner, if that is dying, or who puts it back.
fn wait_for(file: &File, dead: bool) -> io::Result<Wait> {
    let Book { restoring, owner, .. } = Book::read(&contents(file)?);
    if restoring.is_none() {
        // A child of a dead one that has not yet become its program still has its lock.
        if !dead && owner.is_none_or(|owner| marker::start_of(owner).is_some()) {
            return Ok(Wait::Lives);
        }
        if locked_within(file, DYING)? {
            return Ok(Wait::Locked);
        }
    }
    Ok(match Book::read(&contents(file)?).restoring {
        None => Wait::Lives,
        Some(_) if locked_within(file, OTHERS)? => Wait::Locked,
        Some(pid) => Wait::Underway(pid),
    })
}

/// Waits for a lock. If it does not come, the thread that waits for it lets it go again.
fn locked_within(file: &File, limit: Duration) -> io::Result<bool> {
    let waiting = file.try_clone()?;
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new().name("lock".into()).spawn(move || {
        let _ = tell.send(waiting.lock());
    })?;
    told.recv_timeout(limit).map_or(Ok(false), |done| done.map(|()| true))
}

fn contents(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Seek::rewind(&mut file)?;
    if file.take(LONGEST + 1).read_to_end(&mut bytes)? as u64 > LONGEST {
        return Err(io::Error::other("it is too long"));
    }
    Ok(bytes)
}

impl Restored {
    fn fail(&mut self, text: String) {
        self.failures.push(Failure { exit: NOT_RESTORED, text });
    }

    /// Pays what a dead one's file owes; its lock is ours.
    fn pay(&mut self, run: &str, file: File, path: &Path) {
        let at = path.display();
        let book = match contents(&file) {
            Ok(bytes) => Book::read(&bytes),
            Err(error) => return self.fail(format!("`{at}` cannot be read: {error}")),
        };
        if run.len() != 32 || !run.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return self
                .fail(format!("`{at}` has not the name of an undo ledger: look at it, and move it away"));
        }
        if let Some(wrong) = &book.wrong {
            self.fail(format!(
                "`{at}` cannot be understood in full ({wrong}): look at it, put back by hand what it says, then delete \
                 it (`brownout restore --forget`)"
            ));
        }
        if book.owner.is_none() {
            // Nothing was ever owed: its owner died, or gave it up, before its first line was whole.
            return;
        }
        let mut sheet = match Sheet::resume(file, book.whole) {
            Ok(sheet) => sheet,
            Err(error) => return self.fail(format!("`{at}` cannot be written: {error}")),
        };
        let mut note = |entry: Entry| {
            // What is put back twice is put back.
            if let Err(error) = sheet.append(&[entry], true) {
                tracing::warn!("`{at}` cannot be written: {error}");
            }
        };
        note(Entry::Restoring { pid: std::process::id() });
        for (id, Owed { debt, cwd, hidden }) in book.owed.iter().rev() {
            let done = match debt {
                Debt::End { what } => marker::end(marker::RUN, run, &book.children)
                    .map(|ended| (ended > 0).then(|| format!("{what}: {} ended", processes(ended))))
                    .map_err(|left| format!("{what}: {left}")),
                Debt::Run { fault, service, argv, within } => {
                    let undo = Undo { fault, service, argv, within: *within, cwd, hidden };
                    undo.run(run, *id).map(|()| {
                        Some(format!("fault `{fault}` on service `{service}`: `{}`", shown(argv, hidden)))
                    })
                }
            };
            match done {
                Ok(said) => {
                    self.put_back.extend(said);
                    note(Entry::Paid { id: *id });
                }
                Err(why) => self.fail(why),
            }
        }
        // What commands left running, and what was started before it was owed.
        match marker::end(marker::RUN, run, &book.children) {
            Ok(0) => {}
            Ok(ended) => self.put_back.push(format!("what was left running: {} ended", processes(ended))),
            Err(left) if self.failures.is_empty() => self.fail(left.to_string()),
            Err(_) => {}
        }
    }

    fn remove(&mut self, path: &Path) {
        let _ = std::fs::remove_file(path.with_extension("new"));
        let done = std::fs::remove_file(path).and_then(|()| path.parent().map_or(Ok(()), sync));
        if let Err(error) = done
            && error.kind() != io::ErrorKind::NotFound
        {
            self.fail(format!("`{}` cannot be deleted: {error}: delete it by hand", path.display()));
        }
    }
}

fn processes(count: usize) -> String {
    if count == 1 { "1 process".into() } else { format!("{count} processes") }
}
