//! Tables, corpora and noise for the codec as a whole.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

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

/// Reads a stream of requests with their bodies to its end.
fn read_requests(mut bytes: &[u8]) -> Result<usize, Refused> {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut slots = slots();
        let head = parse_request(bytes, &mut slots, &Limits::default())?.ok_or(Refused::Truncated)?;
        let mut body = Body::new(head.framing);
        let scan = body.scan(&bytes[head.len..])?;
        body.eof()?;
        bytes = &bytes[head.len + scan.consumed..];
        count += 1;
    }
    Ok(count)
}

/// Reads interim answers and the final one; nothing may be left over.
fn read_responses(mut bytes: &[u8], method: &str) -> Result<(), Refused> {
    loop {
        let mut slots = slots();
        let head =
            parse_response(bytes, &mut slots, &Limits::default(), method)?.ok_or(Refused::Truncated)?;
        let mut body = Body::new(head.framing);
        let scan = body.scan(&bytes[head.len..])?;
        body.eof()?;
        let last = !head.is_interim();
        bytes = &bytes[head.len + scan.consumed..];
        if last {
            assert!(bytes.is_empty() || head.upgrade, "left over: {}", bytes.escape_ascii());
            return Ok(());
        }
    }
}

/// The method the answer is for: files are named `HEAD-…` when it is not GET.
fn method_of(name: &str) -> &'static str {
    if name.contains("HEAD") { "HEAD" } else { "GET" }
}

/// Files of `refused` are named after the reason: `BadHost-with-a-space`.
fn check_refused(name: &str, outcome: Result<(), Refused>) {
    let reason = name.split('-').next().unwrap();
    match outcome {
        Err(refused) => assert_eq!(format!("{refused:?}"), reason, "{name}"),
        Ok(()) => panic!("{name} was accepted"),
    }
}

#[test]
fn malformed_requests_are_refused() {
    let files = corpus("request/refused");
    assert!(files.len() >= 60);
    for (name, bytes) in files {
        check_refused(&name, read_requests(&bytes).map(|_| ()));
        invariants::request(&bytes);
    }
}

#[test]
fn good_requests_are_accepted() {
    let files = corpus("request/accepted");
    assert!(files.len() >= 20);
    for (name, bytes) in files {
        assert!(read_requests(&bytes).unwrap_or_else(|refused| panic!("{name}: {refused}")) > 0);
        invariants::request(&bytes);
    }
}

#[test]
fn malformed_responses_are_refused() {
    let files = corpus("response/refused");
    assert!(files.len() >= 30);
    for (name, bytes) in files {
        check_refused(&name, read_responses(&bytes, method_of(&name)));
        invariants::response(&bytes);
    }
}

#[test]
fn good_responses_are_accepted() {
    let files = corpus("response/accepted");
    assert!(files.len() >= 20);
    for (name, bytes) in files {
        read_responses(&bytes, method_of(&name)).unwrap_or_else(|refused| panic!("{name}: {refused}"));
        invariants::response(&bytes);
    }
}

/// Bytes that look a little like HTTP: whole tokens of it in any order, and any byte between them.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "GET ",
        "POST ",
        "OPTIONS ",
        "/",
        "*",
        "http://a",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/2.0",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        ": ",
        "Host: a\r\n",
        "Host",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "Connection: ",
        "close",
        "keep-alive",
        "upgrade",
        "Upgrade: x\r\n",
        "Expect: 100-continue\r\n",
        "TE: trailers\r\n",
        "X-Forwarded-For: 1\r\n",
        "X: y\r\n",
        "x",
        ",",
        ";",
        "0",
        "5",
        "5\r\nhello\r\n",
        "0\r\n",
        "200 OK",
        "204 ",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 101 X\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "#",
        "_",
        "\0",
        "a=b",
    ]);
    let piece = prop_oneof![9 => words.prop_map(|word| word.as_bytes().to_vec()), 1 => any::<u8>().prop_map(|byte| vec![byte])];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Good messages of the corpus with a few bytes changed, put in, or taken away.
fn mutated(kind: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> =
        corpus(kind).into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes.len() < 2048).collect();
    let change = (
        any::<prop::sample::Index>(),
        0..3u8,
        prop_oneof![any::<u8>(), prop::sample::select(b"\r\n \t:;,0\0_-#".to_vec()),],
    );
    (prop::sample::select(seeds), prop::collection::vec(change, 0..4)).prop_map(|(mut bytes, changes)| {
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
    fn invariants_hold_for_noise(bytes in noise()) {
        invariants::request(&bytes);
        invariants::response(&bytes);
        invariants::body(&bytes);
    }

    #[test]
    fn invariants_hold_for_nearly_good_requests(bytes in mutated("request/accepted")) {
        invariants::request(&bytes);
    }

    #[test]
    fn invariants_hold_for_nearly_good_responses(bytes in mutated("response/accepted")) {
        invariants::response(&bytes);
    }

    #[test]
    fn invariants_hold_for_nearly_good_bodies(
        data in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
        trailer in prop::sample::select(vec!["", "grpc-status: 0\r\n", "a:b\r\nc:\r\n", "Host: a\r\n"]),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        change in any::<bool>(),
        split in any::<u8>(),
    ) {
        let mut bytes = vec![7, split];
        for chunk in &data {
            write_chunk(chunk, &mut bytes);
        }
        bytes.extend_from_slice(format!("0\r\n{trailer}\r\nnext").as_bytes());
        if change {
            let at = at.index(bytes.len() - 2) + 2;
            bytes[at] = byte;
        }
        invariants::body(&bytes);
    }
}
