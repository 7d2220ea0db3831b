//! Idle connections to the upstreams of one edge, kept by one worker.
//!
//! Only a connection whose request was sent whole, whose answer ended and from which no byte is left over comes here. At
//! checkout whatever is not idle is discarded, never waited for.

use crate::http1::connection::Conn;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::net::TcpStream;

/// Idle connections kept for each upstream.
const KEPT: usize = 256;
/// How long one may idle.
const IDLE: Duration = Duration::from_secs(60);
/// How often [`Pool::tick`] is called.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// The idle connections to one upstream, and since which tick each idles.
type Idle = RefCell<Vec<(TcpStream, u32)>>;

/// The pool.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Box<[Idle]>,
    now: Cell<u32>,
}

impl Pool {
    pub(super) fn new(upstreams: usize) -> Self {
        Self { idle: (0..upstreams).map(|_| RefCell::default()).collect(), now: Cell::new(0) }
    }

    /// The connection that was used last, if one is alive.
    pub(super) fn take(&self, upstream: usize) -> Option<Conn> {
        let mut idle = self.idle.get(upstream)?.borrow_mut();
        while let Some((stream, _)) = idle.pop() {
            if is_idle(&stream) {
                return Some(Conn::new(stream));
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, upstream: usize, conn: Conn) {
        let Some(idle) = self.idle.get(upstream) else { return };
        let mut idle = idle.borrow_mut();
        if conn.bytes().is_empty() && idle.len() < KEPT {
            idle.push((conn.into_parts().0, self.now.get()));
        }
    }

    /// Lets go of those that idle for too long or were closed by the upstream.
    pub(super) fn tick(&self) {
        self.now.set(self.now.get() + 1);
        let oldest = self.now.get().saturating_sub((IDLE.as_secs() / TICK.as_secs()) as u32);
        for idle in &self.idle {
            idle.borrow_mut().retain(|(stream, since)| *since >= oldest && is_idle(stream));
        }
    }
}

/// Neither closed nor with a byte that nobody asked for. Costs no system call unless something happened: without readiness
/// `try_read` does not ask the system.
fn is_idle(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
