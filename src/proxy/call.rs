//! Calling the upstream: a connection, and the head on its way; and the caller who waits meanwhile.
//!
//! Invariants: nothing of a request is ever written twice; a caller that leaves is seen at that moment.

use super::h1::{Caller, Intake, Left, PIPELINED};
use super::reply::Trouble;
use super::upload::Upload;
use crate::http1::connection::Conn;
use crate::net::{socket, timer, timer::Deadline};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

/// Watches a caller from whom nothing is wanted for now.
#[derive(Debug, Default)]
pub(super) struct Watch {
    tick: Option<Deadline>,
}

impl Watch {
    /// How it left. What it sends meanwhile stays in its buffer, up to a bound.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, conn: &mut Conn) -> Poll<Left> {
        while conn.bytes().len() < PIPELINED {
            match conn.poll_fill(cx, PIPELINED) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Left::Fin),
                Poll::Ready(Err(_)) => return Poll::Ready(Left::Reset),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        // it is read no further: now and then it is looked whether the caller is still there
        if socket::has_ended(conn.stream()) {
            let error = socket::pending_error(conn.stream());
            return Poll::Ready(if error.is_some() { Left::Reset } else { Left::Fin });
        }
        let tick = self.tick.get_or_insert_with(Deadline::new);
        tick.set(timer::TICK);
        let _ = tick.poll(cx);
        Poll::Pending
    }
}

/// Finds a connection and sends the head, with as much of the body as has come. `Err` without a trouble: the caller left, and
/// there is nobody to answer.
pub(super) async fn call(
    caller: &mut Caller,
    intake: &mut Intake,
    upload: &mut Upload,
) -> Result<Conn, Option<Trouble>> {
    let edge = caller.edge.clone();
    let limit = edge.shared.config.timeout.idle;
    let mut pooled = intake.route.take();
    loop {
        let reused = pooled.is_some();
        let mut up = match pooled.take() {
            Some(up) => up,
            None => Box::pin(connect(caller, intake, upload)).await?,
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
            Some(_) if reused && written == 0 => pooled = intake.route.take(),
            // not final: the upstream may have answered before it closed
            Some(_) => {
                upload.break_off();
                return Ok(up);
            }
        }
    }
}

/// Connects, while the caller is watched.
async fn connect(caller: &mut Caller, intake: &Intake, upload: &Upload) -> Result<Conn, Option<Trouble>> {
    let edge = caller.edge.clone();
    let (conn, left) = (&mut caller.conn, &mut caller.left);
    let mut connecting = pin!(intake.route.connect(&edge.shared.config, &caller.deadline));
    let mut watch = Some(Watch::default()).filter(|_| left.is_none());
    let connected = poll_fn(|cx| {
        if let Poll::Ready(done) = connecting.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if let Some(watching) = &mut watch
            && let Poll::Ready(how) = watching.poll(cx, conn)
        {
            watch = None;
            match how {
                Left::Reset => {
                    left.note(Left::Reset);
                    return Poll::Ready(None);
                }
                // what came before the end is not done with yet: the rest of a body, or further requests
                Left::Fin if !upload.is_done() => left.suspect(),
                Left::Fin if conn.bytes().is_empty() => left.note(Left::Fin),
                Left::Fin => {}
            }
        }
        Poll::Pending
    })
    .await;
    match connected {
        None => Err(None),
        Some(connected) => connected.map_err(Some),
    }
}
