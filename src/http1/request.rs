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

impl<'b> RequestHead<'_, 'b> {
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
