//! What request heads and response heads have in common: limits, slots, versions, copying fields.
//!
//! Invariants: limits are checked before work is done; a head that is not complete is refused as soon as
//! it cannot become a good one. Must not know: what a field means.

use std::mem::MaybeUninit;

use httparse::Header;

use super::Refused;

/// The most fields a head may have, whatever [`Limits`] say.
pub const MAX_FIELDS: usize = 100;

/// Room for the fields of a head: one more than allowed, so that "too many" is seen.
pub type Slots<'b> = [MaybeUninit<Header<'b>>; MAX_FIELDS + 1];

/// Fresh slots. Costs nothing: they are not initialised.
#[must_use]
pub const fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS + 1]
}

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole head.
    pub head: usize,
    /// Number of fields; more than [`MAX_FIELDS`] has no effect.
    pub fields: usize,
    /// Bytes of the target.
    pub target: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 64 * 1024, fields: MAX_FIELDS, target: 16 * 1024 }
    }
}

/// The versions spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// `Via` for what came by HTTP/2.
    pub(super) const VIA_HTTP2: &[u8] = b"Via: 2.0 brownout\r\n";

    /// As it stands in `Via`.
    pub(super) fn via(self) -> &'static [u8] {
        match self {
            Self::Http10 => b"Via: 1.0 brownout\r\n",
            Self::Http11 => b"Via: 1.1 brownout\r\n",
        }
    }
}

impl From<u8> for Version {
    fn from(minor: u8) -> Self {
        if minor == 0 { Self::Http10 } else { Self::Http11 }
    }
}

/// Whether it can make a difference to parse `buf` again, when its first `seen` bytes were parsed before
/// and were incomplete: a head ends with a line, and limits are met with bytes. Keeps a sender of single
/// bytes from having the whole head parsed for each.
#[must_use]
pub fn is_worth_parsing(buf: &[u8], seen: usize, limits: &Limits) -> bool {
    let long_line = limits.target.saturating_add(64);
    seen == 0
        || buf.len() >= limits.head
        || (seen < long_line && buf.len() >= long_line)
        || buf[seen.min(buf.len())..].contains(&b'\n')
}

/// What is wrong with a version that the parser does not take; `None` when that is not known yet.
pub(super) fn refuse_version(rest: &[u8], malformed: Refused) -> Option<Refused> {
    let form = b"HTTP/0.0";
    let fits = rest.iter().zip(form).all(
        |(&byte, &want)| {
            if want == b'0' { byte.is_ascii_digit() } else { byte == want }
        },
    );
    match fits {
        false => Some(malformed),
        true if rest.len() < form.len() => None,
        true => Some(Refused::UnsupportedVersion),
    }
}

/// Where a slice lies in the head it was taken from.
#[inline]
pub(super) fn offset(head: &[u8], part: *const u8) -> usize {
    part.addr().wrapping_sub(head.as_ptr().addr())
}

/// Writes one field.
#[inline]
pub(super) fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Copies the fields whose bit in `skip` is not set. Neighbours are copied at once, as they stand; those
/// in `odd` are not of the form `name: value CRLF` and are written anew.
pub(super) fn copy_fields(head: &[u8], fields: &[Header<'_>], skip: u128, odd: u128, out: &mut Vec<u8>) {
    let apart = skip | odd;
    let mut at = 0;
    while at < fields.len() {
        let rest = apart >> at;
        if rest & 1 == 1 {
            if skip >> at & 1 == 0 {
                write_field(fields[at].name.as_bytes(), fields[at].value, out);
            }
            at += 1;
            continue;
        }
        let end = (at + rest.trailing_zeros() as usize).min(fields.len());
        let last = &fields[end - 1];
        let from = offset(head, fields[at].name.as_ptr());
        let to = offset(head, last.value.as_ptr()) + last.value.len() + 2;
        out.extend_from_slice(&head[from..to]);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_are_not_spoken() {
        for (rest, answer) in [
            ("HTTP/2.0\r\n", Some(Refused::UnsupportedVersion)),
            ("HTTP/1.2", Some(Refused::UnsupportedVersion)),
            ("HTTP/0.9 ", Some(Refused::UnsupportedVersion)),
            ("HTTP/2", None),
            ("HTTP/3.", None),
            ("HTTP/x", Some(Refused::Version)),
            ("http/1.1", Some(Refused::Version)),
            ("HTTP/11", Some(Refused::Version)),
            ("\r\n", Some(Refused::Version)),
        ] {
            assert_eq!(refuse_version(rest.as_bytes(), Refused::Version), answer, "{rest}");
        }
    }

    #[test]
    fn only_new_lines_and_full_buffers_are_worth_a_look() {
        let limits = Limits { head: 40, fields: 10, target: 20 };
        assert!(is_worth_parsing(b"GET", 0, &limits));
        assert!(!is_worth_parsing(b"GET /", 3, &limits));
        assert!(is_worth_parsing(b"GET / HTTP/1.1\r\n", 14, &limits));
        assert!(!is_worth_parsing(b"GET / HTTP/1.1\r\nA", 16, &limits));
        assert!(is_worth_parsing(&[b'a'; 40], 39, &limits));
        let limits = Limits { target: 20, ..Limits::default() };
        assert!(is_worth_parsing(&[b'a'; 84], 83, &limits));
        assert!(!is_worth_parsing(&[b'a'; 85], 84, &limits));
    }
}
