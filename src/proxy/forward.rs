//! The way of one request to its upstream and of its answer back.
//!
//! Invariants: whose bytes broke is remembered (a caller's body error is 400, never 502); a truncated answer never looks
//! complete; a request is sent again only if nothing of it was written; a caller that leaves is seen at that moment.

use super::act;
use super::answer::{answer, answer_client_error, swallow};
use super::call::call;
use super::deliver::deliver;
use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::frost::{self, Frost};
use super::h1::{Caller, Intake, Left, Next};
use super::identity::Known;
use super::lie;
use super::meter::Throttle;
use super::reply::Trouble;
use super::store::Key;
use super::tunnel;
use super::upload::{Side, Upload, UploadState};
use crate::http1::connection::Conn;
use crate::http1::{self, Framing, Limits, Refused, Returning, Version};
use crate::model::usual_callers;
use crate::net::socket;
use crate::telemetry::{ConnectionOutcome, Origin};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// How long a body that waits for `100 Continue` is held back.
const EXPECT: Duration = Duration::from_secs(1);

/// An upstream that sends more interim answers than this never comes to the point.
const INTERIM: usize = 100;

/// Carries one exchange out, from its decision to its record.
pub(super) async fn exchange(caller: &mut Caller, mut intake: Box<Intake>) -> Next {
    let edge = caller.edge.clone();
    let mut record = Record::begin(&edge, intake.method, intake.health);
    record.is_of(std::mem::replace(&mut intake.known, Known::NOTHING));
    if let Some(print) = &mut record.print {
        print.look(caller.conn.bytes());
    }
    if !record.take_permit() {
        return Box::pin(overloaded(caller, &intake, &mut record)).await;
    }
    let mut struck = intake.struck.take();
    if let Some(struck) = &mut struck
        && let Some(next) = Box::pin(act::before(caller, &mut intake, struck, &mut record)).await
    {
        return next;
    }
    if let Some(struck) = struck.as_deref_mut().filter(|struck| struck.decision.content.is_some())
        && let Some(next) = Box::pin(lie::request(caller, &mut intake, struck, &mut record)).await
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
    let read = swallow(caller, intake, record).await;
    answer(caller, intake, record, Origin::Internal, &why, read).await
}

/// To the upstream and back.
async fn carry(
    caller: &mut Caller,
    intake: &mut Intake,
    record: &mut Record,
    mut struck: Option<Box<Struck>>,
) -> Next {
    let edge = caller.edge.clone();
    keep(caller, intake, record);
    // what of the body has come is checked before anybody is called
    let mut upload = Upload::new(intake.framing, intake.expect);
    upload.slow_down(struck.as_deref().and_then(|struck| Throttle::up(&edge, struck)));
    upload.frost = Frost::of(&edge, struck.as_deref());
    upload.look(record);
    if let Err(refused) = upload.begin(&mut caller.conn, &mut intake.out.0) {
        upload.known(record);
        return answer_client_error(caller, intake, record, refused).await;
    }
    let sent = if struck.is_some() { Instant::now() } else { record.exchange.began };
    record.held_before = record.exchange.waited;
    let mut up = match call(caller, intake, &mut upload).await {
        Ok(up) => up,
        Err(why) => {
            upload.known(record);
            record.exchange.bytes_up += upload.payload;
            let Some(why) = why else { return gone(caller, record, None) };
            let why = marked(why, &edge, struck.as_deref(), record);
            return answer(caller, intake, record, Origin::Upstream, &why, upload.is_read()).await;
        }
    };
    if caller.left.is_some() {
        // as in a direct connection, also when it ended while the upstream was called
        socket::finish_sending(up.stream());
    }
    let called = (struck.is_none() && edge.measures()).then(Instant::now);
    let received = receive(caller, intake, &mut upload, &mut up).await;
    record.measured = called.map(|called| (called, Instant::now()));
    upload.tell(struck.as_deref_mut(), record);
    frost::stopped(&mut upload, &mut struck, record);
    let next = match received {
        Received::Final(answer) => {
            deliver(caller, intake, record, &mut upload, up, &mut struck, answer, sent).await
        }
        Received::Switched => Box::pin(tunnel::upgraded(caller, intake, record, up, struck.take())).await,
        Received::Failed(why) => {
            let why = marked(why, &edge, struck.as_deref(), record);
            answer(caller, intake, record, Origin::Upstream, &why, upload.is_read()).await
        }
        Received::BadBody(refused) => answer_client_error(caller, intake, record, refused).await,
        Received::Gone => gone(caller, record, Some(up)),
    };
    upload.known(record);
    upload.tell(struck.as_deref_mut(), record);
    record.exchange.bytes_up += upload.payload;
    frost::stopped(&mut upload, &mut struck, record);
    next
}

/// The caller left, and there is nobody to answer. A RST is passed on as a RST.
fn gone(caller: &Caller, record: &mut Record, up: Option<Conn>) -> Next {
    record.caller_left();
    record.ended = caller.left.at();
    match (caller.left.how(), up) {
        (Some(Left::Reset), up) => {
            if let Some(up) = up {
                socket::reset(up.into_parts().0);
            }
            Next::Reset(ConnectionOutcome::Reset)
        }
        _ => Next::Close(ConnectionOutcome::Ok),
    }
}

/// Where answers are kept, this one is looked at as it passes.
fn keep(caller: &Caller, intake: &Intake, record: &mut Record) {
    let edge = &caller.edge.shared;
    if edge.store.is_none() || intake.upgrade.is_some() {
        return;
    }
    let named = edge.config.recorded.clone();
    let names = named.or_else(|| edge.slot.load().plan.keeps_answers().then(usual_callers));
    if let Some(key) = names.and_then(|names| Key::of(&intake.out.0, &names)) {
        record.tee.get_or_insert_default().keep(key);
    }
}

/// A trouble with an upstream, told from those in which no fault had a hand.
fn marked(why: Trouble, edge: &EdgeHere, struck: Option<&Struck>, record: &Record) -> Trouble {
    let mark = struck.and_then(|struck| struck.mark(record)).filter(|_| !edge.shared.config.stealth);
    why.marked(mark.as_ref())
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
    let route = intake.route.clone();
    let place = || format!("edge `{}`: upstream {}", edge.shared.config.name, route.authority);
    let (mut seen, mut interim) = (0, 0);
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
                    interim += 1;
                    if interim > INTERIM {
                        let text = format!("{} sent {INTERIM} interim answers and no other", place());
                        return Received::Failed(Trouble::new(502, "answer", text));
                    }
                    if status == 100 {
                        upload.go_on();
                    }
                    let out = std::mem::take(&mut intake.out.0);
                    let written = caller.write_all(&out).await;
                    intake.out.0 = out;
                    if written.is_err() {
                        caller.left.note(Left::Reset);
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
        let (conn, deadline, left) = (&mut caller.conn, &caller.deadline, &mut caller.left);
        let watch = left.is_none();
        let event = poll_fn(|cx| {
            if let Poll::Ready(read) = up.poll_fill(cx, limits.head) {
                return Poll::Ready(Ok(read));
            }
            if watch {
                let before = (upload.payload, upload.ready);
                let side = upload.poll(cx, conn, left, up);
                if before != (upload.payload, upload.ready) {
                    // the upstream's clock runs from the last byte of the request, or while it takes none
                    deadline.set(if upload.is_done() || upload.ready > 0 { limit } else { idle });
                }
                if let Poll::Ready(side) = side {
                    return Poll::Ready(Err(Some(side)));
                }
            }
            if upload.is_frozen() {
                deadline.set(idle);
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
            Err(None) if upload.state == UploadState::Sending && upload.ready == 0 => {
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
            Err(Some(Side::Truncated)) => {
                caller.left.note(Left::Fin);
                return Received::BadBody(Refused::Truncated);
            }
            Err(Some(Side::Left(left))) => {
                caller.left.note(left);
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
    if switching && !intake.upgrade.as_ref().is_some_and(|asked| head.switches_to(&asked.asked)) {
        return Err(Refused::BadSwitch);
    }
    let returning = match head.framing {
        Framing::Chunked if intake.version == Version::Http10 => Framing::Close,
        framing => framing,
    };
    let keep_alive = keep_alive && returning != Framing::Close;
    let how = Returning {
        client: intake.version,
        keep_alive,
        upgrade: switching,
        framing: returning,
        via: intake.via,
        extra: &[],
    };
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
