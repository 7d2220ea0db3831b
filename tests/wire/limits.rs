//! Every wait ends, and nothing that callers or upstreams do costs more than it may.

use crate::support::{Client, Door, End, Process, Upstream, before, eventually, ms, ok, pass};
use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const MIB: usize = 1 << 20;

#[test]
fn a_head_has_a_size_and_a_time() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).with("timeout = { header = \"200ms\", idle = \"300ms\" }").start();
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(7000)), 200),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(60_000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(60_000)), 200),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(70_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(99)), 200),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)), 431),
    ] {
        assert_eq!(proxy.connect().send(&request).answer().status, status, "{} bytes", request.len());
    }
    let begun = Instant::now();
    for start in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut client = proxy.connect();
        assert_eq!(client.send(start).answer().status, 408, "{start}");
        assert_eq!(client.rest(), (Vec::new(), End::Fin));
        // the clock of a further head runs from its first byte
        let mut client = proxy.connect();
        client.send(GET).answer();
        pass(ms(100));
        assert_eq!(client.send(start).answer().status, 408, "{start}");
    }
    assert!(begun.elapsed() >= ms(6 * 200));
    // who sends nothing is not answered either
    let begun = Instant::now();
    assert_eq!(proxy.connect().rest(), (Vec::new(), End::Fin));
    assert!(begun.elapsed() >= ms(200));
    let mut client = proxy.connect();
    client.send(GET).answer();
    let begun = Instant::now();
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
    assert!(begun.elapsed() >= ms(290));
    proxy.wait_quiet();
}

#[test]
fn an_upstream_that_does_not_accept_or_does_not_answer_is_504() {
    // a full backlog: the system drops what comes
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let at = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    eventually("the backlog is full", || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let done = socket.connect_timeout(&at, ms(50)).is_ok();
        waiting.push(socket);
        !done
    });
    let proxy = before(at.as_socket().unwrap()).with("timeout = { connect = \"200ms\" }").start();
    let begun = Instant::now();
    let answer = proxy.get("/");
    assert_eq!((answer.status, answer.field("x-brownout-error")), (504, Some("connect-timeout")));
    assert!(answer.text().contains("edge `edge`"));
    assert!(begun.elapsed() >= ms(200));
    proxy.wait_count(1, "504", "upstream");
    drop(waiting);
    let door = Door::default();
    for begins in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let opens = door.clone();
        let upstream = Upstream::serve(move |link| {
            link.request();
            link.send(begins);
            opens.wait();
        });
        let proxy = before(upstream.at).with("timeout = { upstream = \"200ms\" }").start();
        let begun = Instant::now();
        let answer = proxy.get("/");
        assert_eq!((answer.status, answer.field("x-brownout-error")), (504, Some("timeout")), "{begins:?}");
        assert!(begun.elapsed() >= ms(200));
        proxy.wait_quiet();
    }
    door.open();
}

#[test]
fn a_caller_that_takes_nothing_is_let_go() {
    let upstream = Upstream::serve(|link| {
        link.head();
        link.send("HTTP/1.1 200 OK\r\n\r\n");
        while link.try_send([b'x'; 65_536]) {}
    });
    let proxy = before(upstream.at).with("timeout = { idle = \"200ms\" }").start();
    let mut client = proxy.connect();
    client.send(GET);
    proxy.wait_count(1, "200", "client");
    eventually("the upstream is let go", || proxy.connections() == 0);
    let (_, end) = client.rest();
    assert_eq!(end, End::Reset, "an answer that ends with its connection must not look whole");
}

#[test]
fn an_edge_takes_no_more_than_it_may() {
    let door = Door::default();
    let opens = door.clone();
    let upstream = Upstream::serve(move |link| {
        while let Some(head) = link.head() {
            if head.contains("/wait") {
                opens.wait();
            }
            link.send(ok("x"));
        }
    });
    let wait = "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n";
    // connections: one too many is reset
    let proxy = before(upstream.at).with("max_connections = 3").workers(2).start();
    let mut open: Vec<_> = (0..3).map(|_| proxy.connect()).collect();
    for client in &mut open {
        assert_eq!(client.send(GET).answer().status, 200);
    }
    assert_eq!(proxy.connect().send(GET).rest(), (Vec::new(), End::Reset));
    open.pop();
    eventually("there is room again", || proxy.connect().send(GET).try_answer(false).is_ok());
    assert!(proxy.metric("brownout_connections_total", &["refused_limit"]) >= 1.0);
    // requests in flight: one too many is 503
    let proxy = before(upstream.at).with("max_in_flight = 2").workers(2).start();
    let mut waiting: Vec<_> = (0..2).map(|_| proxy.connect()).collect();
    for client in &mut waiting {
        client.send(wait);
    }
    eventually("two in flight", || proxy.in_flight() == 2);
    let mut client = proxy.connect();
    for _ in 0..3 {
        let answer = client.send(GET).answer();
        assert_eq!((answer.status, answer.field("x-brownout-error")), (503, Some("overload")));
    }
    proxy.wait_count(3, "503", "internal");
    door.open();
    for client in &mut waiting {
        assert_eq!(client.answer().status, 200);
    }
    eventually("there is room again", || client.send(GET).answer().status == 200);
    // held requests: one too many is 503, so that a fault cannot take the proxy down
    for fault in ["latency = \"1h\"", "hang = {}", "latency = { after = \"1h\" }"] {
        let proxy = before(upstream.at).with("max_held = 2").workers(2).start();
        proxy.arm("f", fault);
        let mut held: Vec<_> = (0..2).map(|_| proxy.connect()).collect();
        for client in &mut held {
            client.send(GET);
        }
        proxy.wait_held(2);
        let answer = proxy.get("/");
        assert_eq!((answer.status, answer.field("x-brownout-error")), (503, Some("held")), "{fault}");
        proxy.heal("f");
        for client in &mut held {
            assert_eq!(client.answer().status, 200);
        }
    }
}

#[test]
fn a_good_client_is_served_while_five_hundred_drip_their_heads() {
    let upstream = Upstream::answering(ok("x"));
    let process = Process::before(upstream.at, &[]);
    process.connect().send(GET).answer();
    let before = process.memory();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(8000));
    let mut drips: Vec<Client> = (0..500).map(|_| process.connect()).collect();
    let mut good = process.connect();
    let mut slowest = ms(0);
    for (n, piece) in head.as_bytes().chunks(400).enumerate() {
        for client in &mut drips {
            client.send(piece);
        }
        let begun = Instant::now();
        assert_eq!(good.send(GET).answer().status, 200, "{n}");
        slowest = slowest.max(begun.elapsed());
        assert_eq!(process.connect().send(GET).answer().status, 200, "{n}");
    }
    let grown = process.memory().saturating_sub(before);
    assert!(grown < 48 * MIB, "{} KiB", grown / 1024);
    println!("slowest of a good client: {slowest:?}; memory grew by {} KiB", grown / 1024);
}

#[test]
fn fifty_slow_readers_of_endless_answers_cost_little() {
    let upstream = Upstream::serve(|link| {
        link.head();
        link.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut chunk = b"10000\r\n".to_vec();
        chunk.extend([b'x'; 65_536]);
        chunk.extend(b"\r\n");
        while link.try_send(&chunk) {}
    });
    let process = Process::before(upstream.at, &[]);
    let before = process.memory();
    let mut readers: Vec<_> = (0..50).map(|_| process.connect()).collect();
    for client in &mut readers {
        client.send(GET).until(b"\r\n\r\n").unwrap();
    }
    // until nothing moves any more
    let mut last = -1.0;
    eventually("all are stuck", || {
        pass(ms(100));
        let now = process.metric("brownout_bytes_total", &["direction=\"down\""]);
        let memory = process.memory();
        let stuck = now == last && memory > 0;
        last = now;
        stuck
    });
    for client in &mut readers {
        client.take(10_000).unwrap();
    }
    let grown = process.memory().saturating_sub(before);
    println!("memory of 50 slow readers: {} KiB", grown / 1024);
    assert!(grown < 32 * MIB, "{} KiB", grown / 1024);
}

#[test]
fn out_of_descriptors_it_rests_and_comes_back() {
    let upstream = Upstream::answering(ok("x"));
    let process = Process::before(upstream.at, &[]);
    process.connect().send(GET).answer();
    eventually("the connection is gone", || process.metric("brownout_connections_open", &[]) == 0.0);
    process.limit_descriptors(process.descriptors() + 20);
    let mut clients: Vec<_> = (0..60).map(|_| process.connect()).collect();
    // the last one is in the backlog: nobody can take it
    clients.last_mut().unwrap().send(GET).hears_nothing();
    let before = process.ticks();
    pass(ms(1500));
    let spent = process.ticks() - before;
    println!("out of descriptors it spent {spent} ticks in 1.5 s");
    assert!(spent <= 15, "{spent} ticks of 10 ms in 1.5 s");
    let mut last = clients.pop().unwrap();
    drop(clients);
    let begun = Instant::now();
    assert_eq!(last.answer().status, 200);
    println!("and was back after {:?}", begun.elapsed());
}
