//! What must hold for any bytes at all; run by the fuzzers and by `cargo test` over corpora and noise.
//!
//! Invariant: nothing here shares code with what it checks, but for the public functions under test.
//! Must not know: how the codec does it. A breach panics.

use super::{
    Body, Forwarded, Framing, HostRule, Limits, Outgoing, Refused, RequestHead, ResponseHead, Returning,
    Version, is_worth_parsing, parse_request, parse_response, slots, trailer_fields, write_chunk,
    write_last_chunk, write_request, write_response,
};

/// Fields as they were read.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A request head, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// See [`RequestHead::method`].
    pub method: String,
    /// See [`RequestHead::target`].
    pub target: String,
    /// See [`RequestHead::authority`].
    pub authority: Option<String>,
    /// See [`RequestHead::host`].
    pub host: Option<Vec<u8>>,
    /// See [`RequestHead::version`].
    pub version: Version,
    /// See [`RequestHead::fields`].
    pub fields: Fields,
    /// See [`RequestHead::len`].
    pub len: usize,
    /// See [`RequestHead::framing`].
    pub framing: Framing,
    /// See [`RequestHead::keep_alive`].
    pub keep_alive: bool,
    /// See [`RequestHead::expect_continue`].
    pub expect_continue: bool,
    /// See [`RequestHead::upgrade`].
    pub upgrade: Option<Vec<u8>>,
}

impl From<&RequestHead<'_, '_>> for Request {
    fn from(head: &RequestHead<'_, '_>) -> Self {
        Self {
            method: head.method.into(),
            target: head.target.into(),
            authority: head.authority.map(Into::into),
            host: head.host.map(Into::into),
            version: head.version,
            fields: own(head.fields),
            len: head.len,
            framing: head.framing,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
            upgrade: head.upgrade.map(Into::into),
        }
    }
}

/// A response head, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// See [`ResponseHead::status`].
    pub status: u16,
    /// See [`ResponseHead::reason`].
    pub reason: String,
    /// See [`ResponseHead::version`].
    pub version: Version,
    /// See [`ResponseHead::fields`].
    pub fields: Fields,
    /// See [`ResponseHead::len`].
    pub len: usize,
    /// See [`ResponseHead::framing`].
    pub framing: Framing,
    /// See [`ResponseHead::keep_alive`].
    pub keep_alive: bool,
    /// See [`ResponseHead::upgrade`].
    pub upgrade: bool,
}

impl From<&ResponseHead<'_, '_>> for Response {
    fn from(head: &ResponseHead<'_, '_>) -> Self {
        Self {
            status: head.status,
            reason: head.reason.into(),
            version: head.version,
            fields: own(head.fields),
            len: head.len,
            framing: head.framing,
            keep_alive: head.keep_alive,
            upgrade: head.upgrade,
        }
    }
}

fn own(fields: &[httparse::Header<'_>]) -> Fields {
    fields.iter().map(|field| (field.name.to_owned(), field.value.to_owned())).collect()
}

/// Everything that must hold when these bytes come as a request.
pub fn request(bytes: &[u8]) {
    for limits in all_limits() {
        let read = |part: &[u8]| {
            parse_request(part, &mut slots(), &limits).map(|head| head.as_ref().map(Request::from))
        };
        pieces_make_no_difference(bytes, &limits, read);
        let mut places = slots();
        let Ok(Some(head)) = parse_request(bytes, &mut places, &limits) else { continue };
        assert!(head.len <= limits.head + 2 && head.fields.len() <= limits.fields, "a limit was passed");
        assert!(head.target.len() <= limits.target, "a limit was passed");
        assert_ne!(head.framing, Framing::Close, "a request cannot end with its connection");
        for how in ways_out() {
            written_request_is_sound(&head, &how);
        }
    }
}

fn all_limits() -> [Limits; 2] {
    [Limits::default(), Limits { head: 300, fields: 6, target: 40 }]
}

fn ways_out() -> Vec<Outgoing<'static>> {
    let forwarded = Some(Forwarded { peer_ip: "192.0.2.7", proto: "http" });
    let keep = HostRule::Keep { fallback: "fallback:80" };
    vec![
        Outgoing { host: keep, forwarded: None, upgrade: true, expect: true, without: None },
        Outgoing { host: keep, forwarded, upgrade: false, expect: false, without: None },
        Outgoing {
            host: HostRule::Replace("up.example:8080"),
            forwarded,
            upgrade: true,
            expect: true,
            without: None,
        },
    ]
}

fn written_request_is_sound(head: &RequestHead<'_, '_>, how: &Outgoing<'_>) {
    let mut out = b"before".to_vec();
    write_request(head, how, &mut out);
    let out = out.strip_prefix(b"before").unwrap_or_default();
    is_strict(out);
    let mut places = slots();
    let limits = Limits { head: usize::MAX, ..Limits::default() };
    // Forwarding adds up to four fields; a head that was full before is the next hop's to refuse.
    if how.forwarded.is_some() && head.fields.len() > 90 {
        return;
    }
    let again = match parse_request(out, &mut places, &limits) {
        Ok(Some(again)) => again,
        // HTTP/1.0 may come with 100 fields and no Host: then ours is the 101st.
        Err(Refused::TooManyFields) if head.fields.len() >= 98 => return,
        other => unreachable!("{other:?} for {}", out.escape_ascii()),
    };
    assert_eq!(again.len, out.len(), "more or less than one head was written");
    assert_eq!((again.method, again.target), (head.method, head.target));
    assert_eq!((again.framing, again.version), (head.framing, Version::Http11));
    assert!(again.keep_alive && again.authority.is_none());
    let asked = head.authority.map(str::as_bytes).or(head.host);
    let host = match how.host {
        HostRule::Keep { fallback } => asked.unwrap_or(fallback.as_bytes()),
        HostRule::Replace(host) => host.as_bytes(),
    };
    assert_eq!(again.host, Some(host));
    assert_eq!(count(again.fields, "host"), 1);
    assert_eq!(again.expect_continue, how.expect && head.expect_continue);
    assert_eq!(again.upgrade, head.upgrade.filter(|_| how.upgrade));
    let tunnel = again.upgrade.is_some();
    assert_eq!(count(again.fields, "connection"), usize::from(tunnel));
    assert_eq!(count(again.fields, "upgrade"), usize::from(tunnel));
    let ours = ["host", "expect", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via"];
    same_fields(head.fields, again.fields, &ours);
    let mut sent = again.fields.iter();
    let all_sent = head
        .end_to_end()
        .filter(|field| !field.name.eq_ignore_ascii_case("x-forwarded-for"))
        .all(|field| sent.any(|other| other == field));
    assert!(all_sent, "something meant for the recipient was lost");
    if how.forwarded.is_some() {
        assert_eq!(count(again.fields, "x-forwarded-for"), 1);
        assert!(again.header("x-forwarded-for").is_some_and(|value| value.ends_with(b"192.0.2.7")));
        assert!(count(again.fields, "via") == count(head.fields, "via") + 1);
    } else {
        let mut twice = Vec::new();
        write_request(&again, how, &mut twice);
        assert_eq!(out, twice, "{} and {}", out.escape_ascii(), twice.escape_ascii());
    }
}

/// Everything that must hold when these bytes come as a response.
pub fn response(bytes: &[u8]) {
    for (limits, method) in all_limits().into_iter().flat_map(|limits| [(limits, "GET"), (limits, "HEAD")]) {
        let read = |part: &[u8]| {
            parse_response(part, &mut slots(), &limits, method).map(|head| head.as_ref().map(Response::from))
        };
        pieces_make_no_difference(bytes, &limits, read);
        let mut places = slots();
        let Ok(Some(head)) = parse_response(bytes, &mut places, &limits, method) else { continue };
        assert!(head.len <= limits.head && head.fields.len() <= limits.fields, "a limit was passed");
        assert!(!(head.keep_alive && head.framing == Framing::Close));
        for client in [Version::Http10, Version::Http11] {
            for keep_alive in [true, false] {
                let how = Returning {
                    client,
                    keep_alive,
                    upgrade: true,
                    framing: head.framing,
                    via: true,
                    extra: &[("x-mark", "1")],
                };
                written_response_is_sound(&head, &how, method);
            }
        }
    }
}

fn written_response_is_sound(head: &ResponseHead<'_, '_>, how: &Returning<'_>, method: &str) {
    let mut out = Vec::new();
    write_response(head, how, &mut out);
    if head.status < 200 && how.client == Version::Http10 {
        assert!(out.is_empty());
        return;
    }
    is_strict(&out);
    let mut places = slots();
    let limits = Limits { head: usize::MAX, ..Limits::default() };
    let again = match parse_response(&out, &mut places, &limits, method) {
        Ok(Some(again)) => again,
        Err(Refused::TooManyFields) if head.fields.len() > 95 => return,
        other => unreachable!("{other:?} for {}", out.escape_ascii()),
    };
    assert_eq!(again.len, out.len(), "more or less than one head was written");
    assert_eq!((again.status, again.reason, again.version), (head.status, head.reason, Version::Http11));
    let unframed = how.client == Version::Http10 && head.framing == Framing::Chunked;
    assert_eq!(again.framing, if unframed { Framing::Close } else { head.framing });
    let keeps = how.keep_alive && again.framing != Framing::Close;
    if head.status >= 200 {
        assert_eq!(again.keep_alive, keeps);
        let says = usize::from(!keeps || how.client == Version::Http10);
        assert_eq!(count(again.fields, "connection"), says);
    }
    assert_eq!(again.upgrade, head.upgrade);
    assert_eq!(count(again.fields, "upgrade"), usize::from(head.upgrade));
    if unframed {
        assert_eq!(count(again.fields, "transfer-encoding"), 0);
    }
    assert_eq!(again.header("x-mark"), Some(&b"1"[..]));
    same_fields(head.fields, again.fields, &["via", "x-mark"]);
    let mut sent = again.fields.iter();
    let all_sent = head.end_to_end().all(|field| sent.any(|other| other == field));
    assert!(all_sent, "something meant for the recipient was lost");
    assert_eq!(count(again.fields, "via"), count(head.fields, "via") + 1);
}

/// Bytes that arrive in pieces are read as bytes that arrive at once, and `is_worth_parsing` never hides a
/// head that is complete.
fn pieces_make_no_difference<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    limits: &Limits,
    read: impl Fn(&[u8]) -> Result<Option<T>, Refused>,
) {
    let whole = read(bytes);
    let mut decided = false;
    for end in cuts(bytes.len()) {
        let part = read(&bytes[..end]);
        if let Ok(None) = part {
            assert!(!decided, "undecided again after {end} bytes of {}", bytes.escape_ascii());
            continue;
        }
        assert_eq!(part, whole, "after {end} bytes of {}", bytes.escape_ascii());
        if !decided && part.is_ok() && bytes.len() <= 1024 {
            assert!(is_worth_parsing(&bytes[..end], end - 1, limits), "a complete head was not looked at");
        }
        decided = true;
    }
}

/// Every place to cut short bytes, some of them for long ones.
fn cuts(len: usize) -> Vec<usize> {
    let step = len / 1024 + 1;
    (0..len).filter(|end| end % step == 0 || *end < 64 || *end + 64 > len).chain([len]).collect()
}

/// A head as the standard writes it, seen without the parser.
fn is_strict(head: &[u8]) {
    let lines = head.strip_suffix(b"\r\n\r\n");
    assert!(lines.is_some(), "no empty line at the end of {}", head.escape_ascii());
    let text: Vec<&[u8]> = split_lines(lines.unwrap_or_default());
    for (at, line) in text.iter().enumerate() {
        let good = line.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        assert!(good && !line.is_empty(), "a line holds control bytes: {}", line.escape_ascii());
        if at > 0 {
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(0);
            assert!(colon > 0 && line.get(colon + 1) == Some(&b' '), "not a field: {}", line.escape_ascii());
            let named = line[..colon]
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
            assert!(named, "not a name: {}", line.escape_ascii());
            let value = &line[colon + 2..];
            assert!(
                !value.starts_with(b" ") && !value.ends_with(b" "),
                "not trimmed: {}",
                line.escape_ascii()
            );
        }
    }
}

fn split_lines(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    lines
}

fn count(fields: &[httparse::Header<'_>], name: &str) -> usize {
    fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count()
}

const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "http2-settings",
    "proxy-authentication-info",
];

/// Those of them that leave with a meaning of ours, and are checked for themselves.
const WRITTEN_ANEW: [&str; 4] = ["connection", "te", "transfer-encoding", "upgrade"];

/// What `Connection` may not take away.
const MEANT_FOR_ALL: [&str; 18] = [
    "via",
    "host",
    "cookie",
    "expect",
    "location",
    "forwarded",
    "x-real-ip",
    "set-cookie",
    "content-type",
    "authorization",
    "cache-control",
    "content-range",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "content-encoding",
    "x-forwarded-proto",
    "content-length",
];

/// All that is meant for the recipient arrives, in order and unchanged, and nothing else does.
fn same_fields(before: &[httparse::Header<'_>], after: &[httparse::Header<'_>], apart: &[&str]) {
    let named: Vec<String> = before
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"))
        .flat_map(|field| field.value.split(|&byte| byte == b','))
        .map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase())
        .filter(|name| !MEANT_FOR_ALL.contains(&name.as_str()))
        .collect();
    let stays = |fields: &[httparse::Header<'_>]| -> Fields {
        own(fields)
            .into_iter()
            .filter(|(name, _)| {
                let name = name.to_ascii_lowercase();
                let name = name.as_str();
                !HOP_BY_HOP.contains(&name) && !apart.contains(&name) && name != "content-length"
            })
            .collect()
    };
    let mut expected = stays(before);
    expected.retain(|(name, _)| !named.contains(&name.to_ascii_lowercase()));
    assert_eq!(stays(after), expected);
    for name in HOP_BY_HOP.iter().filter(|name| !WRITTEN_ANEW.contains(name)) {
        assert_eq!(count(after, name), 0, "{name} was passed on");
    }
    for field in after.iter().filter(|field| field.name.eq_ignore_ascii_case("te")) {
        assert_eq!(field.value, b"trailers");
    }
}

/// How a body went by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passed {
    /// Sound bytes of the message.
    pub consumed: usize,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its trailers, as they stood.
    pub trailers: Vec<u8>,
    /// Whether it ended, or why not.
    pub end: Result<bool, Refused>,
}

/// Lets a body go by in pieces of these sizes, over and over.
#[must_use]
pub fn pass(framing: Framing, bytes: &[u8], sizes: &[usize]) -> Passed {
    let mut body = Body::new(framing);
    let mut passed =
        Passed { consumed: 0, payload: Vec::new(), trailers: Vec::new(), end: Ok(body.is_done()) };
    let mut sizes = sizes.iter().cycle();
    let mut rest = bytes;
    while !rest.is_empty() && passed.end == Ok(false) {
        let (mut piece, later) = rest.split_at(sizes.next().map_or(1, |size| (*size).clamp(1, rest.len())));
        rest = later;
        while !piece.is_empty() && passed.end == Ok(false) {
            match body.next(piece) {
                Ok(step) => {
                    assert!(step.consumed > 0, "no progress");
                    assert!(step.data.end <= step.consumed && step.consumed <= piece.len());
                    assert_eq!(step.done, body.is_done());
                    passed.consumed += step.consumed;
                    passed.payload.extend_from_slice(&piece[step.data]);
                    passed.trailers.extend_from_slice(&piece[step.trailers]);
                    passed.end = Ok(step.done);
                    piece = &piece[step.consumed..];
                }
                Err(refused) => passed.end = Err(refused),
            }
        }
    }
    if let Ok(done) = passed.end {
        assert_eq!(body.eof().is_ok(), done || framing == Framing::Close);
    }
    passed
}

/// Everything that must hold when these bytes come as a body. The first two choose the framing.
pub fn body(bytes: &[u8]) {
    let [kind, length, rest @ ..] = bytes else { return };
    let framing = match kind % 8 {
        0 => Framing::None,
        1 => Framing::Close,
        2 => Framing::Length(u64::from(*length)),
        _ => Framing::Chunked,
    };
    let whole = pass(framing, rest, &[usize::MAX]);
    for sizes in [&[1][..], &[2, 3], &[usize::from(*length) + 1], &[1, 7, 64]] {
        assert_eq!(pass(framing, rest, sizes), whole, "in pieces of {sizes:?}");
    }
    let mut scanned = Body::new(framing);
    match (scanned.scan(rest), whole.end) {
        (Ok(scan), Ok(done)) => {
            assert_eq!((scan.consumed, scan.payload), (whole.consumed, whole.payload.len() as u64));
            assert_eq!(scan.done, done);
        }
        (outcome, end) => assert_eq!(outcome.err(), end.err()),
    }
    assert_eq!(scanned.sound(), whole.consumed);
    if whole.end == Ok(true) && framing == Framing::Chunked {
        let mut trailers = Vec::new();
        for (name, value) in trailer_fields(&whole.trailers) {
            trailers.extend_from_slice(format!("{name}: ").as_bytes());
            trailers.extend_from_slice(value);
            trailers.extend_from_slice(b"\r\n");
        }
        trailers.extend_from_slice(b"\r\n");
        let mut again = b"0\r\n".to_vec();
        again.extend_from_slice(&trailers);
        assert_eq!(pass(framing, &again, &[1]).trailers, trailers);
        let lines = whole.trailers.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(lines, trailers.iter().filter(|&&byte| byte == b'\n').count());
        assert!(rest[..whole.consumed].ends_with(&whole.trailers));
    }
    if whole.end == Ok(true) {
        let mut again = Vec::new();
        for chunk in whole.payload.chunks(usize::from(*length) + 1) {
            write_chunk(chunk, &mut again);
        }
        write_last_chunk(&mut again);
        let passed = pass(Framing::Chunked, &again, &[usize::MAX]);
        assert_eq!(
            passed,
            Passed {
                consumed: again.len(),
                payload: whole.payload,
                trailers: b"\r\n".to_vec(),
                end: Ok(true)
            }
        );
    }
}
