//! Where a body ends: Content-Length, the chunked coding, or the end of the connection.
//!
//! Invariant: a length is one plain decimal number, a coding is one plain `chunked`; there is no third
//! way to read them. Must not know: heads, bodies, whose message it is.

use super::Refused;

/// The longest body that may be announced: what a reader with signed 64 bit numbers still understands.
pub const MAX_LENGTH: u64 = i64::MAX as u64;

/// What stands after the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// How a body is delimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunks, the last of them empty, then trailers.
    Chunked,
    /// Everything until the connection ends; only in responses.
    Close,
}

/// Reads a Content-Length: digits only, no leading zero (octal to some readers), at most [`MAX_LENGTH`].
pub(super) fn parse_length(value: &[u8]) -> Result<u64, Refused> {
    if value.is_empty() || value.len() > 19 || (value[0] == b'0' && value.len() > 1) {
        return Err(Refused::BadLength);
    }
    let mut length = 0u64;
    for byte in value {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Refused::BadLength);
        }
        length = length * 10 + u64::from(digit); // 19 digits fit
    }
    if length > MAX_LENGTH { Err(Refused::BadLength) } else { Ok(length) }
}

/// Writes the field that announces this framing; nothing for those that need none.
pub(super) fn write_framing(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::None | Framing::Close => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

fn write_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes the line before the data of a chunk. An empty chunk would end the body: nothing is written.
pub fn write_chunk_header(length: u64, out: &mut Vec<u8>) {
    if length == 0 {
        return;
    }
    let mut digits = [0u8; 18];
    let mut at = 16;
    digits[16] = b'\r';
    digits[17] = b'\n';
    let mut rest = length;
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes a whole chunk; nothing for empty data.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if !data.is_empty() {
        write_chunk_header(data.len() as u64, out);
        out.extend_from_slice(data);
        out.extend_from_slice(CHUNK_END);
    }
}

/// Writes the last chunk and the end of a body without trailers.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_one_plain_number() {
        for (value, length) in
            [("0", 0), ("5", 5), ("10", 10), ("4096", 4096), ("9223372036854775807", MAX_LENGTH)]
        {
            assert_eq!(parse_length(value.as_bytes()), Ok(length), "{value}");
        }
        for value in [
            "",
            "-1",
            "+5",
            " 5",
            "5 ",
            "5,5",
            "5, 5",
            "0x5",
            "5.0",
            "05",
            "00",
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999",
            "5a",
            "٥",
            "1_000",
            "1e3",
        ] {
            assert_eq!(parse_length(value.as_bytes()), Err(Refused::BadLength), "{value}");
        }
    }

    #[test]
    fn chunks_are_written_in_lower_case_hexadecimal() {
        let mut out = Vec::new();
        write_chunk(b"hello", &mut out);
        write_chunk(b"", &mut out);
        write_chunk_header(0xDEAD_BEEF, &mut out);
        write_chunk_header(0, &mut out);
        write_chunk_header(u64::MAX, &mut out);
        write_last_chunk(&mut out);
        assert_eq!(out, b"5\r\nhello\r\ndeadbeef\r\nffffffffffffffff\r\n0\r\n\r\n");
    }

    #[test]
    fn a_framing_is_announced_by_at_most_one_field() {
        for (framing, text) in [
            (Framing::None, ""),
            (Framing::Close, ""),
            (Framing::Length(0), "Content-Length: 0\r\n"),
            (Framing::Length(u64::MAX), "Content-Length: 18446744073709551615\r\n"),
            (Framing::Chunked, "Transfer-Encoding: chunked\r\n"),
        ] {
            let mut out = Vec::new();
            write_framing(framing, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
