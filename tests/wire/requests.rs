//! What reaches the upstream, and what must not.

use crate::support::{Client, End, Upstream, before, before_all, corpus, eventually, ms, ok, pass};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The status that a refusal of this kind has.
fn status_of(kind: &str) -> u16 {
    match kind {
        "TargetTooLong" => 414,
        "HeadTooLarge" | "TooManyFields" => 431,
        "UnsupportedVersion" => 505,
        _ => 400,
    }
}

#[test]
fn an_ambiguous_request_is_refused_and_nothing_of_it_reaches_the_upstream() {
    let upstream = Upstream::serve(|link| {
        if link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            link.end();
        }
    });
    let proxy = before(upstream.at).with("forwarded = false").start();
    let (mut good, mut refused) = (0, 0);
    let mut parts = Vec::new();
    for (name, bytes) in corpus("request/refused") {
        let kind = name.split('-').next().unwrap();
        let mut client = proxy.connect();
        client.send(&bytes).half_close();
        let mut statuses = Vec::new();
        let (rest, end) = loop {
            match client.try_answer(false) {
                Ok(answer) if answer.field("connection") == Some("close") => {
                    statuses.push(answer.status);
                    break client.rest();
                }
                Ok(answer) => statuses.push(answer.status),
                Err(end) => break end,
            }
        };
        assert_eq!((rest.len(), end), (0, End::Fin), "{name}: {statuses:?}, then the connection ends");
        let (last, before) = statuses.split_last().unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(*last, status_of(kind), "{name}");
        assert!(before.iter().all(|status| *status == 200), "{name}: {statuses:?}");
        good += before.len();
        refused += 1;
        // a body that is longer than one look, or that just ends, is known to be broken only on the way
        if kind == "Truncated" || bytes.len() > 16 * 1024 {
            parts.push(name);
        }
    }
    assert!(refused > 150);
    eventually("upstream connections have ended", || upstream.ends().len() == upstream.connections());
    assert_eq!(upstream.requests(), good, "requests that reached the upstream whole");
    let seen = upstream.sizes().iter().filter(|size| **size > 0).count();
    assert!(
        seen <= good + parts.len(),
        "{seen} connections with bytes, for {good} good requests and these that break on the way: {parts:?}"
    );
    proxy.wait_count(refused, "", "client");
    proxy.wait_quiet();
}

#[test]
fn an_earlier_answer_leaves_before_a_refusal() {
    for (bad, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ] {
        let upstream = Upstream::echoing();
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        client.send(format!("{GET}POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi{bad}{GET}"));
        assert!(client.answer().text().starts_with("GET / "), "{bad}");
        assert!(client.answer().text().ends_with("hi"), "{bad}");
        let refused = client.answer();
        assert_eq!((refused.status, refused.field("connection")), (status, Some("close")), "{bad}");
        assert_eq!(client.rest(), (Vec::new(), End::Fin), "{bad}");
        assert_eq!(upstream.requests(), 2, "{bad}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_also_when_no_more_come() {
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    let all: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(all).half_close();
    for n in 0..20 {
        assert!(client.answer().text().starts_with(&format!("GET /{n} ")), "{n}");
    }
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
    proxy.wait_count(20, "200", "upstream");
}

/// What the upstream gets of a request.
fn forwarded(keys: &str, request: &str) -> (String, String) {
    let upstream = Upstream::answering(ok(""));
    let proxy = before(upstream.at).with(keys).start();
    let mut client = proxy.connect();
    assert_eq!(client.send(request).answer().status, 200, "{request}");
    (upstream.got(0), upstream.at.to_string())
}

#[test]
fn what_is_for_this_hop_stays_here() {
    let plain = "forwarded = false";
    for (request, expected) in [
        (
            "GET /a?b HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: keep-alive, Y, x-z\r\nY: 2\r\nX-Z: 3\r\n\
             Keep-Alive: timeout=5\r\nTE: trailers, gzip\r\nProxy-Authorization: b\r\nProxy-Connection: c\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: d\r\nZ: 4\r\n\r\n",
            "GET /a?b HTTP/1.1\r\nHost: a\r\nX: 1\r\nZ: 4\r\nTE: trailers\r\n\r\n",
        ),
        // what routes and what frames is never struck out
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length, cookie\r\nContent-Length: 2\r\n\
             Cookie: e=f\r\n\r\nhi",
            "POST / HTTP/1.1\r\nHost: a\r\nCookie: e=f\r\nContent-Length: 2\r\n\r\nhi",
        ),
        // the target knows better than Host; an old client names none
        ("GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /c HTTP/1.1\r\nHost: b\r\n\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: UPSTREAM\r\n\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let (got, at) = forwarded(plain, request);
        assert_eq!(got, expected.replace("UPSTREAM", &at), "{request}");
    }
}

#[test]
fn the_upstream_hears_who_asked_and_for_whom() {
    let (got, _) = forwarded("", "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_eq!(
        got,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Host: a\r\nVia: 1.1 brownout\r\n\r\n"
    );
    let (got, at) = forwarded("host = \"upstream\"\nforwarded = false", GET);
    assert_eq!(got, format!("GET / HTTP/1.1\r\nHost: {at}\r\n\r\n"));
}

#[test]
fn the_path_of_an_upstream_stands_before_that_of_the_request() {
    for (base, target, sent) in [
        ("/v1", "/a?b=c", "/v1/a?b=c"),
        ("/v1/", "/", "/v1/"),
        ("/v1", "http://b/a", "/v1/a"),
        ("/v1", "*", "*"),
        ("/", "/a", "/a"),
    ] {
        let upstream = Upstream::answering(ok(""));
        let proxy = before(upstream.at).below(base).with("forwarded = false").start();
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        proxy.connect().send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n")).answer();
        assert_eq!(upstream.got(0).split(' ').nth(1), Some(sent), "{base} {target}");
    }
}

#[test]
fn connections_are_used_again_and_closed_when_somebody_says_so() {
    let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let old_keep = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx";
    let keep = &*ok("x");
    for (answer, connections) in [(keep, 1), (old_keep, 1), (close, 3), (old, 3)] {
        let upstream = Upstream::answering(answer);
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        for _ in 0..3 {
            let answer = client.send(GET).answer();
            assert_eq!((answer.text(), answer.field("connection")), ("x", None));
        }
        assert_eq!(upstream.connections(), connections, "{answer}");
        // an upstream connection outlives its caller
        let last = client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").answer();
        assert_eq!((last.status, last.field("connection")), (200, Some("close")));
        assert_eq!(client.rest(), (Vec::new(), End::Fin));
        proxy.get("/");
        assert_eq!(upstream.connections(), if connections == 1 { 1 } else { 5 }, "{answer}");
    }
}

#[test]
fn an_upstream_may_have_a_name_of_several_addresses() {
    // `localhost` is ::1 too, where nobody listens
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).named("localhost").with("host = \"upstream\"").start();
    assert_eq!(proxy.get("/").text(), "x");
    upstream.wait_got(0, &format!("Host: localhost:{}\r\n", upstream.at.port()));
    let proxy = before(upstream.at).named("nobody.invalid").start();
    let answer = proxy.get("/");
    assert_eq!((answer.status, answer.field("x-brownout-error")), (502, Some("connect")));
}

#[test]
fn several_upstreams_take_turns() {
    let upstreams: Vec<_> = ["a", "b", "c"].iter().map(|name| Upstream::answering(ok(name))).collect();
    let proxy = before_all(&upstreams.iter().map(|one| one.at).collect::<Vec<_>>()).start();
    let names: Vec<String> = (0..9).map(|_| proxy.get("/").text().to_owned()).collect();
    assert_eq!(names[..3], names[3..6]);
    assert_eq!(names[..3], names[6..]);
    let mut sorted = names[..3].to_vec();
    sorted.sort();
    assert_eq!(sorted, ["a", "b", "c"]);
}

#[test]
fn a_connection_that_died_in_the_pool_costs_nobody_a_request() {
    // the upstream closes after each answer and does not say so
    let upstream = Upstream::serve(|link| {
        if link.request().is_some() {
            link.send(ok("x"));
        }
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    for n in 0..100 {
        let request =
            if n % 2 == 0 { GET } else { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\ny" };
        assert_eq!(client.send(request).answer().status, 200, "{n}");
        eventually("it closed", || upstream.connections() == n + 1);
        pass(ms(2));
    }
    assert_eq!(upstream.requests(), 100);
}

#[test]
fn no_request_is_sent_twice() {
    for (request, method) in
        [("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "POST"), (GET, "GET")]
    {
        for pooled in [false, true] {
            // reads the request whole, and closes without an answer
            let upstream = Upstream::serve(move |link| {
                if pooled && link.number == 0 && link.request().is_some() {
                    link.send(ok("first"));
                }
                link.request();
            });
            let proxy = before(upstream.at).start();
            let mut client = proxy.connect();
            if pooled {
                client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").answer();
            }
            let answer = client.send(request).answer();
            assert_eq!(answer.status, 502, "{method} {pooled}");
            assert!(answer.text().contains("edge `edge`"), "{}", answer.text());
            assert_eq!(upstream.requests(), 1 + usize::from(pooled), "{method} {pooled}");
            assert_eq!(upstream.connections(), 1, "{method} {pooled}");
        }
    }
}

#[test]
fn an_upstream_that_cannot_be_reached_is_named() {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let proxy = before(nobody).start();
    let mut client = proxy.connect();
    for _ in 0..2 {
        let answer = client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").answer();
        assert_eq!((answer.status, answer.field("x-brownout-error")), (502, Some("connect")));
        assert!(answer.text().contains("edge `edge`") && answer.text().contains(&nobody.to_string()));
    }
    proxy.wait_count(2, "502", "upstream");
    // and with a body that is on its way still
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhi");
    assert_eq!(client.answer().status, 502);
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
}

#[test]
fn old_clients_are_served() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
    );
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    let answer = client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
    assert_eq!((answer.text(), answer.field("transfer-encoding")), ("abcde", None));
    let upstream = Upstream::answering(ok("abc"));
    let proxy = before(upstream.at).start();
    let mut client: Client = proxy.connect();
    for _ in 0..2 {
        let answer = client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
        assert_eq!((answer.text(), answer.field("connection")), ("abc", Some("keep-alive")));
    }
    let answer = client.send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!((answer.text(), answer.field("connection")), ("abc", Some("close")));
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
}
