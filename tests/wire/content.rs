//! Lies about content: `rewrite`, `stale`, `duplicate`, and faults that a request asks for itself.

use crate::support::{Answer, Client, Door, Proxy, Upstream, before, chunked, eventually, noise, ok};
use brownout::telemetry::{Event, Stamped};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const PRICE: &str = "{\"price\": 100, \"tax\": 1.10,\"name\":\"x\"}";

fn post(body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(body).unwrap();
    out.finish().unwrap()
}

fn gunzip(body: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(body).read_to_string(&mut text).unwrap();
    text
}

/// What the journal is told of the next exchange that is struck.
fn struck(events: &mut tokio::sync::mpsc::Receiver<Arc<Stamped>>) -> Event {
    let mut found = None;
    eventually("struck", || {
        while let Ok(stamped) = events.try_recv() {
            if matches!(stamped.event, Event::Struck { .. }) {
                found = Some(stamped.event.clone());
                return true;
            }
        }
        false
    });
    found.unwrap()
}

fn lies(event: &Event) -> Vec<(String, String, String)> {
    let Event::Struck { lies, .. } = event else { panic!("{event:?}") };
    lies.iter().map(|lie| (lie.place.clone(), lie.was.clone(), lie.became.clone())).collect()
}

fn lie(place: &str, was: &str, became: &str) -> (String, String, String) {
    (place.to_owned(), was.to_owned(), became.to_owned())
}

const CHEAPER: &str = "rewrite = { response = { json = { \"$.price\" = { scale = 0.1 } } } }";

#[test]
fn a_price_is_another_one_and_everything_else_is_as_it_was() {
    let packed = gzip(PRICE.as_bytes());
    for (fields, body, framed) in [
        ("", PRICE.as_bytes().to_vec(), None),
        ("Content-Encoding: gzip\r\nETag: \"1\"\r\n", packed.clone(), None),
        ("", PRICE.as_bytes().to_vec(), Some("Transfer-Encoding: chunked")),
        ("", PRICE.as_bytes().to_vec(), Some("Connection: close")),
    ] {
        let bytes = match framed {
            None => answer(fields, &body),
            Some(framing) => {
                let payload = if framing.starts_with('T') { chunked(&body, 7) } else { body.clone() };
                [format!("HTTP/1.1 200 OK\r\n{fields}{framing}\r\n\r\n").as_bytes(), &payload].concat()
            }
        };
        let closes = framed == Some("Connection: close");
        let upstream = Upstream::serve(move |link| {
            while link.request().is_some() {
                link.send(&bytes);
                if closes {
                    return;
                }
            }
        });
        let proxy = before(upstream.at).start();
        let mut events = proxy.telemetry.subscribe();
        proxy.arm("cheaper", CHEAPER);
        let mut client = proxy.connect();
        let got = client.send(GET).answer();
        let text = if fields.is_empty() { got.text().to_owned() } else { gunzip(&got.body) };
        assert_eq!(text, PRICE.replace("100", "10"), "{fields} {framed:?}");
        assert_eq!(got.field("content-length"), Some(&*got.body.len().to_string()));
        assert_eq!((got.status, got.field("x-brownout-fault")), (200, Some("cheaper")));
        assert_eq!(got.field("etag").is_some(), !fields.is_empty());
        assert_eq!(lies(&struck(&mut events)), [lie("$.price", "100", "10")]);
        assert_eq!(proxy.hits("cheaper"), 1);
        proxy.wait_count(1, "200", "upstream");
        proxy.heal("cheaper");
        if !closes {
            assert_eq!(client.send(GET).answer().body, body);
            assert_eq!(upstream.connections(), 1);
        }
    }
}

#[test]
fn what_is_not_changed_is_not_hit() {
    let long = format!("{{\"price\": 1, \"x\": \"{}\"}}", "y".repeat(3000));
    for (body, keys) in [
        ("{\"cost\":1}", CHEAPER),
        ("price 100", CHEAPER),
        ("", CHEAPER),
        (&long, "rewrite = { max_body = \"1 KiB\", response = { json = { \"$.price\" = \"null\" } } }"),
        ("{\"a\":\"b\"}", "rewrite = { response = { text = [{ find = \":\", with = \"\" }] } }"),
        (
            "x",
            "rewrite = { response = { status = 200, headers = { remove = [\"gone\"], replace = { b = \"c\" } } } }",
        ),
    ] {
        let upstream = Upstream::answering(ok(body));
        let proxy = before(upstream.at).start();
        proxy.arm("f", keys);
        let mut client = proxy.connect();
        for _ in 0..2 {
            let got = client.send(GET).answer();
            assert_eq!((got.text(), got.field("x-brownout-fault")), (body, None), "{keys}");
        }
        assert_eq!((proxy.hits("f"), upstream.connections()), (0, 1));
    }
}

#[test]
fn requests_are_rewritten_too_and_secrets_are_not_told() {
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).below("/base").start();
    let mut events = proxy.telemetry.subscribe();
    proxy.arm(
        "f",
        "rewrite = { request = { path = { from = \"/v2\", to = \"/v1\" }, json = { \"$.n[*].q\" = { set = 7 } }, \
         headers = { set = { authorization = \"Bearer stolen\", x-a = \"1\" }, remove = [\"x-b\"] } } }",
    );
    let body = "{\"n\":[{\"q\":1},{\"q\":2}]}";
    let mut client = proxy.connect();
    for expect in ["", "Expect: 100-continue\r\n"] {
        client.send(format!(
            "POST /v2/a?x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer real\r\nX-B: b\r\n{expect}Content-Length: {}\r\n\r\n",
            body.len()
        ));
        if !expect.is_empty() {
            assert!(client.until(b"\r\n\r\n").unwrap().starts_with(b"HTTP/1.1 100 "));
        }
        let got = client.send(body).answer();
        let seen = got.text().to_ascii_lowercase();
        assert!(seen.starts_with("post /base/v1/a?x=1 http/1.1\r\n"), "{seen}");
        assert!(seen.ends_with("\r\n\r\n{\"n\":[{\"q\":7},{\"q\":7}]}"), "{seen}");
        assert!(seen.contains("x-a: 1\r\n") && seen.contains("authorization: bearer stolen\r\n"), "{seen}");
        assert!(!seen.contains("x-b:") && !seen.contains("expect:"), "{seen}");
        let told = lies(&struck(&mut events));
        for one in [
            lie("$.n[0].q", "1", "7"),
            lie("header:authorization", "***", "***"),
            lie("header:x-b", "b", ""),
            lie("path", "/v2/a", "/v1/a"),
        ] {
            assert!(told.contains(&one), "{told:?}");
        }
        assert!(!format!("{told:?}").contains("stolen"));
    }
    assert_eq!(proxy.hits("f"), 2);
}

#[test]
fn a_rewritten_status_is_no_outcome_of_the_upstream() {
    let upstream = Upstream::answering("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno");
    let proxy = before(upstream.at).start();
    proxy.arm("fine", "rewrite = { response = { status = 200 } }");
    let got = proxy.get("/");
    assert_eq!((got.status, got.text(), got.field("x-brownout-fault")), (200, "no", Some("fine")));
    proxy.wait_count(1, "200", "injected");
    // an answer without a body stays one
    let upstream = Upstream::answering("HTTP/1.1 204 No\r\n\r\n");
    let proxy = before(upstream.at).start();
    proxy.arm("fine", "rewrite = { response = { status = 200 } }");
    let mut client = proxy.connect();
    for _ in 0..2 {
        let got = client.send(GET).answer();
        assert_eq!((got.status, got.text(), got.field("content-length")), (200, "", Some("0")));
    }
}

#[test]
fn a_body_that_is_waited_for_goes_on_when_the_fault_heals_or_its_caller_leaves() {
    let door = Door::default();
    let opened = door.clone();
    let upstream = Upstream::serve(move |link| {
        while link.request().is_some() {
            link.send("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"price\":");
            opened.wait();
            link.send("100}");
        }
    });
    let proxy = before(upstream.at).start();
    proxy.arm("cheaper", CHEAPER);
    let mut client = proxy.connect();
    client.send(GET);
    upstream.wait_requests(1);
    client.hears_nothing();
    proxy.heal("cheaper");
    assert!(client.until(b"{\"price\":").is_ok());
    door.open();
    assert_eq!(client.take(4).unwrap(), b"100}");
    assert_eq!(proxy.hits("cheaper"), 0);
    // a request: what has come goes on at once
    let upstream = Upstream::echoing();
    let proxy = before(upstream.at).start();
    proxy.arm("f", "rewrite = { request = { json = { \"$.a\" = \"null\" } } }");
    let mut client = proxy.connect();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n{\"a\"");
    eventually("in flight", || proxy.in_flight() == 1);
    client.hears_nothing();
    proxy.heal("f");
    upstream.wait_heads(1);
    assert!(client.send(":1}").answer().text().ends_with("\r\n\r\n{\"a\":1}"));
    proxy.arm("f", "rewrite = { request = { json = { \"$.a\" = \"null\" } } }");
    let mut client = proxy.connect();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n{\"a\"");
    eventually("in flight", || proxy.in_flight() == 1);
    client.reset();
    eventually("nothing in flight", || proxy.in_flight() == 0);
    assert_eq!((upstream.requests(), proxy.hits("f")), (1, 0));
}

#[test]
fn streams_and_others_go_on_as_they_come() {
    let upstream = Upstream::serve(|link| {
        while link.request().is_some() {
            link.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            link.send("8\r\ndata: 1\n\r\n");
            link.end();
        }
    });
    let proxy = before(upstream.at).start();
    proxy.arm("f", "rewrite = { response = { headers = { set = { x-a = \"b\" } }, text = [{ find = \"1\", with = \"2\" }] } }");
    let mut client = proxy.connect();
    let head = client.send(GET).until(b"data: 1\n").unwrap();
    assert!(String::from_utf8_lossy(&head).contains("x-a: b\r\n"));
    // a long body, without a change
    let bytes = noise(3 << 20);
    let upstream = Upstream::answering(answer("", &bytes));
    let proxy = before(upstream.at).start();
    proxy.arm("f", "rewrite = { response = { text = [{ find = \"(?-u:.)\", with = \"x\" }] } }");
    assert!(proxy.get("/").body == bytes);
    assert_eq!(proxy.hits("f"), 0);
    let upstream = Upstream::serve(|link| {
        while let Some(request) = link.request() {
            link.send(ok(&request.len().to_string()));
        }
    });
    let proxy = before(upstream.at).start();
    proxy.arm("f", "rewrite = { request = { json = { \"$\" = \"null\" } } }");
    let long = "1".repeat(3 << 20);
    let request = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    let seen: usize = proxy.connect().send(request).answer().text().parse().unwrap();
    assert!(seen > 3 << 20, "{seen}");
    assert_eq!(proxy.hits("f"), 0);
}

#[test]
fn lies_stand_beside_other_faults() {
    let upstream = Upstream::answering(ok(PRICE));
    let proxy = before(upstream.at).start();
    proxy.arm("cheaper", CHEAPER);
    proxy.arm("named", "rewrite = { response = { text = [{ find = '\"(n)ame\"', with = '\"${1}om\"' }] } }");
    proxy.arm("slow", "latency = { after = \"60s\" }");
    let mut client = proxy.connect();
    client.send(GET);
    proxy.wait_held(1);
    proxy.heal("cheaper");
    proxy.heal("slow");
    // healed while another fault held it: nothing more is done
    assert_eq!(client.answer().text(), PRICE.replace("name", "nom"));
    proxy.arm("cheaper", CHEAPER);
    proxy.arm("cut", "drop = { how = \"reset\", after_bytes = 12 }");
    let (got, _) = proxy.connect().send(GET).rest();
    assert!(got.ends_with(b"\r\n\r\n{\"price\": 10"), "{}", String::from_utf8_lossy(&got));
    proxy.heal("cut");
    // an answer in the upstream's place is not rewritten
    proxy.arm("down", "respond = { status = 503, body = '{\"price\":1}' }");
    assert_eq!(proxy.get("/a").text(), "{\"price\":1}");
    assert_eq!((proxy.hits("cheaper"), proxy.hits("named")), (1, 2));
}

/// An upstream whose answers are numbered from 1 and name the tenant that asked.
fn counting() -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::serve(move |link| {
        while let Some(request) = link.request() {
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            let tenant = text.split("x-tenant: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            link.send(ok(&format!("{number} for {}", tenant.unwrap_or("nobody"))));
        }
    })
}

/// A proxy that keeps answers, because its file has a stale fault that is not armed.
fn keeping(upstream: &Upstream) -> Proxy {
    let fault = "[[fault]]\nname = \"later\"\nedge = \"edge\"\nmatch = \"all\"\narmed = false\nstale = { versions = 1 }";
    before(upstream.at)
        .with("record = \"1 MiB\"")
        .with(fault)
        .with("[[expect]]\nedge = \"edge\"\nphase = \"recovery\"\nsuccess_rate = \">= 1%\"")
        .start()
}

fn get_as(client: &mut Client, path: &str, tenant: &str) -> Answer {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Tenant: {tenant}\r\n\r\n")).answer()
}

#[test]
fn an_older_answer_is_a_real_one_of_ones_own() {
    let upstream = counting();
    let proxy = keeping(&upstream);
    let mut events = proxy.telemetry.subscribe();
    let mut client = proxy.connect();
    let mut get = |path: &str, tenant: &str| {
        let got = get_as(&mut client, path, tenant);
        (got.text().to_owned(), got.field("x-brownout-fault").is_some(), got.status)
    };
    assert_eq!(get("/a", "t"), ("1 for t".into(), false, 200));
    assert_eq!(get("/a", "u"), ("2 for u".into(), false, 200));
    assert_eq!(get("/a", "t"), ("3 for t".into(), false, 200));
    eventually("kept", || proxy.metric("brownout_store_entries", &["edge=\"edge\""]) == 3.0);
    assert!(proxy.metric("brownout_store_bytes", &[]) > 21.0);
    proxy.arm("stale", "stale = { versions = 1 }");
    assert_eq!(get("/a", "t"), ("3 for t".into(), true, 200));
    assert_eq!(lies(&struck(&mut events)), [lie("answer", "4 for t", "3 for t")]);
    // nothing is known of this one yet, nor of that query
    assert_eq!(get("/a", "v"), ("5 for v".into(), false, 200));
    assert_eq!(get("/a?b", "t"), ("6 for t".into(), false, 200));
    assert_eq!(proxy.hits("stale"), 1);
    proxy.wait_count(1, "200", "injected");
    proxy.heal("stale");
    proxy.arm("stale", "stale = { versions = 2 }");
    assert_eq!(get("/a", "t"), ("3 for t".into(), true, 200)); // 7 now, 4 before it
    proxy.heal("stale");
    proxy.arm("stale", "stale = { age = \"1h\" }");
    assert_eq!(get("/a", "t"), ("8 for t".into(), false, 200));
    proxy.heal("stale");
    proxy.arm("mixed", "stale = { from = \"other\", ignore = \"header:x-tenant\" }");
    assert_eq!(get("/a", "u"), ("8 for t".into(), true, 200));
    assert_eq!(upstream.requests(), 9);
    proxy.heal("mixed");
    // what another fault makes of it comes behind
    proxy.arm("stale", "stale = {}");
    proxy.arm("text", "rewrite = { response = { text = [{ find = \"for\", with = \"of\" }] } }");
    assert_eq!(get("/a", "u").0, "9 of u");
}

#[test]
fn what_keeps_the_same_is_not_stale_and_edges_without_it_keep_nothing() {
    let upstream = Upstream::answering(answer("Content-Encoding: x\r\n", b"same"));
    let proxy = keeping(&upstream);
    proxy.arm("stale", "stale = { versions = 1 }");
    let mut client = proxy.connect();
    for _ in 0..3 {
        assert_eq!(client.send(GET).answer().text(), "same");
    }
    assert_eq!(proxy.hits("stale"), 0);
    eventually("kept once", || proxy.metric("brownout_store_entries", &[]) == 1.0);
    let proxy = before(upstream.at).with("record = \"1 MiB\"").start();
    for _ in 0..3 {
        assert_eq!(proxy.get("/").text(), "same");
    }
    assert_eq!(proxy.metric("brownout_store_entries", &[]), 0.0);
}

#[test]
fn a_request_reaches_the_upstream_more_than_once() {
    let upstream = counting();
    let proxy = before(upstream.at).start();
    proxy.arm("twice", "duplicate = { times = 2 }");
    let mut client = proxy.connect();
    let got = client.send(post("{\"pay\":1}")).answer();
    assert_eq!((got.text(), got.field("x-brownout-fault")), ("1 for nobody", Some("twice")));
    upstream.wait_requests(3);
    for number in 0..upstream.connections() {
        let seen = upstream.got(number);
        assert!(seen.ends_with("\r\n\r\n{\"pay\":1}"), "{seen}");
    }
    eventually("differ", || proxy.metric("brownout_duplicates_differ_total", &["edge=\"edge\""]) == 2.0);
    // one exchange for the caller
    assert_eq!((proxy.count("", ""), proxy.hits("twice")), (1, 1));
    proxy.heal("twice");
    proxy.arm("last", "duplicate = { times = 3, concurrency = 3, respond_with = \"last\" }");
    assert_eq!(client.send(post("x")).answer().text(), "7 for nobody");
    eventually("differ", || proxy.metric("brownout_duplicates_differ_total", &[]) == 5.0);
    // a body that is too long is sent once
    proxy.heal("last");
    proxy.arm("short", "duplicate = { max_body = \"8 B\" }");
    assert_eq!(client.send(post("123456789")).answer().text(), "8 for nobody");
    assert_eq!((proxy.hits("short"), upstream.requests()), (0, 8));
}

#[test]
fn a_thousand_copies_and_all_of_them_the_same() {
    let upstream = Upstream::answering(ok("same"));
    let proxy = before(upstream.at).start();
    proxy.arm("storm", "first = 1\nduplicate = { times = 847, concurrency = 16 }");
    let mut client = proxy.connect();
    assert_eq!(client.send(GET).answer().text(), "same");
    upstream.wait_requests(848);
    assert_eq!(client.send(GET).answer().text(), "same");
    assert_eq!(proxy.metric("brownout_duplicates_differ_total", &[]), 0.0);
    assert_eq!((upstream.requests(), proxy.hits("storm")), (849, 1));
    assert!(upstream.connections() <= 20, "{}", upstream.connections());
}

#[test]
fn copies_end_with_their_fault_and_never_hold_a_caller_for_ever() {
    let door = Door::default();
    let opened = door.clone();
    let upstream = Upstream::serve(move |link| {
        while link.request().is_some() {
            if link.number < 2 {
                opened.wait();
            }
            link.send(ok("x"));
        }
    });
    let proxy = before(upstream.at).start();
    let last = "duplicate = { times = 100, concurrency = 2, respond_with = \"last\" }";
    proxy.arm("last", last);
    let mut client = proxy.connect();
    client.send(GET);
    upstream.wait_requests(2);
    client.hears_nothing();
    proxy.heal("last");
    assert_eq!(client.answer().text(), "x");
    assert_eq!(upstream.requests(), 3);
    eventually("permits", || proxy.in_flight() == 0);
    door.open();
    // a caller that leaves is let go, and its own request is not sent
    let door = Door::default();
    let opened = door.clone();
    let upstream = Upstream::serve(move |link| {
        while link.request().is_some() {
            opened.wait();
            link.send(ok("x"));
        }
    });
    let proxy = before(upstream.at).start();
    proxy.arm("last", "duplicate = { respond_with = \"last\" }");
    let mut client = proxy.connect();
    client.send(GET);
    upstream.wait_requests(1);
    client.reset();
    eventually("let go", || proxy.metric("brownout_abandoned_requests_total", &[]) == 1.0);
    door.open();
    proxy.wait_quiet();
    assert_eq!(upstream.requests(), 1);
    // no more than the edge takes at once
    let upstream = Upstream::answering(ok("x"));
    let proxy = before(upstream.at).with("max_in_flight = 1").start();
    proxy.arm("many", "duplicate = { times = 50, concurrency = 50 }");
    assert_eq!(proxy.get("/a").text(), "x");
    upstream.wait_requests(51);
    proxy.wait_quiet();
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
}

const CONTROLLED: &str = "header_control = true\n[[fault]]\nname = \"down\"\nedge = \"edge\"\npercent = 0\narmed = false\n\
                          respond = 503\n[[expect]]\nedge = \"edge\"\nphase = \"recovery\"\nsuccess_rate = \">= 1%\"";

fn controlled(upstream: &Upstream) -> Proxy {
    let proxy = before(upstream.at).with(CONTROLLED).start();
    proxy.control.know(&proxy.file("", "").faults);
    proxy
}

#[test]
fn a_request_asks_for_a_fault_itself() {
    let upstream = Upstream::echoing();
    let proxy = controlled(&upstream);
    let mut client = proxy.connect();
    let mut get = |fields: &str| client.send(format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).answer();
    assert_eq!(get("").status, 200);
    for fields in ["X-Brownout-Fault: down\r\n", "baggage: a=b, brownout=down;c\r\n"] {
        let got = get(fields);
        assert_eq!((got.status, got.field("x-brownout-fault")), (503, Some("down")));
    }
    assert_eq!(proxy.hits("down"), 2);
    // unknown here: counted, taken out, and nothing else; baggage travels on
    let got = get("X-Brownout-Fault: other\r\nbaggage: brownout=elsewhere\r\n");
    let seen = got.text().to_ascii_lowercase();
    assert!(!seen.contains("x-brownout-fault") && seen.contains("baggage: brownout=elsewhere"), "{seen}");
    assert_eq!(proxy.metric("brownout_unknown_faults_total", &["edge=\"edge\""]), 1.0);
    // as Envoy is asked
    let abort = "x-envoy-fault-abort-request: 418\r\n";
    let got = get(abort);
    assert_eq!((got.status, got.field("x-brownout-fault")), (418, Some("x-envoy-fault")));
    let got = get(&format!("{abort}x-envoy-fault-abort-request-percentage: 0\r\n"));
    assert!(got.status == 200 && !got.text().contains("x-envoy"), "{}", got.text());
    let began = tokio::time::Instant::now();
    assert_eq!(get("x-envoy-fault-delay-request: 50\r\n").status, 200);
    assert!(began.elapsed() >= std::time::Duration::from_millis(50));
    assert_eq!(get(&format!("{abort}x-envoy-fault-delay-request: 1\r\n")).status, 418);
    for nonsense in ["-1", "x", "1e999", "99", "700"] {
        assert_eq!(get(&format!("x-envoy-fault-abort-request: {nonsense}\r\n")).status, 200, "{nonsense}");
    }
}

#[test]
fn nobody_asks_for_anything_while_it_is_halted_or_where_it_is_off() {
    let upstream = Upstream::echoing();
    let proxy = controlled(&upstream);
    let asking = "GET /a HTTP/1.1\r\nHost: a\r\nx-brownout-fault: down\r\n\r\n";
    let delayed = "GET /a HTTP/1.1\r\nHost: a\r\nx-envoy-fault-delay-request: 60000\r\n\r\n";
    let mut client = proxy.connect();
    client.send(delayed);
    proxy.wait_held(1);
    // arming another one lets nobody go, and it can be asked for at once
    proxy.arm("by hand", "percent = 0\nrespond = 418");
    assert_eq!(proxy.held(), 1);
    assert_eq!(proxy.connect().send(asking.replace("down", "by hand")).answer().status, 418);
    proxy.control.halt();
    assert_eq!(client.answer().status, 200);
    for request in [asking, delayed] {
        assert_eq!(client.send(request).answer().status, 200);
    }
    proxy.control.lift();
    assert_eq!(client.send(asking).answer().status, 503);
    let proxy = before(upstream.at).start();
    proxy.arm("down", "percent = 0\nrespond = 503");
    let got = proxy.connect().send(asking).answer();
    assert!(got.status == 200 && got.text().contains("x-brownout-fault: down"), "{}", got.text());
}
