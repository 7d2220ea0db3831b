//! The answers that Brownout writes itself, made in one place and marked.
//!
//! What it answers for lack of an upstream carries `x-brownout-error`; what a fault answers carries `x-brownout-fault`, so
//! that nobody debugs a fake error.

use crate::decision::Answer;
use crate::http1::Version;
use std::time::Duration;

/// Why Brownout answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The status.
    pub status: u16,
    /// A word for machines.
    pub kind: &'static str,
    /// A sentence for people.
    pub text: String,
    /// What marks it, if a fault had a hand in it.
    marks: Vec<(String, String)>,
}

impl Trouble {
    pub(super) fn new(status: u16, kind: &'static str, text: impl Into<String>) -> Self {
        Self { status, kind, text: text.into(), marks: Vec::new() }
    }

    /// The same, marked.
    pub(super) fn marked(mut self, mark: Option<&Mark<'_>>) -> Self {
        self.marks
            .extend(mark.into_iter().flat_map(Mark::fields).map(|(name, value)| (name.to_owned(), value)));
        self
    }
}

/// How the answer leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// To a client of this version.
    pub version: Version,
    /// The connection stays open.
    pub keep_alive: bool,
    /// The request was HEAD: no body.
    pub head: bool,
}

/// Writes a trouble.
pub(super) fn trouble(trouble: &Trouble, how: Leaving, out: &mut Vec<u8>) {
    let body = format!("brownout: {}\n", trouble.text);
    let mut headers = vec![
        ("content-type".to_owned(), "text/plain; charset=utf-8".to_owned()),
        ("x-brownout-error".to_owned(), trouble.kind.to_owned()),
    ];
    headers.extend_from_slice(&trouble.marks);
    write(trouble.status, &headers, body.as_bytes(), how, out);
}

/// Writes the answer of a fault.
pub(super) fn injected(answer: &Answer, how: Leaving, out: &mut Vec<u8>) {
    write(answer.status, &answer.headers, &answer.body, how, out);
}

/// What tells an injected outcome from a real one.
#[derive(Clone, Debug)]
pub(super) struct Mark<'n> {
    /// The names of the faults.
    pub faults: Vec<&'n str>,
    /// The injected delay.
    pub delay: Duration,
}

impl Mark<'_> {
    /// As header fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let names: Vec<String> = self.faults.iter().map(|name| plain(name)).collect();
        let millis = self.delay.as_secs_f64() * 1e3;
        let timing =
            names.iter().map(|name| format!("brownout;dur={millis:.1};desc=\"{name}\"")).collect::<Vec<_>>();
        [("x-brownout-fault", names.join(", ")), ("server-timing", timing.join(", "))].into_iter()
    }
}

/// A name as a header can carry it.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && c != '\\' || c == ' ' { c } else { '?' }).collect()
}

fn write(status: u16, headers: &[(String, String)], body: &[u8], how: Leaving, out: &mut Vec<u8>) {
    let reason =
        http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("");
    out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    for (name, value) in headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    let bodiless = status < 200 || status == 204 || status == 304;
    if !bodiless {
        out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    if !how.keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    } else if how.version == Version::Http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !bodiless && !how.head {
        out.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_injected_answer_says_so() {
        let mark = Mark { faults: vec!["größe \"x\"", "b"], delay: Duration::from_millis(1500) };
        let marks = mark.fields().map(|(name, value)| (name.to_owned(), value));
        let headers = [("retry-after".to_owned(), "1".to_owned())].into_iter().chain(marks).collect();
        let answer = Answer { status: 503, headers, body: b"busy".to_vec() };
        let how = Leaving { version: Version::Http11, keep_alive: true, head: false };
        let mut out = Vec::new();
        injected(&answer, how, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"), "{text}");
        assert!(text.contains("x-brownout-fault: gr??e \"x\", b\r\n"), "{text}");
        assert!(text.contains("brownout;dur=1500.0;desc=\"b\""), "{text}");
        assert!(text.ends_with("content-length: 4\r\n\r\nbusy"), "{text}");
    }

    #[test]
    fn no_body_where_none_may_be() {
        let how = Leaving { version: Version::Http10, keep_alive: false, head: true };
        let mut out = Vec::new();
        trouble(&Trouble::new(502, "connect", "no"), how, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("content-length: 13\r\n") && text.ends_with("connection: close\r\n\r\n"),
            "{text}"
        );
        let mut out = Vec::new();
        injected(&Answer { status: 204, headers: vec![], body: b"x".to_vec() }, how, &mut out);
        assert!(!String::from_utf8(out).unwrap().contains("content-length"));
    }
}
