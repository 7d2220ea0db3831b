//! What may stand in Host, in an authority and in a target.
//!
//! Invariant: what is accepted here means the same to every reader: no user information, no percent
//! encoding, no list, no empty host or port. Must not know: whether there is a connection to it.

use std::net::Ipv6Addr;

/// Whether this is a host with an optional port.
///
/// Narrower than the grammar of RFC 3986, which also has `%41.example`, `a,b` and `example:`: readers
/// decode, split and complete those differently.
pub(super) fn is_host(value: &[u8]) -> bool {
    let port = if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
        let is_address = std::str::from_utf8(&rest[..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        if !is_address {
            return false;
        }
        &rest[end + 1..]
    } else {
        let end = value.iter().position(|&byte| !HOST_BYTES[usize::from(byte)]).unwrap_or(value.len());
        if end == 0 {
            return false;
        }
        &value[end..]
    };
    match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    }
}

fn is_port(digits: &[u8]) -> bool {
    matches!(digits.len(), 1..=5)
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0u32, |port, digit| port * 10 + u32::from(digit - b'0')) <= 65_535
}

/// Whether a target holds only visible ASCII and no fragment.
pub(super) fn is_target(target: &[u8]) -> bool {
    // Without branches, so that it is vectorised.
    target.iter().fold(true, |good, &byte| good & (byte > b' ') & (byte < 0x7f) & (byte != b'#'))
}

/// unreserved / sub-delims, but the comma.
const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "a",
            "example.com",
            "example.com:80",
            "EXAMPLE.com",
            "a_b",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:443",
            "[2001:db8::7]:1",
            "a:0",
            "a:65535",
            "xn--bcher-kva.example",
            "a.b.c.",
            "svc~1",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:123456",
            "a b",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "a@b",
            "user:pw@a",
            "a\\b",
            "%61",
            "[::1",
            "::1",
            "[::1]x",
            "[::g]",
            "[]",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "a\tb",
            "a\u{7f}",
            "bücher",
            "a:-1",
            "a:+1",
            "a: 1",
            "a\"b",
            "<a>",
            "a|b",
            "a^b",
            "{a}",
            "[::1]:",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn targets() {
        for good in ["/", "/a?b=c", "/a|b{c}\"<>^`\\", "*", "http://a/", "/%00"] {
            assert!(is_target(good.as_bytes()), "{good}");
        }
        for bad in ["/a#b", "/a b", "/a\tb", "/ü", "/\u{7f}", "/\0", "/a#"] {
            assert!(!is_target(bad.as_bytes()), "{bad}");
        }
    }
}
