//! One side of a connection: a socket and what was read from it and not used yet.
//!
//! A connection that waits holds no buffer: buffers belong to the thread and are lent for as long as bytes are in them.
//! Knows nothing of messages.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// The size of a lent buffer; a stream that fills it gets [`LARGE`].
pub const SMALL: usize = 16 * 1024;
/// The most a buffer grows to while a body streams.
pub const LARGE: usize = 128 * 1024;
/// Buffers a thread keeps.
const KEPT: usize = 256;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A lent buffer; goes back to the thread when it is dropped, unless it is not of the usual size any more.
#[derive(Debug, Default)]
pub struct Lent(pub Vec<u8>);

impl Lent {
    /// Borrows a buffer from the thread.
    #[must_use]
    pub fn new() -> Self {
        Self(BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(SMALL)))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.0.capacity() != SMALL {
            return;
        }
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        let _ = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < KEPT {
                buffers.push(buffer);
            }
        });
    }
}

/// A socket and its unread bytes.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
    lent: Lent,
    start: usize,
}

impl Conn {
    /// A connection from which nothing was read.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, lent: Lent::default(), start: 0 }
    }

    /// What was read and not consumed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.lent.0[self.start..]
    }

    /// So many bytes are done with.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.lent.0.len());
        if self.start == self.lent.0.len() {
            self.start = 0;
            self.lent.0.clear();
        }
    }

    /// Other bytes stand in place of the first so many.
    pub fn replace(&mut self, count: usize, with: &[u8]) {
        let rest = self.bytes().get(count..).unwrap_or_default();
        let all = [with, rest].concat();
        (self.start, self.lent) = (0, Lent(all));
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The socket, and what was read from it.
    #[must_use]
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        let rest = self.bytes().to_vec();
        (self.stream, rest)
    }

    /// Reads more into a buffer of at most `room` bytes; 0 is the end of the stream.
    ///
    /// A connection without a byte waiting takes no buffer.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        let full = self.lent.0.len() == self.lent.0.capacity();
        if full || self.lent.0.is_empty() {
            match self.stream.poll_read_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    if self.lent.0.is_empty() && self.lent.0.capacity() == SMALL {
                        self.lent = Lent::default();
                    }
                    return Poll::Pending;
                }
            }
            if self.lent.0.capacity() == 0 {
                self.lent = Lent::new();
            } else if full {
                self.make_room(room);
            }
        }
        let read = ready!(tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.lent.0))?;
        if read == self.lent.0.capacity() && read < room {
            // the sender is faster than the buffer: 16, 32, 64, 128 KiB
            self.lent.0.reserve_exact((read * 2).min(room) - read);
        }
        Poll::Ready(Ok(read))
    }

    fn make_room(&mut self, room: usize) {
        if self.start > 0 {
            self.lent.0.drain(..self.start);
            self.start = 0;
        } else {
            let capacity = self.lent.0.capacity();
            self.lent
                .0
                .reserve_exact((capacity * 2).clamp(SMALL, room.max(SMALL)) - capacity.min(room.max(SMALL)));
        }
    }

    /// Writes some of these bytes.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            Ok(0) if !bytes.is_empty() => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(written),
        }
    }

    /// Keeps only what is there, in as little memory as it takes: for a connection that will wait.
    pub fn shrink(&mut self) {
        if self.lent.0.capacity() == 0 {
            return;
        }
        let rest = self.bytes().to_vec();
        self.start = 0;
        self.lent = Lent(rest);
    }
}
