//! What stands in the file of an undo ledger, and what it means: pure, words in and words out.
//!
//! One entry a line. Only lines that end are entries: what a crash tore off was never promised to anybody. A line that ends and
//! cannot be understood is told, and everything else is still read: better an undo too many than one too few.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How entries are written now.
const VERSION: u32 = 1;

/// Something that must be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Debt {
    /// Every process that carries the marker is ended.
    End {
        /// What was started, for messages.
        what: String,
    },
    /// A command is run.
    Run {
        /// The fault that it takes back.
        fault: String,
        /// The service the fault is on.
        service: String,
        /// The command.
        argv: Vec<String>,
        /// How long it may take.
        within: Duration,
    },
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// The first one.
    Ledger { version: u32, pid: u32 },
    /// From now on this must be put back, from this folder.
    Owe {
        id: u64,
        debt: Debt,
        cwd: PathBuf,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hidden: Vec<(String, String)>,
    },
    /// It is put back.
    Paid { id: u64 },
    /// A process that leads a group was started; its number, and when.
    Child { pid: u32, start: String },
    /// The one whose ledger it was is dead, and this process puts back what it left.
    Restoring { pid: u32 },
}

impl Entry {
    pub(super) fn first() -> Self {
        Self::Ledger { version: VERSION, pid: std::process::id() }
    }

    /// As it is written, with the end of its line.
    pub(super) fn line(&self) -> std::io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// A debt, and from where it is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) debt: Debt,
    pub(super) cwd: PathBuf,
    /// Variables, name and value, whose values in it must not be shown.
    pub(super) hidden: Vec<(String, String)>,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    /// What must still be put back, by number: the newest last.
    pub(super) owed: BTreeMap<u64, Owed>,
    /// Processes that were started, and when.
    pub(super) children: BTreeMap<u32, String>,
    /// The process that has begun to put back.
    pub(super) restoring: Option<u32>,
    /// The process whose ledger it is, if its first line is that of a ledger we can read.
    pub(super) owner: Option<u32>,
    /// What cannot be understood: a sentence for the user.
    pub(super) wrong: Option<String>,
    /// How many bytes end in a whole line.
    pub(super) whole: u64,
}

impl Book {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut book = Self::default();
        for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let Some(text) = line.strip_suffix(b"\n") else { break };
            if at > 0 && book.owner.is_none() {
                break;
            }
            book.whole += line.len() as u64;
            match serde_json::from_slice(text) {
                Ok(Entry::Ledger { version, pid }) if at == 0 && version == VERSION => book.owner = Some(pid),
                Ok(Entry::Ledger { version, .. }) if at == 0 => {
                    book.wrong = Some(format!("it is of version {version}, and this one reads {VERSION}"));
                    return book;
                }
                Ok(entry) if at > 0 => book.take(entry),
                Ok(_) => book.misread(at, "does not open a ledger"),
                Err(_) => book.misread(at, "is not an entry"),
            }
        }
        book
    }

    pub(super) fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Owe { id, debt, cwd, hidden } => {
                self.owed.insert(id, Owed { debt, cwd, hidden });
            }
            Entry::Paid { id } => {
                self.owed.remove(&id);
            }
            Entry::Child { pid, start } => {
                self.children.insert(pid, start);
            }
            Entry::Restoring { pid } => self.restoring = Some(pid),
            Entry::Ledger { .. } => {}
        }
    }

    /// What would be written if it were written anew.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let owed = self.owed.iter().map(|(id, Owed { debt, cwd, hidden })| Entry::Owe {
            id: *id,
            debt: debt.clone(),
            cwd: cwd.clone(),
            hidden: hidden.clone(),
        });
        let children =
            self.children.iter().map(|(pid, start)| Entry::Child { pid: *pid, start: start.clone() });
        std::iter::once(Entry::first()).chain(owed).chain(children)
    }

    fn misread(&mut self, at: usize, what: &str) {
        self.wrong.get_or_insert_with(|| format!("line {} {what}", at + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(what: &str) -> Debt {
        Debt::End { what: what.into() }
    }

    fn owe(id: u64, debt: Debt) -> Entry {
        Entry::Owe { id, debt, cwd: "/".into(), hidden: vec![("A".into(), "b".into())] }
    }

    fn written(entries: &[Entry]) -> Vec<u8> {
        entries.iter().flat_map(|entry| entry.line().unwrap()).collect()
    }

    #[test]
    fn what_is_paid_is_not_owed() {
        let run = Debt::Run {
            fault: "f".into(),
            service: "s".into(),
            argv: vec!["a\nb".into(), "ü".into()],
            within: Duration::from_millis(1500),
        };
        let child = Entry::Child { pid: 7, start: "1".into() };
        let entries = [Entry::first(), owe(1, end("x")), owe(2, run.clone()), child, Entry::Paid { id: 1 }];
        let book = Book::read(&written(&entries));
        assert_eq!(
            book.owed,
            BTreeMap::from([(
                2,
                Owed { debt: run, cwd: "/".into(), hidden: vec![("A".into(), "b".into())] }
            )])
        );
        assert_eq!(book.children, BTreeMap::from([(7, "1".into())]));
        assert_eq!((book.wrong, book.restoring, book.owner), (None, None, Some(std::process::id())));
        let anew: Vec<Entry> = Book::read(&written(&entries)).entries().collect();
        assert_eq!(Book::read(&written(&anew)).owed.len(), 1);
    }

    #[test]
    fn what_cannot_be_understood_is_told_and_the_rest_is_read() {
        let mut bytes = written(&[Entry::first(), owe(1, end("x"))]);
        bytes.extend(b"{\"pay\":{\"id\":1}}\n\xff\n");
        bytes.extend(written(&[owe(2, end("y"))]));
        let book = Book::read(&bytes);
        assert_eq!(book.wrong.as_deref(), Some("line 3 is not an entry"));
        assert_eq!(book.owed.keys().copied().collect::<Vec<_>>(), [1, 2]);

        let headless = Book::read(&written(&[owe(1, end("x"))]));
        assert_eq!(headless.wrong.as_deref(), Some("line 1 does not open a ledger"));
        let newer = Book::read(b"{\"ledger\":{\"version\":2,\"pid\":1}}\n{\"owe\":3}\n");
        assert!(newer.wrong.unwrap().contains("version 2"));
        assert_eq!(Book::read(b""), Book::default());
        assert_eq!(Book::read(b"{\"ledger\":{\"ver"), Book::default());
    }

    proptest! {
        /// Wherever a crash cuts, the file says what its whole lines say.
        #[test]
        fn a_cut_loses_only_the_line_it_is_in(steps in prop::collection::vec((any::<bool>(), 0u64..8), 0..40), cut in 0.0..=1.0f64) {
            let mut entries = vec![Entry::first()];
            for (step, (owes, id)) in steps.into_iter().enumerate() {
                entries.push(if owes { owe(id, end(&format!("{step}"))) } else { Entry::Paid { id } });
            }
            let bytes = written(&entries);
            let at = (bytes.len() as f64 * cut) as usize;
            let (mut expected, mut whole) = (Book::default(), 0);
            for entry in entries {
                let length = entry.line().unwrap().len();
                if whole + length > at { break }
                whole += length;
                expected.take(entry);
            }
            (expected.whole, expected.owner) = (whole as u64, (whole > 0).then(std::process::id));
            prop_assert_eq!(Book::read(&bytes[..at]), expected);
        }
    }
}
