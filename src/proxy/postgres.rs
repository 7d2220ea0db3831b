//! What PostgreSQL says to a client that it does not let in, as drivers understand it.
//!
//! Invariants: nothing is said before the client has said what it wants; it is read within a bound and a time. Knows nothing
//! of faults.

use super::h1;
use crate::http1::connection::Conn;
use crate::net::timer::Deadline;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// A startup packet is no longer; PostgreSQL's own bound.
const LONGEST: usize = 10_000;
/// Requests that come before the startup packet: encryption of two kinds, and to cancel a query.
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;
/// A client asks once for each kind of encryption.
const ASKS: usize = 2;

/// What the first packet of a client is.
#[derive(Debug, PartialEq, Eq)]
enum First {
    /// Not all of it is there.
    More,
    /// It asks for encryption; so long.
    Encrypt(usize),
    /// It wants in; so long.
    Startup(usize),
    /// It wants nothing that is answered, or speaks something else.
    Other,
}

fn first(bytes: &[u8]) -> First {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let Some(length) = number(0).map(|length| length as usize) else { return First::More };
    if !(8..=LONGEST).contains(&length) {
        return First::Other;
    }
    match number(4) {
        None => First::More,
        Some(SSL | GSS) if length == 8 => First::Encrypt(length),
        Some(CANCEL) => First::Other,
        // version 3 of the protocol, the only one since 2003
        Some(version) if version >> 16 == 3 => match bytes.len() >= length {
            true => First::Startup(length),
            false => First::More,
        },
        Some(_) => First::Other,
    }
}

/// Waits for the client to say who it is, tells it why it is not let in, and closes.
pub(super) async fn turn_away(conn: &mut Conn, code: [u8; 5], from: &str, limit: Duration) {
    let deadline = Deadline::new();
    let mut asked = 0;
    deadline.set(limit);
    loop {
        match first(conn.bytes()) {
            First::More => {
                let more = poll_fn(|cx| match conn.poll_fill(cx, LONGEST) {
                    Poll::Ready(read) => Poll::Ready(read.unwrap_or(0)),
                    Poll::Pending => deadline.poll(cx).map(|()| 0),
                });
                if more.await == 0 {
                    break;
                }
            }
            First::Encrypt(length) if asked < ASKS => {
                asked += 1;
                conn.consume(length);
                if h1::write_all(conn, &deadline, limit, b"N").await.is_err() {
                    break;
                }
            }
            First::Startup(length) => {
                conn.consume(length);
                let _ = h1::write_all(conn, &deadline, limit, &error(code, from)).await;
                break;
            }
            First::Encrypt(_) | First::Other => break,
        }
    }
    h1::close(conn, &deadline).await;
}

/// An ErrorResponse. `from` stands where the server would name the routine: drivers show it to who asks for every detail.
fn error(code: [u8; 5], from: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut field = |kind: u8, text: &[u8]| {
        fields.push(kind);
        fields.extend(text.iter().filter(|byte| **byte != 0));
        fields.push(0);
    };
    field(b'S', b"FATAL");
    field(b'V', b"FATAL");
    field(b'C', &code);
    field(b'M', message(&code).as_bytes());
    if !from.is_empty() {
        field(b'F', b"brownout");
        field(b'R', from.as_bytes());
    }
    fields.push(0);
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), &fields].concat()
}

/// As PostgreSQL words it.
fn message(code: &[u8; 5]) -> &'static str {
    match code {
        b"53300" => "sorry, too many clients already",
        b"53100" => "could not write to file: No space left on device",
        b"53200" => "out of memory",
        b"53400" => "configuration limit exceeded",
        b"57P01" => "terminating connection due to administrator command",
        b"57P02" => "terminating connection because of crash of another server process",
        b"57P03" => "the database system is starting up",
        b"28000" => "no pg_hba.conf entry for this host",
        b"28P01" => "password authentication failed",
        b"3D000" => "database does not exist",
        b"42501" => "permission denied for database",
        b"XX000" => "internal error",
        b"XX001" => "data corrupted",
        _ => "connection rejected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
        let length = u32::try_from(rest.len() + 8).unwrap();
        [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
    }

    #[test]
    fn first_packets_are_told_apart_at_every_cut() {
        let startup = packet(3 << 16, b"user\0me\0\0");
        for (bytes, expected) in [
            (packet(SSL, b""), First::Encrypt(8)),
            (packet(GSS, b""), First::Encrypt(8)),
            (startup.clone(), First::Startup(17)),
            (packet((3 << 16) + 2, b"user\0me\0\0"), First::Startup(17)),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(first(&bytes[..cut]), First::More, "{cut} of {bytes:?}");
            }
            assert_eq!(first(&bytes), expected);
        }
        assert_eq!(first(&packet(CANCEL, b"12345678")), First::Other);
        assert_eq!(first(&packet(2 << 16, b"old")), First::Other);
        assert_eq!(first(b"GET / HTTP/1.1\r\n"), First::Other);
        assert_eq!(first(&[0, 0, 0, 7, 0, 3, 0, 0]), First::Other);
        assert_eq!(first(&[0xff; 16]), First::Other);
    }

    #[test]
    fn an_error_is_framed_and_says_where_it_is_from() {
        let bytes = error(*b"53300", "no\0room");
        assert_eq!(bytes[0], b'E');
        assert_eq!(u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize, bytes.len() - 1);
        let text = String::from_utf8(bytes[5..].to_vec()).unwrap();
        assert_eq!(text, "SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0Fbrownout\0Rnoroom\0\0");
        assert!(!String::from_utf8(error(*b"ZZZZZ", "")).unwrap().contains("brownout"));
    }
}
