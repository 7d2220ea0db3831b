//! How an answer that a fault ends otherwise is framed for its caller.
//!
//! Invariant: whatever the fault does, the head and the body fit each other as far as the fault does not say otherwise. Pure:
//! knows heads that our codec has written, and nothing of sockets.

use super::exchange::Lease;
use super::forward::Answer;
use crate::decision::{Dice, End, Length};
use crate::http1::{Body, Framing, Version};

/// How much longer than what comes a wrong length is.
pub(super) const EXCESS: u64 = 1024;
/// How many bytes come in place of an answer.
const GARBAGE: usize = 64;

/// What becomes of the end of an answer.
#[derive(Debug)]
pub(super) enum Course {
    /// It ends as it does.
    Plain,
    /// It ends after so many bytes; `told`: its head knows.
    Stop { by: Lease, at: u64, clean: bool, told: bool },
    /// It does not end.
    Endless { by: Lease, rate: f64 },
    /// In its middle comes what is no chunk; the middle is unknown where no length is announced.
    Malformed { by: Lease, at: Option<u64> },
    /// It ends before the length that its head announces.
    Short { by: Lease },
    /// Something else comes in its place.
    Garbage { by: Lease, bytes: Vec<u8> },
}

impl Course {
    /// What this end means for this answer, whose frame for the caller is changed accordingly.
    pub(super) fn choose(by: Lease, end: End, answer: &mut Answer, version: Version) -> Self {
        let has_body = answer.framing != Framing::None;
        let length = match answer.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        let chunks = match version {
            Version::Http11 => Framing::Chunked,
            Version::Http10 => Framing::Close,
        };
        match (end, length) {
            (End::Garbage(dice), _) => Self::Garbage { by, bytes: garbage(dice) },
            (End::Truncate(after, clean), length) if has_body => {
                let at = match (after, length) {
                    (Length::Bytes(bytes), _) => bytes,
                    (Length::Fraction(share), Some(length)) => (length as f64 * share) as u64,
                    (Length::Fraction(_), None) => return Self::Plain,
                };
                if length.is_some_and(|length| at >= length) {
                    return Self::Plain;
                }
                let told = length.is_some();
                if told && clean {
                    answer.returning = Framing::Length(at);
                }
                Self::Stop { by, at, clean, told }
            }
            (End::Endless(rate), _) if has_body => {
                answer.returning = chunks;
                answer.keep_alive &= chunks != Framing::Close;
                Self::Endless { by, rate }
            }
            (End::MalformedChunk, length)
                if chunks == Framing::Chunked && !Body::new(answer.framing).is_done() =>
            {
                answer.returning = chunks;
                Self::Malformed { by, at: length.map(|length| length.div_ceil(2)) }
            }
            (End::WrongLength, Some(length)) => {
                answer.returning = Framing::Length(length.saturating_add(EXCESS));
                Self::Short { by }
            }
            _ => Self::Plain,
        }
    }
}

/// Bytes that nobody takes for HTTP.
fn garbage(mut dice: Dice) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..GARBAGE).map(|_| (dice.bits() >> 56) as u8).collect();
    bytes[0] |= 0x80;
    bytes
}

/// Bytes that nobody takes for what the upstream would have sent.
pub(super) fn noise(dice: &Dice) -> Vec<u8> {
    garbage(dice.clone())
}

/// Writes other framing into a head that has one.
pub(super) fn reframe(head: &mut Vec<u8>, framing: Framing, keep_alive: bool) {
    let is = |line: &[u8], name: &[u8]| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    let mut out = Vec::with_capacity(head.len() + 32);
    let end = head.len().saturating_sub(2);
    for line in head[..end].split_inclusive(|byte| *byte == b'\n') {
        let framed = is(line, b"content-length:") || is(line, b"transfer-encoding:");
        if !framed && (keep_alive || !is(line, b"connection:")) {
            out.extend_from_slice(line);
        }
    }
    match framing {
        Framing::Length(length) => out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes()),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::Close => {}
    }
    if !keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    *head = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gets_another_frame_and_keeps_the_rest() {
        let head =
            b"HTTP/1.1 200 OK\r\nX: content-length: 1\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n";
        let with = |framing, keep_alive| {
            let mut head = head.to_vec();
            reframe(&mut head, framing, keep_alive);
            String::from_utf8(head).unwrap()
        };
        let start = "HTTP/1.1 200 OK\r\nX: content-length: 1\r\n";
        assert_eq!(
            with(Framing::Length(3), true),
            format!("{start}Connection: keep-alive\r\nContent-Length: 3\r\n\r\n")
        );
        assert_eq!(
            with(Framing::Chunked, false),
            format!("{start}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        );
        assert_eq!(with(Framing::Close, false), format!("{start}Connection: close\r\n\r\n"));
    }
}
