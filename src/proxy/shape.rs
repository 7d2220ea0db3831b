//! What is done to an answer once the upstream has given it: waits, cuts, other answers, and pieces of its body one by one.
//!
//! The plain way of an answer (`forward`) never comes through here. Invariants: what the upstream sent before a cut is passed
//! on first; a fault that heals in the middle of a body does nothing more to it.

use super::act::{self, Released};
use super::deliver::{self, Delivered, conclude};
use super::exchange::{Record, Struck};
use super::forward::Answer;
use super::frost;
use super::h1::{Caller, Intake, Left, Next};
use super::lie;
use super::mangle::{Line, Mangled};
use super::pass::{more, write_while};
use super::retry_after;
use super::upload::Upload;
use crate::decision::{Cut, Decision, FaultRef, HangAt, PieceDelay, Shape, Then};
use crate::http1::connection::{Conn, LARGE};
use crate::http1::{Body, Framing};
use crate::net::socket;
use crate::telemetry::{Ending, Origin};
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// Whether an answer has to come through here.
pub(super) fn is_needed(decision: &Decision) -> bool {
    !decision.after.is_clean()
        || !decision.down.is_clean()
        || !decision.freezes.is_empty()
        || lie::wants_answer(decision.content.as_deref())
}

/// Passes an answer on, piece by piece. Its head is in `intake.out`.
#[expect(clippy::too_many_arguments, reason = "both sides of an exchange and what is done to it")]
pub(super) async fn deliver(
    caller: &mut Caller,
    intake: &mut Intake,
    record: &mut Record,
    upload: &mut Upload,
    mut up: Conn,
    struck: &mut Option<Box<Struck>>,
    mut answer: Answer,
    sent: Instant,
) -> Next {
    let mut mangled = None;
    if let Some(tee) = &mut record.tee {
        tee.begin(answer.status, &intake.out.0);
    }
    if let Some(struck) = struck.as_deref_mut() {
        record.exchange.upstream_took = Some(sent.elapsed());
        if let Some(next) = after(caller, intake, record, upload, struck).await {
            return next;
        }
        if let Some(next) = frost::before_head(caller, struck, record).await {
            return next;
        }
        if let Some(next) = lie::answer(caller, intake, struck, record, upload, &mut up, &mut answer).await {
            return next;
        }
        let edge = caller.edge.clone();
        if struck.decision.after.hang.is_some_and(|(by, at, _)| at == HangAt::Body && !struck.is_healed(by)) {
            struck.hit_hang(record);
        }
        mangled = Mangled::take(caller, intake, record, struck, &mut answer);
        if mangled.is_none() {
            deliver::add_mark(&edge, struck, record, &mut intake.out.0);
        }
    }
    let replaced = mangled.as_ref().is_some_and(|mangled| mangled.replaces());
    record.exchange.status = if replaced { 0 } else { answer.status };
    let head = std::mem::take(&mut intake.out.0);
    record.exchange.retry_after = retry_after::read(record.exchange.status, &head);
    let written = caller.write_all(&head).await;
    let outcome = match written {
        Err(error) => Delivered::CallerGone(error),
        Ok(()) if replaced => Delivered::Cut(Cut::Close),
        Ok(()) if mangled.is_none() && Body::new(answer.framing).is_done() => Delivered::Whole,
        Ok(()) => match (hang_at_body(caller, record, struck).await, &mut mangled, struck.as_deref_mut()) {
            (Some(outcome), ..) => outcome,
            (None, Some(mangled), Some(struck)) => {
                let line = Line { caller, record, upload, up: &mut up, struck };
                mangled.body(line, &mut answer).await
            }
            _ => body(caller, record, upload, &mut up, struck, &answer).await,
        },
    };
    if let (Delivered::Whole, Some(tee)) = (&outcome, record.tee.take()) {
        tee.end(&caller.edge);
    }
    let next = conclude(caller, record, upload, up, &intake.route, &answer, outcome, sent).await;
    if let Some(mangled) = mangled {
        mangled.own(record);
    }
    let ours = struck.as_ref().is_some_and(|struck| struck.outcome_is_ours);
    if ours && record.exchange.ending == Ending::Complete {
        record.exchange.origin = Origin::Injected;
    }
    next
}

/// What comes between the answer and its head.
async fn after(
    caller: &mut Caller,
    intake: &mut Intake,
    record: &mut Record,
    upload: &Upload,
    struck: &mut Struck,
) -> Option<Next> {
    let edge = caller.edge.clone();
    let after = std::mem::take(&mut struck.decision.after);
    if !after.delays.is_empty() && caller.left.is_none() {
        match act::delay(&edge, &mut caller.conn, struck, &after.delays, record).await {
            Released::Over | Released::Healed => {}
            Released::Left(left) => return Some(left_unanswered(caller, record, left, Origin::Client)),
            Released::TooMany => {
                return Some(act::too_many(caller, intake, record, Some(upload.is_read())).await);
            }
        }
    }
    if let Some((by, HangAt::Headers, wish)) = after.hang
        && !struck.is_healed(by)
    {
        struck.hit(by, "hang", record);
        match act::hang(&edge, &mut caller.conn, struck, by, wish.time, record).await {
            Released::Over => {
                return Some(
                    act::end_hang(caller, intake, struck, record, wish, Some(upload.is_read())).await,
                );
            }
            Released::Healed => {}
            Released::Left(left) => return Some(left_unanswered(caller, record, left, Origin::Injected)),
            Released::TooMany => {
                return Some(act::too_many(caller, intake, record, Some(upload.is_read())).await);
            }
        }
    }
    if let Some((by, cut)) = after.cut
        && !struck.is_healed(by)
    {
        struck.hit(by, cut_action(cut), record);
        record.outcome(Origin::Injected, Ending::Unanswered);
        return Some(deliver::cut_to_next(cut));
    }
    if let Some((by, answer)) = &after.respond
        && !struck.is_healed(*by)
    {
        struck.hit(*by, "respond", record);
        return Some(act::respond_read(caller, intake, struck, record, answer, upload.is_read()).await);
    }
    struck.decision.after.hang = after.hang.filter(|(_, at, _)| *at == HangAt::Body);
    None
}

/// The caller left while the answer was held back: the upstream worked for nobody.
fn left_unanswered(caller: &mut Caller, record: &mut Record, left: Left, origin: Origin) -> Next {
    record.exchange.zombie = Some(Duration::ZERO);
    act::left_while_held(caller, record, left, origin)
}

/// What comes between the head of an answer and its body.
async fn hang_at_body(
    caller: &mut Caller,
    record: &mut Record,
    struck: &mut Option<Box<Struck>>,
) -> Option<Delivered> {
    let struck = struck.as_deref_mut()?;
    let (by, _, wish) = struck.decision.after.hang?;
    let edge = caller.edge.clone();
    match act::hang(&edge, &mut caller.conn, struck, by, wish.time, record).await {
        Released::Healed => None,
        Released::Over => Some(Delivered::Cut(match wish.then {
            Then::Cut(cut) => cut,
            Then::Status(_) => Cut::Close, // the head has left: there is no other status
        })),
        Released::Left(left) => {
            caller.left.note(left);
            record.exchange.zombie = Some(Duration::ZERO);
            Some(Delivered::CallerGone(io::ErrorKind::ConnectionReset.into()))
        }
        Released::TooMany => Some(Delivered::Cut(Cut::Close)),
    }
}

/// The body, piece by piece.
async fn body(
    caller: &mut Caller,
    record: &mut Record,
    upload: &mut Upload,
    up: &mut Conn,
    struck: &mut Option<Box<Struck>>,
    answer: &Answer,
) -> Delivered {
    let unchunk = answer.framing == Framing::Chunked && answer.returning == Framing::Close;
    let mut shaper = Shaper::new(struck.as_mut().map(|struck| std::mem::take(&mut struck.decision.down)));
    let mut body = Body::new(answer.framing);
    loop {
        while !up.bytes().is_empty() && !body.is_done() {
            if let Some(outcome) = frost::before_piece(caller, up, struck, record).await {
                return outcome;
            }
            let Ok(step) = body.next(up.bytes()) else { return Delivered::Malformed };
            let mut send = if unchunk { step.data.clone() } else { 0..step.consumed };
            let mut cut = None;
            if let Some(struck) = struck.as_deref_mut()
                && !step.data.is_empty()
            {
                if let Some(outcome) = shaper.before_piece(caller, up, struck, record).await {
                    return outcome;
                }
                if let Some((left, how)) = shaper.cut_in_bytes(struck, step.data.len() as u64, record) {
                    send.end = step.data.start + left;
                    cut = Some(how);
                }
            }
            if let Err(error) = write_while(caller, upload, up, None, send.clone()).await {
                return Delivered::CallerGone(error);
            }
            record.exchange.bytes_down +=
                send.end.min(step.data.end).saturating_sub(step.data.start.max(send.start)) as u64;
            if let Some(how) = cut {
                return Delivered::Cut(how);
            }
            if let Some(tee) = &mut record.tee {
                tee.payload(&up.bytes()[step.data.clone()]);
            }
            shaper.passed += step.data.len() as u64;
            up.consume(step.consumed);
        }
        if body.is_done() {
            return Delivered::Whole;
        }
        let cut_at = struck.as_deref().and_then(|struck| shaper.cut_at(struck));
        let event = more(caller, upload, up, &body, cut_at, LARGE).await;
        if let Some(outcome) = event {
            return outcome;
        }
        if let Some(struck) = struck.as_deref_mut()
            && let Some(how) = shaper.cut_in_time(struck, record)
        {
            return Delivered::Cut(how);
        }
    }
}

/// The name of a cut in metrics and journal.
pub(super) fn cut_action(cut: Cut) -> &'static str {
    match cut {
        Cut::Reset => "reset",
        Cut::Close | Cut::Stream => "close",
    }
}

/// What is done to one stream of bytes, by one decision.
#[derive(Debug)]
pub(super) struct Shaper {
    shape: Shape,
    begun: Instant,
    /// Payload bytes that have passed.
    pub passed: u64,
}

impl Shaper {
    /// The stream begins now.
    pub(super) fn new(shape: Option<Shape>) -> Self {
        Self { shape: shape.unwrap_or_default(), begun: Instant::now(), passed: 0 }
    }

    /// The wait before the next piece, and who asked for it first.
    pub(super) fn draw(&mut self, struck: &Struck) -> Option<(FaultRef, Duration)> {
        let elapsed = self.begun.elapsed();
        let mut sum = None;
        for PieceDelay { by, time, dose, dice } in &mut self.shape.piece {
            if !struck.is_healed(*by) {
                let (_, so_far) = sum.unwrap_or((*by, Duration::ZERO));
                sum = Some((*by, so_far + time.draw(dice, elapsed).mul_f64(*dose)));
            }
        }
        sum.filter(|(_, time)| !time.is_zero())
    }

    /// What comes before a piece that the upstream sent: a wait, and perhaps a cut.
    pub(super) async fn before_piece(
        &mut self,
        caller: &mut Caller,
        up: &Conn,
        struck: &mut Struck,
        record: &mut Record,
    ) -> Option<Delivered> {
        let released = match caller.left.how() {
            None => self.wait(caller, struck, record).await,
            Some(_) => Released::Over,
        };
        match released {
            // perhaps it only sends no more: what is written next will tell
            Released::Left(Left::Fin) => {
                caller.left.note(Left::Fin);
                socket::finish_sending(up.stream());
            }
            Released::Left(Left::Reset) => {
                caller.left.note(Left::Reset);
                return Some(Delivered::CallerGone(io::ErrorKind::ConnectionReset.into()));
            }
            Released::TooMany => return Some(Delivered::Cut(Cut::Close)),
            Released::Over | Released::Healed => {}
        }
        self.cut_in_time(struck, record).map(Delivered::Cut)
    }

    async fn wait(&mut self, caller: &mut Caller, struck: &mut Struck, record: &mut Record) -> Released {
        let Some((by, time)) = self.draw(struck) else { return Released::Over };
        struck.hit(by, "latency", record);
        let mut at = Instant::now() + time;
        if let Some(cut) = self.cut_at(struck) {
            at = at.min(cut);
        }
        let (edge, in_force) = (caller.edge.clone(), struck.in_force().clone());
        act::hold(&edge, &mut caller.conn, &in_force, || {
            if struck.is_healed(by) { Err(()) } else { Ok(Some(at)) }
        })
        .await
    }

    /// When the stream is cut.
    pub(super) fn cut_at(&self, struck: &Struck) -> Option<Instant> {
        let (by, time, _) = self.shape.cut_time?;
        (!struck.is_healed(by)).then(|| self.begun + time)
    }

    /// The time of a cut has come.
    pub(super) fn cut_in_time(&self, struck: &mut Struck, record: &mut Record) -> Option<Cut> {
        let (by, time, cut) = self.shape.cut_time?;
        if struck.is_healed(by) || self.begun.elapsed() < time {
            return None;
        }
        struck.hit(by, cut_action(cut), record);
        Some(cut)
    }

    /// Whether the stream is cut within the next so many bytes: after how many of them, and how.
    pub(super) fn cut_in_bytes(
        &self,
        struck: &mut Struck,
        next: u64,
        record: &mut Record,
    ) -> Option<(usize, Cut)> {
        let (by, bytes, cut) = self.shape.cut_bytes?;
        if struck.is_healed(by) || self.passed + next <= bytes {
            return None;
        }
        struck.hit(by, cut_action(cut), record);
        Some(((bytes - self.passed.min(bytes)) as usize, cut))
    }
}

impl Struck {
    fn hit_hang(&mut self, record: &mut Record) {
        if let Some((by, _, _)) = self.decision.after.hang {
            self.hit(by, "hang", record);
        }
    }
}
