//! `reroute`: exchanges that another upstream answers, and connections that are never mixed up.

use crate::support::{End, Upstream, before, before_all, before_tcp, eventually, ok};
use std::net::TcpListener;

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

fn to(upstream: &Upstream) -> String {
    format!("reroute = {{ upstream = \"http://{}\" }}", upstream.at)
}

#[test]
fn each_upstream_has_connections_of_its_own() {
    let (usual, other) = (Upstream::answering(ok("usual")), Upstream::answering(ok("other")));
    let proxy = before(usual.at).start();
    let mut client = proxy.connect();
    assert_eq!(client.send(GET).answer().text(), "usual");
    proxy.arm("the old version", &to(&other));
    for _ in 0..3 {
        let answer = client.send(GET).answer();
        assert_eq!((answer.text(), answer.status), ("other", 200));
        assert_eq!(answer.field("x-brownout-fault"), Some("the old version"));
    }
    proxy.heal("the old version");
    for _ in 0..3 {
        let answer = client.send(GET).answer();
        assert_eq!((answer.text(), answer.field("x-brownout-fault")), ("usual", None));
    }
    // back again: the connection that was kept is taken up
    proxy.arm("the old version", &to(&other));
    assert_eq!(client.send(GET).answer().text(), "other");
    assert_eq!((usual.connections(), other.connections()), (1, 1));
    assert_eq!((usual.requests(), other.requests()), (4, 4));
    assert_eq!(proxy.hits("the old version"), 4);
    // real answers of a real service
    proxy.wait_count(8, "200", "upstream");
    let injected = ["fault=\"the old version\"", "action=\"reroute\""];
    eventually("counted", || proxy.metric("brownout_faults_injected_total", &injected) == 4.0);
}

#[test]
fn a_share_is_exact_and_several_take_turns_on_both_sides() {
    let all: Vec<Upstream> = (0..4).map(|_| Upstream::answering(ok("x"))).collect();
    let proxy = before_all(&[all[0].at, all[1].at]).start();
    let others = format!("upstream = [\"http://{}\", \"http://{}\"]", all[2].at, all[3].at);
    proxy.arm("f", &format!("every = 2\nreroute = {{ {others} }}"));
    let mut client = proxy.connect();
    for _ in 0..40 {
        client.send(GET).answer();
    }
    assert_eq!(all.iter().map(Upstream::requests).collect::<Vec<_>>(), [10, 10, 10, 10]);
    assert_eq!(proxy.hits("f"), 20);
    proxy.heal("f");
    proxy.arm("f", &format!("percent = 30\nreroute = {{ {others} }}"));
    let marked = (0..200).filter(|_| client.send(GET).answer().field("x-brownout-fault").is_some()).count();
    let rerouted = all[2].requests() + all[3].requests() - 20;
    assert_eq!((rerouted, proxy.hits("f")), (marked, 20 + marked as u64));
    assert!((30..=90).contains(&marked), "{marked}");
}

#[test]
fn the_other_upstream_sees_the_request_as_its_own() {
    let (usual, other) = (Upstream::answering(ok("usual")), Upstream::echoing());
    let proxy = before(usual.at).below("/usual").with("host = \"upstream\"").start();
    proxy.arm("f", &format!("reroute = {{ upstream = \"http://{}/v1/\" }}", other.at));
    let request = "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let answer = proxy.connect().send(request).answer();
    let seen = answer.text();
    assert!(seen.starts_with("POST /v1/a?b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("ost: {}\r\n", other.at)), "{seen}");
    assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
    // asking how the service is asks the service itself
    assert_eq!(proxy.get("/healthz").text(), "usual");
    assert!(usual.got(0).starts_with("GET /usual/healthz "), "{}", usual.got(0));
}

#[test]
fn a_delay_that_heals_goes_where_all_go() {
    for heals in [true, false] {
        let (usual, other) = (Upstream::echoing(), Upstream::echoing());
        let proxy = before(usual.at).below("/usual").start();
        proxy.arm("away", &format!("{}\nlatency = \"60s\"", to(&other)));
        let mut client = proxy.connect();
        client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        proxy.wait_held(1);
        if heals {
            proxy.heal("away");
            let answer = client.answer();
            let text = answer.text();
            assert!(text.starts_with("POST /usual/a HTTP/1.1\r\n") && text.ends_with("\r\n\r\nhi"), "{text}");
            assert_eq!((usual.requests(), other.requests()), (1, 0));
        }
    }
    // two faults: what waits is healed, and what leads away is not
    let (usual, other) = (Upstream::answering(ok("usual")), Upstream::answering(ok("other")));
    let proxy = before(usual.at).start();
    proxy.arm("wait", "latency = \"60s\"").arm("away", &to(&other));
    let mut client = proxy.connect();
    client.send(GET);
    proxy.wait_held(1);
    proxy.heal("wait");
    assert_eq!(client.answer().text(), "other");
}

#[test]
fn another_upstream_that_is_down_is_to_blame_and_the_fault_is_named() {
    let usual = Upstream::answering(ok("usual"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (keys, marked) in [("", true), ("stealth = true", false)] {
        let proxy = before(usual.at).with(keys).start();
        proxy.arm("away", &format!("reroute = {{ upstream = \"http://{nobody}\" }}"));
        let mut client = proxy.connect();
        let answer = client.send(GET).answer();
        assert_eq!((answer.status, answer.field("x-brownout-error")), (502, Some("connect")));
        assert_eq!(answer.field("x-brownout-fault"), marked.then_some("away"));
        proxy.wait_count(1, "502", "upstream");
        assert_eq!(proxy.hits("away"), 1);
        proxy.heal("away");
        assert_eq!(client.send(GET).answer().text(), "usual");
    }
}

#[test]
fn an_upgrade_is_taken_elsewhere_and_an_open_tunnel_stays() {
    let tunnel = |name: &'static str| {
        Upstream::serve(move |link| {
            link.head();
            link.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
            while link.take(1).is_some() {
                link.send(name);
            }
        })
    };
    let (usual, other) = (tunnel("u"), tunnel("o"));
    let proxy = before(usual.at).start();
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut open = proxy.connect();
    open.send(ask).until(b"\r\n\r\n").unwrap();
    proxy.arm("away", &to(&other));
    let mut new = proxy.connect();
    let head = String::from_utf8(new.send(ask).until(b"\r\n\r\n").unwrap()).unwrap();
    assert!(head.contains("x-brownout-fault: away\r\n"), "{head}");
    for (client, byte) in [(&mut new, b"o"), (&mut open, b"u")] {
        client.send("x");
        assert_eq!(client.take(1).unwrap(), byte);
    }
    assert_eq!(proxy.hits("away"), 1);
}

#[test]
fn connections_of_a_tcp_edge_go_elsewhere_and_open_ones_stay() {
    let echo = |name: &'static str| {
        Upstream::serve(move |link| {
            while link.take(1).is_some() {
                link.send(name);
            }
        })
    };
    let (usual, other, third) = (echo("u"), echo("o"), echo("t"));
    let proxy = before_tcp(usual.at).start();
    let says = |client: &mut crate::support::Client| {
        client.send("x");
        client.take(1).unwrap()
    };
    let mut open = proxy.connect();
    assert_eq!(says(&mut open), b"u");
    let rule = format!("reroute = {{ upstream = [\"tcp://{}\", \"tcp://{}\"] }}", other.at, third.at);
    proxy.arm("away", &rule);
    let mut new: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    let got: Vec<_> = new.iter_mut().map(says).collect();
    assert_eq!(got.iter().filter(|byte| *byte == b"o").count(), 2, "{got:?}");
    assert_eq!(got.iter().filter(|byte| *byte == b"t").count(), 2, "{got:?}");
    assert_eq!(says(&mut open), b"u");
    assert_eq!(proxy.hits("away"), 4);
    proxy.heal("away");
    assert_eq!(says(&mut proxy.connect()), b"u");
    // nobody there: a reset, and the fault is named in what is recorded
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    proxy.arm("away", &format!("reroute = {{ upstream = \"tcp://{nobody}\" }}"));
    assert_eq!(proxy.connect().rest(), (Vec::new(), End::Reset));
    eventually("hit", || proxy.hits("away") == 5);
}

#[test]
fn the_first_action_of_several_wins() {
    let (usual, other) = (Upstream::answering(ok("usual")), Upstream::answering(ok("other")));
    let proxy = before(usual.at).start();
    proxy.arm("answers", "respond = 503").arm("away", &to(&other));
    assert_eq!(proxy.get("/").status, 503);
    proxy.heal("answers");
    proxy.arm("afterwards", "respond = { status = 418, after_upstream = true }");
    assert_eq!(proxy.get("/").status, 418);
    assert_eq!((usual.requests(), other.requests()), (0, 1));
    assert_eq!((proxy.hits("away"), proxy.hits("afterwards")), (1, 1));
}

#[test]
fn a_way_that_leads_back_is_refused() {
    let usual = Upstream::answering(ok("usual"));
    let proxy = before(usual.at).start();
    let rule = proxy.rule("round", &format!("reroute = {{ upstream = \"http://{}\" }}", proxy.at));
    let refused = proxy.control.arm(rule, brownout::control::Owner::Hand, None, 1.0).unwrap_err().to_string();
    assert!(refused.contains("`round` leads edge `edge` back to itself"), "{refused}");
    assert_eq!(proxy.get("/").text(), "usual");
}
