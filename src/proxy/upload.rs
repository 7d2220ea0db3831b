//! The body of a request on its way to the upstream, and the caller's side while the upstream is waited for.
//!
//! Invariants: what is sent was checked before; a caller that leaves is seen as long as anything is read from it.

use super::exchange::{Record, Struck};
use super::frost::Frost;
use super::h1::{Away, Caller, Left, PIPELINED};
use super::identity::Print;
use super::meter::Throttle;
use crate::http1::connection::{Conn, LARGE, SMALL};
use crate::http1::{Body, Framing, Refused};
use crate::net::{socket, timer, timer::Deadline};
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A body whose answer is through already is passed on until nothing of it has moved for this long.
const MOVES: Duration = Duration::from_secs(1);

/// The body on its way to the upstream.
#[derive(Debug)]
pub(super) struct Upload {
    body: Body,
    /// Checked bytes in the caller's buffer that were not sent yet.
    pub ready: usize,
    pub state: UploadState,
    /// Payload bytes so far.
    pub payload: u64,
    /// What bounds its rate.
    throttle: Option<Box<Throttle>>,
    /// What may freeze it.
    pub frost: Option<Box<Frost>>,
    /// Who looks at it, if it says which logical request it is of.
    print: Option<Box<Print>>,
    /// When it is looked again whether the caller is still there, while the upstream takes nothing.
    tick: Option<Deadline>,
    frozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadState {
    /// The caller waits for `100 Continue`.
    Expecting,
    Sending,
    Done,
    /// The upstream takes no more.
    Broken,
}

/// What the caller's side does while the upstream is waited for.
pub(super) enum Side {
    Left(Left),
    /// The caller stopped in the middle of its body.
    Truncated,
    Bad(Refused),
}

impl Upload {
    pub(super) fn new(framing: Framing, expect: bool) -> Self {
        let body = Body::new(framing);
        let state = match (body.is_done(), expect) {
            (true, _) => UploadState::Done,
            (false, true) => UploadState::Expecting,
            (false, false) => UploadState::Sending,
        };
        Self {
            body,
            ready: 0,
            state,
            payload: 0,
            throttle: None,
            frost: None,
            print: None,
            tick: None,
            frozen: false,
        }
    }

    /// From here on it goes no faster.
    pub(super) fn slow_down(&mut self, throttle: Option<Box<Throttle>>) {
        self.throttle = throttle.filter(|_| self.state != UploadState::Done);
    }

    /// While it passes it is looked at; [`known`](Self::known) gives back what was seen.
    pub(super) fn look(&mut self, record: &mut Record) {
        if let Some(print) = record.print.take() {
            record.exchange.identity = print.identity();
            self.print = Some(print);
        }
    }

    /// What was seen of it belongs to the record again.
    pub(super) fn known(&mut self, record: &mut Record) {
        record.print = self.print.take().or(record.print.take());
    }

    /// Counts who was seen to slow it down.
    pub(super) fn tell(&mut self, struck: Option<&mut Struck>, record: &mut Record) {
        if let (Some(throttle), Some(struck)) = (&mut self.throttle, struck) {
            throttle.tell(struck, record);
        }
    }

    /// Puts what has come of the body behind the head, so that both leave at once.
    pub(super) fn begin(&mut self, conn: &mut Conn, out: &mut Vec<u8>) -> Result<(), Refused> {
        if self.state != UploadState::Sending || conn.bytes().is_empty() {
            return Ok(());
        }
        if self.throttle.is_some() {
            // only looked at: it is sent in its time
            return self.body.clone().scan(conn.bytes()).map(drop);
        }
        let scan = self.body.scan(conn.bytes())?;
        let come = &conn.bytes()[..scan.consumed];
        out.extend_from_slice(come);
        if let Some(print) = &mut self.print {
            print.pass(come);
        }
        conn.consume(scan.consumed);
        self.payload += scan.payload;
        if scan.done {
            self.state = UploadState::Done;
        }
        Ok(())
    }

    /// The request was sent whole.
    pub(super) fn is_done(&self) -> bool {
        self.state == UploadState::Done
    }

    /// Nothing of it is left unread in the caller's connection.
    pub(super) fn is_read(&self) -> bool {
        self.body.is_done() && self.ready == 0
    }

    /// The upstream takes no more of it.
    pub(super) fn break_off(&mut self) {
        self.state = UploadState::Broken;
    }

    /// The caller was told to go on.
    pub(super) fn go_on(&mut self) {
        if self.state == UploadState::Expecting {
            self.state = UploadState::Sending;
        }
    }

    /// It stays where it is for now.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Sends what comes, and watches for a caller that leaves. Pending as long as nothing is amiss.
    /// Of a caller whose end stands behind bytes that nobody takes for now, `left` remembers when that came.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn,
        left: &mut Away,
        up: &mut Conn,
    ) -> Poll<Side> {
        loop {
            if self.state != UploadState::Sending {
                if self.state == UploadState::Done && conn.bytes().len() >= PIPELINED {
                    return Poll::Pending;
                }
                if self.state == UploadState::Broken && conn.bytes().len() >= PIPELINED {
                    return Poll::Pending;
                }
                return match ready!(conn.poll_fill(cx, PIPELINED)) {
                    // what came before the end is not done with yet: a body, or further requests
                    Ok(0) if self.state == UploadState::Expecting && !conn.bytes().is_empty() => {
                        self.go_on();
                        continue;
                    }
                    Ok(0) if self.state == UploadState::Done && !conn.bytes().is_empty() => Poll::Pending,
                    Ok(0) => Poll::Ready(Side::Left(Left::Fin)),
                    Ok(_) => {
                        // a body that comes unasked is sent on
                        self.go_on();
                        continue;
                    }
                    Err(_) => Poll::Ready(Side::Left(Left::Reset)),
                };
            }
            if let Some(frost) = &mut self.frost {
                let thawed = frost.poll(cx, conn);
                self.frozen = thawed.is_pending();
                if ready!(thawed).is_err() {
                    return Poll::Ready(Side::Left(Left::Reset));
                }
            }
            if self.ready > 0 {
                let mut piece = self.ready;
                if let Some(throttle) = &mut self.throttle {
                    // its buffer may last for long, and nothing is read meanwhile
                    if has_left(conn, left) {
                        return Poll::Ready(Side::Left(Left::Reset));
                    }
                    piece = ready!(throttle.poll(cx, self.ready));
                }
                let wrote = match up.poll_write(cx, &conn.bytes()[..piece]) {
                    Poll::Ready(wrote) => wrote,
                    Poll::Pending if has_left(conn, left) => return Poll::Ready(Side::Left(Left::Reset)),
                    Poll::Pending => {
                        let tick = self.tick.get_or_insert_with(Deadline::new);
                        tick.set(timer::TICK);
                        let _ = tick.poll(cx);
                        return Poll::Pending;
                    }
                };
                match wrote {
                    Ok(count) => {
                        if let Some(throttle) = &mut self.throttle {
                            throttle.wrote(count);
                        }
                        conn.consume(count);
                        self.ready -= count;
                    }
                    Err(_) => self.state = UploadState::Broken,
                }
                continue;
            }
            if self.body.is_done() {
                self.state = UploadState::Done;
                continue;
            }
            if conn.bytes().is_empty() {
                let room = if self.throttle.is_some() { SMALL } else { LARGE };
                match ready!(conn.poll_fill(cx, room)) {
                    Ok(0) => return Poll::Ready(Side::Truncated),
                    Ok(_) => {}
                    Err(_) => return Poll::Ready(Side::Left(Left::Reset)),
                }
            }
            match self.body.scan(conn.bytes()) {
                Ok(scan) => {
                    if let Some(print) = &mut self.print {
                        print.pass(&conn.bytes()[..scan.consumed]);
                    }
                    self.ready = scan.consumed;
                    self.payload += scan.payload;
                }
                Err(refused) => return Poll::Ready(Side::Bad(refused)),
            }
        }
    }
}

/// Whether a caller has reset its connection; that it has ended it is remembered.
fn has_left(conn: &Conn, left: &mut Away) -> bool {
    if !socket::has_ended(conn.stream()) {
        return false;
    }
    left.suspect();
    socket::pending_error(conn.stream()).is_some()
}

/// The answer is through, and the upstream still takes the body: the rest of it is passed on for as long as it moves.
pub(super) async fn finish(caller: &mut Caller, upload: &mut Upload, mut up: Conn) {
    loop {
        caller.deadline.set(MOVES);
        let before = (upload.payload, upload.ready);
        let (conn, deadline, left) = (&mut caller.conn, &caller.deadline, &mut caller.left);
        let over = poll_fn(|cx| {
            let side = upload.poll(cx, conn, left, &mut up);
            if side.is_ready() || upload.state != UploadState::Sending {
                return Poll::Ready(true);
            }
            while up.bytes().len() < SMALL {
                match up.poll_fill(cx, SMALL) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(true),
                    Poll::Pending => break,
                }
            }
            deadline.poll(cx).map(|()| before == (upload.payload, upload.ready))
        })
        .await;
        if over {
            return;
        }
    }
}
