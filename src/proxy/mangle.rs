//! An answer whose bytes a fault changes: slower, in other pieces, with other bits, or with another end.
//!
//! Invariants: what leaves is framed as its head says, unless the fault says otherwise; no more is read from the upstream than
//! is sent; a fault that heals in the middle does nothing more, but that what its head has announced is kept.

use super::deliver::{self, Delivered};
use super::exchange::{Record, Struck};
use super::forward::Answer;
use super::h1::{Caller, Intake};
use super::meter::{Meter, Pause, Watch};
use super::pass;
use super::reframe::{Course, reframe};
use super::shape::Shaper;
use super::upload::Upload;
use crate::decision::{Cut, FaultRef};
use crate::http1::connection::{Conn, SMALL};
use crate::http1::{self, Body, Framing};
use crate::telemetry::{Ending, Origin};
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::time::Instant;

/// How much of the end of a body is said again and again.
const TAIL: usize = 1024;
/// A line where the size of a chunk should stand. It begins with no hexadecimal digit: lenient parsers take those and skip the rest.
const NO_CHUNK: &[u8] = b"no chunk size: brownout\r\n";
/// What comes behind an empty body that does not end.
const FILLER: &[u8] = b" ";

/// What is done to the bytes of one answer.
pub(super) struct Mangled {
    course: Course,
    meter: Meter,
    shaper: Shaper,
    pause: Pause,
    watch: Watch,
    /// The caller gets chunks.
    chunks: bool,
    /// The last chunk has left.
    ended: bool,
    /// Payload bytes that have passed.
    passed: u64,
    /// The caller gets what the upstream did not say, or not all of it.
    touched: bool,
    out: Vec<u8>,
    tail: Vec<u8>,
}

/// Both sides of an exchange.
pub(super) struct Line<'a> {
    pub caller: &'a mut Caller,
    pub record: &'a mut Record,
    pub upload: &'a mut Upload,
    pub up: &'a mut Conn,
    pub struck: &'a mut Struck,
}

impl Mangled {
    /// Takes over an answer whose head is in `intake.out`: the head is made to fit, and marked. `None` if nothing is to be
    /// done to its bytes.
    pub(super) fn take(
        caller: &Caller,
        intake: &mut Intake,
        record: &mut Record,
        struck: &mut Struck,
        answer: &mut Answer,
    ) -> Option<Box<Self>> {
        let bytes = struck.decision.down.bytes.take()?;
        let framing = answer.returning;
        let course = match bytes.end.clone().and_then(|(by, end)| Some((struck.lease(by)?, end))) {
            Some((by, end)) => Course::choose(by, end, answer, intake.version),
            None => Course::Plain,
        };
        let meter = Meter::new(&bytes, struck);
        let mut touched = false;
        match &course {
            Course::Plain | Course::Malformed { .. } | Course::Stop { told: false, .. } => {}
            Course::Stop { by, .. } => {
                touched = true;
                struck.hit(by.by, "truncate", record);
            }
            Course::Endless { by, .. } => struck.hit(by.by, "endless", record),
            Course::Short { by } | Course::Garbage { by, .. } => {
                touched = true;
                struck.hit(by.by, "corrupt", record);
            }
        }
        if let (Framing::Length(length), false) = (answer.framing, matches!(course, Course::Garbage { .. })) {
            let length = if let Course::Stop { at, .. } = course { at } else { length };
            for by in meter.flips_within(length) {
                struck.hit(by, "corrupt", record);
            }
        }
        let head = &mut intake.out.0;
        if let Course::Garbage { bytes, .. } = &course {
            head.clone_from(bytes);
            // nothing of an answer is left that a FIN could make whole
            answer.returning = Framing::None;
        } else {
            if answer.returning != framing {
                reframe(head, answer.returning, answer.keep_alive);
            }
            let mut acting: Vec<FaultRef> = meter.faults().collect();
            if let Course::Stop { by, .. } | Course::Malformed { by, .. } = &course {
                acting.push(by.by);
            }
            if Body::new(answer.framing).is_done() {
                acting.clear(); // there are no bytes for them
            }
            let mark = struck.mark_with(record, &acting);
            deliver::write_mark(&caller.edge, mark, head);
        }
        Some(Box::new(Self {
            course,
            meter,
            shaper: Shaper::new(Some(std::mem::take(&mut struck.decision.down))),
            pause: Pause::default(),
            watch: Watch::new(&caller.edge),
            chunks: answer.returning == Framing::Chunked,
            ended: false,
            passed: 0,
            touched,
            out: Vec::new(),
            tail: Vec::new(),
        }))
    }

    /// Whether all that comes is in the head already.
    pub(super) fn replaces(&self) -> bool {
        matches!(self.course, Course::Garbage { .. })
    }

    /// Once an exchange is concluded: what a fault has changed is not the upstream's any more.
    pub(super) fn own(&self, record: &mut Record) {
        // That the upstream died, or the caller left, is not its doing.
        let ours = record.exchange.ending == Ending::Complete || record.exchange.origin == Origin::Injected;
        if ours && (self.touched || self.meter.touched) {
            record.exchange.origin = Origin::Injected;
        }
    }

    /// The body, from the upstream to the caller.
    pub(super) async fn body(&mut self, mut line: Line<'_>, answer: &mut Answer) -> Delivered {
        let line = &mut line;
        let mut body = Body::new(answer.framing);
        if let Course::Stop { at: 0, told: true, .. } = self.course
            && self.room().is_some()
        {
            answer.up_keeps = false;
            line.record.tee = None;
            return self.stop(line).await;
        }
        loop {
            while !line.up.bytes().is_empty() && !body.is_done() {
                let Ok(step) = body.next(line.up.bytes()) else { return Delivered::Malformed };
                if !step.data.is_empty() {
                    let Line { caller, record, up, struck, .. } = line;
                    if let Some(outcome) = self.shaper.before_piece(caller, up, struck, record).await {
                        return outcome;
                    }
                    let data = line.up.bytes()[step.data].to_vec();
                    if let Some(tee) = &mut line.record.tee {
                        tee.payload(&data);
                    }
                    line.up.consume(step.consumed);
                    if let Some(outcome) = self.pass(line, &data).await {
                        // nobody knows what else it would have said
                        line.record.tee = None;
                        // what is left of the body makes the connection useless
                        answer.up_keeps = false;
                        return outcome;
                    }
                    continue;
                }
                if self.chunks && !step.trailers.is_empty() && !matches!(self.course, Course::Endless { .. })
                {
                    self.out.clear();
                    if !std::mem::replace(&mut self.ended, true) {
                        self.out.extend_from_slice(b"0\r\n");
                    }
                    self.out.extend_from_slice(&line.up.bytes()[step.trailers]);
                    if let Err(error) = self.send(line).await {
                        return Delivered::CallerGone(error);
                    }
                }
                line.up.consume(step.consumed);
            }
            if body.is_done() {
                break;
            }
            let cut_at = self.shaper.cut_at(line.struck);
            match pass::more(line.caller, line.upload, line.up, &body, cut_at, SMALL).await {
                Some(Delivered::Whole) => break,
                Some(outcome) => return outcome,
                None => {}
            }
            if let Some(how) = self.shaper.cut_in_time(line.struck, line.record) {
                return Delivered::Cut(how);
            }
        }
        if let Some(outcome) = self.go_on(line).await {
            return outcome;
        }
        if matches!(self.course, Course::Short { .. }) {
            return Delivered::Cut(Cut::Close);
        }
        self.finish(line).await
    }

    /// Behind the real body: filler, until healed.
    async fn go_on(&mut self, line: &mut Line<'_>) -> Option<Delivered> {
        let Course::Endless { by, rate } = &self.course else { return None };
        let (by, rate) = (by.clone(), *rate);
        if self.tail.is_empty() {
            self.tail.extend_from_slice(FILLER);
        }
        let mut pace = Meter::of_rate(by.by, rate, line.struck);
        let (filler, mut at) = (std::mem::take(&mut self.tail), 0);
        while by.is_on() {
            let length = pace.limit(SMALL);
            pace.charge(length, Instant::now());
            if let Some(outcome) = self.wait(line, || pace.until()).await {
                return Some(outcome);
            }
            if !by.is_on() {
                break;
            }
            self.touched = true;
            let piece: Vec<u8> = filler.iter().copied().cycle().skip(at).take(length).collect();
            at = (at + length) % filler.len();
            if let Some(outcome) = self.pass(line, &piece).await {
                return Some(outcome);
            }
        }
        None
    }

    /// Passes payload on, piece by piece; `Some`: the answer ends here.
    async fn pass(&mut self, line: &mut Line<'_>, data: &[u8]) -> Option<Delivered> {
        if let Course::Malformed { at: at @ None, .. } = &mut self.course {
            *at = Some(self.passed + data.len().div_ceil(2) as u64);
        }
        let mut rest = data;
        while !rest.is_empty() {
            let mut length = self.meter.limit(rest.len());
            if let Some(room) = self.room() {
                if room == 0 {
                    return Some(self.stop(line).await);
                }
                length = length.min(usize::try_from(room).unwrap_or(usize::MAX));
            }
            let mut cut = None;
            if let Some((left, how)) = self.shaper.cut_in_bytes(line.struck, length as u64, line.record) {
                length = left;
                cut = Some(how);
                if left == 0 {
                    return Some(Delivered::Cut(how));
                }
            }
            if !self.meter.is_empty() {
                self.meter.charge(length, Instant::now());
                self.meter.binds();
                self.meter.tell(line.struck, line.record);
                if let Some(outcome) = self.wait(line, || None).await {
                    return Some(outcome);
                }
            }
            let (piece, behind) = rest.split_at(length);
            rest = behind;
            self.frame(piece);
            self.meter.tell(line.struck, line.record);
            if let Err(error) = self.send(line).await {
                return Some(Delivered::CallerGone(error));
            }
            self.passed += length as u64;
            self.shaper.passed += length as u64;
            line.record.exchange.bytes_down += length as u64;
            if let Some(how) = cut {
                return Some(Delivered::Cut(how));
            }
            if let Course::Stop { told: true, .. } = self.course
                && self.room() == Some(0)
            {
                return Some(self.stop(line).await);
            }
            if let Course::Malformed { by, at: Some(at) } = &self.course
                && self.passed >= *at
                && by.is_on()
            {
                let by = by.by;
                self.touched = true;
                line.struck.hit(by, "corrupt", line.record);
                self.out.clear();
                self.out.extend_from_slice(NO_CHUNK);
                if let Err(error) = self.send(line).await {
                    return Some(Delivered::CallerGone(error));
                }
                return Some(Delivered::Cut(Cut::Close));
            }
        }
        None
    }

    /// A piece as it leaves: with its flips, and in a chunk if there are chunks.
    fn frame(&mut self, piece: &[u8]) {
        self.out.clear();
        if self.chunks {
            http1::write_chunk_header(piece.len() as u64, &mut self.out);
        }
        let start = self.out.len();
        self.out.extend_from_slice(piece);
        if matches!(self.course, Course::Endless { .. }) {
            self.tail.extend_from_slice(piece);
            let over = self.tail.len().saturating_sub(TAIL);
            self.tail.drain(..over);
        }
        self.meter.flip(&mut self.out[start..]);
        if self.chunks {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// How many bytes may still pass before the answer is cut off; `None`: it is not.
    fn room(&self) -> Option<u64> {
        match &self.course {
            // what the head has announced stays so, healed or not
            Course::Stop { by, at, clean, told } if (*clean && *told) || by.is_on() => {
                Some(at.saturating_sub(self.passed))
            }
            _ => None,
        }
    }

    /// Ends the answer where it should not end.
    async fn stop(&mut self, line: &mut Line<'_>) -> Delivered {
        self.touched = true;
        match &self.course {
            Course::Stop { by, clean, .. } => {
                let (by, clean) = (by.by, *clean);
                line.struck.hit(by, "truncate", line.record);
                if clean { self.finish(line).await } else { Delivered::Cut(Cut::Close) }
            }
            _ => Delivered::Cut(Cut::Close),
        }
    }

    /// The proper end.
    async fn finish(&mut self, line: &mut Line<'_>) -> Delivered {
        if self.chunks && !std::mem::replace(&mut self.ended, true) {
            self.out.clear();
            self.out.extend_from_slice(b"0\r\n\r\n");
            if let Err(error) = self.send(line).await {
                return Delivered::CallerGone(error);
            }
        }
        Delivered::Whole
    }

    /// Waits until the next piece may leave; `Some`: the answer ends instead.
    async fn wait(&mut self, line: &mut Line<'_>, also: impl Fn() -> Option<Instant>) -> Option<Delivered> {
        loop {
            let cut_at = self.shaper.cut_at(line.struck);
            let (meter, pause, watch) = (&self.meter, &mut self.pause, &mut self.watch);
            let (conn, left) = (&mut line.caller.conn, &mut line.caller.left);
            let (upload, up) = (&mut *line.upload, &mut *line.up);
            let outcome = poll_fn(|cx| {
                while watch.poll(cx).is_ready() {}
                let until = meter.until().max(also());
                let at = until.map(|until| cut_at.map_or(until, |cut| until.min(cut)));
                if pause.poll(cx, at).is_ready() {
                    return Poll::Ready(None);
                }
                if left.is_none()
                    && let Poll::Ready(side) = upload.poll(cx, conn, left, up)
                    && let Some(outcome) = pass::other_side(side, left, up)
                {
                    return Poll::Ready(Some(outcome));
                }
                Poll::Pending
            })
            .await;
            if outcome.is_some() {
                return outcome;
            }
            if let Some(how) = self.shaper.cut_in_time(line.struck, line.record) {
                return Some(Delivered::Cut(how));
            }
            // woken for a cut whose fault is healed: the rest of the wait is still to come
            if self.meter.until().max(also()).is_none_or(|until| until <= Instant::now()) {
                return None;
            }
        }
    }

    /// Writes what is in `out`, while the rest of the caller's body is sent.
    async fn send(&mut self, line: &mut Line<'_>) -> io::Result<()> {
        let Line { caller, upload, up, .. } = line;
        pass::write_while(caller, upload, up, Some(&self.out), 0..self.out.len()).await
    }
}
