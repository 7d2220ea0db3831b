//! What a service writes: read without ever holding it up, a bounded part of it told, the end of it kept for failures.
//!
//! A line is told up to 4 KiB, hidden values masked; no more than 50 a second, and 200 at once. The rest is counted. What is
//! read is thrown away at once but for the last lines, so that writing without end costs neither memory nor the writer.

use super::env::Mask;
use regex::Regex;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A line is told up to this length.
const LINE: usize = 4 << 10;
/// Lines a second.
const RATE: f64 = 50.0;
/// Lines at once.
const BUCKET: f64 = 200.0;
/// Lines that are kept for failures.
const TAIL: usize = 20;
/// What is read at once.
const CHUNK: usize = 64 << 10;
/// Hidden values longer than this may be told in part, where a line is cut within them.
const LONGEST_HIDDEN: usize = 128 << 10;
/// How often it is told how many lines were not.
pub(super) const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What is told of the output of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Line { err: bool, line: String },
    Unwritten { lines: u64 },
}

/// Takes what is told.
pub(super) type Tell = Arc<dyn Fn(Said) + Send + Sync>;

/// The voice of one service, through all of its processes.
#[derive(Debug)]
pub(super) struct Voice(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    mask: Mask,
    tokens: f64,
    filled: Instant,
    unwritten: u64,
    told: Instant,
    tail: VecDeque<String>,
}

/// Waits for a line that shows that a process is ready.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) regex: Regex,
    pub(super) seen: Notify,
}

impl Voice {
    pub(super) fn new(mask: Mask) -> Self {
        let now = Instant::now();
        let tail = VecDeque::with_capacity(TAIL);
        Self(Mutex::new(Inner { mask, tokens: BUCKET, filled: now, unwritten: 0, told: now, tail }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new process is about to speak, with other values to hide beside.
    pub(super) fn begin(&self, hidden: &[(String, String)], show: &[String]) {
        let mut inner = self.lock();
        inner.mask.hide(hidden, show);
        inner.tail.clear();
    }

    /// The last lines, masked.
    pub(super) fn tail(&self) -> Vec<String> {
        let inner = self.lock();
        inner.tail.iter().map(|line| masked(&inner.mask, line)).collect()
    }

    /// Replaces hidden values in a text of ours.
    pub(super) fn masked(&self, text: &str) -> String {
        self.lock().mask.apply(text)
    }

    /// Lines that were not told since they were last counted, if it is time to say so.
    pub(super) fn unwritten(&self, at_once: bool) -> Option<Said> {
        let mut inner = self.lock();
        let now = Instant::now();
        if inner.unwritten == 0 || (!at_once && now.saturating_duration_since(inner.told) < TOLD_EVERY) {
            return None;
        }
        inner.told = now;
        Some(Said::Unwritten { lines: std::mem::take(&mut inner.unwritten) })
    }

    fn longest(&self) -> usize {
        LINE + self.lock().mask.longest().min(LONGEST_HIDDEN)
    }

    /// A line was written: what of it is told.
    fn hear(&self, line: &[u8], err: bool) -> Option<Said> {
        let mut inner = self.lock();
        let now = Instant::now();
        let since = now.saturating_duration_since(inner.filled);
        inner.tokens = since.as_secs_f64().mul_add(RATE, inner.tokens).min(BUCKET);
        inner.filled = now;
        if inner.tail.len() == TAIL {
            inner.tail.pop_front();
        }
        let text = String::from_utf8_lossy(line).into_owned();
        let said = if inner.tokens >= 1.0 {
            inner.tokens -= 1.0;
            Some(Said::Line { err, line: masked(&inner.mask, &text) })
        } else {
            inner.unwritten += 1;
            None
        };
        inner.tail.push_back(text);
        said
    }

    /// So many lines are not told.
    fn skip(&self, lines: u64) {
        self.lock().unwritten += lines;
    }

    /// Whether a line would be told now.
    fn is_full(&self) -> bool {
        let inner = self.lock();
        let since = Instant::now().saturating_duration_since(inner.filled);
        since.as_secs_f64().mul_add(RATE, inner.tokens) < 1.0
    }
}

/// Masked first, and cut then: no part of a hidden value is left at the end.
fn masked(mask: &Mask, line: &str) -> String {
    let mut line = mask.apply(line);
    line.truncate(line.floor_char_boundary(LINE));
    line
}

/// Reads one stream of a process to its end.
pub(super) async fn listen(
    mut from: impl AsyncRead + Unpin,
    err: bool,
    voice: Arc<Voice>,
    awaited: Option<Arc<Awaited>>,
    tell: Tell,
) {
    let mut chunk = vec![0; CHUNK];
    let mut line = Line::new(voice.longest());
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let mut rest = chunk.get(..read).unwrap_or_default();
        if awaited.is_none() && voice.is_full() {
            // Only the last lines matter, and a writer without end is not held up by the others.
            let (skipped, last) = but_last(rest, TAIL);
            rest = last;
            if skipped > 0 {
                voice.skip(skipped);
                line.take();
            }
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            line.push(head);
            say(&voice, line.take(), err, awaited.as_deref(), &tell);
        }
        line.push(rest);
        if let Some(said) = voice.unwritten(false) {
            tell(said);
        }
        // Others must have their turn, however fast this one writes.
        tokio::task::yield_now().await;
    }
    if !line.is_empty() {
        say(&voice, line.take(), err, awaited.as_deref(), &tell);
    }
}

/// How many lines end before the last so many of them that end in here, and what comes after those.
fn but_last(bytes: &[u8], last: usize) -> (u64, &[u8]) {
    let ends = bytes.iter().rev().zip((0..bytes.len()).rev()).filter(|(byte, _)| **byte == b'\n');
    match ends.map(|(_, at)| at).nth(last) {
        None => (0, bytes),
        Some(at) => {
            let (before, rest) = bytes.split_at(at + 1);
            (before.iter().filter(|byte| **byte == b'\n').count() as u64, rest)
        }
    }
}

fn say(voice: &Voice, line: Vec<u8>, err: bool, awaited: Option<&Awaited>, tell: &Tell) {
    if let Some(awaited) = awaited
        && awaited.regex.is_match(&String::from_utf8_lossy(&line))
    {
        awaited.seen.notify_one();
    }
    if let Some(said) = voice.hear(&line, err) {
        tell(said);
    }
}

/// A line under way, up to a length.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    most: usize,
}

impl Line {
    fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn take(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.bytes);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hidden(value: &str) -> Mask {
        let mut mask = Mask::default();
        mask.hide(&[("KEY".into(), value.into())], &[]);
        mask
    }

    /// Everything that is told of this text, and the voice.
    async fn told(text: &[u8], mask: Mask, awaited: Option<&Arc<Awaited>>) -> (Vec<Said>, Arc<Voice>) {
        let voice = Arc::new(Voice::new(mask));
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&said);
        let tell: Tell = Arc::new(move |what| sink.lock().unwrap().push(what));
        listen(text, false, Arc::clone(&voice), awaited.cloned(), Arc::clone(&tell)).await;
        if let Some(rest) = voice.unwritten(true) {
            tell(rest);
        }
        let said = said.lock().unwrap().clone();
        (said, voice)
    }

    fn lines(said: &[Said]) -> Vec<&str> {
        said.iter()
            .filter_map(|said| match said {
                Said::Line { line, .. } => Some(line.as_str()),
                Said::Unwritten { .. } => None,
            })
            .collect()
    }

    #[tokio::test]
    async fn lines_are_masked_cut_and_kept() {
        let mut text = b"one hunter22\r\n\ntwo \xff\n".to_vec();
        text.extend(vec![b'a'; LINE - 4]);
        text.extend(b"hunter22 and more\nlast, without an end");
        let (said, voice) = told(&text, hidden("hunter22"), None).await;
        let lines = lines(&said);
        assert_eq!(lines[..3], ["one ***", "", "two \u{fffd}"]);
        assert_eq!(lines[3], format!("{}*** ", "a".repeat(LINE - 4)));
        assert_eq!(lines[4], "last, without an end");
        assert_eq!(voice.tail(), lines);
        assert_eq!(voice.masked("is hunter22"), "is ***");
        voice.begin(&[("NEW".into(), "other".into())], &[]);
        assert_eq!(voice.masked("an other hunter22"), "an *** ***");
        assert_eq!(voice.tail(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_is_counted() {
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        let (said, voice) = told(text.as_bytes(), Mask::default(), None).await;
        assert_eq!(lines(&said).len(), 200);
        let unwritten = said.iter().map(|said| match said {
            Said::Unwritten { lines } => *lines,
            Said::Line { .. } => 0,
        });
        assert_eq!(unwritten.sum::<u64>(), 99_800);
        let last: Vec<_> = (99_980..100_000).map(|n| format!("line {n}")).collect();
        assert_eq!(voice.tail(), last);
        assert!(voice.is_full());
        tokio::time::advance(Duration::from_millis(20)).await;
        assert!(!voice.is_full());
    }

    #[tokio::test]
    async fn every_line_is_looked_at_for_readiness_unmasked() {
        let awaited =
            |regex: &str| Arc::new(Awaited { regex: Regex::new(regex).unwrap(), seen: Notify::new() });
        let mut text: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
        text.push_str("listening with hunter22\nmore\n");
        let found = awaited("^listening with hunter22$");
        told(text.as_bytes(), hidden("hunter22"), Some(&found)).await;
        tokio::time::timeout(Duration::from_secs(60), found.seen.notified()).await.unwrap();
        let never = awaited("not there");
        told(text.as_bytes(), Mask::default(), Some(&never)).await;
        assert!(tokio::time::timeout(Duration::ZERO, never.seen.notified()).await.is_err());
    }

    proptest! {
        #[test]
        fn every_line_is_told_or_counted(sizes in prop::collection::vec(0usize..9_000, 0..300)) {
            let text: String = sizes.iter().map(|size| format!("{}\n", "x".repeat(*size))).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (said, voice) = runtime.block_on(told(text.as_bytes(), hidden("xxxxy"), None));
            let mut all = 0;
            for said in &said {
                match said {
                    Said::Line { line, .. } => {
                        prop_assert!(line.len() <= LINE);
                        all += 1;
                    }
                    Said::Unwritten { lines } => all += lines,
                }
            }
            prop_assert_eq!(all, sizes.len() as u64);
            let tail: Vec<usize> = voice.tail().iter().map(String::len).collect();
            let last: Vec<usize> = sizes.iter().rev().take(TAIL).rev().map(|size| (*size).min(LINE)).collect();
            prop_assert_eq!(tail, last);
        }
    }
}
