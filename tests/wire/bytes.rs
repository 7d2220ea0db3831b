//! Faults on bytes: rates, pieces, early and missing ends, and bytes that are wrong; on answers, request bodies and tunnels.

use crate::support::{
    Client, End, Link, Proxy, Upstream, before, before_tcp, chunked, eventually, ms, noise, ok,
};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";

/// An answer, framed by its length, in chunks, or by the end of its connection.
fn framed(body: &[u8], how: &str) -> Vec<u8> {
    let head = match how {
        "length" => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
        "chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
    };
    let body = if how == "chunks" { chunked(body, 1000) } else { body.to_vec() };
    [head.as_bytes(), &body].concat()
}

fn serving(body: &[u8], how: &'static str) -> Upstream {
    let answer = framed(body, how);
    Upstream::serve(move |link| {
        while link.request().is_some() {
            link.send(&answer);
            if how == "close" {
                return;
            }
        }
    })
}

fn echo(link: &mut Link) {
    while let Some(byte) = link.take(1) {
        link.send(byte);
    }
}

/// Switches protocols and echoes.
fn raw_echo(link: &mut Link) {
    if link.head().is_some() {
        link.send(SWITCH);
        echo(link);
    }
}

#[track_caller]
fn took(begun: Instant, least: u64) {
    assert!(begun.elapsed() >= ms(least), "{:?}, not {least} ms", begun.elapsed());
}

#[test]
fn an_answer_comes_no_faster_than_the_bandwidth() {
    let body = noise(30_000);
    for how in ["length", "chunks", "close"] {
        let upstream = serving(&body, how);
        let proxy = before(upstream.at).start();
        // the lowest wins, and only that one is seen
        proxy
            .arm("wide", "bandwidth = { down = \"1 MB/s\" }")
            .arm("narrow", "bandwidth = { down = \"60 KB/s\" }");
        let begun = Instant::now();
        let mut client = proxy.connect();
        client.send(GET);
        // evenly: a third has not come before a third of the time
        let head = client.until(b"\r\n\r\n").unwrap();
        assert!(String::from_utf8_lossy(&head).contains("x-brownout-fault: wide, narrow\r\n"), "{how}");
        client.take(10_000).unwrap();
        took(begun, 150);
        let whole = proxy.get("/");
        assert_eq!(whole.body, body, "{how}");
        took(begun, 480);
        assert_eq!((proxy.hits("narrow"), proxy.hits("wide")), (2, 0), "{how}");
        drop(client);
        proxy.wait_quiet();
        proxy.heal("narrow");
        let begun = Instant::now();
        assert_eq!(proxy.get("/").body, body);
        took(begun, 30);
        assert_eq!(proxy.hits("wide"), 1);
        // the first has left in the middle, or had it all in its buffer
        proxy.wait_count(3, "200", "");
        assert_eq!(proxy.count("200", "injected"), 0);
        proxy.wait_quiet();
    }
}

#[test]
fn a_rate_is_kept_over_time() {
    let upstream = serving(&noise(100_000), "length");
    let proxy = before(upstream.at).start();
    proxy.arm("f", "bandwidth = { down = \"100 KB/s\" }");
    let begun = Instant::now();
    assert_eq!(proxy.get("/").body.len(), 100_000);
    took(begun, 980);
}

#[test]
fn a_healed_bandwidth_lets_the_rest_go_at_once() {
    let body = noise(50_000);
    let upstream = serving(&body, "length");
    let proxy = before(upstream.at).start();
    proxy.arm("f", "bandwidth = { down = \"10 B/s\" }");
    let mut client = proxy.connect();
    client.send(GET).until(b"\r\n\r\n").unwrap();
    let first = client.take(1).unwrap();
    assert_eq!(proxy.hits("f"), 1);
    proxy.heal("f");
    let rest = client.take(body.len() - 1).unwrap();
    assert!([first, rest].concat() == body);
    assert_eq!(client.send(GET).answer().field("x-brownout-fault"), None);
    // and who leaves is let go, although much is still to come
    proxy.arm("f", "bandwidth = { down = \"10 B/s\" }");
    client.send(GET).until(b"\r\n\r\n").unwrap();
    client.take(1).unwrap();
    client.reset();
    proxy.wait_quiet();
    assert_eq!(proxy.hits("f"), 2);
    proxy.wait_count(1, "", "client");
}

#[test]
fn a_request_body_goes_no_faster_than_the_bandwidth() {
    for chunks in [false, true] {
        let body = noise(20_000);
        let upstream = Upstream::answering(ok("x"));
        let proxy = before(upstream.at).start();
        proxy.arm("f", "bandwidth = { up = \"50 KB/s\" }");
        let mut client = proxy.connect();
        let (framing, sent) = match chunks {
            false => (format!("Content-Length: {}", body.len()), body.clone()),
            true => ("Transfer-Encoding: chunked".to_owned(), chunked(&body, 777)),
        };
        let begun = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).send(&sent);
        let answer = client.answer();
        took(begun, 400);
        assert_eq!((answer.text(), answer.field("x-brownout-fault")), ("x", Some("f")));
        assert_eq!(proxy.hits("f"), 1);
        eventually("all of it is counted", || {
            proxy.metric("brownout_bytes_total", &["direction=\"up\""]) as usize == body.len()
        });
        // no body, no hit
        assert_eq!(client.send(GET).answer().field("x-brownout-fault"), None);
        assert_eq!(proxy.hits("f"), 1);
        // healed in the middle
        proxy.heal("f");
        proxy.arm("f", "bandwidth = { up = \"10 B/s\" }");
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).send(&sent);
        upstream.wait_heads(3);
        let before = upstream.sizes()[0];
        eventually("the first bytes", || proxy.in_flight() == 1 && upstream.sizes()[0] >= before);
        proxy.heal("f");
        assert_eq!(client.answer().text(), "x");
        // who leaves is let go
        proxy.arm("f", "bandwidth = { up = \"10 B/s\" }");
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).send(&sent);
        upstream.wait_heads(4);
        client.reset();
        proxy.wait_quiet();
    }
}

#[test]
fn a_malformed_body_that_is_slowed_down_is_refused_as_ever() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).start();
    proxy.arm("f", "bandwidth = { up = \"1 KB/s\" }");
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(client.answer().status, 400);
    assert_eq!(upstream.requests(), 0);
}

/// Connections of a TCP edge and of an upgraded one, each with the bytes that open it.
fn streams() -> Vec<(Upstream, Proxy, &'static str)> {
    let (tcp, http) = (Upstream::serve(echo), Upstream::serve(raw_echo));
    let proxies = (before_tcp(tcp.at).start(), before(http.at).start());
    vec![(tcp, proxies.0, ""), (http, proxies.1, ASK)]
}

fn open(proxy: &Proxy, ask: &str) -> Client {
    let mut client = proxy.connect();
    if !ask.is_empty() {
        assert_eq!(client.send(ask).answer().status, 101);
    }
    client.send("o");
    assert_eq!(client.take(1).unwrap(), b"o");
    client
}

#[test]
fn tunnels_and_tcp_are_slowed_down_both_ways() {
    for (_upstream, proxy, ask) in streams() {
        // one that was open before, too
        let mut old = open(&proxy, ask);
        proxy.arm("f", "bandwidth = { up = \"20 KB/s\", down = \"1 MB/s\" }");
        let mut new = open(&proxy, ask);
        for client in [&mut old, &mut new] {
            let begun = Instant::now();
            client.send(noise(4000));
            assert!(client.take(4000).unwrap() == noise(4000));
            took(begun, 195);
        }
        assert_eq!(proxy.hits("f"), 2);
        proxy.heal("f");
        proxy.arm("f", "bandwidth = { down = \"10 B/s\" }");
        for client in [&mut old, &mut new] {
            client.send(noise(4000));
            assert_eq!(client.take(1).unwrap(), noise(4000)[..1]);
        }
        proxy.heal("f");
        for client in [&mut old, &mut new] {
            assert!(client.take(3999).unwrap() == noise(4000)[1..]);
        }
        proxy.arm("f", "bandwidth = { down = \"10 B/s\" }");
        old.send("12345");
        new.send("12345");
        old.take(1).unwrap();
        new.take(1).unwrap();
        old.reset();
        new.reset();
        proxy.wait_quiet();
    }
}

#[test]
fn a_slow_line_costs_no_memory() {
    // the upstream would send all of it at once, if anybody read it
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let upstream = Upstream::serve(move |link| {
        link.take(1);
        for piece in noise(64 << 20).chunks(1 << 16) {
            if !link.try_send(piece) {
                break;
            }
            counter.fetch_add(piece.len(), Ordering::AcqRel);
        }
    });
    let proxy = before_tcp(upstream.at).start();
    proxy.arm("f", "bandwidth = { down = \"50 KB/s\" }");
    let mut client = proxy.connect();
    client.send("x");
    assert!(client.take(20_000).unwrap() == noise(20_000));
    // what was not passed on is still the upstream's, but for the kernel's buffers
    let sent = sent.load(Ordering::Acquire);
    assert!((20_000..16 << 20).contains(&sent), "{sent}");
    client.reset();
    proxy.wait_quiet();
}

#[test]
fn chunks_become_small_and_come_one_by_one() {
    let body = noise(2500);
    for how in ["length", "chunks", "close"] {
        let upstream = serving(&body, how);
        let proxy = before(upstream.at).start();
        proxy.arm("f", "chunk = { size = 600, delay = \"20ms\" }");
        let begun = Instant::now();
        let mut client = proxy.connect();
        client.send(GET);
        if how == "chunks" {
            client.until(b"\r\n\r\n").unwrap();
            let mut sizes = Vec::new();
            loop {
                let line = client.until(b"\r\n").unwrap();
                let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
                client.take(size + 2).unwrap();
                if size == 0 {
                    break;
                }
                sizes.push(size);
            }
            assert!(
                sizes.iter().all(|size| *size <= 600) && sizes.iter().sum::<usize>() == 2500,
                "{sizes:?}"
            );
        } else {
            assert_eq!(client.answer().body, body, "{how}");
        }
        took(begun, 80);
        assert_eq!(proxy.hits("f"), 1);
        // what is smaller is not hit
        proxy.heal("f");
        proxy.arm("g", "chunk = { size = \"1 MiB\", delay = \"1s\" }");
        assert_eq!(proxy.get("/").body, body);
        assert_eq!(proxy.hits("g"), 0);
        // and a heal lets go
        proxy.arm("h", "chunk = { size = 1, delay = \"60s\" }");
        let mut client = proxy.connect();
        client.send(GET).until(b"\r\n\r\n").unwrap();
        eventually("hit", || proxy.hits("h") == 1);
        proxy.heal("h");
        if how == "close" {
            assert_eq!(client.rest(), (body.clone(), End::Fin));
        } else if how == "length" {
            assert!(client.take(body.len()).unwrap() == body);
        } else {
            client.until(b"0\r\n\r\n").unwrap();
        }
    }
    for (_upstream, proxy, ask) in streams() {
        proxy.arm("f", "chunk = { size = 2, delay = { uniform = [\"20ms\", \"30ms\"] } }");
        let mut client = open(&proxy, ask);
        let begun = Instant::now();
        client.send("123456");
        assert_eq!(client.take(6).unwrap(), b"123456");
        took(begun, 60);
        assert_eq!(proxy.hits("f"), 1);
    }
}

#[test]
fn trailers_come_through_small_chunks() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    let proxy = before(upstream.at).start();
    proxy.arm("f", "chunk = { size = 3 }");
    let mut client = proxy.connect();
    client.send(GET).until(b"\r\n\r\n").unwrap();
    assert_eq!(client.until(b"\r\n\r\n").unwrap(), b"3\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: 1\r\n\r\n");
    client.send(GET).until(b"X-Sum: 1\r\n\r\n").unwrap();
    assert_eq!(proxy.hits("f"), 2);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_truncated_answer_looks_whole_only_if_it_shall() {
    let body = noise(4000);
    for how in ["length", "chunks", "close"] {
        for (fault, left) in [("bytes = 1500", 1500), ("fraction = 0.25", 1000), ("bytes = 0", 0)] {
            let upstream = serving(&body, how);
            let proxy = before(upstream.at).start();
            if fault.contains("fraction") && how != "length" {
                proxy.arm("f", &format!("truncate = {{ {fault}, clean = true }}"));
                assert_eq!(proxy.get("/").body, body);
                assert_eq!(proxy.hits("f"), 0, "nothing is known to take a share of");
                continue;
            }
            proxy.arm("f", &format!("truncate = {{ {fault} }}"));
            let (got, end) = proxy.connect().send(GET).try_answer(false).unwrap_err();
            assert!(got == body[..left], "{fault} {how}: {}", got.len());
            assert_eq!(end, if how == "close" { End::Reset } else { End::Fin }, "{fault} {how}");
            assert_eq!(proxy.hits("f"), 1);
            proxy.heal("f");
            proxy.arm("g", &format!("truncate = {{ {fault}, clean = true }}"));
            let mut client = proxy.connect();
            for _ in 0..2 {
                let answer = client.send(GET).answer();
                assert!(answer.body == body[..left], "{fault} {how}: {}", answer.body.len());
                assert_eq!(answer.field("x-brownout-fault"), Some("g"));
                if how == "close" {
                    client = proxy.connect();
                }
            }
            assert_eq!(proxy.hits("g"), 2);
            proxy.wait_count(3, "200", "injected");
            proxy.heal("g");
            proxy.arm("h", "truncate = { bytes = 4000 }");
            assert_eq!(proxy.get("/").body, body, "it is not longer than that");
            assert_eq!(proxy.hits("h"), 0);
        }
    }
    // no body, nothing to cut
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    let proxy = before(upstream.at).start();
    proxy.arm("f", "truncate = { bytes = 1 }");
    let answer = proxy.connect().send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").answer_to_head();
    assert_eq!((answer.field("content-length"), proxy.hits("f")), (Some("9"), 0));
}

#[test]
fn a_heal_in_the_middle_spares_the_rest_but_keeps_what_the_head_says() {
    // it is healed after the first byte
    let run = |fault: &str| {
        let upstream = Upstream::serve(|link| {
            link.head();
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na");
            link.tick();
            link.send("bcd");
            link.end();
        });
        let proxy = before(upstream.at).start();
        proxy.arm("f", fault);
        let mut client = proxy.connect();
        let head = String::from_utf8(client.send(GET).until(b"\r\n\r\n").unwrap()).unwrap();
        let chunks = head.contains("chunked");
        client.until(if chunks { b"a\r\n" } else { b"a" }).unwrap();
        proxy.heal("f");
        upstream.ticker().tick();
        (client, upstream, proxy)
    };
    let (mut client, _upstream, _proxy) = run("truncate = { bytes = 2 }");
    assert_eq!(client.take(3).unwrap(), b"bcd");
    let (mut client, _upstream, _proxy) = run("truncate = { bytes = 2, clean = true }");
    assert_eq!(client.take(1).unwrap(), b"b");
    client.hears_nothing();
    let (mut client, _upstream, _proxy) = run("corrupt = { malformed_chunk = true }");
    assert_eq!(client.until(b"0\r\n\r\n").unwrap(), b"3\r\nbcd\r\n0\r\n\r\n");
    let (mut client, _upstream, _proxy) = run("endless = {}");
    assert_eq!(client.until(b"0\r\n\r\n").unwrap(), b"3\r\nbcd\r\n0\r\n\r\n");
    let (mut client, _upstream, _proxy) = run("corrupt = { wrong_length = true }");
    assert_eq!(client.rest(), (b"bcd".to_vec(), End::Fin));
}

#[test]
fn streams_without_messages_are_truncated_too() {
    for (_upstream, proxy, ask) in streams() {
        for (fault, end) in [("bytes = 3, clean = true", End::Fin), ("bytes = 3", End::Reset)] {
            let mut client = open(&proxy, ask);
            let before = proxy.metric("brownout_faults_injected_total", &["truncate"]);
            proxy.arm("f", &format!("truncate = {{ {fault} }}"));
            client.send("12345");
            assert_eq!(client.rest(), (b"123".to_vec(), end), "{fault}");
            eventually("one more hit", || {
                proxy.metric("brownout_faults_injected_total", &["truncate"]) == before + 1.0
            });
            proxy.heal("f");
        }
        proxy.wait_quiet();
    }
}

#[test]
fn a_body_goes_on_until_it_is_healed() {
    for (body, how, version) in [
        ("{\"a\":1}", "length", "1.1"),
        ("{\"a\":1}", "chunks", "1.1"),
        ("{\"a\":1}", "close", "1.1"),
        ("", "length", "1.1"),
        ("{\"a\":1}", "length", "1.0"),
    ] {
        let upstream = serving(body.as_bytes(), how);
        let proxy = before(upstream.at).start();
        proxy.arm("f", "endless = { rate = \"20 KB/s\" }");
        let mut client = proxy.connect();
        let begun = Instant::now();
        client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
        let head = String::from_utf8(client.until(b"\r\n\r\n").unwrap()).unwrap();
        assert!(head.contains("x-brownout-fault: f\r\n"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("content-length"), "{head}");
        assert_eq!(head.contains("Transfer-Encoding: chunked\r\n"), version == "1.1", "{head}");
        let mut got = client.take(4000).unwrap();
        took(begun, 150);
        assert_eq!(proxy.hits("f"), 1);
        proxy.heal("f");
        if version == "1.1" {
            got.extend(client.until(b"0\r\n\r\n").unwrap());
            // the connection is as good as before
            if how != "close" {
                assert_eq!(client.send(GET).answer().text(), body);
            }
            proxy.wait_count(1, "200", "injected");
        } else {
            let (rest, end) = client.rest();
            got.extend(rest);
            assert_eq!(end, End::Fin);
            let filler = if body.is_empty() { " " } else { body };
            assert!(got.chunks(filler.len()).all(|piece| filler.as_bytes().starts_with(piece)));
        }
        drop(client);
        // who leaves is let go
        proxy.arm("f", "endless = {}");
        let mut client = proxy.connect();
        client.send(GET).until(b"\r\n\r\n").unwrap();
        client.reset();
        proxy.wait_quiet();
    }
}

fn flipped(got: &[u8], sent: &[u8]) -> Vec<usize> {
    assert_eq!(got.len(), sent.len());
    let wrong: Vec<usize> = (0..got.len()).filter(|place| got[*place] != sent[*place]).collect();
    assert!(wrong.iter().all(|place| (got[*place] ^ sent[*place]).count_ones() == 1), "one bit each");
    wrong
}

#[test]
fn bits_flip_by_the_dice_and_nothing_else_changes() {
    let body = noise(40_000);
    let mut places = Vec::new();
    for how in ["length", "chunks", "close"] {
        let upstream = serving(&body, how);
        let proxy = before(upstream.at).start();
        proxy.arm("f", "corrupt = { bit_flips = 0.01 }");
        let answer = proxy.get("/");
        assert_eq!(answer.field("x-brownout-fault"), Some("f"));
        let wrong = flipped(&answer.body, &body);
        assert!((280..=520).contains(&wrong.len()), "{}", wrong.len());
        places.push(wrong);
        assert_eq!(proxy.hits("f"), 1);
        proxy.wait_count(1, "200", "injected");
        // others flip the next time
        assert_ne!(flipped(&proxy.get("/").body, &body), places[0]);
        proxy.heal("f");
        proxy.arm("g", "corrupt = { bit_flips = 1.0 }");
        assert_eq!(flipped(&proxy.get("/").body, &body).len(), body.len());
        proxy.heal("g");
        proxy.arm("h", "corrupt = { bit_flips = 0.0000000001 }");
        assert_eq!(proxy.get("/").body, body);
        assert_eq!(proxy.hits("h"), 0, "not a bit of it");
    }
    assert!(places[0] == places[1] && places[1] == places[2], "however the bytes were framed and cut");
    for (_upstream, proxy, ask) in streams() {
        let mut client = open(&proxy, ask);
        proxy.arm("f", "corrupt = { bit_flips = 1.0 }");
        client.send("abc");
        assert_eq!(flipped(&client.take(3).unwrap(), b"abc").len(), 3);
        assert_eq!(proxy.hits("f"), 1);
        proxy.heal("f");
        client.send("abc");
        assert_eq!(client.take(3).unwrap(), b"abc");
        drop(client);
        proxy.wait_count(1, "", "injected");
    }
}

#[test]
fn frames_are_broken_as_asked() {
    let body = noise(3000);
    for how in ["length", "chunks", "close"] {
        let upstream = serving(&body, how);
        let proxy = before(upstream.at).start();
        proxy.arm("f", "corrupt = { malformed_chunk = true }");
        let mut client = proxy.connect();
        client.send(GET).until(b"Transfer-Encoding: chunked\r\n").unwrap();
        let (got, end) = client.rest();
        // lenient parsers take hexadecimal digits and skip what stands behind them: it begins with none
        assert!(got.ends_with(b"\r\nno chunk size: brownout\r\n") && end == End::Fin, "{how}");
        assert_eq!(proxy.hits("f"), 1);
        proxy.wait_count(1, "200", "injected");
        proxy.heal("f");
        proxy.arm("g", "corrupt = { wrong_length = true }");
        match proxy.connect().send(GET).try_answer(false) {
            Ok(answer) => assert!(answer.body == body && how != "length", "{how}"),
            Err((got, end)) => assert!(got == body && end == End::Fin && how == "length", "{how}"),
        }
        assert_eq!(proxy.hits("g"), u64::from(how == "length"));
        proxy.heal("g");
        proxy.arm("h", "corrupt = { garbage = true }");
        let (got, end) = proxy.connect().send(GET).rest();
        assert!(got.len() == 64 && got[0] >= 0x80 && end == End::Fin, "{how}: {got:?} {end:?}");
        assert_eq!(proxy.hits("h"), 1);
        proxy.wait_count(1, "0", "injected");
        assert_eq!(upstream.requests(), 3, "it has executed them all");
    }
    // no body, no chunk; a chunk is nothing for HTTP/1.0
    let upstream = Upstream::answering(ok(""));
    let proxy = before(upstream.at).start();
    proxy.arm("f", "corrupt = { malformed_chunk = true }");
    assert_eq!(proxy.get("/").text(), "");
    proxy.connect().send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!(proxy.hits("f"), 0);
    for (_upstream, proxy, ask) in streams() {
        let mut client = open(&proxy, ask);
        proxy.arm("f", "corrupt = { garbage = true }");
        client.send("abc");
        let (got, end) = client.rest();
        assert!(got.len() == 64 && end == End::Fin, "{got:?} {end:?}");
        assert_eq!(proxy.hits("f"), 1);
    }
}

#[test]
fn byte_faults_add_up_with_others() {
    let body = noise(6000);
    let upstream = serving(&body, "length");
    let proxy = before(upstream.at).start();
    // of two ends the first wins
    proxy
        .arm("late", "latency = \"50ms\"")
        .arm("slow", "bandwidth = { down = \"30 KB/s\" }\nchunk = { size = 100 }")
        .arm("short", "truncate = { fraction = 0.5, clean = true }")
        .arm("never", "endless = {}");
    let begun = Instant::now();
    let answer = proxy.get("/");
    took(begun, 150);
    assert!(answer.body == body[..3000]);
    assert_eq!(answer.field("x-brownout-fault"), Some("late, short, slow"));
    for (fault, hits) in [("late", 1), ("slow", 1), ("short", 1), ("never", 0)] {
        assert_eq!(proxy.hits(fault), hits, "{fault}");
    }
    for fault in ["late", "slow", "short", "never"] {
        proxy.heal(fault);
    }
    // a cut comes in the middle of a slow body, and an answer in place of it is not touched
    proxy
        .arm("slow", "bandwidth = { down = \"10 KB/s\" }")
        .arm("cut", "drop = { how = \"close\", after = \"100ms\" }");
    let (got, end) = proxy.connect().send(GET).try_answer(false).unwrap_err();
    assert!(got.len() < 6000 && body.starts_with(&got) && end == End::Fin, "{}", got.len());
    assert_eq!((proxy.hits("slow"), proxy.hits("cut")), (2, 1));
    proxy.heal("cut");
    proxy.arm("no", "respond = 503");
    assert_eq!(proxy.get("/").status, 503);
    assert_eq!((proxy.hits("slow"), proxy.hits("no")), (2, 1));
}

#[test]
fn events_are_cut_slowed_and_throttled() {
    let start = || {
        let upstream = Upstream::serve(|link| {
            link.head();
            link.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            while link.tick().is_some() {
                link.send("9\r\ndata: x\n\n\r\n");
            }
        });
        let proxy = before(upstream.at).start();
        (upstream.ticker(), upstream, proxy)
    };
    for (name, fault, least) in [
        ("a", "latency = { chunk = \"60ms\" }", 60),
        ("b", "bandwidth = { down = \"100 B/s\" }", 85),
        ("c", "chunk = { size = 5, delay = \"60ms\" }", 60),
    ] {
        let (go, _upstream, proxy) = start();
        proxy.arm(name, fault);
        let mut client = proxy.connect();
        client.send(GET).until(b"\r\n\r\n").unwrap();
        for _ in 0..2 {
            let begun = Instant::now();
            go.tick();
            let mut got: Vec<u8> = Vec::new();
            while got.len() < 9 {
                let line = client.until(b"\r\n").unwrap();
                let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
                got.extend(&client.take(size + 2).unwrap()[..size]);
            }
            assert_eq!(got, b"data: x\n\n", "{fault}");
            took(begun, least);
        }
        assert_eq!(proxy.hits(name), 1);
        client.reset();
        proxy.wait_quiet();
    }
    let (_, _upstream, proxy) = start();
    proxy.arm("f", "drop = { how = \"close\", after = \"80ms\" }");
    let begun = Instant::now();
    let mut client = proxy.connect();
    client.send(GET).until(b"\r\n\r\n").unwrap();
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
    took(begun, 80);
    assert_eq!(proxy.hits("f"), 1);
}

#[test]
fn upgraded_connections_are_cut_after_a_time_and_slowed_by_the_piece() {
    let upstream = Upstream::serve(raw_echo);
    let proxy = before(upstream.at).start();
    let mut client = open(&proxy, ASK);
    proxy.arm("f", "latency = { chunk = \"60ms\" }");
    let begun = Instant::now();
    client.send("x");
    assert_eq!(client.take(1).unwrap(), b"x");
    took(begun, 60);
    assert_eq!(proxy.hits("f"), 1);
    proxy.heal("f");
    proxy.arm("g", "drop = { how = \"close\", after = \"80ms\" }");
    let begun = Instant::now();
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
    took(begun, 80);
    assert_eq!(proxy.hits("g"), 1);
}

/// What may happen to one answer.
#[derive(Clone, Debug)]
struct Case {
    body: Vec<u8>,
    how: &'static str,
    flips: bool,
    size: Option<usize>,
    rate: bool,
    end: &'static str,
}

fn case() -> impl Strategy<Value = Case> {
    let how = prop_oneof![Just("length"), Just("chunks"), Just("close")];
    let end = prop_oneof![
        Just(""),
        Just("truncate = { bytes = 700 }"),
        Just("truncate = { bytes = 700, clean = true }"),
        Just("truncate = { fraction = 0.5 }"),
        Just("truncate = { fraction = 0.5, clean = true }"),
        Just("corrupt = { wrong_length = true }"),
        Just("corrupt = { malformed_chunk = true }"),
    ];
    let size = proptest::option::of(1usize..2000);
    (proptest::collection::vec(any::<u8>(), 0..3000), how, any::<bool>(), size, any::<bool>(), end)
        .prop_map(|(body, how, flips, size, rate, end)| Case { body, how, flips, size, rate, end })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_bytes_is_what_was_decided(case in case()) {
        let upstream = serving(&case.body, case.how);
        let proxy = before(upstream.at).start();
        if case.flips {
            proxy.arm("flips", "corrupt = { bit_flips = 0.05 }");
        }
        if let Some(size) = case.size {
            proxy.arm("pieces", &format!("chunk = {{ size = {size} }}"));
        }
        if case.rate {
            proxy.arm("rate", "bandwidth = { down = \"1 MB/s\" }");
        }
        if !case.end.is_empty() {
            proxy.arm("end", case.end);
        }
        let length = case.body.len();
        let known = case.how == "length";
        let left = match case.end {
            end if end.contains("bytes") => length.min(700),
            end if end.contains("fraction") && known => length / 2,
            _ => length,
        };
        let ends = left < length;
        let broken = ends && !case.end.contains("clean")
            || case.end.contains("wrong_length") && known
            || case.end.contains("malformed") && length > 0;
        let mut client = proxy.connect();
        let got = if case.end.contains("malformed") && length > 0 {
            let head = client.send(GET).until(b"\r\n\r\n").unwrap();
            prop_assert!(String::from_utf8_lossy(&head).contains("chunked"));
            let (mut rest, end) = client.rest();
            prop_assert_eq!(end, End::Fin);
            let mut got = Vec::new();
            // whole chunks up to the line that is none
            loop {
                let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
                let text = String::from_utf8_lossy(&rest[..line]).into_owned();
                let Ok(size) = usize::from_str_radix(&text, 16) else { break };
                got.extend_from_slice(&rest[line + 2..line + 2 + size]);
                rest.drain(..line + 4 + size);
            }
            prop_assert_eq!(rest, b"no chunk size: brownout\r\n");
            prop_assert!(!got.is_empty());
            got
        } else {
            match client.send(GET).try_answer(false) {
                Ok(answer) => {
                    prop_assert!(!broken, "whole");
                    prop_assert_eq!(answer.body.len(), left);
                    answer.body
                }
                Err((got, end)) => {
                    prop_assert!(broken, "{:?}", end);
                    prop_assert_eq!(got.len(), left);
                    got
                }
            }
        };
        let wrong = flipped(&got, &case.body[..got.len()]);
        prop_assert!(case.flips || wrong.is_empty());
        prop_assert_eq!(proxy.hits("flips"), u64::from(!wrong.is_empty()));
        prop_assert_eq!(proxy.hits("end"), u64::from(ends || broken));
        prop_assert_eq!(proxy.hits("rate"), u64::from(case.rate && !got.is_empty()));
        prop_assert_eq!(proxy.hits("pieces"), u64::from(case.size.is_some_and(|size| got.len() > size)));
    }
}
