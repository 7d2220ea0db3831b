//! Field names the codec knows, and the rules for tokens.
//!
//! Invariant: a name is looked at once, by its length first; names compare without case. Must not know:
//! what a field does to a message.

/// A field name as far as the codec cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Te,
    Upgrade,
    Expect,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    /// Ends at this hop and says nothing to us.
    Hop,
    /// Imitates a framing field: gateways that turn names into variables read `_` and `-` alike.
    Lookalike,
}

/// Says which name this is. `name` holds token bytes only.
#[inline]
pub(super) fn classify(name: &[u8]) -> Name {
    match name.len() {
        2 if is(name, b"te") => Name::Te,
        4 if is(name, b"host") => Name::Host,
        6 if is(name, b"expect") => Name::Expect,
        7 if is(name, b"upgrade") => Name::Upgrade,
        10 if is(name, b"connection") => Name::Connection,
        10 if is(name, b"keep-alive") => Name::Hop,
        14 if is(name, b"content-length") => Name::ContentLength,
        14 if is(name, b"http2-settings") => Name::Hop,
        14 if imitates(name, b"content-length") => Name::Lookalike,
        15 if is(name, b"x-forwarded-for") => Name::ForwardedFor,
        16 if is(name, b"x-forwarded-host") => Name::ForwardedHost,
        16 if is(name, b"proxy-connection") => Name::Hop,
        17 if is(name, b"transfer-encoding") => Name::TransferEncoding,
        17 if is(name, b"x-forwarded-proto") => Name::ForwardedProto,
        17 if imitates(name, b"transfer-encoding") => Name::Lookalike,
        18 if is(name, b"proxy-authenticate") => Name::Hop,
        19 if is(name, b"proxy-authorization") => Name::Hop,
        25 if is(name, b"proxy-authentication-info") => Name::Hop,
        _ => Name::Other,
    }
}

/// Whether `Connection` may not take this field away although it names it.
///
/// Fields that route, authorise or describe the content are meant for the recipient; naming them is a way
/// to strip what an earlier hop or the user's agent added. The name is ignored, the field stays.
pub(super) fn is_end_to_end(name: &[u8]) -> bool {
    match name.len() {
        3 => is(name, b"via"),
        4 => is(name, b"host"),
        6 => is(name, b"cookie") || is(name, b"expect"),
        8 => is(name, b"location"),
        9 => is(name, b"forwarded") || is(name, b"x-real-ip"),
        10 => is(name, b"set-cookie"),
        12 => is(name, b"content-type"),
        13 => is(name, b"authorization") || is(name, b"cache-control") || is(name, b"content-range"),
        15 => is(name, b"x-forwarded-for"),
        16 => is(name, b"x-forwarded-host") || is(name, b"x-forwarded-port") || is(name, b"content-encoding"),
        17 => is(name, b"x-forwarded-proto"),
        _ => false,
    }
}

/// Whether a trailer of this name is refused: it would frame, route, authorise, or is for one hop only.
/// `name` is in lower case, with `-` for `_`. Longer names than [`LONGEST_FORBIDDEN`] are never asked for.
pub(super) fn is_forbidden_trailer(name: &[u8]) -> bool {
    matches!(
        name,
        b"te"
            | b"via"
            | b"host"
            | b"cookie"
            | b"expect"
            | b"trailer"
            | b"upgrade"
            | b"forwarded"
            | b"connection"
            | b"keep-alive"
            | b"set-cookie"
            | b"content-type"
            | b"authorization"
            | b"content-range"
            | b"content-length"
            | b"http2-settings"
            | b"x-forwarded-for"
            | b"content-encoding"
            | b"proxy-connection"
            | b"x-forwarded-host"
            | b"transfer-encoding"
            | b"x-forwarded-proto"
            | b"proxy-authenticate"
            | b"proxy-authorization"
    )
}

/// The length of the longest name in [`is_forbidden_trailer`].
pub(super) const LONGEST_FORBIDDEN: usize = 19;

/// Compares a name with one in lower case. Right for token bytes: no other token byte folds onto a
/// letter, a digit or `-`.
#[inline]
pub(super) fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Ok(name): Result<&[u8; N], _> = name.try_into() else { return false };
    let mut differs = 0;
    for at in 0..N {
        differs |= (name[at] | 0x20) ^ lower[at];
    }
    differs == 0
}

fn imitates<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    name.iter().zip(lower).all(|(&byte, &want)| byte | 0x20 == want || (byte == b'_' && want == b'-'))
}

/// Whether a byte may stand in a token.
#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether this is a token: not empty, token bytes only.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether a byte may stand in a field value: visible, space, tab, or beyond ASCII.
#[inline]
pub(super) fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Takes spaces and tabs from both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a list, trimmed, without the empty ones.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, kind) in [
            ("host", Name::Host),
            ("HOST", Name::Host),
            ("Content-Length", Name::ContentLength),
            ("cOnTeNt-lEnGtH", Name::ContentLength),
            ("content_length", Name::Lookalike),
            ("Transfer_Encoding", Name::Lookalike),
            ("transfer-encoding", Name::TransferEncoding),
            ("Connection", Name::Connection),
            ("Keep-Alive", Name::Hop),
            ("Proxy-Connection", Name::Hop),
            ("HTTP2-Settings", Name::Hop),
            ("TE", Name::Te),
            ("Te", Name::Te),
            ("Upgrade", Name::Upgrade),
            ("Trailer", Name::Other),
            ("Content-Lengtx", Name::Other),
            ("X-Forwarded-For", Name::ForwardedFor),
            ("x", Name::Other),
        ] {
            assert_eq!(classify(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn no_token_byte_folds_onto_another_name() {
        let names: [&[u8]; 3] = [b"content-length", b"http2-settings", b"transfer-encoding"];
        for name in names {
            for at in 0..name.len() {
                for byte in (0..=255u8).filter(|&byte| is_token_byte(byte)) {
                    let mut other = name.to_vec();
                    other[at] = byte;
                    let known = !matches!(classify(&other), Name::Other | Name::Lookalike);
                    assert_eq!(known, other.eq_ignore_ascii_case(name), "{}", other.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn lists_skip_what_is_empty() {
        let all: Vec<_> = elements(b" , a ,\tb\t,, c d ,").collect();
        assert_eq!(all, [&b"a"[..], b"b", b"c d"]);
        assert_eq!(elements(b"").count(), 0);
    }
}
