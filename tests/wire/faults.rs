//! Faults on the wire of an HTTP edge: what a caller sees of each, and that nothing is left of it once it is healed.

use crate::support::{Door, End, Upstream, before, eventually, ms, ok};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_delay_is_never_early_and_says_so() {
    for (fault, least, hidden) in [
        ("latency = \"80ms\"", 80, false),
        ("latency = { before = \"30ms\", after = \"50ms\" }", 80, false),
        ("latency = { after = \"80ms\" }", 80, false),
        ("latency = { uniform = [\"80ms\", \"90ms\"] }", 80, false),
        ("latency = \"80ms\"", 80, true),
    ] {
        let upstream = Upstream::answering(ok("x"));
        let proxy = before(upstream.at).with(if hidden { "stealth = true" } else { "" }).start();
        proxy.arm("slow down", fault);
        let mut client = proxy.connect();
        for request in [GET, POST] {
            let begun = Instant::now();
            let answer = client.send(request).answer();
            assert!(begun.elapsed() >= ms(least), "{fault}: {:?}", begun.elapsed());
            assert_eq!(answer.text(), "x");
            if hidden {
                assert!(!answer.head.to_ascii_lowercase().contains("brownout;"), "{}", answer.head);
                assert_eq!(answer.field("x-brownout-fault"), None);
            } else {
                assert_eq!(answer.field("x-brownout-fault"), Some("slow down"));
                let timing = answer.field("server-timing").unwrap();
                let millis: f64 =
                    timing.strip_prefix("brownout;dur=").unwrap().split(';').next().unwrap().parse().unwrap();
                assert!(millis >= least as f64 - 0.1, "{timing}");
            }
        }
        assert_eq!(proxy.hits("slow down"), 2);
        // a delayed exchange is the upstream's still
        proxy.wait_count(2, "200", "upstream");
        proxy.heal("slow down");
        assert_eq!(client.send(GET).answer().field("x-brownout-fault"), None);
    }
}

#[test]
fn pieces_of_a_body_are_delayed_one_by_one() {
    let upstream = Upstream::serve(|link| {
        link.head();
        link.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
        for piece in ["a", "b", "c"] {
            link.tick();
            link.send(piece);
        }
        link.end();
    });
    let go = upstream.ticker();
    let proxy = before(upstream.at).start();
    proxy.arm("f", "latency = { chunk = \"50ms\" }");
    let mut client = proxy.connect();
    client.send(GET).until(b"\r\n\r\n").unwrap();
    for piece in [b"a", b"b", b"c"] {
        let begun = Instant::now();
        go.tick();
        assert_eq!(client.take(1).unwrap(), piece);
        assert!(begun.elapsed() >= ms(50));
    }
    assert_eq!(proxy.hits("f"), 1, "one exchange is hit once");
}

#[test]
fn a_hang_ends_after_its_time_as_it_says() {
    for (fault, status, end, executed) in [
        ("hang = { for = \"60ms\" }", 504, None, false),
        ("hang = { for = \"60ms\", then = 503 }", 503, None, false),
        ("hang = { for = \"60ms\", then = \"close\" }", 0, Some(End::Fin), false),
        ("hang = { for = \"60ms\", then = \"reset\" }", 0, Some(End::Reset), false),
        ("hang = { for = \"60ms\", at = \"headers\" }", 504, None, true),
        ("hang = { for = \"60ms\", at = \"headers\", then = \"reset\" }", 0, Some(End::Reset), true),
        ("hang = { for = \"60ms\", at = \"body\", then = \"close\" }", 200, Some(End::Fin), true),
        ("hang = { for = \"60ms\", at = \"body\", then = \"reset\" }", 200, Some(End::Reset), true),
    ] {
        for body in [ok("body"), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody".to_owned()] {
            let delimited = body.contains("close");
            let upstream = Upstream::serve(move |link| {
                if link.request().is_some() {
                    link.send(&body);
                    if !delimited {
                        link.end();
                    }
                }
            });
            let proxy = before(upstream.at).start();
            proxy.arm("f", fault);
            let mut client = proxy.connect();
            let begun = Instant::now();
            client.send(POST);
            match (client.try_answer(false), end) {
                (Ok(answer), None) => {
                    assert_eq!(
                        (answer.status, answer.field("x-brownout-fault")),
                        (status, Some("f")),
                        "{fault}"
                    );
                    assert_eq!(answer.text(), "");
                }
                // an answer that ends with its connection would look whole
                (Err((body, ended)), Some(end)) => {
                    let end = if delimited && status == 200 { End::Reset } else { end };
                    assert_eq!((body.len(), ended), (0, end), "{fault} {delimited}");
                }
                (other, _) => panic!("{fault}: {other:?}"),
            }
            assert!(begun.elapsed() >= ms(60), "{fault}");
            assert_eq!(upstream.requests(), usize::from(executed), "{fault}");
            assert_eq!(proxy.hits("f"), 1);
            proxy.wait_count(1, &status.to_string(), "injected");
        }
    }
}

#[test]
fn whoever_is_held_is_let_go_at_once_by_healing_and_gets_what_is_true() {
    for (fault, executed) in [
        ("latency = \"1h\"", false),
        ("hang = {}", false),
        ("hang = { for = \"1h\" }", false),
        ("latency = { after = \"1h\" }", true),
        ("hang = { at = \"headers\" }", true),
        ("hang = { at = \"body\" }", true),
        ("latency = { chunk = \"1h\" }", true),
    ] {
        let upstream = Upstream::echoing();
        let proxy = before(upstream.at).start();
        proxy.arm("f", fault);
        let mut clients: Vec<_> = (0..20).map(|_| proxy.connect()).collect();
        let large =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
        for (number, client) in clients.iter_mut().enumerate() {
            client.send([GET, POST, &large][number % 3]);
        }
        proxy.wait_held(20);
        assert_eq!(upstream.requests(), if executed { 20 } else { 0 }, "{fault}");
        // another fault that comes and goes lets nobody go
        proxy.arm("other", "match = { path = \"/other\" }\nlatency = \"1ms\"");
        proxy.heal("other");
        assert_eq!(proxy.held(), 20);
        proxy.heal("f");
        for (number, client) in clients.iter_mut().enumerate() {
            let answer = client.answer();
            assert_eq!(answer.status, 200, "{fault}");
            let request = [GET, POST, &large][number % 3];
            assert!(answer.text().ends_with(request.split("\r\n\r\n").nth(1).unwrap()), "{fault}");
        }
        proxy.wait_count(20, "200", "upstream");
        assert_eq!(upstream.requests(), 20, "{fault}: each was executed once");
    }
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).start();
    proxy.arm("f", "drop = { how = \"blackhole\" }");
    let mut client = proxy.connect();
    client.send(GET);
    proxy.wait_held(1);
    client.hears_nothing();
    proxy.heal("f");
    assert_eq!(client.rest(), (Vec::new(), End::Fin), "a blackhole closes");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn connections_are_dropped_in_the_way_and_at_the_place_that_was_asked_for() {
    for (how, end) in [("close", End::Fin), ("reset", End::Reset)] {
        for (at, executed) in [("accept", false), ("request", false), ("headers", true)] {
            let upstream = Upstream::answering(ok("x"));
            let proxy = before(upstream.at).start();
            let mut open = proxy.connect();
            open.send(GET).answer();
            proxy.arm("f", &format!("drop = {{ how = \"{how}\", at = \"{at}\" }}"));
            let mut client = proxy.connect();
            client.send(POST);
            assert_eq!(client.rest(), (Vec::new(), end), "{how} {at}");
            assert_eq!(upstream.requests(), 1 + usize::from(executed), "{how} {at}");
            proxy.wait_count(1, "0", "injected");
            // a connection that was there before was accepted long ago
            open.send(GET);
            match at {
                "accept" => assert_eq!(open.answer().status, 200),
                _ => assert_eq!(open.rest(), (Vec::new(), end), "{how} {at}"),
            }
            proxy.heal("f");
            assert_eq!(proxy.get("/").status, 200);
        }
    }
}

#[test]
fn a_closed_listener_refuses_and_comes_back_on_its_port() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).workers(2).start();
    for round in 1..=3 {
        proxy.arm("f", "drop = { how = \"refuse\" }");
        eventually("refused", || std::net::TcpStream::connect(proxy.at).is_err());
        let error = std::net::TcpStream::connect(proxy.at).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(proxy.hits("f"), round, "hit once each time, when the listener was closed");
        proxy.heal("f");
        eventually("back", || std::net::TcpStream::connect(proxy.at).is_ok());
        assert_eq!(proxy.get("/").status, 200);
    }
}

#[test]
fn an_answer_is_cut_after_exactly_so_many_bytes() {
    let text = "0123456789".repeat(2000);
    let length = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{text}");
    let mut chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunks.extend(crate::support::chunked(text.as_bytes(), 999));
    for answer in [length.into_bytes(), chunks] {
        let upstream = Upstream::answering(answer);
        for (how, end) in [("close", End::Fin), ("reset", End::Reset)] {
            for after in [0, 1, 998, 999, 1000, 16_000, 19_999] {
                let proxy = before(upstream.at).start();
                proxy.arm("f", &format!("drop = {{ how = \"{how}\", after_bytes = {after} }}"));
                let mut client = proxy.connect();
                client.send(GET);
                let (got, ended) = client.try_answer(false).unwrap_err();
                assert!(got == text.as_bytes()[..after], "{how} {after}: {} bytes", got.len());
                assert_eq!(ended, end, "{how} {after}");
                proxy.wait_count(1, "200", "injected");
            }
        }
        // an answer that is not longer is not struck
        let proxy = before(upstream.at).start();
        proxy.arm("f", "drop = { how = \"reset\", after_bytes = 20000 }");
        assert_eq!(proxy.get("/").text(), text);
        assert_eq!(proxy.hits("f"), 0);
        proxy.wait_count(1, "200", "upstream");
    }
}

#[test]
fn a_stream_is_cut_after_its_time() {
    for (how, end) in [("close", End::Reset), ("reset", End::Reset)] {
        let upstream = Upstream::serve(|link| {
            link.head();
            link.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
            link.end();
        });
        let proxy = before(upstream.at).start();
        proxy.arm("f", &format!("drop = {{ how = \"{how}\", after = \"100ms\" }}"));
        let begun = Instant::now();
        let mut client = proxy.connect();
        client.send(GET).until(b"data: 1\n\n").unwrap();
        assert_eq!(client.rest(), (Vec::new(), end), "{how}: its end would look like the end of the stream");
        assert!(begun.elapsed() >= ms(100));
        proxy.wait_count(1, "200", "injected");
        assert_eq!(proxy.hits("f"), 1);
    }
}

#[test]
fn an_answer_is_given_in_the_upstreams_place() {
    for (keys, executed, marked) in
        [("", false, true), ("after_upstream = true, ", true, true), ("", false, false)]
    {
        let upstream = Upstream::answering(ok("true"));
        let proxy = before(upstream.at).with(if marked { "" } else { "stealth = true" }).start();
        proxy.arm(
            "f",
            &format!(
                "respond = {{ status = 503, {keys}headers = {{ retry-after = \"7\" }}, body = \"no\" }}"
            ),
        );
        let mut client = proxy.connect();
        for request in [GET, POST] {
            let answer = client.send(request).answer();
            assert_eq!((answer.status, answer.text()), (503, "no"));
            assert_eq!(answer.field("retry-after"), Some("7"));
            assert_eq!(answer.field("x-brownout-fault"), marked.then_some("f"));
            assert_eq!(answer.field("server-timing").is_some(), marked);
        }
        let head = client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").answer_to_head();
        assert_eq!(head.field("content-length"), Some("2"));
        assert_eq!(upstream.requests(), if executed { 3 } else { 0 });
        proxy.wait_count(3, "503", "injected");
        proxy.heal("f");
        assert_eq!(client.send(GET).answer().text(), "true");
    }
}

#[test]
fn an_answer_that_comes_before_a_long_body_is_read_reaches_its_caller() {
    let upstream = Upstream::answering(ok("true"));
    let proxy = before(upstream.at).start();
    proxy.arm("f", "respond = { status = 503 }");
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
    client.send(vec![b'x'; 500_000]);
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (503, Some("close")));
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
}

#[test]
fn several_faults_compose() {
    let upstream = Upstream::answering(ok("true"));
    let proxy = before(upstream.at).start();
    proxy
        .arm("slow", "latency = \"30ms\"")
        .arm("slower", "latency = { before = \"30ms\", after = \"30ms\" }");
    proxy.arm("no", "match = { method = \"POST\" }\nrespond = { status = 500 }");
    proxy.arm("never", "match = { method = \"POST\" }\nhang = {}");
    let begun = Instant::now();
    let answer = proxy.get("/");
    assert!(begun.elapsed() >= ms(90), "delays add");
    assert_eq!(answer.field("x-brownout-fault"), Some("slow, slower"));
    let begun = Instant::now();
    let answer = proxy.connect().send(POST).answer();
    assert!(begun.elapsed() >= ms(60));
    assert_eq!((answer.status, answer.field("x-brownout-fault")), (500, Some("slow, slower, no")));
    assert_eq!(proxy.hits("never"), 0, "the first action wins");
    // healing one lets go of its share only
    let door = Door::default();
    proxy.arm("long", "match = { path = \"/long\" }\nlatency = \"1h\"");
    let mut client = proxy.connect();
    client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_held(1);
    proxy.heal("long");
    door.open();
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_request_is_struck_or_it_is_untouched() {
    let upstream = Upstream::answering(ok("true"));
    let proxy = before(upstream.at).workers(2).start();
    proxy.arm("some", "match = \"all\"\nevery = 3\nmax = 10\nrespond = { status = 503 }");
    let mut client = proxy.connect();
    let mut struck = 0;
    for _ in 0..60 {
        let answer = client.send(GET).answer();
        assert_eq!(answer.status == 503, answer.field("x-brownout-fault").is_some());
        assert_eq!(answer.status == 503, answer.text() != "true");
        struck += u32::from(answer.status == 503);
    }
    assert_eq!(struck, 10);
    proxy.wait_count(10, "503", "injected");
    proxy.wait_count(50, "200", "upstream");
}

#[test]
fn our_own_probes_are_spared_and_nobody_can_pass_for_one() {
    use brownout::proxy::probe::{HEADER, token};
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).start();
    let ask = |value: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\n{HEADER}: {value}\r\nB: 2\r\n\r\n");
        proxy.connect().send(head).answer()
    };
    proxy.arm("down", "respond = { status = 503 }");
    assert_eq!(ask(token()).status, 200);
    let got = upstream.got(0).to_ascii_lowercase();
    assert!(got.contains("a: 1\r\nb: 2\r\n") && !got.contains(HEADER), "{got}");
    let other: String = token().chars().rev().chain(['0']).collect();
    for forged in ["", "1", &token()[1..], &other] {
        assert_eq!(ask(forged).status, 503, "{forged}");
    }
    assert_eq!(proxy.hits("down"), 4);
    proxy.heal("down");
    // a fault that names a path means it
    proxy.arm("gone", "match = { path = \"/\" }\nrespond = { status = 410 }");
    assert_eq!(ask(token()).status, 410);
}
