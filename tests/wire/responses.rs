//! What reaches the caller: answers as they were, and none that looks more complete than it is.

use crate::support::{Door, End, Link, Upstream, before, chunked, corpus, noise, ok};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The ways an upstream dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    Fin,
    Reset,
    Silence,
    Nonsense,
}

fn die(link: &mut Link, how: Death, door: &Door) {
    match how {
        Death::Fin => {}
        Death::Reset => link.reset(),
        Death::Silence => door.wait(),
        Death::Nonsense => {
            link.send("\r\nnonsense\r\n");
            link.end();
        }
    }
}

#[test]
fn a_truncated_answer_never_looks_complete() {
    use Death::{Fin, Nonsense, Reset, Silence};
    let long = String::from_utf8(noise(200_000).iter().map(|byte| b'a' + byte % 26).collect()).unwrap();
    let length = |sent: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n{sent}");
    let chunks = |sent: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{sent}");
    let close = |sent: &str| format!("HTTP/1.1 200 OK\r\n\r\n{sent}");
    let cases: Vec<(String, &[Death])> = vec![
        (length(""), &[Fin, Reset, Silence]),
        (length("abc"), &[Fin, Reset, Silence]),
        (length(&long), &[Fin, Reset, Silence]),
        (chunks(""), &[Fin, Reset, Silence, Nonsense]),
        (chunks("3\r\nabc\r\n"), &[Fin, Reset, Silence, Nonsense]),
        (chunks("3\r\nabc"), &[Fin, Reset, Silence, Nonsense]),
        (chunks("ff\r\nabc"), &[Fin, Reset, Silence]),
        (chunks("3\r\nabc\r\n0\r\n"), &[Fin, Reset, Silence]),
        (chunks("3\r\nabc\r\n0\r\nX: y\r\n"), &[Fin, Reset, Silence]),
        (chunks(&format!("30d40\r\n{long}")), &[Fin, Reset, Silence]),
        (close("abc"), &[Reset, Silence]),
        (close(&long), &[Reset, Silence]),
    ];
    let mut all = Vec::new();
    for (sent, deaths) in &cases {
        for death in *deaths {
            for version in ["1.1", "1.0"] {
                for fault in [None, Some("latency = { after = \"1ms\" }")] {
                    all.push((sent, *death, version, fault));
                }
            }
        }
    }
    assert!(all.len() > 120, "{}", all.len());
    let length_of_long = long.len();
    std::thread::scope(|scope| {
        for share in all.chunks(16) {
            scope.spawn(move || {
                for (sent, death, version, fault) in share {
                    dies(sent, *death, version, *fault, length_of_long);
                }
            });
        }
    });
}

/// An upstream sends this much and dies.
fn dies(sent: &str, death: Death, version: &str, fault: Option<&str>, long: usize) {
    let door = Door::default();
    let (text, opens) = (sent.to_owned(), door.clone());
    let upstream = Upstream::serve(move |link| {
        link.head();
        link.send(&text);
        die(link, death, &opens);
    });
    let keys = match death {
        Death::Silence => "timeout = { upstream = \"400ms\", idle = \"400ms\" }",
        _ => "",
    };
    let proxy = before(upstream.at).with(keys).start();
    if let Some(fault) = fault {
        proxy.arm("f", fault);
    }
    let mut client = proxy.connect();
    client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
    let case = format!("{:?} {death:?} {version} {fault:?}", &sent[..sent.len().min(90)]);
    match client.try_answer(false) {
        Ok(answer) => panic!("{case}: looks complete: {} and {} bytes", answer.head, answer.body.len()),
        // what had come is passed on first
        Err((body, _)) if death == Death::Fin && sent.len() > long => {
            assert_eq!(body.len(), long, "{case}");
        }
        Err((body, _)) if sent.len() < 1000 && sent.contains("abc") => {
            assert!(body.starts_with(b"abc"), "{case}: {:?}", String::from_utf8_lossy(&body));
        }
        Err(_) => {}
    }
    proxy.wait_count(1, "200", "upstream");
    door.open();
}

#[test]
fn an_answer_that_has_no_head_is_502_and_an_answer_that_may_be_read_in_two_ways_too() {
    for (name, bytes) in corpus("response/refused") {
        let upstream = Upstream::serve(move |link| {
            link.head();
            link.send(&bytes).half_close();
            link.end();
        });
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        let to_head = name.contains("HEAD");
        client.send(format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", if to_head { "HEAD" } else { "GET" }));
        match client.try_answer(to_head) {
            Ok(answer) => {
                assert_eq!(answer.status, 502, "{name}: {}", answer.head);
                assert!(to_head || answer.text().contains("edge `edge`"), "{name}");
            }
            // its head was sound: what follows it was not
            Err(_) => {
                let body = ["Chunk", "BadTrailer", "ForbiddenTrailer", "Truncated"];
                assert!(body.iter().any(|start| name.starts_with(start)), "{name}");
            }
        }
        proxy.wait_count(1, "", "upstream");
    }
}

/// What a caller gets, to the last byte.
fn passed_on(keys: &str, request: &str, answer: &str) -> String {
    let answer = answer.to_owned();
    let upstream = Upstream::serve(move |link| {
        if link.request().is_some() {
            link.send(&answer).half_close();
        }
        link.end();
    });
    let proxy = before(upstream.at).with(keys).start();
    let mut client = proxy.connect();
    client.send(request).half_close();
    let (bytes, end) = client.rest();
    assert_eq!(end, End::Fin, "{request}");
    String::from_utf8(bytes).unwrap()
}

#[test]
fn answers_are_passed_on_as_they_are() {
    // a caller that sends nothing more is told that the connection ends
    for (method, answer, expected) in [
        (
            "GET",
            "200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\nhi",
            "200 OK\r\nA: b\r\nContent-Length: 2\r\nCLOSE\r\nhi",
        ),
        (
            "GET",
            "200 OK\r\nConnection: x, Y\r\nX: 1\r\ny: 2\r\nKeep-Alive: 3\r\nProxy-Authenticate: 4\r\nUpgrade: h2c\r\nZ: 5\r\nContent-Length: 0\r\n\r\n",
            "200 OK\r\nZ: 5\r\nContent-Length: 0\r\nCLOSE\r\n",
        ),
        (
            "GET",
            "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\n",
            "200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\nCLOSE\r\n2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\n",
        ),
        ("GET", "200 OK\r\n\r\nto the end", "200 OK\r\nCLOSE\r\nto the end"),
        ("HEAD", "200 OK\r\nContent-Length: 2000\r\n\r\n", "200 OK\r\nContent-Length: 2000\r\nCLOSE\r\n"),
        ("GET", "204 No Content\r\nA: b\r\n\r\n", "204 No Content\r\nA: b\r\nCLOSE\r\n"),
        (
            "GET",
            "304 Not Modified\r\nETag: c\r\nContent-Length: 7\r\n\r\n",
            "304 Not Modified\r\nETag: c\r\nContent-Length: 7\r\nCLOSE\r\n",
        ),
        (
            "GET",
            "103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            "103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nCLOSE\r\nhi",
        ),
        ("GET", "599 \r\nContent-Length: 0\r\n\r\n", "599 \r\nContent-Length: 0\r\nCLOSE\r\n"),
    ] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let got = passed_on("forwarded = false", &request, &format!("HTTP/1.1 {answer}"));
        let expected = format!("HTTP/1.1 {}", expected.replace("CLOSE", "Connection: close\r\n"));
        assert_eq!(got, expected, "{method} {answer}");
    }
}

#[test]
fn via_is_added_where_it_is_wanted() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(passed_on("", request, &ok("x")).contains("Via: 1.1 brownout\r\n"));
    assert!(!passed_on("forwarded = false", request, &ok("x")).contains("Via"));
}

#[test]
fn an_interim_answer_comes_at_once_and_an_old_client_gets_none() {
    let door = Door::default();
    let opens = door.clone();
    let upstream = Upstream::serve(move |link| {
        while let Some(head) = link.head() {
            link.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
            if head.contains("/wait") {
                opens.wait();
            }
            link.send(ok("x"));
        }
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    let hint = String::from_utf8(client.until(b"\r\n\r\n").unwrap()).unwrap();
    assert!(hint.starts_with("HTTP/1.1 103 Early Hints\r\nLink: x\r\n"), "{hint}");
    door.open();
    assert_eq!(client.answer().text(), "x");
    let old = proxy.connect().send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!((old.status, old.interim.len()), (200, 0));
}

#[test]
fn a_switch_that_nobody_asked_for_is_502() {
    for (asked, given, status) in [
        ("", "Connection: upgrade\r\nUpgrade: x\r\n", 502),
        ("Connection: upgrade\r\nUpgrade: x\r\n", "Connection: upgrade\r\nUpgrade: y\r\n", 502),
        ("Connection: upgrade\r\nUpgrade: x\r\n", "", 502),
        ("Connection: upgrade\r\nUpgrade: x\r\n", "Connection: upgrade\r\nUpgrade: x\r\n", 101),
    ] {
        let upstream = Upstream::answering(format!("HTTP/1.1 101 Switching Protocols\r\n{given}\r\n"));
        let proxy = before(upstream.at).start();
        let answer = proxy.connect().send(format!("GET / HTTP/1.1\r\nHost: a\r\n{asked}\r\n")).answer();
        assert_eq!(answer.status, status, "{asked} {given}");
        if status == 101 {
            assert!(answer.head.contains("Connection: Upgrade\r\nUpgrade: x\r\n"), "{}", answer.head);
        }
    }
}

#[test]
fn nothing_that_an_upstream_sends_too_much_reaches_anybody() {
    // bytes behind the end of an answer: the connection is not used again
    let upstream = Upstream::answering(format!("{}{}", ok("x"), ok("poison")));
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    for n in 1..=5 {
        assert_eq!(client.send(GET).answer().text(), "x");
        assert_eq!(upstream.connections(), n);
    }
    // a body where none may be
    let upstream = Upstream::answering(
        "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    );
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    for _ in 0..5 {
        assert_eq!(client.send(GET).answer().status, 304);
    }
    client.hears_nothing();
    let upstream = Upstream::answering(ok("poison"));
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    for _ in 0..5 {
        let answer = client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").answer_to_head();
        assert_eq!((answer.status, answer.field("content-length")), (200, Some("6")));
    }
    client.hears_nothing();
    // interim answers without an end
    let upstream = Upstream::serve(|link| {
        link.head();
        while link.try_send("HTTP/1.1 102 Processing\r\n\r\n".repeat(50)) {}
    });
    let proxy = before(upstream.at).start();
    let answer = proxy.get("/");
    assert_eq!((answer.status, answer.interim.len()), (502, 100));
    // bytes that come later, while nobody waits
    let door = Door::default();
    let opens = door.clone();
    let upstream = Upstream::serve(move |link| {
        while link.request().is_some() {
            link.send(ok("x"));
            if link.number == 0 {
                opens.wait();
                link.send(ok("poison"));
            }
        }
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    assert_eq!(client.send(GET).answer().text(), "x");
    door.open();
    crate::support::pass(crate::support::ms(20));
    assert_eq!(client.send(GET).answer().text(), "x");
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn chunks_of_every_size_arrive_as_they_were() {
    let body = noise(100_000);
    for size in [1000, 4096, 16 * 1024, 65_536, 100_000] {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        answer.extend(chunked(&body, size));
        let upstream = Upstream::answering(answer);
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        for _ in 0..2 {
            assert!(client.send(GET).answer().body == body, "{size}");
        }
        let old = proxy.connect().send("GET / HTTP/1.0\r\n\r\n").answer();
        assert!(old.body == body, "{size} to an old client");
    }
}
