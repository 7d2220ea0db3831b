//! The answer on its way to the caller, and the end of the exchange.
//!
//! Invariants: a truncated answer never looks complete; a connection is kept only if nothing is left over on it.

use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::forward::Answer;
use super::frost;
use super::h1::{self, Caller, Intake, Left, Next, is_reset};
use super::reply::Mark;
use super::retry_after;
use super::route::Route;
use super::shape;
use super::upload::{Side, Upload, UploadState, finish};
use crate::decision::Cut;
use crate::http1::connection::{Conn, LARGE, SMALL};
use crate::http1::{Body, Framing};
use crate::net::socket;
use crate::telemetry::{ConnectionOutcome, Ending, Origin};
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Passes an answer on, whose head is in `intake.out`.
#[expect(clippy::too_many_arguments, reason = "both sides of an exchange and what is done to it")]
pub(super) async fn deliver(
    caller: &mut Caller,
    intake: &mut Intake,
    record: &mut Record,
    upload: &mut Upload,
    mut up: Conn,
    struck: &mut Option<Box<Struck>>,
    answer: Answer,
    sent: Instant,
) -> Next {
    record.exchange.timed = !answer.streams;
    let mut body = Body::new(answer.framing);
    frost::overtake(&caller.edge, struck, record);
    let reshaped = answer.returning != answer.framing;
    if reshaped
        || record.tee.is_some()
        || struck.as_ref().is_some_and(|struck| shape::is_needed(&struck.decision))
    {
        record.measured = None;
        return Box::pin(shape::deliver(caller, intake, record, upload, up, struck, answer, sent)).await;
    }
    record.exchange.status = answer.status;
    record.exchange.retry_after = retry_after::read(answer.status, &intake.out.0);
    if let Some(struck) = struck {
        add_mark(&caller.edge, struck, record, &mut intake.out.0);
    }
    let head = &mut intake.out.0;
    // head and beginning of the body leave together
    let outcome = match body.scan(up.bytes()) {
        Err(_) => {
            // what was sound is passed on first
            head.extend_from_slice(&up.bytes()[..body.sound()]);
            match caller.write_all(head).await {
                Err(error) => Delivered::CallerGone(error),
                Ok(()) => Delivered::Malformed,
            }
        }
        Ok(scan) => {
            record.exchange.bytes_down += scan.payload;
            let mut stream = Download { body: &mut body, ready: scan.consumed, payload: 0, malformed: false };
            if head.len() + scan.consumed <= SMALL {
                head.extend_from_slice(&up.bytes()[..scan.consumed]);
                up.consume(scan.consumed);
                stream.ready = 0;
            }
            let outcome = match caller.write_all(head).await {
                Err(error) => Delivered::CallerGone(error),
                Ok(()) if stream.ready == 0 && stream.body.is_done() => Delivered::Whole,
                Ok(()) => {
                    // the rest of the answer is still to come
                    record.measured = None;
                    stream.relay(caller, upload, &mut up, struck, record).await
                }
            };
            record.exchange.bytes_down += stream.payload;
            outcome
        }
    };
    conclude(caller, record, upload, up, &intake.route, &answer, outcome, sent).await
}

/// Adds what tells a touched answer from a clean one to its head.
pub(super) fn add_mark(edge: &EdgeHere, struck: &Struck, record: &Record, head: &mut Vec<u8>) {
    write_mark(edge, struck.mark(record), head);
}

/// Adds a mark to a head, unless the edge hides them.
pub(super) fn write_mark(edge: &EdgeHere, mark: Option<Mark<'_>>, head: &mut Vec<u8>) {
    let Some(mark) = mark.filter(|_| !edge.shared.config.stealth) else { return };
    head.truncate(head.len().saturating_sub(2));
    for (name, value) in mark.fields() {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
}

/// How a delivery ended.
pub(super) enum Delivered {
    /// To its last byte.
    Whole,
    /// The upstream stopped before the end.
    Truncated,
    /// The upstream sent what is no body.
    Malformed,
    /// The upstream was silent for too long.
    Silent,
    /// The caller took no more.
    CallerGone(io::Error),
    /// The caller's body broke.
    BadBody,
    /// A fault cut it.
    Cut(Cut),
}

struct Download<'b> {
    body: &'b mut Body,
    /// Checked bytes in the upstream's buffer that were not passed on yet.
    ready: usize,
    payload: u64,
    /// What comes behind those is no body.
    malformed: bool,
}

impl Download<'_> {
    /// Passes the rest of the body on as it comes.
    async fn relay(
        &mut self,
        caller: &mut Caller,
        upload: &mut Upload,
        up: &mut Conn,
        struck: &mut Option<Box<Struck>>,
        record: &mut Record,
    ) -> Delivered {
        let times = caller.edge.shared.config.timeout;
        let (silence, stall) = (times.idle.max(times.upstream), times.idle);
        loop {
            if caller.edge.overtakes.get() {
                frost::overtake(&caller.edge, struck, record);
                if self.ready > 0
                    && let Some(gone) = Box::pin(frost::before_piece(caller, up, struck, record)).await
                {
                    return gone;
                }
            }
            caller.deadline.set(if self.ready > 0 { stall } else { silence });
            let (conn, deadline) = (&mut caller.conn, &caller.deadline);
            let left = &mut caller.left;
            let event = poll_fn(|cx| {
                if self.ready > 0 {
                    match conn.poll_write(cx, &up.bytes()[..self.ready]) {
                        Poll::Ready(Ok(count)) => {
                            up.consume(count);
                            self.ready -= count;
                            return Poll::Ready(None);
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Some(Delivered::CallerGone(error))),
                        Poll::Pending => {}
                    }
                } else if self.malformed {
                    return Poll::Ready(Some(Delivered::Malformed));
                } else if self.body.is_done() {
                    return Poll::Ready(Some(Delivered::Whole));
                } else if let Poll::Ready(read) = up.poll_fill(cx, LARGE) {
                    return Poll::Ready(self.check(read, up));
                }
                let before = (upload.payload, upload.ready);
                let side = if left.is_none() { upload.poll(cx, conn, left, up) } else { Poll::Pending };
                if before != (upload.payload, upload.ready) && self.ready == 0 {
                    deadline.set(silence);
                }
                if let Poll::Ready(side) = side {
                    return Poll::Ready(match side {
                        Side::Left(Left::Fin) => {
                            left.note(Left::Fin);
                            socket::finish_sending(up.stream());
                            None
                        }
                        Side::Left(Left::Reset) => {
                            left.note(Left::Reset);
                            Some(Delivered::CallerGone(io::ErrorKind::ConnectionReset.into()))
                        }
                        Side::Truncated | Side::Bad(_) => Some(Delivered::BadBody),
                    });
                }
                deadline.poll(cx).map(|()| {
                    Some(if self.ready > 0 {
                        Delivered::CallerGone(io::ErrorKind::TimedOut.into())
                    } else {
                        Delivered::Silent
                    })
                })
            })
            .await;
            if let Some(outcome) = event {
                return outcome;
            }
        }
    }

    fn check(&mut self, read: io::Result<usize>, up: &Conn) -> Option<Delivered> {
        match read {
            Ok(0) if self.body.eof().is_ok() => Some(Delivered::Whole),
            Ok(0) | Err(_) => Some(Delivered::Truncated),
            Ok(_) => match self.body.scan(up.bytes()) {
                Ok(scan) => {
                    self.ready = scan.consumed;
                    self.payload += scan.payload;
                    None
                }
                Err(_) => {
                    self.ready = self.body.sound();
                    self.malformed = true;
                    None
                }
            },
        }
    }
}

/// The end of an exchange that had an answer: what it is recorded as, and what becomes of both connections.
#[expect(clippy::too_many_arguments, reason = "both sides of an exchange and how it ended")]
pub(super) async fn conclude(
    caller: &mut Caller,
    record: &mut Record,
    upload: &mut Upload,
    up: Conn,
    route: &Route,
    answer: &Answer,
    outcome: Delivered,
    sent: Instant,
) -> Next {
    let now = Instant::now();
    record.ended = Some(now);
    record.exchange.upstream_took = Some(record.upstream_took(sent, now));
    match outcome {
        Delivered::Whole => {
            record.outcome(Origin::Upstream, Ending::Complete);
            if answer.up_keeps && upload.is_done() && caller.left.is_none() {
                route.keep(up);
                return if answer.keep_alive { Next::Again } else { Next::Close(ConnectionOutcome::Ok) };
            }
            if caller.left.is_some() {
                if has_gone(caller).await {
                    record.caller_left();
                    record.ended = caller.left.at().or(record.ended);
                    record.exchange.zombie = caller.left.before(now);
                }
                return Next::Close(ConnectionOutcome::Ok);
            }
            if answer.keep_alive && upload.is_done() {
                return Next::Again;
            }
            if upload.state == UploadState::Sending {
                finish(caller, upload, up).await;
            }
            Next::Close(ConnectionOutcome::Ok)
        }
        Delivered::Truncated | Delivered::Malformed | Delivered::Silent => {
            record.outcome(Origin::Upstream, Ending::Incomplete);
            // an end of file would look like the end of an answer that has no other
            if answer.returning == Framing::Close {
                drop(up);
                h1::settle(&caller.conn, &caller.deadline).await;
                Next::Reset(ConnectionOutcome::Error)
            } else {
                Next::Close(ConnectionOutcome::Error)
            }
        }
        Delivered::CallerGone(error) => {
            record.caller_left();
            record.ended = caller.left.at().or(record.ended);
            record.exchange.zombie = caller.left.before(now);
            if error.kind() == io::ErrorKind::TimedOut {
                record.outcome(Origin::Client, Ending::Incomplete);
                return Next::Reset(ConnectionOutcome::Timeout);
            }
            if is_reset(&error) {
                socket::reset(up.into_parts().0);
            }
            Next::Reset(ConnectionOutcome::Reset)
        }
        Delivered::BadBody => {
            record.outcome(Origin::Client, Ending::Incomplete);
            Next::Reset(ConnectionOutcome::Error)
        }
        Delivered::Cut(cut) => {
            record.outcome(Origin::Injected, Ending::Incomplete);
            drop(up);
            // as above: a FIN would make it whole
            let next = cut_to_next(if answer.returning == Framing::Close { Cut::Reset } else { cut });
            if matches!(next, Next::Reset(_)) {
                h1::settle(&caller.conn, &caller.deadline).await;
            }
            next
        }
    }
}

/// What a cut means for the caller's connection.
pub(super) fn cut_to_next(cut: Cut) -> Next {
    match cut {
        Cut::Reset => Next::Reset(ConnectionOutcome::Injected),
        _ => Next::Close(ConnectionOutcome::Injected),
    }
}

/// Whether a caller that had sent its FIN had closed altogether: then the answer meets a RST.
pub(super) async fn has_gone(caller: &mut Caller) -> bool {
    socket::finish_sending(caller.conn.stream());
    caller.deadline.set(Duration::from_millis(1));
    let (conn, deadline) = (&caller.conn, &caller.deadline);
    poll_fn(|cx| {
        if socket::pending_error(conn.stream()).is_some() {
            return Poll::Ready(true);
        }
        deadline.poll(cx).map(|()| socket::pending_error(conn.stream()).is_some())
    })
    .await
}
