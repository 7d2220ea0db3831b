//! Gates: `limit`, `freeze`, `capacity`, `serialize` and `connections`.

use crate::support::{
    Client, Door, End, Link, Proxy, Upstream, before, before_tcp, chunked, eventually, ms, noise, ok,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers each request with its path, once it is let.
fn on_tick() -> Upstream {
    Upstream::serve(|link| {
        while let Some(request) = link.request() {
            link.tick();
            let text = String::from_utf8(request).unwrap();
            link.send(ok(text.split(' ').nth(1).unwrap()));
        }
    })
}

fn echo(link: &mut Link) {
    while let Some(byte) = link.take(1) {
        link.send(byte);
    }
}

fn get(proxy: &Proxy, path: &str) -> Client {
    let mut client = proxy.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

/// What comes over a connection that echoes.
fn says(client: &mut Client) -> Result<Vec<u8>, (Vec<u8>, End)> {
    client.send("x");
    client.take(1)
}

fn injected(proxy: &Proxy, fault: &str, action: &str, count: f64) {
    let labels = [format!("fault=\"{fault}\""), format!("action=\"{action}\"")];
    eventually("counted", || {
        proxy.metric("brownout_faults_injected_total", &[&labels[0], &labels[1]]) == count
    });
}

#[test]
fn a_limit_lets_a_burst_through_and_tells_when_to_come_back() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).start();
    proxy.arm("busy", "limit = { rate = \"6/m\", burst = 3 }");
    let mut client = proxy.connect();
    for n in 0..5 {
        let answer = client.send(GET).answer();
        if n < 3 {
            assert_eq!((answer.status, answer.field("x-brownout-fault")), (200, None), "{n}");
        } else {
            assert_eq!((answer.status, answer.field("x-brownout-fault")), (429, Some("busy")), "{n}");
            let again: u64 = answer.field("retry-after").unwrap().parse().unwrap();
            assert!((1..=10).contains(&again), "{again}");
        }
    }
    assert_eq!((upstream.requests(), proxy.hits("busy")), (3, 2));
    proxy.wait_count(2, "429", "injected");
    injected(&proxy, "busy", "limit", 2.0);
    proxy.heal("busy");
    assert_eq!(client.send(GET).answer().status, 200);
    // a body is read to its end, so that the connection lives on
    proxy.arm("busy", "limit = { rate = \"1/h\", burst = 1 }");
    let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(client.send(post).answer().status, 200);
    let answer = client.send(post).answer();
    assert_eq!((answer.status, answer.field("retry-after")), (429, Some("3600")));
    proxy.heal("busy");
    assert_eq!(client.send(GET).answer().status, 200);
}

#[test]
fn each_victim_has_a_bucket_of_its_own_and_it_fills_up() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).start();
    proxy.arm("f", "sticky = \"header:x-user\"\nlimit = { rate = \"20/s\", burst = 1 }");
    let ask = |client: &mut Client, user: &str| {
        client.send(format!("GET /a HTTP/1.1\r\nHost: a\r\nx-user: {user}\r\n\r\n")).answer().status
    };
    let mut client = proxy.connect();
    for user in ["a", "b", "c"] {
        assert_eq!(ask(&mut client, user), 200);
    }
    // a token comes back
    eventually("a token", || ask(&mut client, "a") == 200);
    // without the header nobody is struck
    for _ in 0..5 {
        assert_eq!(client.send(GET).answer().status, 200);
    }
}

#[test]
fn a_limit_is_exact_over_workers() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).workers(3).start();
    proxy.arm("f", "limit = { rate = \"50/s\", burst = 30 }");
    let begun = Instant::now();
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = proxy.connect();
                for _ in 0..40 {
                    passed.fetch_add(usize::from(client.send(GET).answer().status == 200), Ordering::AcqRel);
                }
            });
        }
    });
    let (passed, time) = (passed.load(Ordering::Acquire), begun.elapsed().as_secs_f64());
    assert!(passed >= 30 && passed as f64 <= 30.0 + 50.0 * time + 1.0, "{passed} in {time} s");
    assert_eq!(proxy.hits("f"), 320 - passed as u64);
    assert_eq!(upstream.requests(), passed);
}

#[test]
fn a_pool_lets_so_many_through_in_their_order() {
    let upstream = on_tick();
    let proxy = before(upstream.at).start();
    proxy.arm("pool", "capacity = { max = 2, wait = \"60s\" }");
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..5u64 {
        clients.push(get(&proxy, &format!("/{n}")));
        let held = n.saturating_sub(1);
        eventually("it is where it belongs", || proxy.in_flight() == n + 1 && proxy.held() == held);
    }
    upstream.wait_requests(2);
    for n in 0..5 {
        assert_eq!(upstream.requests(), (n + 2).min(5));
        upstream.ticker().tick();
        // whichever of those inside was let
        eventually("one is let in", || upstream.requests() == (n + 3).min(5));
    }
    for (n, mut client) in clients.into_iter().enumerate() {
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, format!("/{n}").as_str()));
        assert_eq!(answer.field("x-brownout-fault"), (n >= 2).then_some("pool"), "{n}");
    }
    assert_eq!(proxy.hits("pool"), 3);
    // a delayed exchange stays one of the upstream
    proxy.wait_count(5, "200", "upstream");
    injected(&proxy, "pool", "capacity", 3.0);
    proxy.wait_quiet();
}

#[test]
fn who_waits_for_too_long_or_in_too_long_a_row_gets_nothing() {
    for (then, status, end) in [
        ("", Some(503), None),
        ("then = 429", Some(429), None),
        ("then = \"close\"", None, Some(End::Fin)),
        ("then = \"reset\"", None, Some(End::Reset)),
    ] {
        let upstream = on_tick();
        let proxy = before(upstream.at).start();
        let then = if then.is_empty() { String::new() } else { format!(", {then}") };
        proxy.arm("pool", &format!("capacity = {{ max = 1, queue = 1, wait = \"150ms\"{then} }}"));
        let mut inside = get(&proxy, "/inside");
        upstream.wait_requests(1);
        let begun = Instant::now();
        let mut waits = get(&proxy, "/waits");
        proxy.wait_held(1);
        let mut more = get(&proxy, "/more");
        let turned_away = |client: &mut Client| match (status, end) {
            (Some(status), _) => {
                let answer = client.answer();
                assert_eq!((answer.status, answer.field("x-brownout-fault")), (status, Some("pool")));
            }
            (None, end) => assert_eq!(client.rest(), (Vec::new(), end.unwrap())),
        };
        turned_away(&mut more);
        turned_away(&mut waits);
        assert!(begun.elapsed() >= ms(150));
        upstream.ticker().tick();
        assert_eq!(inside.answer().status, 200);
        assert_eq!((upstream.requests(), proxy.hits("pool")), (1, 2));
        eventually("injected", || proxy.count("", "injected") == 2);
        // all places are free again
        upstream.ticker().tick();
        assert_eq!(get(&proxy, "/again").answer().status, 200);
        drop((inside, waits, more));
        proxy.wait_quiet();
    }
}

#[test]
fn a_heal_lets_all_who_wait_go_and_a_caller_who_leaves_frees_his_place() {
    let upstream = on_tick();
    let proxy = before(upstream.at).workers(2).start();
    proxy.arm("pool", "capacity = { max = 1 }");
    let inside = get(&proxy, "/inside");
    upstream.wait_requests(1);
    let (leaves, mut stays) = (get(&proxy, "/leaves"), get(&proxy, "/stays"));
    proxy.wait_held(2);
    // one who waits leaves: nobody is called for it
    drop(leaves);
    proxy.wait_held(1);
    proxy.wait_count(1, "", "client");
    assert_eq!(upstream.requests(), 1);
    // one who is inside leaves: the next goes in
    inside.reset();
    upstream.wait_requests(2);
    for _ in 0..2 {
        upstream.ticker().tick();
    }
    assert_eq!(stays.answer().text(), "/stays");
    // healed: all at once
    let _inside = get(&proxy, "/inside");
    upstream.wait_requests(3);
    let mut waiting: Vec<Client> = (0..4).map(|n| get(&proxy, &format!("/{n}"))).collect();
    proxy.wait_held(4);
    proxy.heal("pool");
    upstream.wait_requests(7);
    for _ in 0..5 {
        upstream.ticker().tick();
    }
    for (n, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.answer().text(), format!("/{n}"));
    }
    // armed again it begins anew, whoever is inside still
    proxy.arm("pool", "capacity = { max = 1, queue = 0 }");
    upstream.ticker().tick();
    assert_eq!(get(&proxy, "/new").answer().status, 200);
}

#[test]
fn a_place_is_kept_for_as_long_as_the_delay_lasts_and_the_answer_flows() {
    let (door, opened) = (Door::default(), Door::default());
    let (open, now) = (door.clone(), opened.clone());
    let upstream = Upstream::serve(move |link| {
        while let Some(request) = link.request() {
            if request.starts_with(b"GET /stream") {
                link.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
                now.open();
                open.wait();
                link.send("cd");
            } else {
                link.send(ok("x"));
            }
        }
    });
    let proxy = before(upstream.at).start();
    proxy.arm("pool", "capacity = { max = 1 }");
    let mut streams = get(&proxy, "/stream");
    opened.wait();
    let mut waits = get(&proxy, "/");
    proxy.wait_held(1);
    assert_eq!(upstream.requests(), 1);
    door.open();
    assert_eq!(streams.answer().text(), "abcd");
    assert_eq!(waits.answer().text(), "x");
    proxy.heal("pool");
    // in one fault, and in another that comes before it: gates come first
    for rules in [
        vec![("both", "latency = \"60s\"\ncapacity = { max = 1 }")],
        vec![("late", "latency = \"60s\""), ("both", "capacity = { max = 1 }")],
    ] {
        for (name, rule) in &rules {
            proxy.arm(name, rule);
        }
        let (before, known) = (upstream.requests(), counts(&proxy, "both").1);
        let (mut first, mut second) = (get(&proxy, "/1"), get(&proxy, "/2"));
        proxy.wait_held(2);
        let (_, selected, hits) = counts(&proxy, "both");
        assert_eq!(selected, known + 2);
        assert!(hits >= 1);
        for (name, _) in &rules {
            proxy.heal(name);
        }
        assert_eq!((first.answer().status, second.answer().status), (200, 200));
        assert_eq!(upstream.requests(), before + 2);
    }
    // one after another, each with its whole delay
    proxy.arm("both", "latency = \"80ms\"\ncapacity = { max = 1 }");
    let begun = Instant::now();
    let mut all: Vec<Client> = (0..3).map(|_| get(&proxy, "/")).collect();
    for client in &mut all {
        assert_eq!(client.answer().status, 200);
    }
    assert!(begun.elapsed() >= ms(240), "{:?}", begun.elapsed());
}

fn counts(proxy: &Proxy, name: &str) -> (u64, u64, u64) {
    let all = proxy.control.faults();
    let fault = all.iter().find(|fault| fault.name == name).unwrap();
    (fault.matched, fault.selected, fault.hits)
}

#[test]
fn an_action_that_is_healed_while_it_waits_is_not_done() {
    let upstream = on_tick();
    let (usual, other) = (&upstream, Upstream::answering(ok("other")));
    let proxy = before(usual.at).start();
    proxy.arm("pool", "capacity = { max = 1 }");
    let mut inside = get(&proxy, "/inside");
    upstream.wait_requests(1);
    proxy.arm("away", &format!("reroute = {{ upstream = \"http://{}\" }}", other.at));
    let mut waits = get(&proxy, "/waits");
    proxy.wait_held(1);
    proxy.heal("away");
    for _ in 0..2 {
        upstream.ticker().tick();
    }
    assert_eq!((inside.answer().text(), waits.answer().text()), ("/inside", "/waits"));
    assert_eq!(other.requests(), 0);
    // and one that is not healed is
    proxy.arm("no", "respond = 418");
    assert_eq!(get(&proxy, "/").answer().status, 418);
    proxy.heal("no");
    // a gate that is healed leaves the others standing
    proxy.heal("pool");
    proxy.arm("one", "capacity = { max = 1 }").arm("two", "capacity = { max = 1 }");
    let mut inside = get(&proxy, "/inside");
    upstream.wait_requests(3);
    let mut waits = get(&proxy, "/waits");
    proxy.wait_held(1);
    proxy.heal("one");
    waits.hears_nothing();
    assert_eq!((proxy.held(), upstream.requests()), (1, 3));
    proxy.heal("two");
    upstream.wait_requests(4);
    for _ in 0..2 {
        upstream.ticker().tick();
    }
    assert_eq!((inside.answer().status, waits.answer().status), (200, 200));
}

#[test]
fn connections_of_a_tcp_edge_wait_for_a_place() {
    let upstream = Upstream::serve(echo);
    let proxy = before_tcp(upstream.at).start();
    let mut open = proxy.connect();
    assert!(says(&mut open).is_ok());
    proxy.arm("pool", "capacity = { max = 2, queue = 1 }");
    // the one that was open before is one of them
    eventually("asked", || counts(&proxy, "pool").1 == 1);
    assert!(says(&mut open).is_ok());
    let mut second = proxy.connect();
    assert!(says(&mut second).is_ok());
    let mut third = proxy.connect();
    third.send("x");
    proxy.wait_held(1);
    assert_eq!(proxy.connect().rest(), (Vec::new(), End::Fin));
    third.hears_nothing();
    drop(open);
    assert_eq!(third.take(1).unwrap(), b"x");
    assert!(says(&mut second).is_ok());
    let mut fourth = proxy.connect();
    fourth.send("y");
    proxy.wait_held(1);
    assert_eq!(counts(&proxy, "pool"), (5, 5, 3));
    proxy.heal("pool");
    assert_eq!(fourth.take(1).unwrap(), b"y");
    drop((second, third, fourth));
    proxy.wait_quiet();
}

#[test]
fn one_at_a_time_for_each_key_and_each_holds_it() {
    let upstream = on_tick();
    let proxy = before(upstream.at).workers(2).start();
    proxy.arm("lock", "serialize = { key = \"header:x-user\" }");
    let ask = |user: &str, path: &str| {
        let mut client = proxy.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nx-user: {user}\r\n\r\n"));
        client
    };
    let mut first = ask("a", "/a1");
    upstream.wait_requests(1);
    let mut second = ask("a", "/a2");
    proxy.wait_held(1);
    let (mut other, mut nobody) = (ask("b", "/b1"), get(&proxy, "/none"));
    upstream.wait_requests(3);
    assert_eq!(proxy.held(), 1);
    for _ in 0..3 {
        upstream.ticker().tick();
    }
    assert_eq!(
        (first.answer().text(), other.answer().text(), nobody.answer().text()),
        ("/a1", "/b1", "/none")
    );
    upstream.ticker().tick();
    assert_eq!(second.answer().text(), "/a2");
    assert_eq!(proxy.hits("lock"), 1);
    proxy.heal("lock");
    // held for a while, even if the answer is quick
    let quick = Upstream::answering(ok("x"));
    let proxy = before(quick.at).start();
    proxy.arm("lock", "serialize = { hold = \"100ms\" }");
    let begun = Instant::now();
    let mut all: Vec<Client> = (0..3).map(|n| get(&proxy, &format!("/{n}"))).collect();
    for client in &mut all {
        assert_eq!(client.answer().status, 200);
    }
    assert!(begun.elapsed() >= ms(200), "{:?}", begun.elapsed());
    proxy.heal("lock");
    // a segment of the path; a heal lets go who waits for the hold to end
    proxy.arm("row", "match = { path = \"/rows/{id}\" }\nserialize = { key = \"path:id\", hold = \"60s\" }");
    for path in ["/rows/1", "/rows/2", "/elsewhere"] {
        assert_eq!(proxy.get(path).status, 200);
    }
    let mut waits = get(&proxy, "/rows/1");
    proxy.wait_held(1);
    proxy.heal("row");
    assert_eq!(waits.answer().status, 200);
    drop((all, waits));
    proxy.wait_quiet();
}

#[test]
fn a_freeze_holds_requests_and_lets_them_go_in_order() {
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).start();
    let begun = Instant::now();
    proxy.arm("gc", "freeze = { for = \"400ms\" }");
    let mut all: Vec<Client> = Vec::new();
    for n in 0..4u64 {
        all.push(get(&proxy, &format!("/{n}")));
        proxy.wait_held(n + 1);
    }
    assert_eq!(upstream.requests(), 0);
    for (n, client) in all.iter_mut().enumerate() {
        let answer = client.answer();
        assert!(answer.text().starts_with(&format!("GET /{n} ")), "{}", answer.text());
        assert_eq!(answer.field("x-brownout-fault"), Some("gc"));
    }
    assert!(begun.elapsed() >= ms(400));
    // once: then never again
    assert_eq!(proxy.get("/after").field("x-brownout-fault"), None);
    assert_eq!(proxy.hits("gc"), 4);
    proxy.heal("gc");
    // healed in the middle, and a caller that leaves
    proxy.arm("gc", "freeze = { for = \"60s\" }");
    let (leaves, mut stays) = (get(&proxy, "/leaves"), get(&proxy, "/stays"));
    proxy.wait_held(2);
    drop(leaves);
    proxy.wait_held(1);
    proxy.heal("gc");
    assert_eq!(stays.answer().status, 200);
    // again and again
    proxy.arm("gc", "freeze = { for = \"20ms\", every = \"50ms\" }");
    let mut client = proxy.connect();
    eventually("frozen thrice", || {
        client.send(GET).answer();
        proxy.hits("gc") >= 7
    });
    proxy.heal("gc");
    drop((all, stays, client));
    proxy.wait_quiet();
}

#[test]
fn bytes_of_an_answer_stop_and_none_is_lost() {
    let (payload, door) = (noise(600_000), Door::default());
    let (body, open) = (payload.clone(), door.clone());
    let upstream = Upstream::serve(move |link| {
        link.request();
        link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        open.wait();
        link.send(chunked(&body, 5000));
        link.request();
    });
    for heals in [false, true] {
        let proxy = before(upstream.at).start();
        // not at its beginning: first comes the head
        proxy.arm("gc", "freeze = { for = \"400ms\", every = \"1s\" }");
        let mut client = get(&proxy, "/");
        client.until(b"first\r\n").unwrap();
        eventually("it freezes again", || frozen(&proxy));
        door.open();
        if heals {
            proxy.heal("gc");
        }
        let mut got = Vec::new();
        while !got.ends_with(b"0\r\n\r\n") || got.len() < payload.len() {
            got.extend(client.until(b"\n").unwrap());
        }
        assert!(got == chunked(&payload, 5000));
        drop(client);
        proxy.wait_quiet();
    }
}

/// Whether a new request is held.
fn frozen(proxy: &Proxy) -> bool {
    let client = get(proxy, "/probe");
    let begun = Instant::now();
    while begun.elapsed() < ms(15) {
        if proxy.held() > 0 {
            return true;
        }
    }
    drop(client);
    false
}

#[test]
fn the_body_of_a_request_stops_too() {
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    proxy.arm("gc", "freeze = { for = \"300ms\", every = \"700ms\" }");
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    upstream.wait_got(0, "POST /a");
    let before = proxy.hits("gc");
    eventually("it freezes again", || frozen(&proxy));
    client.send("def");
    client.hears_nothing();
    proxy.heal("gc");
    let answer = client.answer();
    assert!(answer.text().ends_with("abcdef"), "{}", answer.text());
    assert!(answer.field("x-brownout-fault").is_some());
    proxy.arm("gc", "freeze = { for = \"1s\" }");
    assert!(proxy.hits("gc") > before);
}

#[test]
fn a_caller_who_resets_while_all_is_frozen_is_let_go() {
    let upstream = Upstream::serve(echo);
    let proxy = before_tcp(upstream.at).start();
    let mut open = proxy.connect();
    assert!(says(&mut open).is_ok());
    proxy.arm("gc", "freeze = { for = \"60s\" }");
    open.send("y");
    eventually("asked", || counts(&proxy, "gc").1 == 1);
    open.hears_nothing();
    open.reset();
    upstream.wait_end(End::Reset);
    assert_eq!(proxy.hits("gc"), 1);
    // one that waits before its first byte
    let new = proxy.connect();
    proxy.wait_held(1);
    drop(new);
    proxy.wait_quiet();
    assert_eq!(upstream.connections(), 1);
    proxy.heal("gc");
    assert!(says(&mut proxy.connect()).is_ok());
}

#[test]
fn tunnels_freeze_both_ways_and_lose_nothing() {
    let (up, down) = (noise(300_000), noise(300_007));
    let (expected, sent) = (up.clone(), down.clone());
    let upstream = Upstream::serve(move |link| {
        if link.take(1).as_deref() == Some(b"G") {
            link.head();
            link.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n");
            link.take(1);
        }
        link.send("!");
        link.tick();
        link.send(&sent);
        if link.take(expected.len()).unwrap() != expected {
            link.reset();
        }
        link.end();
    });
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n";
    for tcp in [true, false] {
        for heals in [true, false] {
            let proxy = if tcp { before_tcp(upstream.at) } else { before(upstream.at) }.start();
            let mut client = proxy.connect();
            if !tcp {
                client.send(ask).until(b"\r\n\r\n").unwrap();
            }
            client.send("x");
            assert_eq!(client.take(1).unwrap(), b"!");
            let begun = Instant::now();
            proxy.arm("gc", &format!("freeze = {{ for = \"{}ms\" }}", if heals { 60_000 } else { 400 }));
            eventually("asked", || counts(&proxy, "gc").1 == 1);
            upstream.ticker().tick();
            let mut writer = client.stream().try_clone().unwrap();
            let bytes = up.clone();
            let sending = std::thread::spawn(move || {
                use std::io::Write;
                writer.write_all(&bytes).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            if heals {
                client.hears_nothing();
                proxy.heal("gc");
            }
            let (got, end) = client.rest();
            sending.join().unwrap();
            assert!(got == down && end == End::Fin, "{tcp} {heals} {} {end:?}", got.len());
            assert!(heals || begun.elapsed() >= ms(400));
            if !heals {
                assert_eq!(proxy.hits("gc"), 1);
                injected(&proxy, "gc", "freeze", 1.0);
            }
            drop(client);
            proxy.wait_quiet();
        }
    }
}

#[test]
fn an_edge_has_so_many_connections_and_those_open_before_count() {
    for (then, end) in
        [("", End::Reset), (", then = \"reset\"", End::Reset), (", then = \"close\"", End::Fin)]
    {
        let upstream = Upstream::answering(ok("x"));
        let proxy = before(upstream.at).workers(2).start();
        let mut first = proxy.connect();
        assert_eq!(first.send(GET).answer().status, 200);
        proxy.arm("slots", &format!("connections = {{ max = 2{then} }}"));
        let mut second = proxy.connect();
        assert_eq!(second.send(GET).answer().status, 200);
        for n in 1..4 {
            assert_eq!(proxy.connect().rest(), (Vec::new(), end), "{then}");
            assert_eq!(proxy.hits("slots"), n);
        }
        assert_eq!(first.send(GET).answer().field("x-brownout-fault"), None);
        // one goes, and there is room for one
        drop(first);
        eventually("room", || proxy.connections() == 1);
        let mut third = proxy.connect();
        assert_eq!(third.send(GET).answer().status, 200);
        assert_eq!(proxy.connect().rest(), (Vec::new(), end));
        assert_eq!(counts(&proxy, "slots"), (6, 6, 4));
        injected(&proxy, "slots", "connections", 4.0);
        eventually("injected", || proxy.count("", "injected") == 4);
        proxy.heal("slots");
        let mut fourth = proxy.connect();
        assert_eq!(fourth.send(GET).answer().status, 200);
        drop((second, third, fourth));
        proxy.wait_quiet();
    }
}

#[test]
fn connections_that_leak_stay_counted_until_healed() {
    for tcp in [false, true] {
        let upstream = if tcp { Upstream::serve(echo) } else { Upstream::answering(ok("x")) };
        let proxy = if tcp { before_tcp(upstream.at) } else { before(upstream.at) }.start();
        let works = |client: &mut Client| {
            if tcp {
                assert!(says(client).is_ok());
            } else {
                assert_eq!(client.send(GET).answer().status, 200);
            }
        };
        let mut before = proxy.connect();
        works(&mut before);
        for _ in 0..2 {
            proxy.arm("leak", "connections = { max = 3, leak = true }");
            // the one that was there before, and two that come and go
            works(&mut before);
            for _ in 0..2 {
                works(&mut proxy.connect());
                eventually("closed", || proxy.connections() == 1);
            }
            assert_eq!(proxy.connect().rest(), (Vec::new(), End::Reset));
            proxy.heal("leak");
            works(&mut proxy.connect());
            eventually("closed", || proxy.connections() == 1);
        }
    }
}

#[test]
fn the_bound_is_exact_however_many_come_at_once() {
    let upstream = Upstream::serve(echo);
    let proxy = before_tcp(upstream.at).workers(3).start();
    proxy.arm("slots", "connections = { max = 7 }");
    let taken: Vec<Client> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let all = (0..5).map(|_| proxy.connect());
                    all.filter_map(|mut client| says(&mut client).is_ok().then_some(client))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((taken.len(), proxy.hits("slots")), (7, 33));
    drop(taken);
    proxy.wait_quiet();
    assert!(says(&mut proxy.connect()).is_ok());
}

#[test]
fn only_those_are_turned_away_whom_the_fault_strikes() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).start();
    proxy.arm("slots", "match = { peer = \"10.0.0.0/8\" }\nconnections = { max = 0 }");
    assert_eq!(proxy.get("/").status, 200);
    proxy.heal("slots");
    proxy.arm("slots", "first = 1\nconnections = { max = 0 }");
    assert_eq!(proxy.connect().rest(), (Vec::new(), End::Reset));
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(proxy.hits("slots"), 1);
    let alone = "match = \"all\"\nname = \"x\"\nedge = \"edge\"\nlatency = \"1s\"\nconnections = { max = 1 }";
    let edges = [("edge".to_owned(), brownout::decision::Protocol::Http)];
    let refused =
        brownout::model::parse_fault(brownout::model::FaultSource::Toml(alone), &edges).unwrap_err();
    assert!(refused.render(false).contains("`connections` stands alone"));
}

#[test]
fn postgres_clients_hear_what_postgres_says() {
    let upstream = Upstream::serve(echo);
    let proxy = before_tcp(upstream.at).start();
    proxy.arm("slots", "connections = { max = 0, then = \"postgres:53300\" }");
    let startup = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
    let asks: [&[&[u8]]; 3] = [
        &[],
        &[b"\0\0\0\x08\x04\xd2\x16\x2f"],
        &[b"\0\0\0\x08\x04\xd2\x16\x30", b"\0\0\0\x08\x04\xd2\x16\x2f"],
    ];
    for asks in asks {
        let mut client = proxy.connect();
        for ask in asks {
            client.send(ask);
            assert_eq!(client.take(1).unwrap(), b"N");
        }
        // in two pieces
        client.send(&startup[..5]);
        client.hears_nothing();
        client.send(&startup[5..]);
        let (got, end) = client.rest();
        assert_eq!((got[0], end), (b'E', End::Fin));
        let text = String::from_utf8_lossy(&got[5..]);
        assert!(text.starts_with("SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0"), "{text}");
        assert!(text.contains("Rslots\0"), "{text}");
    }
    // to cancel a query, and what is no PostgreSQL at all: closed without a word
    for bytes in [&b"\0\0\0\x10\x04\xd2\x16\x2eabcdefgh"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        assert_eq!(proxy.connect().send(bytes).rest(), (Vec::new(), End::Fin));
    }
    assert_eq!(proxy.hits("slots"), 5);
    assert_eq!(upstream.connections(), 0);
    proxy.wait_quiet();
}

#[test]
fn answers_that_were_under_way_when_it_froze_stop_too() {
    let upstream = Upstream::serve(|link| {
        while let Some(request) = link.request() {
            if request.starts_with(b"GET /stream") {
                link.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 6\r\n\r\none",
                );
            }
            link.tick();
            link.send(if request.starts_with(b"GET /stream") { "two".to_owned() } else { ok("x") });
        }
    });
    for path in ["/stream", "/"] {
        for heals in [true, false] {
            let proxy = before(upstream.at).start();
            let mut client = get(&proxy, path);
            upstream.wait_heads(1);
            if path == "/stream" {
                client.until(b"one").unwrap();
            } else {
                eventually("under way", || proxy.in_flight() == 1 && upstream.connections() > 0);
            }
            let begun = Instant::now();
            proxy.arm("gc", &format!("freeze = {{ for = \"{}\" }}", if heals { "60s" } else { "400ms" }));
            eventually("it is frozen", || frozen(&proxy));
            upstream.ticker().tick();
            proxy.wait_held(if heals { 1 } else { proxy.held().max(1) });
            if heals {
                client.hears_nothing();
                proxy.heal("gc");
            }
            let last: &[u8] = if path == "/stream" { b"two" } else { b"\r\n\r\nx" };
            client.until(last).unwrap();
            if !heals {
                assert!(begun.elapsed() >= ms(400));
                assert!(proxy.hits("gc") >= 1);
            }
            eventually("ended", || proxy.in_flight() == 0);
        }
    }
    // one that the fault would spare is left alone
    let proxy = before(upstream.at).start();
    let mut client = get(&proxy, "/stream");
    client.until(b"one").unwrap();
    proxy.arm("gc", "match = { path = \"/else/**\" }\nfreeze = { for = \"60s\" }");
    let _held = get(&proxy, "/else/where");
    proxy.wait_held(1);
    upstream.ticker().tick();
    client.until(b"two").unwrap();
    assert_eq!(counts(&proxy, "gc"), (1, 1, 1));
}

#[test]
fn answers_stop_also_where_no_more_may_be_held() {
    let upstream = Upstream::serve(|link| {
        link.request();
        link.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none");
        link.tick();
        link.send("two");
        link.end();
    });
    let proxy = before(upstream.at).with("max_held = 1").start();
    let mut clients: Vec<Client> = (0..3).map(|n| get(&proxy, &format!("/{n}"))).collect();
    for client in &mut clients {
        client.until(b"one").unwrap();
    }
    proxy.arm("gc", "freeze = { for = \"60s\" }");
    eventually("it is frozen", || frozen(&proxy));
    for _ in 0..3 {
        upstream.ticker().tick();
    }
    eventually("all have stopped", || counts(&proxy, "gc").2 >= 4);
    for client in &mut clients {
        client.hears_nothing();
    }
    proxy.heal("gc");
    for client in &mut clients {
        client.until(b"two").unwrap();
    }
    drop(clients);
    proxy.wait_quiet();
}
