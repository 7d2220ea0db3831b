//! Request heads: read strictly, written anew.
//!
//! Invariants: a request that is accepted has one meaning; exactly one valid Host leaves, at most one
//! framing field, nothing that is meant for one hop only. Must not know: where the request goes.

use httparse::{Error, Header, Status};

use super::Refused;
use super::framing::{Framing, write_framing};
use super::head::{Limits, MAX_FIELDS, Slots, Version, copy_fields, refuse_version, write_field};
use super::host::{is_host, is_target};
use super::names::elements;
use super::survey::Survey;

/// A request head that was accepted.
#[derive(Debug)]
pub struct RequestHead<'h, 'b> {
    /// The method: a token, in its own case.
    pub method: &'b str,
    /// The target to send: origin-form, or `*`.
    pub target: &'b str,
    /// The authority of a target in absolute-form; it overrides Host.
    pub authority: Option<&'b str>,
    /// Host, as it was sent; valid.
    pub host: Option<&'b [u8]>,
    /// The version of the sender.
    pub version: Version,
    /// All fields as they were sent.
    pub fields: &'h [Header<'b>],
    /// How many bytes the head took, an empty line before it included.
    pub len: usize,
    /// How the body is delimited; never [`Framing::Close`].
    pub framing: Framing,
    /// Whether the sender wants to go on with this connection.
    pub keep_alive: bool,
    /// Whether a body is held back until 100 comes; never without a body, never in HTTP/1.0.
    pub expect_continue: bool,
    /// The protocols asked for; only in HTTP/1.1, without a body, named by Connection, and not `h2c`.
    /// Otherwise the wish is not passed on, which RFC 9110 allows to any server.
    pub upgrade: Option<&'b [u8]>,
    head: &'b [u8],
    survey: Survey<'b>,
}

impl<'h, 'b> RequestHead<'h, 'b> {
    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &'b str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// What follows the first `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'b str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The first field of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The fields that are meant for the recipient: without hop-by-hop ones, those that Connection names,
    /// Host, Expect and framing. For whoever sends the request on as something else than HTTP/1.1.
    pub fn end_to_end(&self) -> impl Iterator<Item = &'h Header<'b>> {
        Survey::rest(self.fields, self.survey.skip | self.survey.hosts | self.survey.expects)
    }

    /// Whom the request is for, as the client said it.
    fn asked_host(&self) -> Option<&'b [u8]> {
        self.authority.map(str::as_bytes).or(self.host)
    }
}

/// Reads a request head from the start of `buf`; `None` when there is not enough of it yet.
///
/// One empty line (CRLF) before the request is passed over, as RFC 9112 §2.2 asks for: old clients send
/// one after a body. It never goes on, so nobody behind us can read it otherwise. A second one, or one of
/// a bare LF, is refused.
///
/// # Errors
///
/// Refuses what [`Refused`] lists, as early as it can be known; limits are checked on heads that are
/// still incomplete, too.
pub fn parse_request<'h, 'b>(
    buf: &'b [u8],
    slots: &'h mut Slots<'b>,
    limits: &Limits,
) -> Result<Option<RequestHead<'h, 'b>>, Refused> {
    let skipped = match buf {
        [] | b"\r" | b"\r\n" => return Ok(None),
        [b'\r', b'\n', b'\r' | b'\n', ..] => return Err(Refused::EmptyLine),
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => return Err(Refused::EmptyLine),
        _ => 0,
    };
    let rest = &buf[skipped..];
    let bounded = &rest[..rest.len().min(limits.head)];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(bounded, slots) {
        Ok(Status::Complete(len)) => len,
        outcome => return unfinished(bounded, &request, outcome, limits),
    };
    let head = &bounded[..len];
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refused::Method);
    };
    if target.len() > limits.target {
        return Err(Refused::TargetTooLong);
    }
    let fields: &'h [Header<'b>] = request.headers;
    if fields.len() > limits.fields.min(MAX_FIELDS) {
        return Err(Refused::TooManyFields);
    }
    // `method SP target SP HTTP/1.x` and the empty line at the end must end with CRLF, too.
    if head.get(method.len() + target.len() + 10) != Some(&b'\r') || head[len - 2] != b'\r' {
        return Err(Refused::LineEnd);
    }
    let version = Version::from(minor);
    let (target, authority) = read_target(method, target)?;
    let survey = Survey::new(head, fields)?;
    let host = check_host(&survey, version)?;
    let framing = match (survey.chunked, survey.length) {
        (true, _) if version == Version::Http10 => return Err(Refused::CodingInHttp10),
        (true, _) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::None,
    };
    if framing != Framing::None && method.eq_ignore_ascii_case("TRACE") {
        return Err(Refused::TraceBody);
    }
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    let expects = expects_continue(&survey)?;
    let may_upgrade = version == Version::Http11 && !has_body && survey.wants_upgrade;
    Ok(Some(RequestHead {
        method,
        target,
        authority,
        host,
        version,
        fields,
        len: skipped + len,
        framing,
        keep_alive: !survey.close && (version == Version::Http11 || survey.keep_alive),
        expect_continue: expects && has_body && version == Version::Http11,
        upgrade: if may_upgrade { wanted_protocol(&survey) } else { None },
        head,
        survey,
    }))
}

/// Decides about a head that the parser did not finish.
#[cold]
fn unfinished<'h, 'b>(
    bounded: &'b [u8],
    request: &httparse::Request<'_, '_>,
    outcome: httparse::Result<usize>,
    limits: &Limits,
) -> Result<Option<RequestHead<'h, 'b>>, Refused> {
    let method = bounded.iter().position(|&byte| byte == b' ').unwrap_or(bounded.len());
    let after = bounded.get(method + 1..).unwrap_or_default();
    let target = after.iter().position(|&byte| byte <= b' ' || byte == 0x7f).unwrap_or(after.len());
    let in_target = request.method.is_some();
    if in_target && target > limits.target {
        return Err(Refused::TargetTooLong);
    }
    match outcome {
        Err(Error::Token) if in_target => Err(Refused::TargetBytes),
        Err(Error::Token) => Err(Refused::Method),
        Err(Error::Version) => {
            let version = after.get(target + 1..).unwrap_or_default();
            match refuse_version(version, Refused::Version) {
                Some(refused) => Err(refused),
                None if bounded.len() >= limits.head => Err(Refused::HeadTooLarge),
                None => Ok(None),
            }
        }
        Err(Error::HeaderName) => Err(Refused::FieldName),
        Err(Error::HeaderValue) => Err(Refused::FieldValue),
        Err(Error::TooManyHeaders) => Err(Refused::TooManyFields),
        Err(Error::NewLine | Error::Status) => Err(Refused::LineEnd),
        Ok(_) if bounded.len() >= limits.head => Err(Refused::HeadTooLarge),
        Ok(_) => Ok(None),
    }
}

/// Splits what was asked for into the target to send and the authority.
fn read_target<'b>(method: &str, target: &'b str) -> Result<(&'b str, Option<&'b str>), Refused> {
    if method.eq_ignore_ascii_case("CONNECT") {
        return Err(Refused::Connect);
    }
    if !is_target(target.as_bytes()) {
        return Err(Refused::TargetBytes);
    }
    if target.starts_with('/') {
        return Ok((target, None));
    }
    if target == "*" {
        return if method == "OPTIONS" { Ok((target, None)) } else { Err(Refused::TargetForm) };
    }
    let Some((scheme, rest)) = target.split_once("://") else { return Err(Refused::TargetForm) };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Refused::TargetForm);
    }
    // Without a path, what follows `?` belongs to the host for some readers: then it is not a valid host.
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !is_host(authority.as_bytes()) {
        return Err(Refused::Authority);
    }
    Ok(match path {
        "" if method == "OPTIONS" => ("*", Some(authority)),
        "" => ("/", Some(authority)),
        _ => (path, Some(authority)),
    })
}

fn check_host<'b>(survey: &Survey<'b>, version: Version) -> Result<Option<&'b [u8]>, Refused> {
    match survey.host {
        _ if survey.hosts & survey.hosts.wrapping_sub(1) != 0 => Err(Refused::ManyHosts),
        Some(host) if is_host(host) => Ok(Some(host)),
        Some(_) => Err(Refused::BadHost),
        None if version == Version::Http11 => Err(Refused::NoHost),
        None => Ok(None),
    }
}

/// Any other expectation, and any other spelling of this one, is held or ignored as the reader likes.
fn expects_continue(survey: &Survey<'_>) -> Result<bool, Refused> {
    match survey.expect {
        None => Ok(false),
        _ if survey.expects & (survey.expects - 1) != 0 => Err(Refused::BadExpect),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(Refused::BadExpect),
    }
}

/// `h2c` would let requests through the tunnel that nobody here sees.
fn wanted_protocol<'b>(survey: &Survey<'b>) -> Option<&'b [u8]> {
    let value = survey.upgrade.filter(|_| !survey.many_upgrades)?;
    let mut wanted = elements(value).peekable();
    let named = wanted.peek().is_some();
    (named && wanted.all(|one| !one.eq_ignore_ascii_case(b"h2c"))).then_some(value)
}

/// Which Host leaves.
#[derive(Clone, Copy, Debug)]
pub enum HostRule<'a> {
    /// What the client asked for; this when it named none, as HTTP/1.0 may.
    Keep {
        /// The host of the upstream.
        fallback: &'a str,
    },
    /// This, whatever the client asked for.
    Replace(&'a str),
}

/// What the upstream is told about the client.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// Appended to `X-Forwarded-For`.
    pub peer_ip: &'a str,
    /// `X-Forwarded-Proto`, when there is none.
    pub proto: &'a str,
}

/// How a request head leaves.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Which Host leaves.
    pub host: HostRule<'a>,
    /// Adds `X-Forwarded-For`, `-Proto`, `-Host` and `Via`; nothing of it when `None`.
    pub forwarded: Option<Forwarded<'a>>,
    /// Pass the wish for another protocol on.
    pub upgrade: bool,
    /// Pass `Expect: 100-continue` on.
    pub expect: bool,
    /// Fields of this name stay here.
    pub without: Option<&'a str>,
}

/// Appends the head as it goes to the upstream: always HTTP/1.1, and nothing that was for us only.
pub fn write_request(head: &RequestHead<'_, '_>, how: &Outgoing<'_>, out: &mut Vec<u8>) {
    let survey = &head.survey;
    let asked = head.asked_host();
    out.reserve(head.head.len() + 256);
    write_start(head.method, head.target, choose_host(how.host, asked), out);
    let mut skip = survey.skip | survey.hosts | survey.expects;
    if how.forwarded.is_some() {
        skip |= survey.forwarded_for;
    }
    if let Some(name) = how.without {
        for (at, field) in head.fields.iter().enumerate() {
            skip |= u128::from(field.name.eq_ignore_ascii_case(name)) << at;
        }
    }
    copy_fields(head.head, head.fields, skip, survey.odd, out);
    write_framing(head.framing, out);
    if let Some(forwarded) = how.forwarded {
        let mut rest = survey.forwarded_for & !survey.skip;
        out.extend_from_slice(b"X-Forwarded-For: ");
        while rest != 0 {
            let value = head.fields[rest.trailing_zeros() as usize].value;
            rest &= rest - 1;
            if !value.is_empty() {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
        }
        out.extend_from_slice(forwarded.peer_ip.as_bytes());
        out.extend_from_slice(b"\r\n");
        if !survey.forwarded_proto {
            write_field(b"X-Forwarded-Proto", forwarded.proto.as_bytes(), out);
        }
        if let Some(host) = asked.filter(|_| !survey.forwarded_host) {
            write_field(b"X-Forwarded-Host", host, out);
        }
        out.extend_from_slice(head.version.via());
    }
    if survey.trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    if how.expect && head.expect_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if let Some(protocols) = head.upgrade.filter(|_| how.upgrade) {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        write_field(b"Upgrade", protocols, out);
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn choose_host<'a>(rule: HostRule<'a>, asked: Option<&'a [u8]>) -> &'a [u8] {
    match rule {
        HostRule::Keep { fallback } => asked.unwrap_or(fallback.as_bytes()),
        HostRule::Replace(host) => host.as_bytes(),
    }
}

pub(super) fn write_start(method: &str, target: &str, host: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(host);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::slots;
    use super::*;

    const PLAIN: Outgoing<'static> = Outgoing {
        host: HostRule::Keep { fallback: "up" },
        forwarded: None,
        upgrade: false,
        expect: false,
        without: None,
    };

    fn with_head<T>(text: &str, look: impl FnOnce(&RequestHead<'_, '_>) -> T) -> T {
        let mut slots = slots();
        look(&parse_request(text.as_bytes(), &mut slots, &Limits::default()).unwrap().unwrap())
    }

    fn written(text: &str, how: &Outgoing<'_>) -> String {
        with_head(text, |head| {
            let mut out = Vec::new();
            write_request(head, how, &mut out);
            String::from_utf8(out).unwrap()
        })
    }

    #[test]
    fn a_request_is_read() {
        let text =
            "\r\nPUT /a/b?c=d?e HTTP/1.1\r\nhost: x:80\r\nContent-Length: 7\r\nA: 1\r\na: 2\r\n\r\nbody";
        with_head(text, |head| {
            assert_eq!((head.method, head.target), ("PUT", "/a/b?c=d?e"));
            assert_eq!((head.path(), head.query()), ("/a/b", Some("c=d?e")));
            assert_eq!((head.host, head.authority), (Some(&b"x:80"[..]), None));
            assert_eq!((head.version, head.framing), (Version::Http11, Framing::Length(7)));
            assert_eq!((head.header("a"), head.header("b")), (Some(&b"1"[..]), None));
            assert_eq!((head.len, head.fields.len(), head.keep_alive), (text.len() - 4, 4, true));
        });
    }

    #[test]
    fn targets_become_origin_form() {
        for (line, target, authority) in [
            ("GET / HTTP/1.1", "/", None),
            ("GET //b HTTP/1.1", "//b", None),
            ("GET http://b HTTP/1.1", "/", Some("b")),
            ("GET http://b/ HTTP/1.1", "/", Some("b")),
            ("GET HTTPS://b:1/c?d HTTP/1.1", "/c?d", Some("b:1")),
            ("GET /http://b HTTP/1.1", "/http://b", None),
            ("OPTIONS * HTTP/1.1", "*", None),
            ("OPTIONS http://b HTTP/1.1", "*", Some("b")),
            ("OPTIONS http://b/ HTTP/1.1", "/", Some("b")),
        ] {
            with_head(&format!("{line}\r\nHost: a\r\n\r\n"), |head| {
                assert_eq!((head.target, head.authority), (target, authority), "{line}");
            });
        }
    }

    #[test]
    fn connections_stay_or_end() {
        for (version, connection, stays) in [
            ("1.1", "", true),
            ("1.1", "Connection: keep-alive\r\n", true),
            ("1.1", "Connection: CLOSE\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: x, close\r\n", false),
            ("1.1", "Proxy-Connection: close\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
            ("1.0", "Proxy-Connection: keep-alive\r\n", false),
        ] {
            with_head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n"), |head| {
                assert_eq!(head.keep_alive, stays, "{version} {connection}");
            });
        }
    }

    #[test]
    fn wishes_are_heard_where_they_may_be_granted() {
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
        for (start, fields, wanted, expects) in [
            ("GET / HTTP/1.1", upgrade.to_owned(), true, false),
            ("GET / HTTP/1.1", format!("{upgrade}Content-Length: 0\r\n"), true, false),
            ("GET / HTTP/1.0", upgrade.to_owned(), false, false),
            ("POST / HTTP/1.1", format!("{upgrade}Content-Length: 5\r\n"), false, false),
            ("POST / HTTP/1.1", format!("{upgrade}Transfer-Encoding: chunked\r\n"), false, false),
            ("GET / HTTP/1.1", "Upgrade: websocket\r\n".to_owned(), false, false),
            ("GET / HTTP/1.1", "Connection: upgrade\r\n".to_owned(), false, false),
            ("GET / HTTP/1.1", format!("{upgrade}Upgrade: x\r\n"), false, false),
            ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: x, H2C\r\n".to_owned(), false, false),
            ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: ,\r\n".to_owned(), false, false),
            ("POST / HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 5\r\n".to_owned(), false, true),
            ("POST / HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n".to_owned(), false, false),
            (
                "POST / HTTP/1.1",
                "Expect: 100-CONTINUE\r\nTransfer-Encoding: chunked\r\n".to_owned(),
                false,
                true,
            ),
            ("POST / HTTP/1.0", "Expect: 100-continue\r\nContent-Length: 5\r\n".to_owned(), false, false),
            ("GET / HTTP/1.1", "Expect: 100-continue\r\n".to_owned(), false, false),
        ] {
            with_head(&format!("{start}\r\nHost: a\r\n{fields}\r\n"), |head| {
                assert_eq!(
                    (head.upgrade.is_some(), head.expect_continue),
                    (wanted, expects),
                    "{start} {fields}"
                );
            });
        }
    }

    #[test]
    fn what_is_for_this_hop_stays_here() {
        let text = "GET / HTTP/1.0\r\nA: 1\r\nConnection: b, Cookie, x-forwarded-for, Host, close\r\nB: 2\r\nC: 3\r\n\
            Keep-Alive: 5\r\nD:4\r\nTE: gzip, trailers;q=1, Trailers\r\nProxy-Authorization: x\r\nb: 5\r\n\
            Cookie: c\r\nTrailer: t\r\nUpgrade: x\r\nHTTP2-Settings: y\r\nExpect: 100-continue\r\n\r\n";
        assert_eq!(
            written(text, &Outgoing { upgrade: true, expect: true, ..PLAIN }),
            "GET / HTTP/1.1\r\nHost: up\r\nA: 1\r\nC: 3\r\nD: 4\r\nCookie: c\r\nTrailer: t\r\nTE: trailers\r\n\r\n"
        );
    }

    #[test]
    fn a_field_can_be_kept_from_the_upstream() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nSecret: x\r\nsecret:y\r\nB: 2\r\n\r\n";
        let how = Outgoing { without: Some("secret"), ..PLAIN };
        assert_eq!(written(text, &how), "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n");
    }

    #[test]
    fn the_upstream_hears_who_asked() {
        let forwarded = Some(Forwarded { peer_ip: "192.0.2.7", proto: "http" });
        let text = "GET http://b/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nx-forwarded-for:\r\nX: y\r\n\
            X-Forwarded-For: 2, 3\r\nVia: 1.1 z\r\n\r\n";
        assert_eq!(
            written(text, &Outgoing { host: HostRule::Replace("up:1"), forwarded, ..PLAIN }),
            "GET / HTTP/1.1\r\nHost: up:1\r\nX: y\r\nVia: 1.1 z\r\nX-Forwarded-For: 1, 2, 3, 192.0.2.7\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: b\r\nVia: 1.1 brownout\r\n\r\n"
        );
        let text = "GET / HTTP/1.0\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: c\r\n\r\n";
        assert_eq!(
            written(text, &Outgoing { forwarded, ..PLAIN }),
            "GET / HTTP/1.1\r\nHost: up\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: c\r\n\
             X-Forwarded-For: 192.0.2.7\r\nVia: 1.0 brownout\r\n\r\n"
        );
    }

    #[test]
    fn bodies_and_wishes_are_announced_anew() {
        let text = "POST / HTTP/1.1\r\ncontent-length: 5\r\nHost: a\r\nExpect: 100-Continue\r\nX: y\r\n\r\n";
        assert_eq!(
            written(text, &Outgoing { expect: true, ..PLAIN }),
            "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        );
        let text =
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, upgrade\r\n\r\n";
        assert_eq!(
            written(text, &Outgoing { upgrade: true, ..PLAIN }),
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        assert_eq!(written(text, &PLAIN), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n";
        assert_eq!(written(text, &PLAIN), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    }

    #[test]
    fn limits_are_met_before_the_end() {
        let limits = Limits { head: 100, fields: 2, target: 10 };
        for (text, refused) in [
            ("GET /123456789".to_owned(), None),
            ("GET /1234567890".to_owned(), Some(Refused::TargetTooLong)),
            ("GET /1234567890 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Some(Refused::TargetTooLong)),
            (format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(77)), None),
            (format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(78)), Some(Refused::HeadTooLarge)),
            ("M".repeat(100), Some(Refused::HeadTooLarge)),
            (format!("{} / HTTP/2", "M".repeat(90)), None),
            (format!("{} / HTTP/2", "M".repeat(91)), Some(Refused::HeadTooLarge)),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nZ: z\r\n\r\n".to_owned(), Some(Refused::TooManyFields)),
        ] {
            let mut slots = slots();
            let outcome = parse_request(text.as_bytes(), &mut slots, &limits);
            assert_eq!(outcome.map(|head| assert!(head.is_none())).err(), refused, "{text}");
        }
        assert_eq!(Refused::TargetTooLong.status(), 414);
        assert_eq!(Refused::HeadTooLarge.status(), 431);
        assert_eq!(Refused::TooManyFields.status(), 431);
        assert_eq!(Refused::UnsupportedVersion.status(), 505);
        assert_eq!(Refused::LengthAndCoding.status(), 400);
    }
}
