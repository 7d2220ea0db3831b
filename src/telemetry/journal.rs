//! The journal: every event as a line of JSON, in the order in which they were published.
//!
//! A [`Journal`] writes on a thread of its own, so that a slow disk holds nobody up; lines reach the file within 250 ms. A
//! disk that is full, or gone, ends the journal with a warning, and nothing else. [`read`] is the other end: it forgives a
//! last line that was torn by a crash, and nothing else. Knows nothing of what events mean.

use super::{Event, Stamped, Telemetry};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc::Receiver, oneshot};
use tokio::time::{Instant, timeout_at};

/// How long a line may wait in memory.
const FLUSH: Duration = Duration::from_millis(250);
/// No line of ours is this long; one that is does not come from us.
const LONGEST: u64 = 16 << 20;

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Journal {
    /// Creates the file, which must not exist, and writes every event from now on into it.
    ///
    /// # Errors
    /// When the file cannot be created, or there is no thread to be had.
    pub fn create(path: impl AsRef<Path>, telemetry: &Arc<Telemetry>) -> io::Result<Self> {
        let path = path.as_ref();
        let file = File::options().write(true).create_new(true).open(path)?;
        Self::write_to(file, path.to_owned(), telemetry)
    }

    fn write_to(file: File, path: PathBuf, telemetry: &Arc<Telemetry>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let events = telemetry.subscribe();
        let (stop, stopped) = oneshot::channel();
        let writer = Writer { out: Some(BufWriter::new(file)), path, telemetry: Arc::downgrade(telemetry) };
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || runtime.block_on(writer.run(events, stopped)))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Writes what was published so far, makes sure that it is on the disk, and ends.
    ///
    /// # Errors
    /// When not all of it could be written; a warning has been published as well.
    pub fn finish(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the journal's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

struct Writer {
    /// `None` once writing has failed.
    out: Option<BufWriter<File>>,
    path: PathBuf,
    telemetry: Weak<Telemetry>,
}

impl Writer {
    async fn run(
        mut self,
        mut events: Receiver<Arc<Stamped>>,
        mut stopped: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let mut batch = Vec::with_capacity(256);
        let mut failed = Ok(());
        let mut flush_at = Instant::now() + FLUSH;
        loop {
            let more = tokio::select! {
                more = timeout_at(flush_at, events.recv_many(&mut batch, 256)) => more,
                _ = &mut stopped, if !events.is_closed() => {
                    // What is in the queue is still read; then it ends.
                    events.close();
                    continue;
                }
            };
            let mut result = batch.drain(..).try_for_each(|stamped| self.line(&stamped));
            if Instant::now() >= flush_at {
                result = result.and_then(|()| self.out.as_mut().map_or(Ok(()), Write::flush));
                flush_at = Instant::now() + FLUSH;
            }
            if let Err(error) = result {
                failed = Err(self.give_up(error));
            }
            if more == Ok(0) {
                break;
            }
        }
        let synced = self.out.take().map_or(Ok(()), |out| out.into_inner()?.sync_all());
        failed.and(synced.map_err(|error| self.give_up(error)))
    }

    fn line(&mut self, stamped: &Stamped) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        serde_json::to_writer(&mut *out, stamped)?;
        out.write_all(b"\n")
    }

    /// Closes the file, without another try to write what is left, and tells.
    fn give_up(&mut self, error: io::Error) -> io::Error {
        if let Some(out) = self.out.take() {
            drop(out.into_parts());
        }
        let text = format!("the journal `{}` ends here: {error}", self.path.display());
        tracing::warn!("{text}");
        if let Some(telemetry) = self.telemetry.upgrade() {
            telemetry.publish(Event::Warning { text });
        }
        error
    }
}

/// The events of a journal, in order. A last line without its end, which a crash leaves, is left out; any other line that
/// is no event is an error with its number.
///
/// # Errors
/// When the file cannot be opened.
pub fn read(path: impl AsRef<Path>) -> io::Result<impl Iterator<Item = io::Result<Stamped>>> {
    let mut lines = BufReader::new(File::open(path)?);
    let (mut number, mut text, mut over) = (0u64, Vec::new(), false);
    Ok(std::iter::from_fn(move || {
        loop {
            if over {
                return None;
            }
            number += 1;
            text.clear();
            let wrong = |why: &dyn std::fmt::Display| {
                Some(Err(io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {why}"))))
            };
            match (&mut lines).take(LONGEST).read_until(b'\n', &mut text) {
                Err(error) => {
                    over = true;
                    return Some(Err(error));
                }
                Ok(0) => return None,
                Ok(length) if length as u64 == LONGEST => {
                    over = true;
                    return wrong(&"it is longer than any event");
                }
                Ok(_) => {}
            }
            let whole = text.last() == Some(&b'\n');
            match serde_json::from_slice(&text) {
                Ok(stamped) => return Some(Ok(stamped)),
                Err(_) if !whole => return None,
                Err(_) if text.trim_ascii().is_empty() => {}
                Err(error) => return wrong(&error),
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Phase;

    fn events(path: &Path) -> Vec<Event> {
        read(path).unwrap().map(|line| line.unwrap().event).collect()
    }

    #[test]
    fn what_was_published_is_on_the_disk_when_it_finishes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let telemetry = Telemetry::new();
        let journal = Journal::create(&path, &telemetry).unwrap();
        for n in 0..5_000 {
            telemetry.publish(Event::Unwritten { struck: n });
        }
        telemetry.publish(Event::Finished);
        journal.finish().unwrap();
        let events = events(&path);
        assert_eq!(events.len(), 5_001);
        assert_eq!(events[4_999], Event::Unwritten { struck: 4_999 });
        assert_eq!(events[5_000], Event::Finished);
        let again = Journal::create(&path, &telemetry).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists, "an old run is never overwritten");
    }

    #[test]
    fn it_ends_with_telemetry_and_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let telemetry = Telemetry::new();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let dropped = Journal::create(&one, &telemetry).unwrap();
        let stopped = Journal::create(&two, &telemetry).unwrap();
        telemetry.publish(Event::Finished);
        drop(dropped);
        telemetry.stop();
        stopped.finish().unwrap();
        assert_eq!(events(&one), [Event::Finished]);
        assert_eq!(events(&two), [Event::Finished]);
    }

    #[test]
    fn lines_reach_the_file_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let telemetry = Telemetry::new();
        let _journal = Journal::create(&path, &telemetry).unwrap();
        telemetry.publish(Event::Phase { phase: Phase::Baseline });
        let until = Instant::now() + Duration::from_secs(10);
        while events(&path).is_empty() {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_full_disk_is_a_warning() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let telemetry = Telemetry::new();
        let mut reader = telemetry.subscribe();
        let file = File::options().write(true).open(full).unwrap();
        let journal = Journal::write_to(file, full.to_owned(), &telemetry).unwrap();
        for n in 0..1_000 {
            telemetry.publish(Event::Unwritten { struck: n });
        }
        assert!(journal.finish().is_err());
        telemetry.stop();
        let mut texts = Vec::new();
        while let Some(stamped) = reader.blocking_recv() {
            if let Event::Warning { text } = &stamped.event {
                texts.push(text.clone());
            }
        }
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].starts_with("the journal `/dev/full` ends here"), "{texts:?}");
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_any_other_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let finished = "{\"t\":1.0,\"event\":\"finished\"}";
        for (text, read_back, wrong) in [
            (String::new(), 0, None),
            (format!("{finished}\n{finished}"), 2, None),
            (format!("{finished}\n{{\"t\":1.0,\"ev"), 1, None),
            (format!("{finished}\n\n{finished}\n"), 2, None),
            (format!("{finished}\nnonsense\n{finished}\n"), 2, Some("line 2: ")),
            (format!("{finished}\n\u{0}\u{0}\u{0}"), 1, None),
        ] {
            std::fs::write(&path, &text).unwrap();
            let (good, bad): (Vec<_>, Vec<_>) = read(&path).unwrap().partition(Result::is_ok);
            assert_eq!(good.len(), read_back, "{text:?}");
            let bad = bad.into_iter().next().map(|error| error.unwrap_err().to_string());
            assert_eq!(bad.is_some(), wrong.is_some(), "{text:?} {bad:?}");
            assert!(bad.unwrap_or_default().starts_with(wrong.unwrap_or_default()));
        }
        assert!(read(folder.path().join("none")).is_err());
    }
}
