//! Bodies, both ways, byte for byte and as they come.

use crate::support::{Door, End, Upstream, before, chunked, eventually, ms, noise, ok, pass};
use std::sync::Arc;

const MIB: usize = 1 << 20;

/// Sends and reads at once: what a caller that does one after the other cannot do with a body of this size.
#[test]
fn large_bodies_go_both_ways_at_once() {
    let (up, down) = (Arc::new(noise(8 * MIB)), Arc::new(noise(8 * MIB + 1)));
    for (coded, fault) in [(false, ""), (true, ""), (false, "latency = { chunk = \"1us\" }")] {
        let (sent, wanted) = (down.clone(), up.clone());
        let upstream = Upstream::serve(move |link| {
            let head = link.head().unwrap();
            // answers before it has read
            let writer = {
                let sent = sent.clone();
                let stream = link.stream().try_clone().unwrap();
                std::thread::spawn(move || {
                    use std::io::Write;
                    let mut stream = stream;
                    if coded {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
                        stream.write_all(&chunked(&sent, 50_000)).unwrap();
                    } else {
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
                        stream.write_all(head.as_bytes()).unwrap();
                        stream.write_all(&sent).unwrap();
                    }
                })
            };
            let got = if coded {
                assert!(head.contains("Transfer-Encoding: chunked\r\n"));
                link.take(chunked(&wanted, 30_000).len()).unwrap()
            } else {
                link.take(wanted.len()).unwrap()
            };
            let expected = if coded { chunked(&wanted, 30_000) } else { wanted.to_vec() };
            if got != expected {
                link.reset();
            }
            writer.join().unwrap();
        });
        let proxy = before(upstream.at).start();
        if !fault.is_empty() {
            proxy.arm("f", fault);
        }
        let mut client = crate::support::Client::with_small_buffers(proxy.at);
        let (mut writer, body) = (client.stream().try_clone().unwrap(), up.clone());
        let sending = std::thread::spawn(move || {
            use std::io::Write;
            if coded {
                writer
                    .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .unwrap();
                writer.write_all(&chunked(&body, 30_000)).unwrap();
            } else {
                let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
                writer.write_all(head.as_bytes()).unwrap();
                writer.write_all(&body).unwrap();
            }
        });
        // an upstream that waits until its own body is taken does not keep ours from being sent
        sending.join().unwrap();
        let answer = client.answer();
        assert!(answer.status == 200 && answer.body == *down, "{coded} {fault}");
        let payload = if coded { "chunked" } else { "length" };
        eventually(payload, || {
            proxy.metric("brownout_bytes_total", &["direction=\"up\""]) as usize == up.len()
        });
        assert_eq!(proxy.metric("brownout_bytes_total", &["direction=\"down\""]) as usize, down.len());
    }
}

#[test]
fn a_body_comes_to_the_upstream_as_it_was_sent() {
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).with("forwarded = false").start();
    let mut client = proxy.connect();
    for body in [
        "Transfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0001\r\n!\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n00\r\nX-Trailer: y\r\nZ: \r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 11\r\n\r\nGET / HTTP/\r",
    ] {
        let body = body.strip_suffix('\r').unwrap_or(body);
        for pieces in [1, 3, 1000] {
            let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{body}");
            let size = request.len().div_ceil(pieces);
            for piece in request.as_bytes().chunks(size) {
                client.send(piece);
            }
            assert_eq!(client.answer().text(), request, "in {pieces} pieces");
        }
    }
}

#[test]
fn a_head_leaves_before_its_body_has_come() {
    let upstream = Upstream::serve(|link| {
        let head = link.head().unwrap();
        assert!(head.starts_with("POST"));
        link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Some(bytes) = link.take(1) {
            link.send(format!("1\r\n{}\r\n", bytes[0] as char));
        }
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 200"));
    // each byte goes up and comes back before the next is sent
    for byte in b'0'..=b'8' {
        client.send([byte]);
        assert_eq!(client.take(6).unwrap(), [b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
}

#[test]
fn events_are_passed_on_as_they_come() {
    for version in ["1.1", "1.0"] {
        let upstream = Upstream::serve(|link| {
            link.head().unwrap();
            link.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            let mut number = 0;
            // the next event only once the caller has read the last
            while let Some(_go) = link.tick() {
                number += 1;
                link.send(format!("data: {number}\n\n"));
            }
        });
        let go = upstream.ticker();
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
        client.until(b"\r\n\r\n").unwrap();
        for number in 1..=5 {
            go.tick();
            assert_eq!(client.until(b"\n\n").unwrap(), format!("data: {number}\n\n").into_bytes());
        }
        client.reset();
    }
}

#[test]
fn a_caller_that_asks_first_is_told_to_go_on() {
    let upstream = Upstream::serve(|link| {
        while let Some(head) = link.head() {
            assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
            link.send("HTTP/1.1 100 Continue\r\n\r\n");
            assert_eq!(link.take(2).unwrap(), b"hi");
            link.send(ok("done"));
        }
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 100 Continue\r\n"));
        assert_eq!(client.send("hi").answer().text(), "done");
    }
    assert_eq!(upstream.connections(), 1);
    // everything at once, and nothing more
    let mut client = proxy.connect();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
        .half_close();
    assert_eq!(client.answer().text(), "done");
}

#[test]
fn a_caller_that_asks_first_is_turned_down() {
    for keeps in [true, false] {
        let upstream = Upstream::serve(move |link| {
            link.head();
            let connection = if keeps { "" } else { "Connection: close\r\n" };
            link.send(format!("HTTP/1.1 417 No\r\n{connection}Content-Length: 2\r\n\r\nno"));
            if keeps {
                link.end();
            }
        });
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.field("connection")),
            (417, Some("close")),
            "the body may still come"
        );
        assert_eq!(client.rest(), (Vec::new(), End::Fin));
        proxy.get("/");
        assert_eq!(upstream.connections(), 2, "a connection that waits for a body is not used again");
    }
}

#[test]
fn an_upstream_that_knows_nothing_of_asking_gets_the_body_after_a_while() {
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    assert!(client.send(format!("{head}hi")).answer().text().ends_with("\r\n\r\nhi"));
    // a caller that sends its body unasked is not kept waiting either
    client.send(head);
    upstream.wait_heads(2);
    assert!(client.send("hi").answer().text().ends_with("\r\n\r\nhi"));
}

#[test]
fn an_answer_that_comes_while_the_caller_still_sends_is_delivered() {
    for (close, reads) in [(true, 0), (true, 100_000), (false, 0)] {
        let upstream = Upstream::serve(move |link| {
            link.head();
            link.take(reads);
            let connection = if close { "Connection: close\r\n" } else { "" };
            link.send(format!("HTTP/1.1 413 Too Large\r\n{connection}Content-Length: 3\r\n\r\nbig"));
            if !close {
                link.end();
            }
            // else it closes with unread bytes: its RST breaks what is still being sent
        });
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 8 * MIB));
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..128 {
            if !client.try_send(&piece) {
                break;
            }
        }
        match client.try_answer(false) {
            Ok(answer) => assert_eq!((answer.status, answer.text()), (413, "big"), "{close} {reads}"),
            Err(end) => panic!("{close} {reads}: {end:?}"),
        }
        proxy.wait_count(1, "413", "upstream");
    }
}

#[test]
fn a_slow_upload_is_not_cut_and_a_silent_one_is_the_callers_fault() {
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).with("timeout = { upstream = \"200ms\", idle = \"200ms\" }").start();
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n");
    for _ in 0..12 {
        pass(ms(60));
        client.send("x");
    }
    assert_eq!(client.answer().status, 200, "720 ms of upload, though each wait has 200");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhalf");
    assert!(matches!(client.answer().status, 400 | 408));
    proxy.wait_count(1, "", "client");
    // an upstream that takes nothing is to blame itself
    let door = Door::default();
    let opens = door.clone();
    let upstream = Upstream::serve(move |link| {
        link.head();
        opens.wait();
    });
    let proxy = before(upstream.at).with("timeout = { upstream = \"200ms\", idle = \"200ms\" }").start();
    let mut client = proxy.connect();
    let mut writer = client.stream().try_clone().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        let _ = writer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
        while writer.write_all(&[0; 65536]).is_ok() {}
    });
    assert_eq!(client.answer().status, 504);
    proxy.wait_count(1, "504", "upstream");
    door.open();
}
