//! Callers that leave: seen at that moment, told to the upstream, and never mixed up with those that only end their half.

use crate::support::{Door, End, Upstream, before, eventually, ms, ok, pass};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_caller_that_ends_its_half_still_gets_its_answer_and_the_upstream_hears_of_the_end() {
    for request in [GET, POST] {
        let upstream = Upstream::serve(|link| {
            link.request();
            assert_eq!(link.end(), End::Fin);
            link.send(ok("late"));
        });
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        client.send(request).half_close();
        let answer = client.answer();
        assert_eq!((answer.text(), answer.field("connection")), ("late", Some("close")));
        assert_eq!(client.rest(), (Vec::new(), End::Fin));
        proxy.wait_count(1, "200", "upstream");
        assert_eq!(proxy.metric("brownout_abandoned_requests_total", &[]), 0.0);
        proxy.connect().send(GET).half_close().answer();
        assert_eq!(upstream.connections(), 2, "a half-closed connection is not used again");
        proxy.wait_quiet();
    }
}

#[test]
fn a_caller_that_ends_its_half_gets_its_answer_piece_by_piece() {
    for fault in ["latency = { chunk = \"20ms\" }", "drop = { how = \"close\", after_bytes = 100000 }"] {
        let body = "x".repeat(50_000);
        let upstream = Upstream::answering(ok(&body));
        let proxy = before(upstream.at).start();
        proxy.arm("f", fault);
        let mut client = proxy.connect();
        client.send(GET).half_close();
        assert_eq!(client.answer().text(), body, "{fault}");
        proxy.wait_count(1, "200", "upstream");
    }
}

#[test]
fn a_caller_that_closes_has_left_at_that_moment() {
    for (request, fault) in [(GET, ""), (POST, ""), (GET, "latency = { after = \"1us\" }")] {
        let door = Door::default();
        let opens = door.clone();
        let upstream = Upstream::serve(move |link| {
            link.request();
            link.end();
            opens.wait();
            link.send(ok("for nobody"));
        });
        let proxy = before(upstream.at).start();
        if !fault.is_empty() {
            proxy.arm("f", fault);
        }
        let begun = Instant::now();
        let mut client = proxy.connect();
        client.send(request);
        upstream.wait_requests(1);
        drop(client);
        upstream.wait_end(End::Fin);
        let left = begun.elapsed();
        pass(ms(300));
        door.open();
        proxy.wait_count(1, "200", "client");
        assert_eq!(proxy.metric("brownout_abandoned_requests_total", &[]), 1.0);
        assert_eq!(
            proxy.metric("brownout_zombie_responses_total", &[]),
            1.0,
            "the upstream worked for nobody"
        );
        let took = proxy.metric("brownout_request_duration_seconds_sum", &[]);
        assert!(took <= (left + ms(150)).as_secs_f64(), "{took} s, though it left after {left:?}");
        proxy.wait_quiet();
    }
}

#[test]
fn a_caller_that_leaves_an_upstream_that_never_answers_has_left_too() {
    for close in [true, false] {
        let upstream = Upstream::serve(move |link| {
            link.request();
            link.end();
            if !close {
                pass(ms(600));
            }
        });
        let proxy = before(upstream.at).with("timeout = { upstream = \"200ms\" }").start();
        let mut client = proxy.connect();
        client.send(GET);
        upstream.wait_requests(1);
        drop(client);
        proxy.wait_count(1, "0", "client");
        proxy.wait_quiet();
    }
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    for request in [GET, POST, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhi"] {
        let upstream = Upstream::serve(|link| {
            link.head();
            link.end();
        });
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        client.send(request);
        upstream.wait_heads(1);
        client.reset();
        upstream.wait_end(End::Reset);
        proxy.wait_count(1, "0", "client");
        assert_eq!(proxy.metric("brownout_abandoned_requests_total", &[]), 1.0);
        proxy.wait_quiet();
    }
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_an_answer_is_passed_on() {
    for reset in [true, false] {
        let upstream = Upstream::serve(|link| {
            link.head();
            link.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
            while link.try_send("data: 2\n\n") {
                pass(ms(5));
            }
            link.end();
        });
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        client.send(GET).until(b"data: 1\n\n").unwrap();
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        proxy.wait_count(1, "200", "client");
        assert_eq!(proxy.metric("brownout_abandoned_requests_total", &[]), 1.0, "{reset}");
        eventually("the upstream hears of it", || !upstream.ends().is_empty());
        proxy.wait_quiet();
    }
}

#[test]
fn a_caller_that_stops_in_its_body_is_refused_and_the_upstream_never_sees_a_whole_request() {
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", 400),
    ] {
        let upstream = Upstream::answering(ok("x"));
        let proxy = before(upstream.at).start();
        let mut client = proxy.connect();
        client.send(request);
        upstream.wait_heads(1);
        client.half_close();
        assert_eq!(client.answer().status, status);
        eventually("the upstream hears of it", || !upstream.ends().is_empty());
        assert_eq!(upstream.requests(), 0);
        proxy.wait_count(1, "400", "client");
    }
}

#[test]
fn a_held_exchange_is_let_go_when_its_caller_leaves() {
    let small = POST.to_owned();
    let large =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{}", "x".repeat(100_000));
    let mut pipelined = POST.to_owned();
    pipelined.push_str(&GET.repeat(2000));
    for fault in ["latency = \"1h\"", "hang = {}", "drop = { how = \"blackhole\" }"] {
        for request in [&small, &large, &pipelined] {
            for reset in [false, true] {
                let upstream = Upstream::answering(ok("x"));
                let proxy = before(upstream.at).start();
                proxy.arm("f", fault);
                let mut client = proxy.connect();
                client.send(request);
                proxy.wait_held(1);
                if reset {
                    client.reset();
                } else {
                    drop(client);
                }
                eventually(&format!("{fault}, {} bytes, {reset}", request.len()), || proxy.held() == 0);
                proxy.wait_quiet();
                assert_eq!(upstream.connections(), 0, "nobody is called for a caller that left");
                assert_eq!(proxy.metric("brownout_abandoned_requests_total", &[]), 1.0);
            }
        }
    }
}
