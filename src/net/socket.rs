//! What is done to connected sockets: options, and the ways to end.

use super::listen::RECEIVE_BUFFER;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Makes a fresh connection ready: no waiting for more bytes before a packet leaves.
pub fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

/// Connects. The caller limits the time.
///
/// # Errors
/// As the system says.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_tcp_nodelay(true)?;
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

/// Ends a connection with a RST: what was sent and not delivered is lost, and the other side is told so.
pub fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}

/// Stops sending: the other side reads an end of file, and may still answer.
pub fn finish_sending(stream: &TcpStream) {
    let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Write);
}

/// Whether the other side has ended the connection or broken it, even if there is more to read before that end.
#[must_use]
pub fn has_ended(stream: &TcpStream) -> bool {
    let mut ready = std::pin::pin!(stream.ready(tokio::io::Interest::READABLE));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    matches!(ready.as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// Whether what was written has left (as far as can be told), or never will: then a RST loses nothing of it.
///
/// To be asked of a connection to which nothing more is written: it shrinks the send buffer, so that the system calls the
/// socket writable once next to nothing is in it.
#[must_use]
pub fn has_sent(stream: &TcpStream) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let _ = SockRef::from(stream).set_send_buffer_size(1);
    poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) != Ok(0)
}

/// The error the socket holds, if any: after a RST, the reset.
#[must_use]
pub fn pending_error(stream: &TcpStream) -> Option<io::Error> {
    stream.take_error().ok().flatten()
}

/// Whether there is something to read, be it an end or an error.
#[must_use]
pub fn has_more(stream: &TcpStream) -> bool {
    let seen = SockRef::from(stream).peek(&mut [std::mem::MaybeUninit::uninit()]);
    !matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
