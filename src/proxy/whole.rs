//! Whole bodies, for faults that must see them before they go on.
//!
//! Invariants: nothing is taken from a connection while it is looked at, so that whatever is too long, too slow or not wanted
//! any more goes on untouched as it came; as much as the bound and no more is kept; whoever waits here is let go when its
//! fault heals or its caller leaves.

use super::answer::answer_client_error;
use super::exchange::{Record, Struck};
use super::forward::Answer;
use super::h1::{Caller, Intake, Left, Next};
use super::upload::{Side, Upload};
use crate::http1::connection::Conn;
use crate::http1::{Body, Framing, Refused};
use crate::net::socket;
use crate::telemetry::ConnectionOutcome;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

/// What is kept beside the payload: lines of chunks.
const OVERHEAD: usize = 64 << 10;

/// What came of waiting for a body.
pub(super) enum Came {
    /// Its payload, and how many bytes of the connection it is.
    Whole(Vec<u8>, usize),
    /// It is too long, broken or not wanted any more; what is there goes on as it came.
    Untouched,
    /// The exchange is over.
    Over(Next),
}

/// A body under way.
struct Gather {
    body: Body,
    seen: usize,
    payload: Vec<u8>,
    bound: usize,
}

impl Gather {
    fn new(framing: Framing, bound: usize) -> Self {
        Self { body: Body::new(framing), seen: 0, payload: Vec::new(), bound }
    }

    /// How much of a connection is read for it.
    fn room(&self) -> usize {
        self.bound.saturating_mul(2).saturating_add(OVERHEAD)
    }

    /// Looks at what is there: `Some(true)`: whole; `Some(false)`: too long.
    fn look(&mut self, bytes: &[u8]) -> Result<Option<bool>, Refused> {
        while self.seen < bytes.len() && !self.body.is_done() {
            let step = self.body.next(&bytes[self.seen..])?;
            self.payload.extend_from_slice(&bytes[self.seen..][step.data]);
            self.seen += step.consumed;
            if self.payload.len() > self.bound {
                return Ok(Some(false));
            }
        }
        Ok(if self.body.is_done() { Some(true) } else { (bytes.len() >= self.room()).then_some(false) })
    }
}

/// Whether a message of this framing is known to be too long.
fn is_too_long(framing: Framing, bound: usize) -> bool {
    matches!(framing, Framing::Length(length) if length > bound as u64)
}

/// Waits for the body of a request, as long as it is `wanted`.
pub(super) async fn request(
    caller: &mut Caller,
    intake: &mut Intake,
    record: &mut Record,
    struck: &Struck,
    wanted: impl Fn(&Struck) -> bool,
    bound: usize,
) -> Came {
    if is_too_long(intake.framing, bound) {
        return Came::Untouched;
    }
    let mut gather = Gather::new(intake.framing, bound);
    if intake.expect && !gather.body.is_done() {
        // it waits for us now
        if caller.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
            record.caller_left();
            return Came::Over(Next::Reset(ConnectionOutcome::Reset));
        }
        intake.expect = false;
        if let Some(mut head) = super::fields::Head::read(&intake.out.0) {
            head.remove("expect");
            head.write(&mut intake.out.0);
        }
    }
    let edge = caller.edge.clone();
    let mut current = struck.in_force().clone();
    caller.deadline.set(edge.shared.config.timeout.idle);
    loop {
        match gather.look(caller.conn.bytes()) {
            Err(refused) => return Came::Over(answer_client_error(caller, intake, record, refused).await),
            Ok(Some(true)) => return Came::Whole(gather.payload, gather.seen),
            Ok(Some(false)) => return Came::Untouched,
            Ok(None) if !wanted(struck) => return Came::Untouched,
            Ok(None) => {}
        }
        let room = gather.room();
        let retired = current.retired.clone();
        let mut retired = pin!(retired.cancelled());
        let (conn, deadline) = (&mut caller.conn, &caller.deadline);
        let event = poll_fn(|cx| {
            if let Poll::Ready(read) = conn.poll_fill(cx, room) {
                return Poll::Ready(Some(read));
            }
            if retired.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            deadline.poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())))
        })
        .await;
        match event {
            None => current = edge.shared.slot.get(),
            Some(Ok(1..)) => caller.deadline.set(edge.shared.config.timeout.idle),
            Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                return Came::Over(answer_client_error(caller, intake, record, Refused::Truncated).await);
            }
            Some(Ok(0)) => {
                caller.left.note(Left::Fin);
                return Came::Over(answer_client_error(caller, intake, record, Refused::Truncated).await);
            }
            Some(Err(_)) => {
                caller.left.note(Left::Reset);
                record.caller_left();
                record.ended = caller.left.at();
                return Came::Over(Next::Reset(ConnectionOutcome::Reset));
            }
        }
    }
}

/// Waits for the body of an answer, as long as it is `wanted`, while the rest of the request is sent.
pub(super) async fn answer(
    caller: &mut Caller,
    upload: &mut Upload,
    up: &mut Conn,
    answer: &mut Answer,
    struck: &Struck,
    wanted: impl Fn(&Struck) -> bool,
    bound: usize,
) -> Came {
    if is_too_long(answer.framing, bound) || answer.streams {
        return Came::Untouched;
    }
    let edge = caller.edge.clone();
    let times = edge.shared.config.timeout;
    let mut gather = Gather::new(answer.framing, bound);
    let mut current = struck.in_force().clone();
    caller.deadline.set(times.idle.max(times.upstream));
    loop {
        match gather.look(up.bytes()) {
            Ok(Some(true)) => return Came::Whole(gather.payload, gather.seen),
            Ok(None) if wanted(struck) => {}
            _ => return Came::Untouched,
        }
        let room = gather.room();
        let retired = current.retired.clone();
        let mut retired = pin!(retired.cancelled());
        let (conn, deadline, left) = (&mut caller.conn, &caller.deadline, &mut caller.left);
        let event = poll_fn(|cx| {
            if let Poll::Ready(read) = up.poll_fill(cx, room) {
                return Poll::Ready(Event::Read(read));
            }
            if retired.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Retired);
            }
            if left.is_none()
                && let Poll::Ready(side) = upload.poll(cx, conn, left, up)
            {
                return Poll::Ready(Event::Side(side));
            }
            deadline.poll(cx).map(|()| Event::Silent)
        })
        .await;
        match event {
            Event::Read(Ok(0)) if gather.body.eof().is_ok() => {
                return Came::Whole(gather.payload, gather.seen);
            }
            Event::Read(Ok(0)) => return Came::Untouched,
            Event::Read(Ok(_)) => caller.deadline.set(times.idle.max(times.upstream)),
            Event::Read(Err(_)) => {
                if answer.framing == Framing::Close {
                    // what is read next is an end of file, and must not look like the end of the answer
                    answer.framing = Framing::Length(up.bytes().len() as u64 + 1);
                }
                return Came::Untouched;
            }
            Event::Retired => current = edge.shared.slot.get(),
            // its silence is the usual way's to see
            Event::Silent => return Came::Untouched,
            Event::Side(Side::Left(Left::Fin)) => {
                caller.left.note(Left::Fin);
                socket::finish_sending(up.stream());
            }
            Event::Side(Side::Left(Left::Reset)) => {
                caller.left.note(Left::Reset);
                return Came::Untouched;
            }
            Event::Side(Side::Truncated | Side::Bad(_)) => return Came::Untouched,
        }
    }
}

enum Event {
    Read(io::Result<usize>),
    Retired,
    Silent,
    Side(Side),
}
