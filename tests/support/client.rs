//! A caller on a raw socket.

use super::PATIENCE;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A caller's connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// A write met a RST: reading will not tell.
    reset: bool,
}

/// How the other side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// An answer that was whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The heads that came before it.
    pub(crate) interim: Vec<String>,
}

impl Answer {
    /// All values of a field.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let field = |line: &'_ str| -> Option<(usize, usize)> {
            let colon = line.find(':')?;
            line[..colon].eq_ignore_ascii_case(name).then_some((colon + 1, line.len()))
        };
        self.head.lines().filter_map(|line| field(line).map(|(from, to)| line[from..to].trim())).collect()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(at: SocketAddr) -> Self {
        Self::of(TcpStream::connect(at).unwrap())
    }

    /// A caller that takes next to nothing unless it reads.
    pub(crate) fn with_small_buffers(at: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&at.into()).unwrap();
        Self::of(socket.into())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new(), reset: false }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes; that the other side takes no more is not an error.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes);
        self
    }

    /// Sends bytes; whether all were taken.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match self.stream.write_all(bytes.as_ref()) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.reset |= error.kind() == ErrorKind::ConnectionReset;
                false
            }
            Err(error) => panic!("cannot send: {error}"),
        }
    }

    pub(crate) fn half_close(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// Ends with a RST when it is dropped.
    pub(crate) fn reset_now(&mut self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads more; the end, if it is that.
    #[track_caller]
    fn more(&mut self) -> Option<End> {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => Some(if self.reset { End::Reset } else { End::Fin }),
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                None
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(End::Reset),
            Err(error) => panic!("nothing came: {error}; so far {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// Everything up to and with these bytes.
    #[track_caller]
    pub(crate) fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, (Vec<u8>, End)> {
        let mut from = 0;
        loop {
            if let Some(place) = self.buffer[from..].windows(end.len()).position(|bytes| bytes == end) {
                return Ok(self.buffer.drain(..from + place + end.len()).collect());
            }
            from = self.buffer.len().saturating_sub(end.len() - 1);
            if let Some(end) = self.more() {
                return Err((std::mem::take(&mut self.buffer), end));
            }
        }
    }

    /// So many bytes.
    #[track_caller]
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, (Vec<u8>, End)> {
        while self.buffer.len() < count {
            if let Some(end) = self.more() {
                return Err((std::mem::take(&mut self.buffer), end));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Everything to the end, and how it ended.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.more() {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// Nothing comes for a while.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.buffer), "", "left over");
        self.stream.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
        match self.stream.read(&mut [0; 1]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => panic!("heard something: {other:?}"),
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// A whole answer to anything but HEAD.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(false).unwrap_or_else(|(got, end)| {
            panic!("no whole answer, but {:?} and {end:?}", String::from_utf8_lossy(&got))
        })
    }

    #[track_caller]
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        self.try_answer(true).unwrap()
    }

    /// An answer; `Err` if it was not whole, with what of its head or body had come.
    #[track_caller]
    pub(crate) fn try_answer(&mut self, to_head: bool) -> Result<Answer, (Vec<u8>, End)> {
        let mut answer = Answer::default();
        loop {
            answer.head = String::from_utf8_lossy(&self.until(b"\r\n\r\n")?).into_owned();
            assert!(answer.head.starts_with("HTTP/1.1 "), "{}", answer.head);
            answer.status = answer.head[9..12].parse().unwrap();
            if answer.status >= 200 || answer.status == 101 {
                break;
            }
            answer.interim.push(std::mem::take(&mut answer.head));
        }
        let chunks = answer.field("transfer-encoding") == Some("chunked");
        if to_head || matches!(answer.status, 101 | 204 | 304) {
            return Ok(answer);
        }
        if let Some(length) = answer.field("content-length") {
            assert!(!chunks, "{}", answer.head);
            answer.body = self.take(length.parse().unwrap())?;
        } else if chunks {
            answer.body = self.chunks()?;
        } else {
            assert_eq!(answer.field("connection"), Some("close"), "a body without an end: {}", answer.head);
            match self.rest() {
                (body, End::Fin) => answer.body = body,
                (body, end) => return Err((body, end)),
            }
        }
        Ok(answer)
    }

    /// A body in chunks, without trailers.
    fn chunks(&mut self) -> Result<Vec<u8>, (Vec<u8>, End)> {
        let mut body = Vec::new();
        let broken = |body: &mut Vec<u8>, (rest, end): (Vec<u8>, End)| {
            body.extend_from_slice(&rest);
            (std::mem::take(body), end)
        };
        loop {
            let line = self.until(b"\r\n").map_err(|end| broken(&mut body, end))?;
            let size = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
            let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
            if size == 0 {
                // trailers, and the empty line
                while self.until(b"\r\n").map_err(|end| broken(&mut body, end))? != b"\r\n" {}
                return Ok(body);
            }
            let data = self.take(size + 2).map_err(|end| broken(&mut body, end))?;
            body.extend_from_slice(&data[..size]);
        }
    }
}
