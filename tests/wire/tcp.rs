//! Raw TCP edges.

use crate::support::{Client, Door, End, Link, Upstream, before_tcp, eventually, ms, noise};
use std::net::TcpListener;
use tokio::time::Instant;

fn echo(link: &mut Link) {
    while let Some(byte) = link.take(1) {
        link.send(byte);
    }
}

#[test]
fn bytes_go_both_ways_and_halves_end_apart() {
    let (up, down) = (noise(3 << 20), noise((3 << 20) + 7));
    let (expected, sent) = (up.clone(), down.clone());
    let upstream = Upstream::serve(move |link| {
        if link.take(expected.len()).unwrap() != expected {
            link.reset();
        }
        link.end();
        link.send(&sent);
    });
    let proxy = before_tcp(upstream.at).start();
    let mut client = proxy.connect();
    client.send(&up).half_close();
    let (got, end) = client.rest();
    assert!(got == down && end == End::Fin);
    proxy.wait_count(1, "", "upstream");
    proxy.wait_quiet();
    assert_eq!(proxy.metric("brownout_bytes_total", &["direction=\"up\""]) as usize, up.len());
    assert_eq!(proxy.metric("brownout_bytes_total", &["direction=\"down\""]) as usize, down.len());
    // the upstream ends first
    let upstream = Upstream::serve(|link| {
        link.send("bye").half_close();
        link.end();
    });
    let proxy = before_tcp(upstream.at).start();
    let mut client = proxy.connect();
    assert_eq!(client.rest(), (b"bye".to_vec(), End::Fin));
    client.send("still here").half_close();
    upstream.wait_got(0, "still here");
    proxy.wait_quiet();
}

#[test]
fn a_reset_goes_through_either_way() {
    let upstream = Upstream::serve(|link| {
        link.take(1);
        link.send("last words");
        link.take(1);
        link.reset();
    });
    let proxy = before_tcp(upstream.at).start();
    let mut client = proxy.connect();
    client.send("x");
    assert_eq!(client.take(10).unwrap(), b"last words");
    client.send("x");
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    let upstream = Upstream::serve(|link| {
        link.end();
    });
    let proxy = before_tcp(upstream.at).start();
    let mut client = proxy.connect();
    client.send("x");
    eventually("connected", || upstream.connections() == 1);
    client.reset();
    upstream.wait_end(End::Reset);
    proxy.wait_quiet();
}

#[test]
fn an_upstream_that_is_down_is_a_reset() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = before_tcp(nobody).start();
    assert_eq!(proxy.connect().rest(), (Vec::new(), End::Reset));
    proxy.wait_count(1, "", "upstream");
}

#[test]
fn connections_are_delayed_cut_and_swallowed() {
    let upstream = Upstream::serve(echo);
    let proxy = before_tcp(upstream.at).start();
    let ping = |client: &mut Client| {
        client.send("p");
        client.take(1)
    };
    // before it is connected
    proxy.arm("f", "latency = \"100ms\"");
    let begun = Instant::now();
    assert!(ping(&mut proxy.connect()).is_ok());
    assert!(begun.elapsed() >= ms(100));
    proxy.heal("f");
    // each piece, either way; a connection that was open before too
    let mut open = proxy.connect();
    ping(&mut open).unwrap();
    proxy.arm("f", "latency = { chunk = \"60ms\" }");
    for client in [&mut open, &mut proxy.connect()] {
        let begun = Instant::now();
        ping(client).unwrap();
        assert!(begun.elapsed() >= ms(120));
    }
    proxy.heal("f");
    // cut at once, or after bytes, or after a time; open ones too
    for (fault, end, before) in [
        ("drop = { how = \"close\" }", End::Fin, Some(0)),
        ("drop = { how = \"reset\" }", End::Reset, Some(0)),
        ("drop = { how = \"close\", after_bytes = 3 }", End::Fin, Some(3)),
        ("drop = { how = \"reset\", after_bytes = 3 }", End::Reset, Some(3)),
        ("drop = { how = \"close\", after = \"50ms\" }", End::Fin, None),
        ("drop = { how = \"reset\", after = \"50ms\" }", End::Reset, None),
        ("hang = { for = \"50ms\" }", End::Fin, Some(0)),
        ("hang = { for = \"50ms\", then = \"reset\" }", End::Reset, Some(0)),
    ] {
        let mut open = proxy.connect();
        ping(&mut open).unwrap();
        proxy.arm("f", fault);
        for (client, kind) in [(&mut open, "open"), (&mut proxy.connect(), "new")] {
            client.send("12345");
            let (got, ended) = client.rest();
            assert_eq!(ended, end, "{fault} {kind}");
            if let Some(before) = before {
                assert_eq!(got, b"12345"[..before], "{fault} {kind}");
            }
        }
        proxy.heal("f");
        assert!(ping(&mut proxy.connect()).is_ok(), "{fault}");
    }
    // held until healed: a hang goes on, a blackhole closes
    for (fault, goes_on) in [("hang = {}", true), ("drop = { how = \"blackhole\" }", false)] {
        let mut open = proxy.connect();
        ping(&mut open).unwrap();
        proxy.arm("f", fault);
        let mut new = proxy.connect();
        open.send("o");
        new.send("n");
        proxy.wait_held(2);
        open.hears_nothing();
        new.hears_nothing();
        proxy.heal("f");
        for (mut client, byte) in [(open, b'o'), (new, b'n')] {
            if goes_on {
                assert_eq!(client.take(1).unwrap(), [byte], "{fault}");
            } else {
                assert_eq!(client.rest(), (Vec::new(), End::Fin), "{fault}");
            }
        }
    }
    proxy.wait_quiet();
}

#[test]
fn a_refused_connection_is_refused_and_the_port_comes_back() {
    let upstream = Upstream::serve(echo);
    let proxy = before_tcp(upstream.at).workers(2).start();
    let mut open = proxy.connect();
    open.send("a");
    assert_eq!(open.take(1).unwrap(), b"a");
    for _ in 0..3 {
        proxy.arm("f", "drop = { how = \"refuse\" }");
        eventually("refused", || std::net::TcpStream::connect(proxy.at).is_err());
        for _ in 0..20 {
            let error = std::net::TcpStream::connect(proxy.at).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        assert!(proxy.hits("f") >= 1);
        open.send("b");
        assert_eq!(open.take(1).unwrap(), b"b", "an open connection is not concerned");
        proxy.heal("f");
        eventually("back", || std::net::TcpStream::connect(proxy.at).is_ok());
        let mut client = proxy.connect();
        client.send("c");
        assert_eq!(client.take(1).unwrap(), b"c");
    }
}

#[test]
fn a_busy_direction_does_not_starve_the_other() {
    let door = Door::default();
    let opens = door.clone();
    let upstream = Upstream::serve(move |link| {
        link.take(1);
        link.send("answer");
        while link.take(1 << 16).is_some() {}
        opens.open();
    });
    let proxy = before_tcp(upstream.at).start();
    let mut client = proxy.connect();
    let mut writer = client.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        while writer.write_all(&[7; 1 << 16]).is_ok() {}
    });
    assert_eq!(client.take(6).unwrap(), b"answer");
    client.half_close();
    sending.join().unwrap();
    door.wait();
}
