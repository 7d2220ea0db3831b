//! The way of one request to its upstream and of its answer back.
//!
//! Invariants: whose bytes broke is remembered (a caller's body error is 400, never 502); a truncated answer never looks
//! complete; a request is sent again only if nothing of it was written; a caller that leaves is seen at that moment.

use super::act;
use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::h1::{Caller, Intake, Left, Next, PIPELINED, is_reset};
use super::pool::Pool;
use super::reply::{self, Leaving, Trouble};
use super::{shape, tunnel};
use crate::http1::connection::{Conn, LARGE, SMALL};
use crate::http1::{self, Body, Framing, Limits, Refused, Returning, Version};
use crate::net::socket;
use crate::net::timer::Deadline;
use crate::telemetry::{ConnectionOutcome, Ending, Origin};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// How long a body that waits for `100 Continue` is held back.
const EXPECT: Duration = Duration::from_secs(1);

/// Carries one exchange out, from its decision to its record.
pub(super) async fn exchange(caller: &mut Caller, mut intake: Box<Intake>) -> Next {
    let edge = caller.edge.clone();
    let mut record = Record::begin(&edge, intake.method, intake.health);
    if !record.take_permit() {
        return Box::pin(overloaded(caller, &intake, &mut record)).await;
    }
    let mut struck = intake.struck.take();
    if let Some(struck) = &mut struck
        && let Some(next) = Box::pin(act::before(caller, &mut intake, struck, &mut record)).await
    {
        return next;
    }
    // on the heap: neither an idle connection nor one that is held has room for it
    Box::pin(carry(caller, &mut intake, &mut record, struck)).await
}

/// Refuses what is more than the edge takes at once.
async fn overloaded(caller: &mut Caller, intake: &Intake, record: &mut Record) -> Next {
    let edge = caller.edge.clone();
    let limit = edge.shared.config.max_in_flight;
    let why = Trouble::new(
        503,
        "overload",
        format!("edge `{}` has {limit} requests in flight", edge.shared.config.name),
    );
    let read = swallow(caller, intake).await;
    answer(caller, intake, record, Origin::Internal, &why, read).await
}

/// To the upstream and back.
async fn carry(
    caller: &mut Caller,
    intake: &mut Intake,
    record: &mut Record,
    mut struck: Option<Box<Struck>>,
) -> Next {
    // what of the body has come is checked before anybody is called
    let mut upload = Upload::new(intake.framing, intake.expect);
    if let Err(refused) = upload.begin(&mut caller.conn, &mut intake.out.0) {
        return answer_client_error(caller, intake, record, refused).await;
    }
    let sent = if struck.is_some() { Instant::now() } else { record.exchange.began };
    let mut up = match call(caller, intake, &mut upload).await {
        Ok(up) => up,
        Err(why) => {
            record.exchange.bytes_up = upload.payload;
            return answer(caller, intake, record, Origin::Upstream, &why, upload.is_read()).await;
        }
    };
    let next = match receive(caller, intake, &mut upload, &mut up).await {
        Received::Final(answer) => {
            deliver(caller, intake, record, &mut upload, up, &mut struck, answer, sent).await
        }
        Received::Switched => Box::pin(tunnel::upgraded(caller, intake, record, up, struck.take())).await,
        Received::Failed(why) => {
            answer(caller, intake, record, Origin::Upstream, &why, upload.is_read()).await
        }
        Received::BadBody(refused) => answer_client_error(caller, intake, record, refused).await,
        Received::Gone => {
            record.caller_left();
            match caller.left {
                Some(Left::Reset) => {
                    socket::reset(up.into_parts().0);
                    Next::Reset(ConnectionOutcome::Reset)
                }
                _ => Next::Close(ConnectionOutcome::Ok),
            }
        }
    };
    record.exchange.bytes_up = upload.payload;
    next
}

/// Finds a connection and sends the head, with as much of the body as has come. Nothing of a request is ever written twice.
async fn call(caller: &mut Caller, intake: &mut Intake, upload: &mut Upload) -> Result<Conn, Trouble> {
    let edge = caller.edge.clone();
    let limit = edge.shared.config.timeout.idle;
    let mut pooled = edge.pool.take(intake.upstream);
    loop {
        let reused = pooled.is_some();
        let mut up = match pooled.take() {
            Some(up) => up,
            None => Box::pin(connect(&edge, intake.upstream, &caller.deadline)).await?,
        };
        let out = &intake.out.0;
        let mut written = 0;
        caller.deadline.set(limit);
        let deadline = &caller.deadline;
        let failed = loop {
            let wrote = poll_fn(|cx| match up.poll_write(cx, &out[written..]) {
                Poll::Pending => deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
                done => done,
            })
            .await;
            match wrote {
                Ok(count) => written += count,
                Err(error) => break Some(error),
            }
            if written == out.len() {
                break None;
            }
        };
        match failed {
            None => return Ok(up),
            // nothing was written: the connection had died in the pool
            Some(_) if reused && written == 0 => pooled = edge.pool.take(intake.upstream),
            // not final: the upstream may have answered before it closed
            Some(_) => {
                upload.break_off();
                return Ok(up);
            }
        }
    }
}

/// Connects to an upstream, within its time.
pub(super) async fn connect(edge: &EdgeHere, upstream: usize, deadline: &Deadline) -> Result<Conn, Trouble> {
    let target = &edge.shared.upstreams[upstream];
    let limit = edge.shared.config.timeout.connect;
    let port = target.upstream.port;
    let attempt = async {
        if let Some(address) = target.address {
            return socket::connect(SocketAddr::new(address, port)).await;
        }
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in tokio::net::lookup_host((target.upstream.host.as_str(), port)).await? {
            match socket::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    };
    let place = || format!("edge `{}`: upstream {}", edge.shared.config.name, target.authority);
    match deadline.limit(limit, attempt).await {
        Some(Ok(stream)) => Ok(Conn::new(stream)),
        Some(Err(error)) => {
            Err(Trouble::new(502, "connect", format!("{} cannot be reached: {error}", place())))
        }
        None => {
            let limit = crate::units::Span(limit);
            Err(Trouble::new(504, "connect-timeout", format!("{} did not accept within {limit}", place())))
        }
    }
}

/// The body on its way to the upstream.
#[derive(Debug)]
pub(super) struct Upload {
    body: Body,
    /// Checked bytes in the caller's buffer that were not sent yet.
    ready: usize,
    state: UploadState,
    /// Payload bytes so far.
    pub payload: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UploadState {
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
    fn new(framing: Framing, expect: bool) -> Self {
        let body = Body::new(framing);
        let state = match (body.is_done(), expect) {
            (true, _) => UploadState::Done,
            (false, true) => UploadState::Expecting,
            (false, false) => UploadState::Sending,
        };
        Self { body, ready: 0, state, payload: 0 }
    }

    /// Puts what has come of the body behind the head, so that both leave at once.
    fn begin(&mut self, conn: &mut Conn, out: &mut Vec<u8>) -> Result<(), Refused> {
        if self.state != UploadState::Sending || conn.bytes().is_empty() {
            return Ok(());
        }
        let scan = self.body.scan(conn.bytes())?;
        out.extend_from_slice(&conn.bytes()[..scan.consumed]);
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
    fn break_off(&mut self) {
        if self.state != UploadState::Done {
            self.state = UploadState::Broken;
        }
    }

    /// The caller was told to go on.
    fn go_on(&mut self) {
        if self.state == UploadState::Expecting {
            self.state = UploadState::Sending;
        }
    }

    /// Sends what comes, and watches for a caller that leaves. Pending as long as nothing is amiss.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, conn: &mut Conn, up: &mut Conn) -> Poll<Side> {
        loop {
            if self.state != UploadState::Sending {
                if self.state == UploadState::Done && conn.bytes().len() >= PIPELINED {
                    return Poll::Pending;
                }
                if self.state == UploadState::Broken && conn.bytes().len() >= PIPELINED {
                    return Poll::Pending;
                }
                return match ready!(conn.poll_fill(cx, PIPELINED)) {
                    Ok(0) => Poll::Ready(Side::Left(Left::Fin)),
                    Ok(_) => {
                        // a body that comes unasked is sent on
                        self.go_on();
                        continue;
                    }
                    Err(_) => Poll::Ready(Side::Left(Left::Reset)),
                };
            }
            if self.ready > 0 {
                match ready!(up.poll_write(cx, &conn.bytes()[..self.ready])) {
                    Ok(count) => {
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
                match ready!(conn.poll_fill(cx, LARGE)) {
                    Ok(0) => return Poll::Ready(Side::Truncated),
                    Ok(_) => {}
                    Err(_) => return Poll::Ready(Side::Left(Left::Reset)),
                }
            }
            match self.body.scan(conn.bytes()) {
                Ok(scan) => {
                    self.ready = scan.consumed;
                    self.payload += scan.payload;
                }
                Err(refused) => return Poll::Ready(Side::Bad(refused)),
            }
        }
    }
}

/// What came of waiting for the head of the answer.
enum Received {
    /// A final answer; its head is written out for the caller, its body is next in the upstream's buffer.
    Final(Answer),
    /// 101.
    Switched,
    /// The upstream failed.
    Failed(Trouble),
    /// The caller's body is malformed.
    BadBody(Refused),
    /// The caller left, and there is nobody to answer.
    Gone,
}

/// A final answer, whose head is in `intake.out`.
pub(super) struct Answer {
    pub status: u16,
    /// As the upstream frames it.
    pub framing: Framing,
    /// As the caller gets it.
    pub returning: Framing,
    /// The caller's connection stays open.
    pub keep_alive: bool,
    /// The upstream's connection stays open.
    pub up_keeps: bool,
    /// A stream of events: no sample for percentiles.
    pub streams: bool,
    /// The length of its head in the upstream's buffer.
    pub head: usize,
}

/// Waits for the head of the answer, while the rest of the body is sent.
async fn receive(caller: &mut Caller, intake: &mut Intake, upload: &mut Upload, up: &mut Conn) -> Received {
    let edge = caller.edge.clone();
    let limits = Limits::default();
    let (limit, idle) = (edge.shared.config.timeout.upstream, edge.shared.config.timeout.idle);
    let upstream = intake.upstream;
    let place = || {
        format!("edge `{}`: upstream {}", edge.shared.config.name, edge.shared.upstreams[upstream].authority)
    };
    let mut seen = 0;
    caller.deadline.set(match upload.state {
        UploadState::Expecting => EXPECT,
        UploadState::Sending => idle,
        UploadState::Done | UploadState::Broken => limit,
    });
    loop {
        let have = up.bytes().len();
        if have > 0 && http1::is_worth_parsing(up.bytes(), seen, &limits) {
            let keep_alive =
                intake.keep_alive && upload.is_done() && caller.left.is_none() && !edge.here.draining.get();
            match read_head(up, intake, keep_alive) {
                Ok(None) => {}
                Ok(Some(Head::Interim(length, status))) => {
                    up.consume(length);
                    seen = 0;
                    if status == 100 {
                        upload.go_on();
                    }
                    let out = std::mem::take(&mut intake.out.0);
                    let written = caller.write_all(&out).await;
                    intake.out.0 = out;
                    if written.is_err() {
                        caller.left = Some(Left::Reset);
                        return Received::Gone;
                    }
                    caller.deadline.set(limit);
                    continue;
                }
                Ok(Some(Head::Switch(length))) => {
                    up.consume(length);
                    return Received::Switched;
                }
                Ok(Some(Head::Final(answer))) => {
                    up.consume(answer.head);
                    caller.deadline.clear();
                    return Received::Final(answer);
                }
                Err(refused) => {
                    let text = format!("{} sent a malformed answer: {}", place(), refused.reason());
                    return Received::Failed(Trouble::new(502, "answer", text));
                }
            }
        }
        seen = have;
        let (conn, deadline) = (&mut caller.conn, &caller.deadline);
        let watch = caller.left.is_none();
        let event = poll_fn(|cx| {
            if let Poll::Ready(read) = up.poll_fill(cx, limits.head) {
                return Poll::Ready(Ok(read));
            }
            if watch {
                let sent = upload.payload;
                let side = upload.poll(cx, conn, up);
                if upload.payload != sent {
                    // the upstream's clock runs from the last byte of the request
                    deadline.set(if upload.is_done() { limit } else { idle });
                }
                if let Poll::Ready(side) = side {
                    return Poll::Ready(Err(Some(side)));
                }
            }
            deadline.poll(cx).map(|()| Err(None))
        })
        .await;
        match event {
            Ok(Ok(0)) | Ok(Err(_)) if caller.left.is_some() => return Received::Gone,
            Ok(Ok(0)) => {
                let kind =
                    if have == 0 { "closed without an answer" } else { "closed in the middle of its head" };
                return Received::Failed(Trouble::new(502, "closed", format!("{} {kind}", place())));
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                return Received::Failed(Trouble::new(
                    502,
                    "closed",
                    format!("{} broke off: {error}", place()),
                ));
            }
            Err(None) if upload.state == UploadState::Expecting => {
                upload.go_on();
                caller.deadline.set(limit);
            }
            Err(None) if caller.left.is_some() => return Received::Gone,
            Err(None) if upload.state == UploadState::Sending => {
                return Received::BadBody(Refused::Truncated);
            }
            Err(None) => {
                let limit = crate::units::Span(limit);
                return Received::Failed(Trouble::new(
                    504,
                    "timeout",
                    format!("{} did not answer within {limit}", place()),
                ));
            }
            Err(Some(Side::Bad(refused))) => return Received::BadBody(refused),
            Err(Some(Side::Truncated)) => return Received::BadBody(Refused::Truncated),
            Err(Some(Side::Left(left))) => {
                caller.left = Some(left);
                if left == Left::Reset {
                    return Received::Gone;
                }
                // as in a direct connection: the upstream reads an end of file, and may still answer
                socket::finish_sending(up.stream());
            }
        }
    }
}

enum Head {
    Interim(usize, u16),
    Switch(usize),
    Final(Answer),
}

/// Reads a head from the upstream and writes it as the caller gets it. No waiting in here.
fn read_head(up: &Conn, intake: &mut Intake, keep_alive: bool) -> Result<Option<Head>, Refused> {
    let mut slots = http1::slots();
    let method = if intake.is_head { "HEAD" } else { "GET" };
    let Some(head) = http1::parse_response(up.bytes(), &mut slots, &Limits::default(), method)? else {
        return Ok(None);
    };
    let out = &mut intake.out.0;
    out.clear();
    let switching = head.status == 101;
    if switching && !intake.upgrade.as_ref().is_some_and(|asked| head.switches_to(&asked.0)) {
        return Err(Refused::BadSwitch);
    }
    let returning = match head.framing {
        Framing::Chunked if intake.version == Version::Http10 => Framing::Close,
        framing => framing,
    };
    let keep_alive = keep_alive && returning != Framing::Close;
    let how =
        Returning { client: intake.version, keep_alive, upgrade: switching, framing: returning, extra: &[] };
    http1::write_response(&head, &how, out);
    if switching {
        return Ok(Some(Head::Switch(head.len)));
    }
    if head.is_interim() {
        return Ok(Some(Head::Interim(head.len, head.status)));
    }
    let streams = head.header("content-type").is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    Ok(Some(Head::Final(Answer {
        status: head.status,
        framing: head.framing,
        returning,
        keep_alive,
        up_keeps: head.keep_alive && head.framing != Framing::Close,
        streams,
        head: head.len,
    })))
}

/// Passes an answer on, whose head is in `intake.out`.
#[expect(clippy::too_many_arguments, reason = "both sides of an exchange and what is done to it")]
async fn deliver(
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
    let reshaped = answer.returning != answer.framing;
    if reshaped || struck.as_ref().is_some_and(|struck| shape::is_needed(&struck.decision)) {
        return Box::pin(shape::deliver(caller, intake, record, upload, up, struck, answer, sent)).await;
    }
    record.exchange.status = answer.status;
    if let Some(struck) = struck {
        add_mark(&caller.edge, struck, record, &mut intake.out.0);
    }
    let head = &mut intake.out.0;
    // head and beginning of the body leave together
    let outcome = match body.scan(up.bytes()) {
        Err(_) => Delivered::Malformed,
        Ok(scan) => {
            record.exchange.bytes_down += scan.payload;
            let mut stream = Download { body: &mut body, ready: scan.consumed, payload: 0 };
            if head.len() + scan.consumed <= SMALL {
                head.extend_from_slice(&up.bytes()[..scan.consumed]);
                up.consume(scan.consumed);
                stream.ready = 0;
            }
            let outcome = match caller.write_all(head).await {
                Err(error) => Delivered::CallerGone(error),
                Ok(()) if stream.ready == 0 && stream.body.is_done() => Delivered::Whole,
                Ok(()) => stream.relay(caller, upload, &mut up).await,
            };
            record.exchange.bytes_down += stream.payload;
            outcome
        }
    };
    conclude(caller, record, upload, up, intake.upstream, &answer, outcome, sent).await
}

/// Adds what tells a touched answer from a clean one to its head.
pub(super) fn add_mark(edge: &EdgeHere, struck: &Struck, record: &Record, head: &mut Vec<u8>) {
    let Some(mark) = struck.mark(record).filter(|_| !edge.shared.config.stealth) else { return };
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
    Cut(crate::decision::Cut),
}

struct Download<'b> {
    body: &'b mut Body,
    /// Checked bytes in the upstream's buffer that were not passed on yet.
    ready: usize,
    payload: u64,
}

impl Download<'_> {
    /// Passes the rest of the body on as it comes.
    async fn relay(&mut self, caller: &mut Caller, upload: &mut Upload, up: &mut Conn) -> Delivered {
        let times = caller.edge.shared.config.timeout;
        let (silence, stall) = (times.idle.max(times.upstream), times.idle);
        loop {
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
                } else if self.body.is_done() {
                    return Poll::Ready(Some(Delivered::Whole));
                } else if let Poll::Ready(read) = up.poll_fill(cx, LARGE) {
                    return Poll::Ready(self.check(read, up));
                }
                if left.is_none()
                    && let Poll::Ready(side) = upload.poll(cx, conn, up)
                {
                    return Poll::Ready(match side {
                        Side::Left(Left::Fin) => {
                            *left = Some(Left::Fin);
                            socket::finish_sending(up.stream());
                            None
                        }
                        Side::Left(Left::Reset) => {
                            *left = Some(Left::Reset);
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
                Err(_) => Some(Delivered::Malformed),
            },
        }
    }
}

/// The end of an exchange that had an answer: what it is recorded as, and what becomes of both connections.
#[expect(clippy::too_many_arguments, reason = "both sides of an exchange and how it ended")]
pub(super) async fn conclude(
    caller: &mut Caller,
    record: &mut Record,
    upload: &Upload,
    up: Conn,
    upstream: usize,
    answer: &Answer,
    outcome: Delivered,
    sent: Instant,
) -> Next {
    let now = Instant::now();
    record.ended = Some(now);
    record.exchange.upstream_took = Some(now.saturating_duration_since(sent));
    match outcome {
        Delivered::Whole => {
            record.outcome(Origin::Upstream, Ending::Complete);
            if answer.up_keeps && upload.is_done() && caller.left.is_none() {
                Pool::keep(&caller.edge.pool, upstream, up);
            }
            if caller.left.is_some() {
                if has_gone(caller).await {
                    record.caller_left();
                    record.exchange.zombie = true;
                }
                return Next::Close(ConnectionOutcome::Ok);
            }
            if answer.keep_alive && upload.is_done() {
                Next::Again
            } else {
                Next::Close(ConnectionOutcome::Ok)
            }
        }
        Delivered::Truncated | Delivered::Malformed | Delivered::Silent => {
            record.outcome(Origin::Upstream, Ending::Incomplete);
            // an end of file would look like the end of an answer that has no other
            if answer.returning == Framing::Close {
                Next::Reset(ConnectionOutcome::Error)
            } else {
                Next::Close(ConnectionOutcome::Error)
            }
        }
        Delivered::CallerGone(error) => {
            record.caller_left();
            record.exchange.zombie = caller.left.is_some();
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
            cut_to_next(cut)
        }
    }
}

/// What a cut means for the caller's connection.
pub(super) fn cut_to_next(cut: crate::decision::Cut) -> Next {
    match cut {
        crate::decision::Cut::Reset => Next::Reset(ConnectionOutcome::Injected),
        _ => Next::Close(ConnectionOutcome::Injected),
    }
}

/// Whether a caller that had sent its FIN had closed altogether: then the answer meets a RST.
async fn has_gone(caller: &mut Caller) -> bool {
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

/// Answers in the upstream's place.
pub(super) async fn answer(
    caller: &mut Caller,
    intake: &Intake,
    record: &mut Record,
    origin: Origin,
    why: &Trouble,
    read: bool,
) -> Next {
    let next =
        respond(caller, intake, record, why.status, read, |how, out| reply::trouble(why, how, out)).await;
    if record.exchange.ending == Ending::Complete {
        record.exchange.origin = origin;
    }
    next
}

/// The caller's own fault: 400, and the end of the connection.
async fn answer_client_error(
    caller: &mut Caller,
    intake: &Intake,
    record: &mut Record,
    refused: Refused,
) -> Next {
    let why =
        Trouble::new(400, "request", format!("the body of the request is refused: {}", refused.reason()));
    let mut out = Vec::new();
    let how = Leaving { version: intake.version, keep_alive: false, head: intake.is_head };
    reply::trouble(&why, how, &mut out);
    record.exchange.status = 400;
    record.outcome(Origin::Client, Ending::Complete);
    if caller.write_all(&out).await.is_err() {
        record.caller_left();
    }
    Next::Close(ConnectionOutcome::Error)
}

/// Writes an answer that did not come from the upstream. The connection ends after it unless the request was `read` whole.
pub(super) async fn respond(
    caller: &mut Caller,
    intake: &Intake,
    record: &mut Record,
    status: u16,
    read: bool,
    write: impl FnOnce(Leaving, &mut Vec<u8>),
) -> Next {
    let keep_alive = intake.keep_alive && read && caller.left.is_none() && !caller.edge.here.draining.get();
    let mut out = Vec::new();
    write(Leaving { version: intake.version, keep_alive, head: intake.is_head }, &mut out);
    record.exchange.status = status;
    record.exchange.ending = Ending::Complete;
    let written = caller.write_all(&out).await;
    record.ended = Some(Instant::now());
    match written {
        Ok(()) if keep_alive => Next::Again,
        Ok(()) => Next::Close(ConnectionOutcome::Ok),
        Err(_) => {
            record.caller_left();
            Next::Reset(ConnectionOutcome::Reset)
        }
    }
}

/// Reads the body of a request of which nothing was read yet and that nobody gets, if it is short and comes soon.
pub(super) async fn swallow(caller: &mut Caller, intake: &Intake) -> bool {
    let mut body = Body::new(intake.framing);
    if intake.expect && !body.is_done() {
        return false;
    }
    for _ in 0..4 {
        match body.scan(caller.conn.bytes()) {
            Ok(scan) => caller.conn.consume(scan.consumed),
            Err(_) => return false,
        }
        if body.is_done() {
            return true;
        }
        caller.deadline.set(Duration::from_millis(100));
        let (conn, deadline) = (&mut caller.conn, &caller.deadline);
        let read = poll_fn(|cx| match conn.poll_fill(cx, SMALL) {
            Poll::Pending => deadline.poll(cx).map(|()| Ok(0)),
            read => read,
        })
        .await;
        if !matches!(read, Ok(1..)) {
            return false;
        }
    }
    false
}
