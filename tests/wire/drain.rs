//! Stopping: what is under way is answered, nobody is reset.

use crate::support::{Client, Door, End, Process, Upstream, before, eventually, ms, ok};
use std::sync::Arc;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_thousand_held_requests_are_all_answered_when_it_stops() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).workers(2).start();
    proxy.arm("f", "latency = \"1h\"");
    let mut clients: Vec<Client> = (0..1000).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    let mut idle: Vec<Client> = (0..10).map(|_| proxy.connect()).collect();
    proxy.wait_held(1000);
    eventually("all are connected", || proxy.connections() == 1010);
    assert!(proxy.control.stop(Duration::from_secs(20)), "all of it ended in time");
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
        assert_eq!(client.rest(), (Vec::new(), End::Fin));
    }
    for client in &mut idle {
        assert_eq!(client.rest(), (Vec::new(), End::Fin));
    }
    assert!(std::net::TcpStream::connect(proxy.at).is_err());
    assert_eq!((proxy.count("200", "upstream"), proxy.count("", "")), (1000, 1000));
    assert_eq!((proxy.in_flight(), proxy.connections()), (0, 0));
}

#[test]
fn a_program_that_is_told_to_end_answers_everybody_first() {
    let upstream = Upstream::answering(ok("x"));
    let mut process = Process::before(upstream.at, &["--latency", "1h", "--all"]);
    let mut clients: Vec<Client> = (0..1000).map(|_| process.connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    process.wait_metric("brownout_requests_held", 1000.0);
    process.signal(nix::sys::signal::Signal::SIGTERM);
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
        assert_eq!(client.rest(), (Vec::new(), End::Fin));
    }
    assert_eq!(process.wait(), Some(0));
}

#[test]
fn what_is_under_way_goes_on_to_its_end() {
    let door = Door::default();
    let opens = door.clone();
    let upstream = Upstream::serve(move |link| {
        link.head();
        link.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
        opens.wait();
        link.send("lf");
        link.end();
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    client.send(GET).until(b"\r\n\r\nha").unwrap();
    let control = Arc::clone(&proxy.control);
    let stopping = std::thread::spawn(move || control.stop(Duration::from_secs(20)));
    eventually("it listens no more", || std::net::TcpStream::connect(proxy.at).is_err());
    door.open();
    assert_eq!(client.rest(), (b"lf".to_vec(), End::Fin));
    assert!(stopping.join().unwrap());
}

#[test]
fn who_never_ends_is_waited_for_only_so_long() {
    let door = Door::default();
    let opens = door.clone();
    let upstream = Upstream::serve(move |link| {
        link.head();
        opens.wait();
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    client.send(GET);
    upstream.wait_heads(1);
    assert!(!proxy.control.stop(ms(100)));
    door.open();
}
