//! Follows the framing of a body that passes by.
//!
//! Invariants: never copies, never allocates; a machine over single bytes outside of data, so that how
//! the bytes were cut on their way makes no difference; what was consumed is sound up to its last byte;
//! overhead (extensions, trailers) is bounded. Must not know: where the bytes come from or go to.

use std::ops::Range;

use super::Refused;
use super::framing::{Framing, MAX_LENGTH};
use super::head::MAX_FIELDS;
use super::names::{LONGEST_FORBIDDEN, is_forbidden_trailer, is_token_byte, is_value_byte, trim};

/// The longest extension of one chunk, from its `;` on.
pub const MAX_CHUNK_EXTENSION: u16 = 256;

/// The most bytes of trailers.
pub const MAX_TRAILERS: u32 = 16 * 1024;

/// Bytes of chunk lines beyond twice the data they stand for, over the whole body. Without it tiny chunks
/// with long extensions cost the reader a hundred times what they carry.
const MAX_EXCESS: i64 = 16 * 1024;

/// What of the next bytes belongs to the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// So many bytes belong to this message and are sound; they may be passed on as they are.
    pub consumed: usize,
    /// Which of them are payload; at most one stretch a step.
    pub data: Range<usize>,
    /// Which of them are trailers, the empty line at their end included; see [`trailer_fields`].
    pub trailers: Range<usize>,
    /// The message ends here.
    pub done: bool,
}

/// The steps over a whole buffer, summed up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scan {
    /// So many bytes belong to this message: all of them, unless it ends before.
    pub consumed: usize,
    /// So many of them are payload.
    pub payload: u64,
    /// The message ends here.
    pub done: bool,
}

/// Where in the body the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Done,
    Length,
    Close,
    /// In the digits of a chunk size.
    Size,
    /// After the `;` of an extension, but for spaces: something must come.
    ExtensionStart,
    Extension,
    /// After the CR of a chunk line.
    SizeLf,
    Data,
    /// After the data of a chunk.
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// After the CR of the empty line.
    EndLf,
}

impl At {
    fn is_in_trailers(self) -> bool {
        matches!(self, Self::Trailer | Self::TrailerName | Self::TrailerValue | Self::TrailerLf | Self::EndLf)
    }
}

/// The fields in a section of trailers that went by as [`Step::trailers`], put together again.
pub fn trailer_fields(section: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    section.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?;
        Some((name, trim(line[colon + 1..].strip_suffix(b"\r")?)))
    })
}

/// Follows the framing of a body that passes by; never copies, never allocates.
#[derive(Clone, Debug)]
pub struct Body {
    at: At,
    /// Payload bytes left, of the body or of the chunk; in `Size` the number so far.
    left: u64,
    excess: i64,
    /// Bytes of trailers.
    trailers: u32,
    /// Bytes of this extension.
    extension: u16,
    /// Digits of this size.
    digits: u8,
    fields: u8,
    name_len: u8,
    /// The start of a trailer name, in lower case.
    name: [u8; LONGEST_FORBIDDEN],
    sound: usize,
}

impl Body {
    /// Stands before the first byte of a body.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let (at, left) = match framing {
            Framing::None | Framing::Length(0) => (At::Done, 0),
            Framing::Length(length) => (At::Length, length),
            Framing::Chunked => (At::Size, 0),
            Framing::Close => (At::Close, 0),
        };
        Self {
            at,
            left,
            excess: 0,
            trailers: 0,
            extension: 0,
            digits: 0,
            fields: 0,
            name_len: 0,
            name: [0; LONGEST_FORBIDDEN],
            sound: 0,
        }
    }

    /// Looks at the next bytes; see [`Step`]. To be called again with the rest until nothing is consumed
    /// or the message is done.
    ///
    /// # Errors
    ///
    /// When the first of the bytes is wrong. Bytes before a wrong one are a step of their own.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Step, Refused> {
        let mut consumed = 0;
        let mut data = 0..0;
        let mut trailers = None;
        while let Some(&byte) = bytes.get(consumed) {
            match self.at {
                At::Done => break,
                At::Close => {
                    data = consumed..bytes.len();
                    consumed = bytes.len();
                    break;
                }
                At::Length | At::Data => {
                    let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - consumed);
                    data = consumed..consumed + length;
                    consumed += length;
                    self.left -= length as u64;
                    if self.left == 0 {
                        self.at = if self.at == At::Data { At::DataCr } else { At::Done };
                    }
                    break;
                }
                at => match self.framing_byte(byte) {
                    Ok(()) => {
                        if at.is_in_trailers() {
                            trailers = trailers.or(Some(consumed));
                        }
                        consumed += 1;
                    }
                    Err(refused) if consumed == 0 => return Err(refused),
                    Err(_) => break, // comes again as the first byte of the next step
                },
            }
        }
        if data.is_empty() {
            data = consumed..consumed;
        }
        let trailers = trailers.unwrap_or(consumed)..consumed;
        Ok(Step { consumed, data, trailers, done: self.at == At::Done })
    }

    /// For bytes that are passed through: how many of them belong to the message, how many of those are
    /// payload, and whether it ends.
    ///
    /// # Errors
    ///
    /// When one of the bytes is wrong; [`Body::sound`] tells how many before it are not.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scan, Refused> {
        let mut scan = Scan { consumed: 0, payload: 0, done: self.is_done() };
        while !scan.done && scan.consumed < bytes.len() {
            self.sound = scan.consumed;
            let step = self.next(&bytes[scan.consumed..])?;
            scan.consumed += step.consumed;
            scan.payload += step.data.len() as u64;
            scan.done = step.done;
        }
        self.sound = scan.consumed;
        Ok(scan)
    }

    /// How many bytes of the last [`Body::scan`] were sound: after an error, those that may still be
    /// passed on before the connection is cut.
    #[must_use]
    pub fn sound(&self) -> usize {
        self.sound
    }

    /// The connection ended.
    ///
    /// # Errors
    ///
    /// [`Refused::Truncated`] when the message may not end here.
    pub fn eof(&self) -> Result<(), Refused> {
        if matches!(self.at, At::Done | At::Close) { Ok(()) } else { Err(Refused::Truncated) }
    }

    /// Whether the message has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// How many payload bytes are left, where that is known.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match self.at {
            At::Done => Some(0),
            At::Length => Some(self.left),
            _ => None,
        }
    }

    /// One byte that is not payload. After an error nothing has changed, but that the error comes again.
    fn framing_byte(&mut self, byte: u8) -> Result<(), Refused> {
        self.at = match (self.at, byte) {
            (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
            (At::Size, b';') if self.digits > 0 => {
                self.extension = 1;
                At::ExtensionStart
            }
            (At::Size, _) => self.size_digit(byte)?,
            (At::ExtensionStart | At::Extension, _) => self.extension_byte(byte)?,
            (At::SizeLf, b'\n') => self.chunk_line_ends()?,
            (At::SizeLf, _) => return Err(Refused::LineEnd),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::DataCr | At::DataLf, _) => return Err(Refused::ChunkEnd),
            (At::Trailer, b'\r') => At::EndLf,
            (At::EndLf, b'\n') => At::Done,
            (At::TrailerLf, b'\n') => At::Trailer,
            (At::EndLf | At::TrailerLf, _) => return Err(Refused::LineEnd),
            (At::Trailer | At::TrailerName | At::TrailerValue, _) => self.trailer_byte(byte)?,
            (At::Done | At::Length | At::Close | At::Data, _) => self.at,
        };
        Ok(())
    }

    fn size_digit(&mut self, byte: u8) -> Result<At, Refused> {
        let Some(digit) = (byte as char).to_digit(16) else { return Err(Refused::ChunkSize) };
        let size = self.left << 4 | u64::from(digit);
        if self.digits == 16 || self.left >> 60 != 0 || size > MAX_LENGTH {
            return Err(Refused::ChunkSize);
        }
        self.left = size;
        self.digits += 1;
        Ok(At::Size)
    }

    fn extension_byte(&mut self, byte: u8) -> Result<At, Refused> {
        let at = match byte {
            b'\r' if self.at == At::Extension => return Ok(At::SizeLf),
            b' ' | b'\t' => self.at,
            b'!'..=b'~' => At::Extension,
            _ => return Err(Refused::ChunkExtension),
        };
        if self.extension >= MAX_CHUNK_EXTENSION {
            return Err(Refused::ChunkExtension);
        }
        self.extension += 1;
        Ok(at)
    }

    fn chunk_line_ends(&mut self) -> Result<At, Refused> {
        let line = i64::from(self.digits) + i64::from(self.extension) + 2;
        let allowed = i64::try_from(self.left.min(1 << 40)).unwrap_or(i64::MAX) * 2 + 16;
        let excess = (self.excess + line - allowed).max(0);
        if excess > MAX_EXCESS {
            return Err(Refused::ChunkExtension);
        }
        self.excess = excess;
        self.extension = 0;
        self.digits = 0;
        Ok(if self.left == 0 { At::Trailer } else { At::Data })
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<At, Refused> {
        if self.trailers >= MAX_TRAILERS {
            return Err(Refused::TrailersTooLarge);
        }
        let at = match self.at {
            At::Trailer if !is_token_byte(byte) => return Err(Refused::BadTrailer),
            At::Trailer if usize::from(self.fields) >= MAX_FIELDS => return Err(Refused::TrailersTooLarge),
            At::Trailer => {
                self.fields += 1;
                self.name_len = 0;
                self.name_byte(byte);
                At::TrailerName
            }
            At::TrailerName if byte == b':' => {
                let name = self.name.get(..usize::from(self.name_len));
                if name.is_some_and(is_forbidden_trailer) {
                    return Err(Refused::ForbiddenTrailer);
                }
                At::TrailerValue
            }
            At::TrailerName if is_token_byte(byte) => {
                self.name_byte(byte);
                At::TrailerName
            }
            At::TrailerValue if byte == b'\r' => At::TrailerLf,
            At::TrailerValue if is_value_byte(byte) => At::TrailerValue,
            _ => return Err(Refused::BadTrailer),
        };
        self.trailers += 1;
        Ok(at)
    }

    /// Keeps the name as far as it may be a forbidden one. `_` is kept as `-`: some readers take it so.
    fn name_byte(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(usize::from(self.name_len)) {
            *place = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        }
        self.name_len = self.name_len.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_tell_payload_from_framing() {
        let mut body = Body::new(Framing::Chunked);
        let bytes = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nx: y\r\n\r\nnext";
        let mut steps = Vec::new();
        let mut at = 0;
        loop {
            let step = body.next(&bytes[at..]).unwrap();
            let section = &bytes[at..][step.trailers];
            let fields: Vec<_> = trailer_fields(section).collect();
            assert_eq!(fields, if step.done { vec![("x", &b"y"[..])] } else { vec![] });
            steps.push((step.consumed, &bytes[at..][step.data], step.done));
            at += step.consumed;
            if step.done {
                break;
            }
        }
        assert_eq!(steps, [(12, &b"hello"[..], false), (6, b"!", false), (13, b"", true)]);
        assert_eq!(&bytes[at..], b"next");
        assert_eq!(body.next(b"next").unwrap(), Step { consumed: 0, data: 0..0, trailers: 0..0, done: true });
    }

    #[test]
    fn bytes_before_a_wrong_one_are_sound() {
        let bytes = b"5\r\nhelloX";
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.scan(bytes), Err(Refused::ChunkEnd));
        assert_eq!(body.sound(), 8);
        assert_eq!(body.next(b"\n"), Err(Refused::ChunkEnd));
        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.next(bytes).unwrap(), Step { consumed: 8, data: 3..8, trailers: 8..8, done: false });
        assert_eq!(body.next(b"\rX").unwrap(), Step { consumed: 1, data: 1..1, trailers: 1..1, done: false });
        assert_eq!(body.next(b"X"), Err(Refused::ChunkEnd));
        assert_eq!(body.next(b"X"), Err(Refused::ChunkEnd));
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        for (framing, bytes, consumed, payload, done, may_end) in [
            (Framing::None, "abc", 0, 0, true, true),
            (Framing::Length(0), "abc", 0, 0, true, true),
            (Framing::Length(2), "abc", 2, 2, true, true),
            (Framing::Length(3), "abc", 3, 3, true, true),
            (Framing::Length(4), "abc", 3, 3, false, false),
            (Framing::Close, "abc", 3, 3, false, true),
            (Framing::Close, "", 0, 0, false, true),
            (Framing::Chunked, "", 0, 0, false, false),
            (Framing::Chunked, "3\r\nabc", 6, 3, false, false),
            (Framing::Chunked, "3\r\nabc\r\n0\r\n", 11, 3, false, false),
            (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\nx", 13, 3, true, true),
        ] {
            let mut body = Body::new(framing);
            let scan = body.scan(bytes.as_bytes()).unwrap();
            assert_eq!(scan, Scan { consumed, payload, done }, "{framing:?} {bytes}");
            assert_eq!((body.eof().is_ok(), body.is_done()), (may_end, done), "{framing:?} {bytes}");
        }
    }

    #[test]
    fn what_is_left_is_known_for_lengths() {
        let mut body = Body::new(Framing::Length(10));
        assert_eq!(body.remaining(), Some(10));
        body.scan(b"abc").unwrap();
        assert_eq!(body.remaining(), Some(7));
        assert_eq!(Body::new(Framing::None).remaining(), Some(0));
        assert_eq!(Body::new(Framing::Chunked).remaining(), None);
        assert_eq!(Body::new(Framing::Close).remaining(), None);
    }

    #[test]
    fn overhead_is_bounded_but_small_chunks_are_fine() {
        let mut body = Body::new(Framing::Chunked);
        for _ in 0..100_000 {
            body.scan(b"1;ab=cd\r\nx\r\n").unwrap();
        }
        let mut body = Body::new(Framing::Chunked);
        body.scan(format!("1;{}\r\nx\r\n", "a".repeat(255)).as_bytes()).unwrap();
        for _ in 0..1000 {
            body.scan(b"1\r\nx\r\n").unwrap();
        }
        let mut body = Body::new(Framing::Chunked);
        let long = format!("1;{}\r\nx\r\n", "a".repeat(255));
        let refused = (0..100).find_map(|_| body.scan(long.as_bytes()).err());
        assert_eq!(refused, Some(Refused::ChunkExtension));
    }

    #[test]
    fn a_held_body_is_small() {
        assert!(size_of::<Body>() <= 72);
    }
}
