//! Reads the same bytes with our codec and with hyper, and compares what the two make of them.
//!
//! What we refuse may be anything to hyper: being stricter is the point. What we accept, hyper must read
//! the same, down to where the next request starts, or the difference stands in [`EXPLAINED`]. And what
//! we write, hyper must accept and read the same.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use brownout::http1::{
    Body, Forwarded, Framing, HostRule, Limits, Outgoing, Refused, RequestHead, ResponseHead, Returning,
    Version, parse_request, parse_response, slots, write_request, write_response,
};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The differences we know, and why each of them is right.
const EXPLAINED: [(Difference, &str); 1] = [(
    Difference::TargetBytes,
    "hyper's `Uri` takes fewer visible bytes (no `<`, `>`, `` ` `` in a path) than clients send; they end \
         nothing and hide nothing, so they are passed on as they came",
)];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Difference {
    TargetBytes,
}

type Fields = BTreeMap<String, Vec<Vec<u8>>>;

/// A message as one of the two read it. `payload` is `None` when the body broke.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Read {
    start: String,
    host: String,
    fields: Fields,
    payload: Option<Vec<u8>>,
}

fn corpus(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/http1").join(kind);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn group<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Fields {
    let mut grouped = Fields::new();
    for (name, value) in fields {
        grouped.entry(name.to_ascii_lowercase()).or_default().push(value.to_vec());
    }
    grouped
}

// ---- requests, read by us

fn our_payload(framing: Framing, rest: &[u8]) -> Result<(usize, Vec<u8>), Refused> {
    let mut body = Body::new(framing);
    let (mut at, mut payload) = (0, Vec::new());
    while at < rest.len() && !body.is_done() {
        let step = body.next(&rest[at..])?;
        payload.extend_from_slice(&rest[at..][step.data]);
        at += step.consumed;
    }
    body.eof()?;
    Ok((at, payload))
}

fn our_request(head: &RequestHead<'_, '_>, payload: Option<Vec<u8>>) -> Read {
    Read {
        start: format!("{} {} {:?}", head.method, head.target, head.version),
        host: head.authority.unwrap_or_default().to_owned(),
        fields: group(head.fields.iter().map(|field| (field.name, field.value))),
        payload,
    }
}

/// All requests up to the first that we refuse, and whether there was one.
fn read_by_us(mut bytes: &[u8]) -> (Vec<Read>, Option<Refused>) {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let mut slots = slots();
        let head = match parse_request(bytes, &mut slots, &Limits::default()) {
            Ok(Some(head)) => head,
            Ok(None) => return (all, Some(Refused::Truncated)),
            Err(refused) => return (all, Some(refused)),
        };
        match our_payload(head.framing, &bytes[head.len..]) {
            Ok((taken, payload)) => {
                all.push(our_request(&head, Some(payload)));
                bytes = &bytes[head.len + taken..];
            }
            Err(refused) => {
                all.push(our_request(&head, None));
                return (all, Some(refused));
            }
        }
        if !head.keep_alive {
            break;
        }
    }
    (all, None)
}

// ---- requests, read by hyper

fn by_hyper(parts: &http::request::Parts, payload: Option<Vec<u8>>) -> Read {
    let version = if parts.version == http::Version::HTTP_10 { Version::Http10 } else { Version::Http11 };
    let absolute = parts.uri.authority().map(|authority| authority.as_str().to_owned());
    let target = match parts.uri.path_and_query().map(|target| target.as_str()) {
        Some("/") | None if absolute.is_some() && parts.method == http::Method::OPTIONS => "*".to_owned(),
        Some(target) => target.to_owned(),
        None => "/".to_owned(),
    };
    Read {
        start: format!("{} {target} {version:?}", parts.method),
        host: absolute.unwrap_or_default(),
        fields: group(parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))),
        payload,
    }
}

async fn read_by_hyper(bytes: &[u8]) -> Vec<Read> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let service = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: http::Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let (parts, body) = request.into_parts();
                let payload = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
                seen.lock().unwrap().push(by_hyper(&parts, payload));
                Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
            }
        })
    };
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .max_headers(120)
        .serve_connection(TokioIo::new(server), service);
    let mut answers = Vec::new();
    let (_, _) = tokio::join!(connection, client.read_to_end(&mut answers));
    std::mem::take(&mut *seen.lock().unwrap())
}

// ---- comparing requests

fn differs(ours: &Read, theirs: Option<&Read>) -> Option<Difference> {
    let target = ours.start.split(' ').nth(1).unwrap_or_default();
    match theirs {
        None if target.parse::<http::Uri>().is_err() => Some(Difference::TargetBytes),
        _ => None,
    }
}

/// Compares what the two read; says which explained differences there were.
fn compare_requests(bytes: &[u8]) -> Vec<Difference> {
    let (ours, refused) = read_by_us(bytes);
    let theirs = block_on(read_by_hyper(bytes));
    let mut found = Vec::new();
    for (at, our) in ours.iter().enumerate() {
        let their = theirs.get(at);
        if their == Some(our) {
            continue;
        }
        // The body of the last one broke for us: there is nothing to agree on any more.
        if our.payload.is_none() {
            return found;
        }
        match differs(our, their) {
            Some(difference) => found.push(difference),
            None => panic!("\nwe read   {our:?}\nhyper read {their:?}\nof {}", bytes.escape_ascii()),
        }
        return found; // hyper has ended the connection
    }
    if refused.is_none() {
        assert_eq!(ours.len(), theirs.len(), "hyper reads more requests in {}", bytes.escape_ascii());
    }
    found
}

/// Sends the first request on as the proxy does, and has hyper read it.
fn compare_written(bytes: &[u8]) {
    let mut slots = slots();
    let Ok(Some(head)) = parse_request(bytes, &mut slots, &Limits::default()) else { return };
    let Ok((taken, payload)) = our_payload(head.framing, &bytes[head.len..]) else { return };
    let host = HostRule::Keep { fallback: "fallback" };
    let forwarded = (payload.len() % 2 == 0).then_some(Forwarded { peer_ip: "::1", proto: "https" });
    let how = Outgoing { host, forwarded, upgrade: false, expect: true, without: None };
    let mut out = Vec::new();
    write_request(&head, &how, &mut out);
    if head.fields.len() > 95 {
        return; // with ours there are more than we take back
    }
    let written = out.len();
    out.extend_from_slice(&bytes[head.len..head.len + taken]);
    let next = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n";
    out.extend_from_slice(next);
    let theirs = block_on(read_by_hyper(&out));
    let ours = read_by_us(&out).0;
    if theirs.is_empty() && head.target.parse::<http::Uri>().is_err() {
        return; // Difference::TargetBytes
    }
    assert_eq!(theirs, ours, "of {}", out.escape_ascii());
    assert_eq!(theirs.len(), 2, "of {}", out.escape_ascii());
    assert_eq!(theirs[1].start, "GET /next Http11");
    assert_eq!(theirs[0].start, format!("{} {} Http11", head.method, head.target));
    assert_eq!(theirs[0].payload, Some(payload));
    let host = head.authority.map(str::as_bytes).or(head.host).unwrap_or(b"fallback");
    assert_eq!(theirs[0].fields["host"], [host], "{}", out[..written].escape_ascii());
}

// ---- responses

fn our_response(head: &ResponseHead<'_, '_>, payload: Option<Vec<u8>>) -> Read {
    Read {
        start: format!("{} {:?}", head.status, head.version),
        host: String::new(),
        fields: group(head.fields.iter().map(|field| (field.name, field.value))),
        payload,
    }
}

fn response_read_by_us(mut bytes: &[u8], method: &str) -> Result<Read, Refused> {
    loop {
        let mut slots = slots();
        let head =
            parse_response(bytes, &mut slots, &Limits::default(), method)?.ok_or(Refused::Truncated)?;
        if head.is_interim() {
            bytes = &bytes[head.len..];
            continue;
        }
        let (_, payload) = our_payload(head.framing, &bytes[head.len..])?;
        return Ok(our_response(&head, Some(payload)));
    }
}

async fn response_read_by_hyper(bytes: &[u8], method: &str) -> Result<Read, String> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(120)
        .handshake(TokioIo::new(client))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request =
        http::Request::builder().method(method).uri("/").header("host", "a").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.unwrap());
    let serve = async {
        let mut request = [0; 1024];
        let _ = server.read(&mut request).await;
        let _ = server.write_all(bytes).await;
        let _ = server.shutdown().await;
    };
    let (answer, ()) = tokio::join!(answer, serve);
    let outcome = match answer {
        Ok(answer) => {
            let (parts, body) = answer.into_parts();
            let version =
                if parts.version == http::Version::HTTP_10 { Version::Http10 } else { Version::Http11 };
            let payload = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
            Ok(Read {
                start: format!("{} {version:?}", parts.status.as_u16()),
                host: String::new(),
                fields: group(parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))),
                payload,
            })
        }
        Err(error) => Err(format!("{error:?}")),
    };
    driver.abort();
    outcome
}

fn compare_responses(bytes: &[u8], method: &str) {
    let Ok(ours) = response_read_by_us(bytes, method) else { return };
    let theirs = block_on(response_read_by_hyper(bytes, method));
    assert_eq!(theirs.as_ref(), Ok(&ours), "of {}", bytes.escape_ascii());
    // What the proxy makes of it reads the same, too.
    let mut slots = slots();
    let Ok(Some(head)) = parse_response(bytes, &mut slots, &Limits::default(), method) else { return };
    if head.status < 200 {
        return;
    }
    let how = Returning {
        client: Version::Http11,
        keep_alive: true,
        upgrade: false,
        framing: head.framing,
        via: true,
        extra: &[],
    };
    let mut out = Vec::new();
    write_response(&head, &how, &mut out);
    out.extend_from_slice(&bytes[head.len..]);
    let again = block_on(response_read_by_hyper(&out, method)).unwrap();
    assert_eq!(again.payload, ours.payload, "of {}", out.escape_ascii());
    assert_eq!(again.start, format!("{} Http11", head.status));
}

// ---- the tests

#[test]
fn requests_of_the_corpora_are_read_alike() {
    let next = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n";
    let mut found = Vec::new();
    for (name, mut bytes) in corpus("request/accepted").into_iter().chain(corpus("request/refused")) {
        println!("{name}");
        found.extend(compare_requests(&bytes));
        compare_written(&bytes);
        bytes.extend_from_slice(next);
        found.extend(compare_requests(&bytes));
    }
    found.sort();
    found.dedup();
    // An explanation that nothing needs any more has to go.
    assert_eq!(found, EXPLAINED.map(|(difference, _)| difference));
}

#[test]
fn responses_of_the_corpora_are_read_alike() {
    for (name, bytes) in corpus("response/accepted").into_iter().chain(corpus("response/refused")) {
        println!("{name}");
        compare_responses(&bytes, if name.contains("HEAD") { "HEAD" } else { "GET" });
    }
}

/// Good messages with a few bytes changed, put in, or taken away.
fn mutated(kind: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> =
        corpus(kind).into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes.len() < 2048).collect();
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n \t:;,0\0_-#/?@".to_vec())];
    let change = (any::<prop::sample::Index>(), 0..3u8, byte);
    (prop::sample::select(seeds), prop::collection::vec(change, 1..4)).prop_map(|(mut bytes, changes)| {
        for (at, what, byte) in changes {
            let at = at.index(bytes.len() + 1);
            match what {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_requests_are_read_alike(mut bytes in mutated("request/accepted")) {
        compare_requests(&bytes);
        compare_written(&bytes);
        bytes.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n");
        compare_requests(&bytes);
    }

    #[test]
    fn refused_requests_mutated_are_read_alike(bytes in mutated("request/refused")) {
        compare_requests(&bytes);
        compare_written(&bytes);
    }

    #[test]
    fn mutated_responses_are_read_alike(bytes in mutated("response/accepted")) {
        compare_responses(&bytes, "GET");
        compare_responses(&bytes, "HEAD");
    }
}
