//! Several faults on one exchange, as tables: gates, then delay, then the action, copies, what comes after the answer, bytes.

use crate::support::{Client, Proxy, Upstream, before, eventually, ms, noise, ok, panics};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Arms them in this order, one named a, the next b ...
fn armed(upstream: &Upstream, faults: &[&str]) -> Proxy {
    let proxy = before(upstream.at).with("record = \"1 MiB\"").start();
    for (name, keys) in ["a", "b", "c", "d", "e"].iter().zip(faults) {
        proxy.arm(name, keys);
    }
    proxy
}

fn hits(proxy: &Proxy, count: usize) -> Vec<u64> {
    ["a", "b", "c", "d", "e"].iter().take(count).map(|name| proxy.hits(name)).collect()
}

/// What became of a request: its status, 0 if it was cut.
fn asked(proxy: &Proxy) -> u16 {
    proxy.connect().send(GET).try_answer(false).map_or(0, |answer| answer.status)
}

#[test]
fn the_first_action_wins_and_later_ones_are_not_hit() {
    let upstream = Upstream::answering(ok("x"));
    let other = Upstream::answering("HTTP/1.1 299 Other\r\nContent-Length: 0\r\n\r\n");
    let away = format!("reroute = {{ upstream = \"http://{}\" }}", other.at);
    let actions = [
        ("respond = 418", 418),
        ("hang = { for = \"1ms\", then = \"504\" }", 504),
        ("drop = { how = \"reset\" }", 0),
        (away.as_str(), 299),
    ];
    for (first, status) in actions {
        for (second, _) in actions.iter().filter(|(second, _)| *second != first) {
            let proxy = armed(&upstream, &[first, second]);
            assert_eq!(asked(&proxy), status, "{first}, then {second}");
            assert_eq!(hits(&proxy, 2), [1, 0], "{first}, then {second}");
            // within one fault the order is not the file's, but one of them is done and it is one hit
            if first.split(' ').next() != second.split(' ').next() {
                let proxy = armed(&upstream, &[&format!("{first}\n{second}")]);
                assert!(
                    [status, actions.iter().find(|(keys, _)| keys == second).unwrap().1]
                        .contains(&asked(&proxy))
                );
                assert_eq!(proxy.hits("a"), 1, "{first} and {second}");
            }
        }
    }
    // of what comes after the answer the first wins too
    let after = [
        ("respond = { status = 418, after_upstream = true }", 418),
        ("hang = { for = \"1ms\", at = \"headers\", then = \"504\" }", 504),
        ("drop = { how = \"reset\", at = \"headers\" }", 0),
    ];
    for (first, status) in after {
        for (second, _) in after.iter().filter(|(second, _)| *second != first) {
            let proxy = armed(&upstream, &[first, second]);
            assert_eq!(asked(&proxy), status, "{first}, then {second}");
            assert_eq!(hits(&proxy, 2), [1, 0], "{first}, then {second}");
        }
    }
}

#[test]
fn gates_come_before_delays_and_delays_before_actions_wherever_they_stand() {
    let upstream = Upstream::answering(ok("x"));
    // turned away at the gate: neither delayed nor answered, in whatever order the file has them
    for order in [
        ["limit = { rate = \"1/m\", burst = 1 }", "latency = \"100ms\"", "respond = 418"],
        ["respond = 418", "latency = \"100ms\"", "limit = { rate = \"1/m\", burst = 1 }"],
        ["latency = \"100ms\"", "limit = { rate = \"1/m\", burst = 1 }", "respond = 418"],
    ] {
        let proxy = armed(&upstream, &order);
        let begun = Instant::now();
        assert_eq!(asked(&proxy), 418);
        assert!(begun.elapsed() >= ms(100));
        assert_eq!(asked(&proxy), 429);
        let limit = order.iter().position(|keys| keys.starts_with("limit")).unwrap();
        let expected: Vec<u64> = (0..3).map(|_| 1).collect();
        assert_eq!(hits(&proxy, 3), expected, "{order:?}, the limit is at {limit}");
        assert_eq!(upstream.requests(), 0);
    }
    // a freeze and a delay: one after the other, and then the answer of a fault
    let proxy = armed(&upstream, &["respond = 418", "latency = \"100ms\"", "freeze = { for = \"100ms\" }"]);
    let begun = Instant::now();
    assert_eq!(asked(&proxy), 418);
    assert!(begun.elapsed() >= ms(150), "{:?}", begun.elapsed());
    assert_eq!(hits(&proxy, 3), [1, 1, 1]);
}

#[test]
fn delays_of_all_faults_add_up() {
    let upstream = Upstream::answering(ok("x"));
    for (faults, least) in [
        (vec!["latency = \"40ms\"", "latency = \"40ms\"", "latency = \"40ms\""], 120),
        (vec!["latency = { before = \"40ms\", after = \"40ms\" }", "latency = { after = \"40ms\" }"], 120),
        (vec!["latency = \"40ms\"", "hang = { for = \"60ms\", then = \"504\" }"], 100),
        (vec!["latency = \"40ms\"", "hang = { for = \"60ms\", at = \"headers\", then = \"504\" }"], 100),
        (vec!["respond = { status = 500, after_upstream = true }", "latency = { after = \"80ms\" }"], 80),
    ] {
        let proxy = armed(&upstream, &faults);
        let begun = Instant::now();
        let status = asked(&proxy);
        assert!(begun.elapsed() >= ms(least), "{faults:?}: {:?}", begun.elapsed());
        assert!([200, 500, 504].contains(&status));
        assert_eq!(hits(&proxy, faults.len()), vec![1; faults.len()], "{faults:?}");
    }
}

#[test]
fn an_answer_after_the_upstream_waits_as_long_as_the_real_one_would() {
    let upstream = Upstream::answering(ok("x"));
    for faults in [
        [
            "respond = { status = 500, after_upstream = true }\nlatency = { after = \"90ms\" }",
            "latency = \"10ms\"",
        ],
        [
            "latency = { after = \"90ms\" }\nrespond = { status = 500, after_upstream = true }",
            "latency = \"10ms\"",
        ],
    ] {
        let proxy = armed(&upstream, &faults);
        let known = upstream.requests();
        let begun = Instant::now();
        assert_eq!((asked(&proxy), upstream.requests()), (500, known + 1), "it has executed");
        assert!(begun.elapsed() >= ms(100), "{:?}", begun.elapsed());
        proxy.wait_count(1, "500", "injected");
        // healed while it waits: what is true comes through
        proxy.heal("b");
        proxy.heal("a");
        proxy.arm("a", &faults[0].replace("90ms", "60s"));
        let mut client = proxy.connect();
        client.send(GET);
        proxy.wait_held(1);
        proxy.heal("a");
        assert_eq!(client.answer().text(), "x");
    }
}

#[test]
fn the_lowest_bandwidth_wins_wherever_it_stands() {
    let body = noise(20_000);
    let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n".to_vec(), body.clone()].concat();
    let upstream = Upstream::answering(answer);
    let (low, high) = ("bandwidth = { down = \"100 KB/s\" }", "bandwidth = { down = \"10 MB/s\" }");
    for (faults, expected) in [([low, high], [1, 0]), ([high, low], [0, 1])] {
        let proxy = armed(&upstream, &faults);
        let begun = Instant::now();
        assert!(proxy.get("/").body == body);
        assert!(begun.elapsed() >= ms(190), "{:?}", begun.elapsed());
        assert_eq!(hits(&proxy, 2), expected);
    }
}

/// Says how many are being answered at the same moment.
fn busy(most: &'static AtomicUsize) -> Upstream {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    Upstream::serve(move |link| {
        while link.request().is_some() {
            most.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            link.tick();
            NOW.fetch_sub(1, Ordering::SeqCst);
            link.send(ok("x"));
        }
    })
}

#[test]
fn a_place_is_kept_until_the_answer_has_ended_whatever_delays_it() {
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let upstream = busy(&MOST);
    for gate in ["capacity = { max = 1 }", "serialize = {}"] {
        for slow in [
            "latency = { after = \"60ms\" }",
            "hang = { for = \"60ms\", at = \"headers\", then = \"504\" }",
            "bandwidth = { down = \"16 B/s\" }",
            "respond = { status = 500, after_upstream = true }\nlatency = { after = \"60ms\" }",
        ] {
            let proxy = armed(&upstream, &[slow, gate]);
            let begun = Instant::now();
            let mut all: Vec<Client> = (0..3).map(|_| proxy.connect()).collect();
            for client in &mut all {
                client.send(GET);
                upstream.ticker().tick();
            }
            for client in &mut all {
                client.try_answer(false).unwrap();
            }
            assert!(begun.elapsed() >= ms(175), "{gate} {slow}: {:?}", begun.elapsed());
            assert_eq!(MOST.load(Ordering::SeqCst), 1, "{gate} {slow}");
        }
    }
}

fn counting() -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::serve(move |link| {
        while link.request().is_some() {
            link.send(ok(&format!("{{\"n\":{}}}", count.fetch_add(1, Ordering::SeqCst) + 1)));
        }
    })
}

#[test]
fn copies_are_made_once_the_delay_is_over_and_not_of_what_never_goes_out() {
    let (upstream, known_panics) = (counting(), panics());
    let proxy = armed(&upstream, &["duplicate = { times = 2 }", "latency = \"60s\""]);
    let mut client = proxy.connect();
    client.send(GET);
    proxy.wait_held(1);
    assert_eq!(upstream.requests(), 0);
    proxy.heal("b");
    assert_eq!(client.answer().text(), "{\"n\":1}");
    upstream.wait_requests(3);
    // the caller's own answer is delayed, and the copies are not
    proxy.arm("b", "latency = { after = \"100ms\" }");
    let begun = Instant::now();
    assert_eq!(client.send(GET).answer().status, 200);
    assert!(begun.elapsed() >= ms(100));
    upstream.wait_requests(6);
    // nothing goes out: nothing is copied
    let known = proxy.hits("a");
    proxy.arm("c", "respond = 503");
    assert_eq!(client.send(GET).answer().status, 503);
    assert_eq!((proxy.hits("a"), proxy.hits("c"), upstream.requests()), (known, 1, 6));
    // an answer in place of the real one: the upstream was asked three times all the same
    proxy.heal("c");
    proxy.arm("d", "respond = { status = 500, after_upstream = true }");
    assert_eq!(client.send(GET).answer().status, 500);
    upstream.wait_requests(9);
    eventually("it is a hit", || proxy.hits("a") == known + 1);
    // the caller's own answer was thrown away: the copies are compared with each other
    eventually("they differ", || proxy.metric("brownout_duplicates_differ_total", &[]) == 5.0);
    assert_eq!(panics(), known_panics);
}

#[test]
fn an_older_answer_is_rewritten_too_and_kept_as_it_was() {
    for faults in [
        ["stale = { versions = 1 }", "rewrite = { response = { json = { \"$.n\" = { scale = 10.0 } } } }"],
        ["rewrite = { response = { json = { \"$.n\" = { scale = 10.0 } } } }", "stale = { versions = 1 }"],
    ] {
        let upstream = counting();
        let proxy = armed(&upstream, &faults);
        let mut client = proxy.connect();
        let mut number = || {
            let text = client.send(GET).answer().text().to_owned();
            text["{\"n\":".len()..text.len() - 1].parse::<f64>().unwrap()
        };
        // the first has nothing before it; then each gets the one before it, ten times as large: never a hundred times
        assert_eq!([number(), number(), number()], [10.0, 10.0, 20.0], "{faults:?}");
        let stale = faults.iter().position(|keys| keys.starts_with("stale")).unwrap();
        assert_eq!(hits(&proxy, 2)[stale], 2, "{faults:?}");
        assert_eq!(hits(&proxy, 2)[1 - stale], 3, "{faults:?}");
    }
}
