//! A request head from a `HeaderMap`: HTTP/2 came in, HTTP/1.1 goes out.
//!
//! Invariant: what leaves keeps the same promises as what [`super::write_request`] writes, whatever the
//! map holds. Must not know: where the map came from.

use http::{HeaderMap, HeaderName, Method, header};

use super::Refused;
use super::framing::{Framing, parse_length, write_framing};
use super::head::{Version, write_field};
use super::host::{is_host, is_target};
use super::names::{Name, classify, elements, is_end_to_end, is_value_byte, trim};
use super::request::{Outgoing, choose_host, write_start};

/// Appends a request head made of these parts. The caller puts `:authority` into the map as Host.
///
/// Cookies that came in crumbs are joined. Expect goes on when `how.expect` says so; an upgrade never
/// does: HTTP/2 has none.
///
/// # Errors
///
/// Refuses what could not be sent as one unambiguous message: a target that is not origin-form (or `*`
/// for OPTIONS), CONNECT, a coding in the map, a length that is not that of `framing`, more than one
/// Host, control bytes in values. Nothing is written then.
pub fn write_request_from(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    framing: Framing,
    how: &Outgoing<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let start = out.len();
    let outcome = write(method, target, headers, framing, how, out);
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

fn write(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    framing: Framing,
    how: &Outgoing<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    check_target(method, target)?;
    let host = single(headers, header::HOST, Refused::ManyHosts)?;
    if host.is_some_and(|host| !is_host(host)) {
        return Err(Refused::BadHost);
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Refused::BadCoding);
    }
    if let Some(value) = single(headers, header::CONTENT_LENGTH, Refused::ManyLengths)?
        && framing != Framing::Length(parse_length(value)?)
    {
        return Err(Refused::BadLength);
    }
    if framing == Framing::Close {
        return Err(Refused::BadLength); // a request cannot end with its connection
    }
    write_start(method.as_str(), target, choose_host(how.host, host), out);
    let mut trailers = false;
    for (name, value) in headers {
        let value = trim(value.as_bytes());
        if !value.iter().all(|&byte| is_value_byte(byte)) {
            return Err(Refused::FieldValue);
        }
        match classify(name.as_str().as_bytes()) {
            Name::Lookalike => return Err(Refused::Lookalike),
            Name::Other if how.without.is_some_and(|without| name.as_str().eq_ignore_ascii_case(without)) => {
            }
            Name::Te => trailers |= elements(value).any(|one| one.eq_ignore_ascii_case(b"trailers")),
            Name::Other if name == header::COOKIE || is_named(headers, name) => {}
            Name::ForwardedFor if how.forwarded.is_some() => {}
            Name::Other | Name::ForwardedFor | Name::ForwardedHost | Name::ForwardedProto => {
                write_field(name.as_str().as_bytes(), value, out);
            }
            Name::Expect if !value.eq_ignore_ascii_case(b"100-continue") => return Err(Refused::BadExpect),
            Name::Expect
            | Name::Host
            | Name::ContentLength
            | Name::TransferEncoding
            | Name::Connection
            | Name::Upgrade
            | Name::Hop => {}
        }
    }
    write_joined(b"cookie: ", b"; ", headers, header::COOKIE, None, out);
    write_framing(framing, out);
    if let Some(forwarded) = how.forwarded {
        let name = HeaderName::from_static("x-forwarded-for");
        write_joined(b"X-Forwarded-For: ", b", ", headers, name, Some(forwarded.peer_ip), out);
        if !headers.contains_key("x-forwarded-proto") {
            write_field(b"X-Forwarded-Proto", forwarded.proto.as_bytes(), out);
        }
        if let Some(host) = host.filter(|_| !headers.contains_key("x-forwarded-host")) {
            write_field(b"X-Forwarded-Host", host, out);
        }
        out.extend_from_slice(Version::VIA_HTTP2);
    }
    if trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    if how.expect && has_body && headers.contains_key(header::EXPECT) {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn check_target(method: &Method, target: &str) -> Result<(), Refused> {
    if method.as_str().eq_ignore_ascii_case("CONNECT") {
        return Err(Refused::Connect);
    }
    if !is_target(target.as_bytes()) {
        return Err(Refused::TargetBytes);
    }
    if target.starts_with('/') || (target == "*" && method == Method::OPTIONS) {
        return Ok(());
    }
    Err(Refused::TargetForm)
}

/// The one value of a field; more than one is refused.
fn single(headers: &HeaderMap, name: HeaderName, many: Refused) -> Result<Option<&[u8]>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(many) } else { Ok(first.map(|value| trim(value.as_bytes()))) }
}

/// Whether `Connection` names this field. HTTP/2 has no Connection: most of the time this is one look-up.
fn is_named(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        elements(value.as_bytes()).any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
    }) && !is_end_to_end(name.as_str().as_bytes())
}

/// Writes all values of a field as one, with `more` at the end; nothing when there is none.
fn write_joined(
    start: &[u8],
    between: &[u8],
    headers: &HeaderMap,
    name: HeaderName,
    more: Option<&str>,
    out: &mut Vec<u8>,
) {
    let values = headers.get_all(name).iter().map(|value| trim(value.as_bytes()));
    let mut any = false;
    for value in values.filter(|value| !value.is_empty()).chain(more.map(str::as_bytes)) {
        out.extend_from_slice(if any { between } else { start });
        out.extend_from_slice(value);
        any = true;
    }
    if any {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::{Forwarded, HostRule};
    use super::*;

    const PLAIN: Outgoing<'static> = Outgoing {
        host: HostRule::Keep { fallback: "up" },
        forwarded: None,
        upgrade: true,
        expect: true,
        without: None,
    };

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_map_becomes_a_head() {
        let headers = map(&[
            ("host", "a"),
            ("x", "1"),
            ("cookie", "a=b"),
            ("x", "2"),
            ("cookie", "c=d"),
            ("te", "trailers"),
            ("x-forwarded-for", "1"),
            ("connection", "gone, cookie, x-real-ip"),
            ("x-real-ip", "4"),
            ("gone", "3"),
            ("upgrade", "h2c"),
            ("content-length", "5"),
            ("expect", "100-continue"),
        ]);
        let forwarded = Some(Forwarded { peer_ip: "::1", proto: "https" });
        let how = Outgoing { forwarded, ..PLAIN };
        let mut out = Vec::new();
        write_request_from(&Method::POST, "/x?y", &headers, Framing::Length(5), &how, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "POST /x?y HTTP/1.1\r\nHost: a\r\nx: 1\r\nx: 2\r\nx-real-ip: 4\r\ncookie: a=b; c=d\r\nContent-Length: 5\r\n\
             X-Forwarded-For: 1, ::1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\nVia: 2.0 brownout\r\n\
             TE: trailers\r\nExpect: 100-continue\r\n\r\n"
        );
    }

    #[test]
    fn what_cannot_be_one_message_is_refused() {
        let (get, none) = (Method::GET, Framing::None);
        let connect = Method::CONNECT;
        for (method, target, fields, framing, refused) in [
            (&connect, "/", &[][..], none, Refused::Connect),
            (&get, "x", &[], none, Refused::TargetForm),
            (&get, "*", &[], none, Refused::TargetForm),
            (&get, "", &[], none, Refused::TargetForm),
            (&get, "/ HTTP/1.1\r\nX: y", &[], none, Refused::TargetBytes),
            (&get, "/", &[("host", "a"), ("host", "a")], none, Refused::ManyHosts),
            (&get, "/", &[("host", "a b")], none, Refused::BadHost),
            (&get, "/", &[("host", "")], none, Refused::BadHost),
            (&get, "/", &[("transfer-encoding", "chunked")], Framing::Chunked, Refused::BadCoding),
            (&get, "/", &[("content-length", "5")], Framing::Chunked, Refused::BadLength),
            (&get, "/", &[("content-length", "5")], none, Refused::BadLength),
            (
                &get,
                "/",
                &[("content-length", "5"), ("content-length", "5")],
                Framing::Length(5),
                Refused::ManyLengths,
            ),
            (&get, "/", &[("content_length", "5")], none, Refused::Lookalike),
            (&get, "/", &[("expect", "x")], none, Refused::BadExpect),
            (&get, "/", &[], Framing::Close, Refused::BadLength),
        ] {
            let mut out = b"before".to_vec();
            let outcome = write_request_from(method, target, &map(fields), framing, &PLAIN, &mut out);
            assert_eq!((outcome, &out[..]), (Err(refused), &b"before"[..]), "{target} {fields:?}");
        }
    }
}
