//! The HTTP/1.1 client of the load: keep-alive connections to one address.
//!
//! A request is sent once. It goes out again on a new connection only if not a byte of it was written, because an idle
//! connection had been closed.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long a connection that was given up is read on, so that its close is no reset.
const LINGER: Duration = Duration::from_secs(1);
/// Idle connections that are kept.
const IDLE: usize = 1024;

type Body = Full<Bytes>;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GaveUp {
    /// It took too long.
    TimedOut,
    /// The load is over.
    Stopped,
    /// No connection, or it broke.
    Broken,
}

/// Connections to one address.
#[derive(Debug)]
pub(super) struct Client {
    target: SocketAddr,
    authority: String,
    idle: RefCell<Vec<Line>>,
}

/// One connection.
#[derive(Debug)]
struct Line {
    sender: SendRequest<Body>,
    /// Says that the caller leaves: a FIN, whatever is going on.
    leave: CancellationToken,
}

impl Client {
    pub(super) fn new(target: SocketAddr) -> Self {
        Self { target, authority: target.to_string(), idle: RefCell::default() }
    }

    /// `host:port`.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends a request and reads its answer to the end, unless `wait` ends before.
    pub(super) async fn send(
        &self,
        request: http::Request<Body>,
        wait: impl Future<Output = GaveUp>,
    ) -> Result<(), GaveUp> {
        let mut leave = None;
        let answered = tokio::select! {
            biased;
            done = self.exchange(request, &mut leave) => Some(done),
            why = wait => return Err(self.give_up(leave, why)),
        };
        match answered {
            Some(Ok(line)) => {
                self.keep(line);
                Ok(())
            }
            _ => Err(GaveUp::Broken),
        }
    }

    fn give_up(&self, leave: Option<CancellationToken>, why: GaveUp) -> GaveUp {
        if let Some(leave) = leave {
            leave.cancel();
        }
        why
    }

    fn keep(&self, line: Line) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE && !line.sender.is_closed() {
            idle.push(line);
        }
    }

    fn take(&self) -> Option<Line> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(|line| line.sender.is_ready())
    }

    async fn exchange(
        &self,
        mut request: http::Request<Body>,
        leave: &mut Option<CancellationToken>,
    ) -> Result<Line, GaveUp> {
        loop {
            let (mut line, pooled) = match self.take() {
                Some(line) => (line, true),
                None => (self.connect().await.map_err(|_| GaveUp::Broken)?, false),
            };
            *leave = Some(line.leave.clone());
            match line.sender.try_send_request(request).await {
                Ok(answer) => {
                    let mut body = answer.into_body();
                    while let Some(frame) = body.frame().await {
                        frame.map_err(|_| GaveUp::Broken)?;
                    }
                    let ready = line.sender.ready().await;
                    if ready.is_err() {
                        line.leave.cancel();
                    }
                    return Ok(line);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if pooled => request = unsent,
                    _ => return Err(GaveUp::Broken),
                },
            }
        }
    }

    async fn connect(&self) -> Result<Line, Box<dyn std::error::Error>> {
        let stream = TcpStream::connect(self.target).await?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake::<_, Body>(TokioIo::new(stream)).await?;
        let leave = CancellationToken::new();
        tokio::task::spawn_local(carry(connection, leave.clone()));
        Ok(Line { sender, leave })
    }
}

/// Drives a connection until it ends or its caller leaves.
async fn carry(mut connection: Connection<TokioIo<TcpStream>, Body>, leave: CancellationToken) {
    tokio::select! {
        // First, because a connection whose request was dropped would otherwise close by itself, by a reset if bytes wait.
        biased;
        () = leave.cancelled() => {}
        _ = &mut connection => return,
    }
    let mut stream = connection.into_parts().io.into_inner();
    let _ = stream.shutdown().await;
    let mut rest = vec![0; 16 << 10];
    let read_on = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, read_on).await;
}
