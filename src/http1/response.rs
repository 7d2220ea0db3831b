//! Response heads: read as strictly as requests, written anew.
//!
//! Invariants: how a body ends is decided once, from the method, the status and the fields, and an answer
//! that could be read in two ways is refused; nothing that is meant for one hop only is passed on. Must
//! not know: whose answer it is, whether the client still waits.

use httparse::{Error, Header, Status};

use super::Refused;
use super::framing::{Framing, write_framing};
use super::head::{Limits, MAX_FIELDS, Slots, Version, copy_fields, refuse_version, write_field};
use super::names::{Name, classify, elements, is_token, is_value_byte};
use super::survey::Survey;

/// A response head that was accepted.
#[derive(Debug)]
pub struct ResponseHead<'h, 'b> {
    /// The status code, 100 to 599.
    pub status: u16,
    /// The reason phrase; empty when it is not UTF-8.
    pub reason: &'b str,
    /// The version of the sender.
    pub version: Version,
    /// All fields as they were sent.
    pub fields: &'h [Header<'b>],
    /// How many bytes the head took.
    pub len: usize,
    /// How the body is delimited, the rules for HEAD, 1xx, 204 and 304 applied.
    pub framing: Framing,
    /// Whether the connection can carry another exchange after this answer.
    pub keep_alive: bool,
    /// A 101 that names what it switches to; see [`ResponseHead::switches_to`].
    pub upgrade: bool,
    head: &'b [u8],
    survey: Survey<'b>,
}

impl<'h, 'b> ResponseHead<'h, 'b> {
    /// The first field of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The fields that are meant for the recipient: without hop-by-hop ones, those that Connection names,
    /// and framing ([`ResponseHead::announced_length`] has the length). For whoever passes the answer on
    /// as something else than HTTP/1.1.
    pub fn end_to_end(&self) -> impl Iterator<Item = &'h Header<'b>> {
        Survey::rest(self.fields, self.survey.skip)
    }

    /// Whether this is an interim answer: another one follows. 101 is not.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The Content-Length that was announced, also where it frames nothing (HEAD, 304).
    #[must_use]
    pub fn announced_length(&self) -> Option<u64> {
        self.survey.length
    }

    /// Whether this answer switches to protocols that were all `asked` for
    /// ([`super::RequestHead::upgrade`]); with or without a version (`websocket/13`).
    #[must_use]
    pub fn switches_to(&self, asked: &[u8]) -> bool {
        self.upgrade
            && self.survey.upgrade.is_some_and(|chosen| {
                elements(chosen).all(|one| elements(asked).any(|other| one.eq_ignore_ascii_case(other)))
            })
    }
}

/// Reads a response head from the start of `buf`; `None` when there is not enough of it yet. `method` is
/// that of the request.
///
/// Nothing may stand before the status line: it would be left over from another answer. A missing space
/// before an empty reason phrase is accepted.
///
/// # Errors
///
/// Refuses what [`Refused`] lists. Of answers that may have no body, 1xx and 204 may announce an empty one
/// (it is not passed on) but no other; 304 and answers to HEAD may announce what they would have carried.
pub fn parse_response<'h, 'b>(
    buf: &'b [u8],
    slots: &'h mut Slots<'b>,
    limits: &Limits,
    method: &str,
) -> Result<Option<ResponseHead<'h, 'b>>, Refused> {
    match buf.first() {
        None => return Ok(None),
        Some(b'H') => {}
        Some(_) => return Err(Refused::StatusLine),
    }
    let bounded = &buf[..buf.len().min(limits.head)];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let len = match config.parse_response_with_uninit_headers(&mut response, bounded, slots) {
        Ok(Status::Complete(len)) => len,
        outcome => return unfinished(bounded, outcome, limits),
    };
    let head = &bounded[..len];
    let (Some(minor), Some(status)) = (response.version, response.code) else {
        return Err(Refused::StatusLine);
    };
    let fields: &'h [Header<'b>] = response.headers;
    if fields.len() > limits.fields.min(MAX_FIELDS) {
        return Err(Refused::TooManyFields);
    }
    if !(100..=599).contains(&status) {
        return Err(Refused::StatusCode);
    }
    let reason = read_reason(head)?;
    let version = Version::from(minor);
    let survey = Survey::new(head, fields)?;
    if survey.chunked && version == Version::Http10 {
        return Err(Refused::CodingInHttp10);
    }
    let framing = choose_framing(status, method, &survey)?;
    let upgrade = status == 101;
    if upgrade && !(version == Version::Http11 && names_protocol(&survey)) {
        return Err(Refused::BadSwitch);
    }
    let stays = !survey.close && (version == Version::Http11 || survey.keep_alive);
    Ok(Some(ResponseHead {
        status,
        reason,
        version,
        fields,
        len,
        framing,
        keep_alive: stays && framing != Framing::Close && !upgrade,
        upgrade,
        head,
        survey,
    }))
}

/// Decides about a head that the parser did not finish.
#[cold]
fn unfinished<'h, 'b>(
    bounded: &'b [u8],
    outcome: httparse::Result<usize>,
    limits: &Limits,
) -> Result<Option<ResponseHead<'h, 'b>>, Refused> {
    let refused = match outcome {
        Ok(_) => None,
        Err(Error::Version) => refuse_version(bounded, Refused::StatusLine),
        Err(Error::Status | Error::Token) => Some(Refused::StatusLine),
        Err(Error::HeaderName) => Some(Refused::FieldName),
        Err(Error::HeaderValue) => Some(Refused::FieldValue),
        Err(Error::TooManyHeaders) => Some(Refused::TooManyFields),
        Err(Error::NewLine) => Some(Refused::LineEnd),
    };
    match refused {
        Some(refused) => Err(refused),
        None if bounded.len() >= limits.head => Err(Refused::HeadTooLarge),
        None => Ok(None),
    }
}

/// Takes the reason phrase from `HTTP/1.x NNN reason CRLF`, and checks that line and the last one for
/// CRLF: the parser takes a bare LF, and drops a phrase that is not ASCII.
fn read_reason(head: &[u8]) -> Result<&str, Refused> {
    let after = head.get(12..).unwrap_or_default();
    let line = after.iter().position(|&byte| byte == b'\n').map(|end| &after[..end]);
    let Some([phrase @ .., b'\r']) = line else { return Err(Refused::LineEnd) };
    if head[head.len() - 2] != b'\r' {
        return Err(Refused::LineEnd);
    }
    match phrase {
        [] => Ok(""),
        [b' ', phrase @ ..] if phrase.iter().all(|&byte| is_value_byte(byte)) => {
            Ok(std::str::from_utf8(phrase).unwrap_or(""))
        }
        _ => Err(Refused::StatusLine),
    }
}

fn choose_framing(status: u16, method: &str, survey: &Survey<'_>) -> Result<Framing, Refused> {
    match status {
        100..=199 | 204 if survey.chunked || survey.length.is_some_and(|length| length > 0) => {
            Err(Refused::BodyNotAllowed)
        }
        100..=199 | 204 | 304 => Ok(Framing::None),
        _ if method == "HEAD" => Ok(Framing::None),
        _ if survey.chunked => Ok(Framing::Chunked),
        _ => Ok(survey.length.map_or(Framing::Close, Framing::Length)),
    }
}

fn names_protocol(survey: &Survey<'_>) -> bool {
    survey.wants_upgrade
        && !survey.many_upgrades
        && survey.upgrade.is_some_and(|value| elements(value).next().is_some())
}

/// How a response head goes back to the client.
#[derive(Clone, Copy, Debug)]
pub struct Returning<'a> {
    /// The version of the client.
    pub client: Version,
    /// Whether its connection stays open.
    pub keep_alive: bool,
    /// Pass a 101 on as such.
    pub upgrade: bool,
    /// How the body is sent to this client; [`Framing::Close`] instead of chunks for HTTP/1.0.
    pub framing: Framing,
    /// Adds `Via`.
    pub via: bool,
    /// Fields to add; those that are not valid, or are the codec's own, are left out.
    pub extra: &'a [(&'a str, &'a str)],
}

/// Appends the head as it goes to the client.
///
/// An interim answer has neither framing nor Connection, and is not written at all for an HTTP/1.0
/// client. A body that ends with the connection closes it, whatever `how.keep_alive` says; so does one in
/// chunks for an HTTP/1.0 client, which gets no coding announced.
pub fn write_response(head: &ResponseHead<'_, '_>, how: &Returning<'_>, out: &mut Vec<u8>) {
    if head.status < 200 && how.client == Version::Http10 {
        return;
    }
    let survey = &head.survey;
    out.reserve(head.head.len() + 128);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&head.head[9..12]);
    out.push(b' ');
    out.extend_from_slice(head.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    copy_fields(head.head, head.fields, survey.skip, survey.odd, out);
    if how.via {
        out.extend_from_slice(head.version.via());
    }
    for (name, value) in how.extra {
        let ours = classify(name.as_bytes()) != Name::Other; // framing and the connection are not extras
        if !ours && is_token(name.as_bytes()) && value.bytes().all(is_value_byte) {
            write_field(name.as_bytes(), value.as_bytes(), out);
        }
    }
    if head.status < 200 {
        if let Some(protocol) = survey.upgrade.filter(|_| head.upgrade && how.upgrade) {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            write_field(b"Upgrade", protocol, out);
        }
    } else {
        write_ending(head, how, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Framing and Connection of a final answer.
fn write_ending(head: &ResponseHead<'_, '_>, how: &Returning<'_>, out: &mut Vec<u8>) {
    let framing = match how.framing {
        Framing::Chunked if how.client == Version::Http10 => Framing::Close,
        // What it would have carried: nothing of this frames an answer to HEAD or a 304.
        Framing::None if head.framing == Framing::None && head.status != 204 => {
            head.survey.length.map_or(Framing::None, Framing::Length)
        }
        framing => framing,
    };
    write_framing(framing, out);
    match how.client {
        _ if !how.keep_alive || framing == Framing::Close => out.extend_from_slice(b"Connection: close\r\n"),
        Version::Http10 => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Version::Http11 => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots;
    use super::*;

    const PLAIN: Returning<'static> = Returning {
        client: Version::Http11,
        keep_alive: true,
        upgrade: false,
        framing: Framing::None,
        via: true,
        extra: &[],
    };

    fn with_head<T>(text: &str, method: &str, look: impl FnOnce(&ResponseHead<'_, '_>) -> T) -> T {
        let mut slots = slots();
        look(&parse_response(text.as_bytes(), &mut slots, &Limits::default(), method).unwrap().unwrap())
    }

    fn written(text: &str, method: &str, how: &Returning<'_>) -> String {
        with_head(text, method, |head| {
            let mut out = Vec::new();
            write_response(head, how, &mut out);
            String::from_utf8(out).unwrap()
        })
    }

    #[test]
    fn the_end_of_a_body_is_known_from_method_status_and_fields() {
        let length = "Content-Length: 5\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n";
        for (start, fields, method, framing, stays) in [
            ("HTTP/1.1 200 OK", length, "GET", Framing::Length(5), true),
            ("HTTP/1.1 200 OK", chunked, "GET", Framing::Chunked, true),
            ("HTTP/1.1 200 OK", "", "GET", Framing::Close, false),
            ("HTTP/1.1 200 OK", length, "HEAD", Framing::None, true),
            ("HTTP/1.1 200 OK", chunked, "HEAD", Framing::None, true),
            ("HTTP/1.1 200 OK", "", "HEAD", Framing::None, true),
            ("HTTP/1.1 204 No Content", "Content-Length: 0\r\n", "GET", Framing::None, true),
            ("HTTP/1.1 304 Not Modified", length, "GET", Framing::None, true),
            ("HTTP/1.1 304 Not Modified", chunked, "GET", Framing::None, true),
            ("HTTP/1.1 103 Early Hints", "", "GET", Framing::None, true),
            ("HTTP/1.0 200 OK", length, "GET", Framing::Length(5), false),
            (
                "HTTP/1.0 200 OK",
                "Connection: keep-alive\r\nContent-Length: 5\r\n",
                "GET",
                Framing::Length(5),
                true,
            ),
            ("HTTP/1.0 200 OK", "Connection: keep-alive\r\n", "GET", Framing::Close, false),
            (
                "HTTP/1.1 200 OK",
                "Connection: close\r\nContent-Length: 5\r\n",
                "GET",
                Framing::Length(5),
                false,
            ),
            ("HTTP/1.1 101 X", "Connection: upgrade\r\nUpgrade: x\r\n", "GET", Framing::None, false),
        ] {
            with_head(&format!("{start}\r\n{fields}\r\n"), method, |head| {
                assert_eq!((head.framing, head.keep_alive), (framing, stays), "{start} {fields} {method}");
            });
        }
    }

    #[test]
    fn reasons_are_kept() {
        for (line, reason) in [
            ("HTTP/1.1 200 Fine, thanks", "Fine, thanks"),
            ("HTTP/1.1 200 ", ""),
            ("HTTP/1.1 200", ""),
            ("HTTP/1.1 200 Gr\u{fc}n", "Gr\u{fc}n"),
            ("HTTP/1.1 200  a ", " a "),
        ] {
            with_head(&format!("{line}\r\nContent-Length: 0\r\n\r\n"), "GET", |head| {
                assert_eq!((head.status, head.reason), (200, reason));
            });
        }
    }

    #[test]
    fn a_switch_answers_what_was_asked() {
        let text = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        with_head(text, "GET", |head| {
            assert!(head.upgrade && !head.is_interim());
            assert!(head.switches_to(b"websocket") && head.switches_to(b"a, websocket"));
            assert!(!head.switches_to(b"a") && !head.switches_to(b""));
        });
        assert_eq!(
            written(text, "GET", &Returning { upgrade: true, ..PLAIN }),
            "HTTP/1.1 101 X\r\nVia: 1.1 brownout\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
        );
    }

    #[test]
    fn clients_hear_what_they_understand() {
        let text =
            "HTTP/1.0 200 OK\r\nA: 1\r\nConnection: b\r\nKeep-Alive: 5\r\nB: 2\r\nUpgrade: x\r\nC:3\r\n\r\n";
        let old = Version::Http10;
        let close = Framing::Close;
        for (how, end) in [
            (Returning { framing: close, ..PLAIN }, "Connection: close\r\n"),
            (Returning { framing: Framing::Chunked, ..PLAIN }, "Transfer-Encoding: chunked\r\n"),
            (
                Returning { framing: Framing::Chunked, keep_alive: false, ..PLAIN },
                "Transfer-Encoding: chunked\r\nConnection: close\r\n",
            ),
            (Returning { framing: Framing::Chunked, client: old, ..PLAIN }, "Connection: close\r\n"),
            (
                Returning { framing: Framing::Length(5), client: old, ..PLAIN },
                "Content-Length: 5\r\nConnection: keep-alive\r\n",
            ),
            (Returning { framing: Framing::Length(5), ..PLAIN }, "Content-Length: 5\r\n"),
        ] {
            let start = "HTTP/1.1 200 OK\r\nA: 1\r\nC: 3\r\nVia: 1.0 brownout\r\n";
            assert_eq!(written(text, "GET", &how), format!("{start}{end}\r\n"));
        }
    }

    #[test]
    fn interim_answers_go_to_those_who_know_them() {
        let text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: close\r\n\r\n";
        assert_eq!(
            written(text, "GET", &Returning { keep_alive: false, ..PLAIN }),
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\nVia: 1.1 brownout\r\n\r\n"
        );
        assert_eq!(written(text, "GET", &Returning { client: Version::Http10, ..PLAIN }), "");
    }

    #[test]
    fn what_frames_nothing_is_still_told() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert!(written(text, "HEAD", &PLAIN).contains("Content-Length: 5\r\n"));
        let text = "HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(written(text, "GET", &PLAIN), "HTTP/1.1 204 X\r\nVia: 1.1 brownout\r\n\r\n");
    }

    #[test]
    fn extras_cannot_break_a_head() {
        let extra =
            &[("x-fault", "delay"), ("a b", "c"), ("d", "e\r\nf: g"), ("Content-Length", "9"), ("", "h")];
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(
            written(text, "GET", &Returning { framing: Framing::Length(5), extra, ..PLAIN }),
            "HTTP/1.1 200 OK\r\nVia: 1.1 brownout\r\nx-fault: delay\r\nContent-Length: 5\r\n\r\n"
        );
    }
}
