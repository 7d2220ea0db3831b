//! Answers in the upstream's place: written, recorded, and what becomes of the connection after them.

use super::deliver::has_gone;
use super::exchange::Record;
use super::h1::{Caller, Intake, Next};
use super::reply::{self, Leaving, Trouble};
use super::retry_after;
use crate::http1::connection::SMALL;
use crate::http1::{Body, Refused};
use crate::telemetry::{ConnectionOutcome, Ending, Origin};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

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
pub(super) async fn answer_client_error(
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
    } else {
        gone_by_now(caller, record).await;
    }
    Next::Close(ConnectionOutcome::Error)
}

/// Whether a caller that sends nothing more was still there for its answer: if not, it left when it ended its sending.
async fn gone_by_now(caller: &mut Caller, record: &mut Record) {
    if caller.left.is_some() && has_gone(caller).await {
        record.caller_left();
        record.ended = caller.left.at();
    }
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
    record.exchange.retry_after = retry_after::read(status, &out);
    record.exchange.ending = Ending::Complete;
    let written = caller.write_all(&out).await;
    record.ended = Some(Instant::now());
    match written {
        Ok(()) if keep_alive => Next::Again,
        Ok(()) => {
            gone_by_now(caller, record).await;
            Next::Close(ConnectionOutcome::Ok)
        }
        Err(_) => {
            record.caller_left();
            Next::Reset(ConnectionOutcome::Reset)
        }
    }
}

/// Reads the body of a request of which nothing was read yet and that nobody gets, if it is short and comes soon.
pub(super) async fn swallow(caller: &mut Caller, intake: &Intake, record: &mut Record) -> bool {
    let mut body = Body::new(intake.framing);
    if intake.expect && !body.is_done() {
        return false;
    }
    for _ in 0..4 {
        match body.scan(caller.conn.bytes()) {
            Ok(scan) => {
                if let Some(print) = &mut record.print {
                    print.pass(&caller.conn.bytes()[..scan.consumed]);
                }
                caller.conn.consume(scan.consumed);
            }
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
