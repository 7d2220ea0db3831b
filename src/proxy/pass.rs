//! Both sides of an answer that is passed on piece by piece: waiting for more of it, and writing a piece.
//!
//! Invariant: the rest of the caller's body goes on meanwhile, and a caller that leaves is seen. Knows nothing of faults.

use super::deliver::Delivered;
use super::h1::{Away, Caller, Left};
use super::upload::{Side, Upload};
use crate::http1::Body;
use crate::http1::connection::Conn;
use crate::net::{socket, timer};
use std::future::{Future, pending, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::task::Poll;
use tokio::time::Instant;

/// Waits for more of a body, while the rest of the caller's is sent: until some has come (`None`), or the time of a cut has.
pub(super) async fn more(
    caller: &mut Caller,
    upload: &mut Upload,
    up: &mut Conn,
    body: &Body,
    cut_at: Option<Instant>,
    room: usize,
) -> Option<Delivered> {
    let times = caller.edge.shared.config.timeout;
    caller.deadline.set(times.idle.max(times.upstream));
    let mut cut_now = pin!(async {
        match cut_at {
            Some(at) => timer::sleep_until(at).await,
            None => pending().await,
        }
    });
    let (conn, deadline, left) = (&mut caller.conn, &caller.deadline, &mut caller.left);
    poll_fn(|cx| {
        if cut_now.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(read) = up.poll_fill(cx, room) {
            return Poll::Ready(match read {
                Ok(0) if body.eof().is_ok() => Some(Delivered::Whole),
                Ok(0) | Err(_) => Some(Delivered::Truncated),
                Ok(_) => None,
            });
        }
        let before = (upload.payload, upload.ready);
        let side = if left.is_none() { upload.poll(cx, conn, left, up) } else { Poll::Pending };
        if before != (upload.payload, upload.ready) {
            deadline.set(times.idle.max(times.upstream));
        }
        if let Poll::Ready(side) = side {
            return Poll::Ready(other_side(side, left, up));
        }
        deadline.poll(cx).map(|()| Some(Delivered::Silent))
    })
    .await
}

/// What the caller's side does while it is answered; `None`: it is answered on.
pub(super) fn other_side(side: Side, left: &mut Away, up: &Conn) -> Option<Delivered> {
    match side {
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
    }
}

/// Writes a piece of these bytes (`None`: of those in the upstream's buffer) while the rest of the caller's body is sent.
pub(super) async fn write_while(
    caller: &mut Caller,
    upload: &mut Upload,
    up: &mut Conn,
    bytes: Option<&[u8]>,
    mut piece: Range<usize>,
) -> io::Result<()> {
    let limit = caller.edge.shared.config.timeout.idle;
    while !piece.is_empty() {
        caller.deadline.set(limit);
        let (conn, deadline, left) = (&mut caller.conn, &caller.deadline, &mut caller.left);
        piece.start += poll_fn(|cx| {
            if let Poll::Ready(wrote) = conn.poll_write(cx, &bytes.unwrap_or(up.bytes())[piece.clone()]) {
                return Poll::Ready(wrote);
            }
            if left.is_none()
                && let Poll::Ready(side) = upload.poll(cx, conn, left, up)
            {
                match side {
                    Side::Left(Left::Fin) => {
                        left.note(Left::Fin);
                        socket::finish_sending(up.stream());
                    }
                    Side::Left(Left::Reset) => {
                        left.note(Left::Reset);
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                    Side::Truncated | Side::Bad(_) => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                }
            }
            deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await?;
    }
    Ok(())
}
