//! What is kept of every single exchange: which logical request it was of, when its caller left, and what it left behind.

use crate::support::{Door, Proxy, Upstream, before, before_tcp, chunked, eventually, ms, ok, pass};
use brownout::telemetry::{Ending, Event, Identity, Origin, Passed, Stamped};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

/// Whoever wants to know of every exchange.
struct Reader<'p> {
    proxy: &'p Proxy,
    events: RefCell<Receiver<Arc<Stamped>>>,
    passed: RefCell<Vec<Passed>>,
}

impl<'p> Reader<'p> {
    fn of(proxy: &'p Proxy) -> Self {
        let events = RefCell::new(proxy.telemetry.subscribe());
        Self { proxy, events, passed: RefCell::default() }
    }

    /// All that have ended, in the order of their begin, once there are so many.
    #[track_caller]
    fn wait(&self, count: usize) -> Vec<Passed> {
        eventually(&format!("{count} exchanges are told"), || {
            self.proxy.telemetry.flush();
            while let Ok(stamped) = self.events.borrow_mut().try_recv() {
                if let Event::Passed { one_in, exchanges, .. } = &stamped.event {
                    assert_eq!(*one_in, 1);
                    self.passed.borrow_mut().extend(exchanges);
                }
            }
            self.passed.borrow().len() >= count
        });
        let mut passed = self.passed.borrow().clone();
        passed.sort_by(|a, b| a.began.total_cmp(&b.began));
        assert_eq!(passed.len(), count, "{passed:?}");
        passed
    }
}

/// One request with these fields and this body, answered.
fn ask(proxy: &Proxy, target: &str, fields: &str, body: &str) {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let method = if body.is_empty() { "GET" } else { "POST" };
    let text = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}{length}\r\n{body}");
    proxy.connect().send(text).answer();
}

#[test]
fn the_identity_of_a_request_is_what_its_head_says_else_what_it_looks_like() {
    let upstream = Upstream::answering(ok("hi"));
    let proxy = before(upstream.at).with("identity = { header = \"X-Order\" }").start();
    let reader = Reader::of(&proxy);
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let same_trace = "TraceParent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00\r\n";
    let cases = [
        ("/a", "x-order: 7\r\ntraceparent: nonsense\r\n", ""),
        ("/a", "X-ORDER: 7\r\nx-request-id: 1\r\n", ""),
        ("/b?x=1", trace, ""),
        ("/b?x=2", same_trace, ""),
        (
            "/c",
            "traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01\r\nx-request-id: 7\r\n",
            "",
        ),
        ("/c", "idempotency-key: k\r\nx-request-id: 7\r\n", ""),
        ("/c", "idempotency-key: k\r\nx-order:\r\n", ""),
        ("/d", "", ""),
        ("/d?", "", ""),
        ("/d", "", "one"),
        ("/d", "", "one"),
        ("/d", "", "two"),
    ];
    for (target, fields, body) in cases {
        ask(&proxy, target, fields, body);
    }
    let passed = reader.wait(cases.len());
    let kind = |at: usize| std::mem::discriminant(&passed[at].identity);
    let same = |a: usize, b: usize| passed[a].identity == passed[b].identity;
    let of = [
        Identity::Given(0),
        Identity::Given(0),
        Identity::Trace(0),
        Identity::Trace(0),
        Identity::Given(0),
        Identity::Given(0),
        Identity::Given(0),
    ];
    for (at, identity) in of.iter().enumerate() {
        assert_eq!(kind(at), std::mem::discriminant(identity), "{at}: {:?}", passed[at]);
    }
    for passed in &passed[of.len()..] {
        let fingerprint = std::mem::discriminant(&Identity::Fingerprint(0));
        assert_eq!(std::mem::discriminant(&passed.identity), fingerprint, "{passed:?}");
    }
    assert!(same(0, 1) && same(2, 3) && same(9, 10));
    // the id counts, not the field it is in
    assert!(same(0, 4) && same(4, 5) && !same(5, 6));
    assert!(!same(7, 8) && !same(7, 9) && !same(9, 11));
    assert_eq!(passed[0].target, passed[1].target);
    assert_ne!(passed[2].target, passed[3].target, "another query is another request");
    assert_ne!(passed[7].target, passed[9].target, "another method is another request");
}

#[test]
fn a_fingerprint_is_the_same_however_the_body_comes_and_whatever_is_done_to_the_request() {
    let upstream = Upstream::answering(ok("hi"));
    let proxy = before(upstream.at).start();
    let reader = Reader::of(&proxy);
    let body = "0123456789".repeat(9_000);
    let post =
        |body: &str| format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let pieces = |size: usize| {
        let head = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        [head.as_bytes(), &chunked(body.as_bytes(), size)].concat()
    };
    let other_end = format!("{}x", &body[..body.len() - 1]);
    for request in
        [post(&body).into_bytes(), pieces(90_000), pieces(1_001), pieces(7), post(&other_end).into_bytes()]
    {
        proxy.connect().send(request).answer();
    }
    let long = reader.wait(5);
    let short = post(&body[..20_000]);
    for fault in [
        "",
        "latency = \"1ms\"",
        "respond = { status = 503 }",
        "bandwidth = { up = \"1 MiB/s\" }",
        "rewrite = { request = { text = [{ find = \"9\", with = \"8\" }] } }",
    ] {
        if fault.is_empty() {
            proxy.connect().send(&short).answer();
            continue;
        }
        proxy.arm("f", fault);
        let mut client = proxy.connect();
        client.send(&short[..9_000]);
        eventually("its head is there", || proxy.in_flight() == 1);
        client.send(&short[9_000..]).answer();
        proxy.heal("f");
    }
    let all = reader.wait(10);
    let short = &all[5..];
    for of in [&long[..], short] {
        for exchange in of {
            assert_eq!(exchange.identity, of[0].identity, "{of:?}");
        }
    }
    assert_ne!(long[0].identity, short[0].identity);
}

#[test]
fn a_caller_that_leaves_was_in_it_until_then_and_the_upstream_worked_on_for_nobody() {
    for fault in ["", "latency = { after = \"1us\" }"] {
        let door = Door::default();
        let opens = door.clone();
        let upstream = Upstream::serve(move |link| {
            link.request();
            opens.wait();
            link.send(ok("for nobody"));
        });
        let proxy = before(upstream.at).start();
        let reader = Reader::of(&proxy);
        if !fault.is_empty() {
            proxy.arm("f", fault);
        }
        let begun = Instant::now();
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        upstream.wait_requests(1);
        pass(ms(300));
        drop(client);
        let left = begun.elapsed().as_secs_f64();
        pass(ms(700));
        door.open();
        let passed = reader.wait(1)[0];
        assert_eq!((passed.ending, passed.origin), (Ending::CallerLeft, Origin::Client));
        assert!(passed.left() && passed.failed && passed.timed);
        assert!(passed.took >= 0.3 && passed.took < left + 0.2, "{passed:?} left after {left}");
        assert!(passed.zombie.unwrap() >= 0.6, "{passed:?}");
        assert!(passed.upstream.unwrap() >= 1.0, "{passed:?}");
    }
}

#[test]
fn what_the_caller_was_told_is_kept() {
    let upstream = Upstream::serve(|link| {
        for answer in [
            "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".to_owned(),
            format!(
                "HTTP/1.1 429 Slowly\r\nretry-after: {}\r\nContent-Length: 0\r\n\r\n",
                httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(60))
            ),
            "HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n".to_owned(),
            ok("hi"),
        ] {
            link.request();
            link.send(answer);
        }
    });
    let proxy = before(upstream.at).start();
    let reader = Reader::of(&proxy);
    let mut client = proxy.connect();
    for _ in 0..4 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    }
    proxy.arm("f", "limit = { rate = \"1/h\", burst = 1 }");
    client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(client);
    for _ in 0..2 {
        proxy.get("/");
    }
    let passed = reader.wait(6);
    let told: Vec<_> = passed.iter().map(|one| (one.status, one.hit, one.retry_after)).collect();
    assert_eq!(told[0], (503, false, Some(7.0)));
    assert!(told[1].2.is_some_and(|seconds| (50.0..=60.0).contains(&seconds)), "{told:?}");
    assert_eq!(told[2..4], [(503, false, None), (200, false, None)]);
    assert_eq!((told[5].0, told[5].1, passed[5].origin), (429, true, Origin::Injected));
    assert!(told[5].2.is_some_and(|seconds| seconds > 3_000.0), "{told:?}");
}

#[test]
fn a_connection_is_an_exchange_of_its_whole_life_and_has_no_identity() {
    let upstream = Upstream::serve(|link| {
        link.send("hello");
        link.end();
    });
    let proxy = before_tcp(upstream.at).start();
    let reader = Reader::of(&proxy);
    let mut client = proxy.connect();
    client.until(b"hello").unwrap();
    pass(ms(200));
    client.half_close();
    client.rest();
    let passed = reader.wait(1)[0];
    assert_eq!((passed.identity, passed.target, passed.timed), (Identity::None, 0, false));
    assert!(passed.took >= 0.2, "{passed:?}");
}

#[test]
fn a_caller_that_leaves_is_seen_at_that_moment_whatever_holds_it() {
    let upstream = Upstream::serve(|link| {
        link.request();
        link.end();
    });
    let proxy = before(upstream.at).start();
    let reader = Reader::of(&proxy);
    let faults = [
        "latency = \"30s\"",
        "hang = true",
        "drop = \"blackhole\"",
        "freeze = { for = \"30s\", every = \"60s\" }",
        "limit = { rate = \"1/h\", burst = 1 }\nlatency = \"30s\"",
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        proxy.arm("f", fault);
        let begun = Instant::now();
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        proxy.wait_held(1);
        pass(ms(150));
        drop(client);
        let left = begun.elapsed().as_secs_f64();
        let passed = reader.wait(n + 1)[n];
        assert_eq!(passed.ending, Ending::CallerLeft, "{fault}");
        assert!(passed.hit && passed.failed && passed.zombie.is_none(), "{fault} {passed:?}");
        assert!(passed.took >= 0.15 && passed.took < left + 0.2, "{fault} {passed:?} left after {left}");
        proxy.heal("f");
    }
    assert_eq!(upstream.requests(), 0, "nobody is called for those who left");
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_its_body_left_then() {
    let upstream = Upstream::serve(|link| {
        link.head();
        link.end();
    });
    let proxy = before(upstream.at).start();
    let reader = Reader::of(&proxy);
    let begun = Instant::now();
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nhello");
    upstream.wait_heads(1);
    pass(ms(150));
    drop(client);
    let left = begun.elapsed().as_secs_f64();
    let passed = reader.wait(1)[0];
    assert_eq!((passed.ending, passed.origin), (Ending::CallerLeft, Origin::Client));
    assert!(passed.took >= 0.15 && passed.took < left + 0.2, "{passed:?} left after {left}");
}

#[test]
fn a_caller_that_leaves_while_the_upstream_is_called_left_then() {
    // an upstream whose queue is full answers no further call
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let at = full.local_addr().unwrap().as_socket().unwrap();
    let _queue: Vec<_> =
        (0..4).filter_map(|_| std::net::TcpStream::connect_timeout(&at, ms(200)).ok()).collect();
    let proxy = before(at).with("timeout = { connect = \"2s\" }").start();
    let reader = Reader::of(&proxy);
    for n in 0..3 {
        let begun = Instant::now();
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        eventually("it is under way", || proxy.in_flight() == 1);
        pass(ms(150));
        match n {
            0 => drop(client),
            1 => client.reset(),
            _ => {
                client.half_close();
                assert_eq!(client.answer().status, 504, "it reads on");
            }
        }
        let left = begun.elapsed().as_secs_f64();
        let passed = reader.wait(n + 1)[n];
        if n == 2 {
            assert_eq!((passed.ending, passed.status), (Ending::Complete, 504));
            continue;
        }
        assert_eq!((passed.ending, passed.origin), (Ending::CallerLeft, Origin::Client), "{n}");
        assert!(passed.took >= 0.15 && passed.took < left + 0.2, "{n}: {passed:?} left after {left}");
    }
}

#[test]
fn the_upstream_is_not_blamed_for_what_faults_hold_back() {
    let upstream = Upstream::answering(ok("hi"));
    let proxy = before(upstream.at).start();
    let reader = Reader::of(&proxy);
    proxy.arm("f", "latency = { before = \"200ms\", after = \"300ms\" }");
    proxy.get("/");
    let passed = reader.wait(1)[0];
    assert!(passed.held >= 0.5 && passed.took >= passed.held, "{passed:?}");
    assert!(passed.upstream.unwrap() + passed.held <= passed.took, "{passed:?}");
}

#[test]
fn what_is_only_under_way_is_in_the_windows_too() {
    let upstream = Upstream::serve(|link| {
        link.request();
        link.end();
    });
    let proxy = before(upstream.at).start();
    let mut events = proxy.telemetry.subscribe_to_windows();
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.wait_requests(1);
    let mut seen = 0;
    eventually("windows are told though nothing ended", || {
        while let Ok(stamped) = events.try_recv() {
            if let Event::Window(window) = &stamped.event {
                seen += usize::from(window.in_flight == 1 && window.requests == 0);
            }
        }
        seen >= 3
    });
}

#[test]
fn repetitions_are_counted_whatever_answered_them() {
    let upstream = Upstream::answering("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let proxy = before(upstream.at).start();
    let id = "x-request-id: 1\r\n";
    ask(&proxy, "/a", id, "");
    proxy.arm("f", "respond = { status = 503 }");
    ask(&proxy, "/a", id, "");
    proxy.heal("f");
    for (target, fields) in
        [("/a", id), ("/b", id), ("/a", ""), ("/a", ""), ("/healthz", id), ("/healthz", id)]
    {
        ask(&proxy, target, fields, "");
    }
    let of = |name: &str| proxy.metric(&format!("brownout_{name}_total"), &[]);
    eventually("all are counted", || of("logical_requests") + of("retries") >= 6.0);
    assert_eq!((of("logical_requests"), of("retries")), (3.0, 3.0));
}

#[test]
fn a_caller_that_leaves_while_nobody_takes_its_body_left_then() {
    let door = Door::default();
    let opens = door.clone();
    let upstream = Upstream::serve(move |link| {
        link.head();
        opens.wait();
        link.end();
    });
    let proxy = before(upstream.at).start();
    let reader = Reader::of(&proxy);
    proxy.arm("f", "bandwidth = { up = \"10 KiB/s\" }");
    let begun = Instant::now();
    let mut client = proxy.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15000\r\n\r\n{}", "x".repeat(15_000)));
    upstream.wait_heads(1);
    pass(ms(300));
    drop(client);
    let left = begun.elapsed().as_secs_f64();
    pass(ms(500));
    door.open();
    let passed = reader.wait(1)[0];
    assert_eq!((passed.ending, passed.origin), (Ending::CallerLeft, Origin::Client));
    assert!(passed.took >= 0.3 && passed.took < left + 0.4, "{passed:?} left after {left}");
}

#[test]
fn of_one_exchange_in_sixteen_it_is_known_what_it_spent_in_brownout_itself() {
    let upstream = Upstream::answering(ok("hi"));
    let proxy = before(upstream.at).start();
    let reader = Reader::of(&proxy);
    // as many connections as make sixteen on one worker at least
    (0..64).for_each(|_| ask(&proxy, "/", "", ""));
    let own: Vec<f64> = reader.wait(64).iter().map(|passed| passed.took - passed.upstream.unwrap()).collect();
    assert!(own.iter().all(|own| *own >= 0.0), "{own:?}");
    let measured = own.iter().filter(|own| **own > 0.0).count();
    assert!((1..=4).contains(&measured), "{own:?}");
}
