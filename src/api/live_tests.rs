//! The live page's stream, tried over real sockets: who may look, how many, what they are told, and how it ends.

use super::live::VIEWERS;
use super::tests::{Site, open, site};
use super::{AdminConfig, Levers};
use crate::telemetry::{Event, Window};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Somebody who looks.
struct Viewer {
    reader: BufReader<TcpStream>,
    status: u16,
    head: String,
}

/// One event of the stream.
#[derive(Debug)]
struct Told {
    kind: String,
    data: Value,
}

fn look(site: &Site, lines: &str) -> Viewer {
    let mut stream = TcpStream::connect(("127.0.0.1", site.handle.addr().port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /api/v1/live HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Viewer { reader, status, head: head.to_ascii_lowercase() }
}

impl Viewer {
    /// The next event; comments and sizes of chunks are passed over.
    fn next(&mut self) -> Option<Told> {
        let (mut kind, mut data) = (String::new(), Value::Null);
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            if let Some(rest) = line.strip_prefix("event: ") {
                kind = rest.trim().to_owned();
            } else if let Some(rest) = line.strip_prefix("data: ") {
                data = serde_json::from_str(rest).unwrap();
            } else if line == "\n" && !kind.is_empty() {
                return Some(Told { kind, data });
            }
        }
    }

    /// The first frame in which a piece holds this text.
    fn sees(&mut self, piece: &str, text: &str) -> Told {
        loop {
            let told = self.next().unwrap_or_else(|| panic!("it ended before `{text}` was in {piece}"));
            if told.data["pieces"][piece].as_str().is_some_and(|html| html.contains(text)) {
                return told;
            }
        }
    }
}

#[test]
fn a_viewer_sees_everything_at_first_and_then_what_changes() {
    let site = site(&[]);
    let mut viewer = look(&site, "");
    assert_eq!(viewer.status, 200);
    assert!(viewer.head.contains("content-type: text/event-stream"), "{}", viewer.head);
    assert!(viewer.head.contains("cache-control: no-store") && viewer.head.contains("connection: close"));
    let first = viewer.next().unwrap();
    assert_eq!(first.kind, "frame");
    let pieces = first.data["pieces"].as_object().unwrap();
    for piece in ["what", "now", "alert", "story", "graph", "cascade", "faults", "services", "log", "edge-0"]
    {
        assert!(pieces.contains_key(piece), "{piece}");
    }
    assert_eq!(first.data["edges"], serde_json::json!(["edge-0"]));
    let window = Window { edge: 0, requests: 90, failed: 0, ..Window::default() };
    site.telemetry.publish(Event::Window(window));
    let told = viewer.sees("edge-0", "30/s");
    assert!(told.data["pieces"].get("what").is_none(), "only what changed");
    site.fake.halt();
    let told = viewer.sees("alert", "HALTED");
    assert!(told.data["title"].as_str().unwrap().starts_with("HALTED"));
}

#[test]
fn so_many_may_look_and_a_place_that_is_left_is_free_again() {
    let site = site(&[]);
    let mut viewers: Vec<Viewer> = (0..VIEWERS).map(|_| look(&site, "")).collect();
    for viewer in &mut viewers {
        assert_eq!((viewer.status, viewer.next().unwrap().kind.as_str()), (200, "frame"));
    }
    let mut refused = look(&site, "connection: close\r\n");
    assert_eq!(refused.status, 503);
    let mut body = String::new();
    refused.reader.read_to_string(&mut body).unwrap();
    assert!(body.contains("16 look already"), "{body}");
    viewers.clear();
    let again = std::iter::repeat_with(|| look(&site, "connection: close\r\n").status);
    assert!(again.take(2_000).any(|status| status == 200));
}

#[test]
fn the_door_stands_before_the_stream_as_before_everything() {
    let site = site(&[]);
    let port = site.handle.addr().port();
    for (lines, status) in [
        (format!("origin: http://localhost:{port}\r\n"), 403),
        ("origin: http://localhost\r\n".to_owned(), 200),
        ("origin: http://evil.example\r\n".to_owned(), 403),
        ("origin: null\r\n".to_owned(), 403),
    ] {
        assert_eq!(look(&site, &lines).status, status, "{lines}");
    }
    let beyond = open(AdminConfig {
        listen: ([0, 0, 0, 0], 0).into(),
        hosts: Vec::new(),
        token: Some("s3cret".into()),
    });
    assert_eq!(look(&beyond, "").status, 401);
    assert_eq!(look(&beyond, "authorization: Bearer s3cre\r\n").status, 401);
    assert_eq!(look(&beyond, "authorization: Bearer s3cret\r\n").status, 200);
}

#[test]
fn the_page_may_run_only_what_comes_from_here() {
    let site = site(&[]);
    let viewer = look(&site, "");
    let policy = viewer.head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(rule), "{rule} in {policy}");
    }
    let page = include_str!("page/page.html");
    for inline in ["<style", "style=", "onclick", "onload", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    let script = include_str!("page/page.js");
    for unsafe_word in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write", "http:", "https:"]
    {
        assert!(!script.contains(unsafe_word), "{unsafe_word}");
    }
}

#[test]
fn it_says_that_it_ends_and_how_it_stood() {
    let site = site(&[]);
    let mut viewer = look(&site, "");
    assert_eq!(viewer.next().unwrap().kind, "frame");
    site.telemetry.publish(Event::Finished);
    site.handle.stop();
    let mut kinds = Vec::new();
    let mut over = false;
    while let Some(told) = viewer.next() {
        over |= told.data["pieces"]["alert"].as_str().is_some_and(|alert| alert.contains("The run is over"));
        kinds.push(told.kind);
    }
    assert_eq!((kinds.last().map(String::as_str), over), (Some("end"), true), "{kinds:?}");
}
