//! The undo ledger: what must be put back, on disk before it is done.
//!
//! One file for one process of Brownout, `STATE/ledger/<id>.jsonl`, locked for as long as that process lives: a file that
//! nobody has locked is a dead one's, and `restore` pays what it owes. The id is random, 128 bits, and every child carries
//! it in its environment. The lock is on the open file, and a child that was forked and has not yet become its program still
//! holds it: whoever has the lock finds every child by its marker. An entry is whole or not there: a write that fails is taken
//! back, or nothing is written any more. Knows nothing of how things are put back.

use super::entries::{Book, Debt, Entry, Owed};
use super::marker;
use super::veil::hidden_in;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the name of a ledger's file ends.
pub(super) const END: &str = "jsonl";
/// A file that has grown so long is written anew, with what still holds.
const LONG: u64 = 1 << 20;
/// How often a new file is tried, when somebody takes it away before it is locked.
const TRIES: usize = 8;

/// The undo ledger of this process.
#[derive(Debug)]
pub struct Ledger {
    id: String,
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    sheet: Sheet,
    book: Book,
    next: u64,
    /// From this length on it is written anew.
    long: u64,
}

impl Ledger {
    /// A new ledger in this state folder, which is made if need be.
    ///
    /// # Errors
    /// When folder or file cannot be written.
    pub fn open(state: &Path) -> io::Result<Self> {
        let folder = folder_of(&std::path::absolute(state)?);
        for _ in 0..TRIES {
            make(&folder)?;
            let id = draw()?;
            let path = folder.join(format!("{id}.{END}"));
            let mut sheet = match Sheet::create(&path) {
                Ok(Some(sheet)) => sheet,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(about(&path, &error)),
            };
            sheet.append(&[Entry::first()], true).map_err(|error| about(&path, &error))?;
            sync(&folder)?;
            let inner = Inner { sheet, book: Book::default(), next: 1, long: LONG };
            return Ok(Self { id, path, inner: Mutex::new(inner) });
        }
        Err(io::Error::other(format!("`{}`: new files are taken away", folder.display())))
    }

    /// What every child has in its environment: a name, and this ledger's own value.
    #[must_use]
    pub fn marker(&self) -> (&'static str, &str) {
        (marker::RUN, &self.id)
    }

    /// From now on this must be put back; it is on disk when this returns. The number is for [`Ledger::paid`].
    ///
    /// # Errors
    /// When it cannot be written: then it must not be done.
    pub fn owe(&self, debt: Debt) -> io::Result<u64> {
        let (cwd, hidden) = match &debt {
            Debt::End { .. } => ("/".into(), Vec::new()),
            Debt::Run { argv, .. } => (std::env::current_dir()?, hidden_in(argv, std::env::vars_os())),
        };
        let mut inner = self.lock();
        let id = inner.next;
        inner.write(Entry::Owe { id, debt, cwd, hidden }, true).map_err(|error| about(&self.path, &error))?;
        inner.next += 1;
        if let Err(error) = inner.shorten(&self.path) {
            tracing::warn!("the undo ledger stays long: {}", about(&self.path, &error));
        }
        Ok(id)
    }

    /// It is put back.
    ///
    /// # Errors
    /// When it cannot be written: then it is put back again when this process has ended.
    pub fn paid(&self, id: u64) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.book.owed.contains_key(&id) {
            return Ok(());
        }
        inner.write(Entry::Paid { id }, true).map_err(|error| about(&self.path, &error))
    }

    /// A child that leads a group was started. What is ended is found by its marker, and by this where nobody can read what
    /// others have in their environment; so that it fails is not told.
    pub fn child(&self, pid: u32) {
        let Some(start) = marker::start_of(pid) else { return };
        let mut inner = self.lock();
        let done = inner.write(Entry::Child { pid, start }, false).and_then(|()| inner.shorten(&self.path));
        if let Err(error) = done {
            tracing::warn!("a child is not in the ledger: {}", about(&self.path, &error));
        }
    }

    /// What is owed, the newest last.
    #[must_use]
    pub fn owed(&self) -> Vec<(u64, Debt)> {
        self.lock().book.owed.iter().map(|(id, owed)| (*id, owed.debt.clone())).collect()
    }

    /// A debt, and from where it is paid.
    pub(super) fn debt(&self, id: u64) -> Option<Owed> {
        self.lock().book.owed.get(&id).cloned()
    }

    /// Ends every process that carries the marker, and pays every [`Debt::End`]. It blocks, up to some seconds.
    ///
    /// # Errors
    /// A sentence for the user, if something cannot be ended.
    pub fn end_all(&self) -> Result<usize, String> {
        let children = self.lock().book.children.clone();
        let ended = marker::end(marker::RUN, &self.id, &children).map_err(|left| left.to_string())?;
        for (id, debt) in self.owed() {
            if matches!(debt, Debt::End { .. }) {
                self.paid(id).map_err(|error| error.to_string())?;
            }
        }
        Ok(ended)
    }

    /// Takes the file away if nothing is owed; otherwise the next start pays.
    ///
    /// # Errors
    /// When the file cannot be taken away.
    pub fn close(&self) -> io::Result<()> {
        let inner = self.lock();
        if !inner.book.owed.is_empty() {
            return Ok(());
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(about(&self.path, &error)),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, entry: Entry, sync: bool) -> io::Result<()> {
        self.sheet.append(std::slice::from_ref(&entry), sync)?;
        self.book.take(entry);
        Ok(())
    }

    /// Writes a file that has grown long anew. The new one is locked before it has its name.
    fn shorten(&mut self, path: &Path) -> io::Result<()> {
        if self.sheet.length < self.long {
            return Ok(());
        }
        self.book.children.retain(|pid, start| marker::start_of(*pid).as_ref() == Some(start));
        let draft = path.with_extension("new");
        let _ = std::fs::remove_file(&draft);
        let Some(mut sheet) = Sheet::create(&draft)? else { return Ok(()) };
        sheet.append(&self.book.entries().collect::<Vec<_>>(), true)?;
        std::fs::rename(&draft, path)?;
        if let Some(folder) = path.parent() {
            sync(folder)?;
        }
        self.long = LONG.max(sheet.length * 2);
        self.sheet = sheet;
        Ok(())
    }
}

/// A locked file of entries.
#[derive(Debug)]
pub(super) struct Sheet {
    file: File,
    /// So much of it are whole entries.
    length: u64,
    /// A write failed and could not be taken back.
    broken: bool,
}

impl Sheet {
    /// A new one; `None` if somebody was faster with the lock, who will find it empty and take it away.
    fn create(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok((file.metadata()?.nlink() > 0).then_some(Self { file, length: 0, broken: false }))
    }

    /// A dead one's, whose lock is ours; what a crash tore off at its end is cut away.
    pub(super) fn resume(file: File, whole: u64) -> io::Result<Self> {
        file.set_len(whole)?;
        Ok(Self { file, length: whole, broken: false })
    }

    /// Adds entries, and waits until they are on disk if `sync`.
    pub(super) fn append(&mut self, entries: &[Entry], sync: bool) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("a write before failed"));
        }
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.extend(entry.line()?);
        }
        let done = self.file.write_all(&bytes).and_then(|()| match sync {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        match done {
            Ok(()) => self.length += bytes.len() as u64,
            Err(_) => self.broken = self.file.set_len(self.length).is_err(),
        }
        done
    }
}

/// Where the ledgers of a state folder are.
pub(super) fn folder_of(state: &Path) -> PathBuf {
    state.join("ledger")
}

/// Makes a folder that only we may see, and all above it that are missing; on disk when this returns.
fn make(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| about(folder, &error))?;
    missing.iter().filter_map(|path| path.parent()).try_for_each(sync)
}

pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| about(folder, &error))
}

/// 128 random bits.
fn draw() -> io::Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bits)))
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> Debt {
        Debt::End { what: "x".into() }
    }

    fn files(state: &Path) -> usize {
        std::fs::read_dir(folder_of(state)).unwrap().count()
    }

    #[test]
    fn it_is_ours_alone_locked_and_on_disk_before_it_returns() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("a/state");
        let ledger = Ledger::open(&state).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&state), mode(&folder_of(&state)), mode(&ledger.path)), (0o700, 0o700, 0o600));
        let other = File::open(&ledger.path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));

        let run = Debt::Run {
            fault: "f".into(),
            service: "s".into(),
            argv: vec!["true".into()],
            within: std::time::Duration::ZERO,
        };
        let (first, second) = (ledger.owe(end()).unwrap(), ledger.owe(run).unwrap());
        ledger.paid(first).unwrap();
        let book = Book::read(&std::fs::read(&ledger.path).unwrap());
        assert_eq!(book.owed.keys().copied().collect::<Vec<_>>(), [second]);
        assert_eq!(book.owed[&second].cwd, std::env::current_dir().unwrap());

        ledger.close().unwrap();
        assert_eq!(files(&state), 1, "something is owed");
        ledger.paid(second).unwrap();
        ledger.close().unwrap();
        ledger.close().unwrap();
        assert_eq!(files(&state), 0);
    }

    #[test]
    fn two_have_their_own() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (Ledger::open(home.path()).unwrap(), Ledger::open(home.path()).unwrap());
        assert_ne!(one.marker(), other.marker());
        assert_eq!(one.marker().1.len(), 32);
        assert_eq!(files(home.path()), 2);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let home = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(home.path()).unwrap();
        let owed = ledger.owe(Debt::End { what: "kept".into() }).unwrap();
        ledger.child(std::process::id());
        let long = Debt::End { what: "x".repeat(200_000) };
        for _ in 0..20 {
            let id = ledger.owe(long.clone()).unwrap();
            ledger.paid(id).unwrap();
        }
        let bytes = std::fs::read(&ledger.path).unwrap();
        assert!((bytes.len() as u64) < 2 * LONG, "{}", bytes.len());
        let book = Book::read(&bytes);
        assert_eq!(book.owed.keys().copied().collect::<Vec<_>>(), [owed]);
        assert!(book.children.contains_key(&std::process::id()) && book.wrong.is_none());
        let other = File::open(&ledger.path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)), "the new one is locked too");
        assert_eq!(files(home.path()), 1);
    }

    #[test]
    fn where_nothing_can_be_written_nothing_is_owed() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("state");
        std::fs::write(&state, "").unwrap();
        let error = Ledger::open(&state).unwrap_err().to_string();
        assert!(error.contains("state"), "{error}");
    }
}
