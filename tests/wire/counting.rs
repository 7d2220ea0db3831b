//! Every request is in exactly one outcome, nothing is left of any, and clean traffic is not touched.

use crate::support::{Client, Process, Proxy, Upstream, before, eventually, ms, ok};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// One request of a kind, and what it must be counted as.
fn one(proxy: &Proxy, kind: usize, count: &mut BTreeMap<(&'static str, &'static str), u64>) {
    let mut client = proxy.connect();
    let ask = |client: &mut Client, path: &str| {
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .try_answer(false)
            .map(|answer| answer.status)
    };
    let (code, origin) = match kind {
        0 => {
            assert_eq!(ask(&mut client, "/ok").unwrap(), 200);
            ("200", "upstream")
        }
        1 => {
            assert_eq!(ask(&mut client, "/close").unwrap(), 502);
            ("502", "upstream")
        }
        2 => {
            assert_eq!(ask(&mut client, "/silent").unwrap(), 504);
            ("504", "upstream")
        }
        3 => {
            assert_eq!(client.send("GET / HTTP/1.1\r\n\r\n").answer().status, 400);
            ("400", "client")
        }
        4 => {
            assert_eq!(ask(&mut client, "/injected").unwrap(), 418);
            ("418", "injected")
        }
        5 => {
            ask(&mut client, "/reset").unwrap_err();
            ("0", "injected")
        }
        6 => {
            ask(&mut client, "/cut").unwrap_err();
            ("200", "injected")
        }
        7 => {
            ask(&mut client, "/half").unwrap_err();
            ("200", "upstream")
        }
        8 => {
            // leaves before it is answered
            client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
            eventually("it is held", || proxy.held() > 0);
            client.reset();
            eventually("it is let go", || proxy.held() == 0);
            ("0", "injected")
        }
        9 => {
            client.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n");
            eventually("it is under way", || proxy.in_flight() > 0);
            client.reset();
            eventually("it is over", || proxy.in_flight() == 0);
            ("0", "client")
        }
        10 => {
            let text = "POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense";
            assert_eq!(client.send(text).answer().status, 400);
            ("400", "client")
        }
        11 => {
            assert_eq!(ask(&mut client, "/500").unwrap(), 500);
            ("500", "upstream")
        }
        12 => {
            // several on one connection
            for _ in 0..4 {
                assert_eq!(ask(&mut client, "/ok").unwrap(), 200);
                *count.entry(("200", "upstream")).or_default() += 1;
            }
            assert_eq!(ask(&mut client, "/delayed").unwrap(), 200);
            ("200", "upstream")
        }
        _ => unreachable!(),
    };
    *count.entry((code, origin)).or_default() += 1;
}

#[test]
fn every_request_is_counted_once_and_as_what_it_was() {
    let upstream = Upstream::serve(|link| {
        while let Some(head) = link.head() {
            match head.split(' ').nth(1).unwrap() {
                "/close" => return,
                "/silent" => {
                    link.end();
                    return;
                }
                "/half" => {
                    link.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                    return;
                }
                "/500" => link.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
                _ => link.send(ok("0123456789")),
            };
        }
    });
    let proxy = before(upstream.at).with("timeout = { upstream = \"400ms\" }").workers(2).start();
    proxy.arm("a", "match = { path = \"/injected\" }\nrespond = { status = 418 }");
    proxy.arm("b", "match = { path = \"/reset\" }\ndrop = { how = \"reset\" }");
    proxy.arm("c", "match = { path = \"/cut\" }\ndrop = { how = \"close\", after_bytes = 3 }");
    proxy.arm("d", "match = { path = \"/hang\" }\nhang = {}");
    proxy.arm("e", "match = { path = \"/delayed\" }\nlatency = \"1ms\"");
    let mut count = BTreeMap::new();
    for round in 0..156 {
        one(&proxy, round % 13, &mut count);
    }
    eventually("all have ended", || proxy.in_flight() == 0);
    for ((code, origin), wanted) in &count {
        assert_eq!(proxy.count(code, origin), *wanted, "{code} {origin}");
    }
    assert_eq!(proxy.count("", ""), count.values().sum::<u64>());
    proxy.wait_quiet();
    let ended = proxy.metric("brownout_connections_total", &[]);
    assert_eq!(ended, 156.0, "every connection has ended once");
}

#[test]
fn clean_traffic_is_not_touched() {
    let upstream = Upstream::answering(ok("untouched"));
    let proxy = before(upstream.at).with("forwarded = false").workers(2).start();
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nuntouched".repeat(20);
    let batch = GET.repeat(20);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = proxy.connect();
                for _ in 0..250 {
                    let got = client.send(&batch).take(expected.len()).unwrap();
                    assert!(got == expected.as_bytes(), "{}", String::from_utf8_lossy(&got));
                }
            });
        }
    });
    assert_eq!(upstream.requests(), 20_000);
    eventually("all are counted", || proxy.count("200", "upstream") == 20_000);
    assert_eq!(proxy.count("", ""), 20_000);
    let all: usize = upstream.sizes().iter().sum();
    assert_eq!(all, 20_000 * GET.len(), "not a byte more reached the upstream");
}

#[test]
fn nothing_is_left_of_twenty_thousand_requests() {
    let upstream = Upstream::answering(ok("x"));
    let process = Process::before(upstream.at, &["--respond", "503", "--path", "/struck"]);
    let round = |connections: usize| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let batch = format!("{}GET /struck HTTP/1.1\r\nHost: a\r\n\r\n", GET.repeat(9));
                    for number in 0..connections {
                        let mut client = Client::connect(process.at);
                        client.send(&batch);
                        for n in 0..10 {
                            assert_eq!(client.answer().status, if n == 9 { 503 } else { 200 });
                        }
                        if number % 3 == 0 {
                            client.send(GET).reset_now();
                        }
                    }
                });
            }
        });
        process.wait_metric("brownout_connections_open", 0.0);
        process.wait_metric("brownout_requests_in_flight", 0.0);
    };
    round(50);
    let (descriptors, memory) = (process.descriptors(), process.memory());
    round(460);
    let grown = process.memory().saturating_sub(memory);
    let more = process.descriptors().saturating_sub(descriptors);
    println!("after 20 400 requests: {more} descriptors and {} KiB more", grown / 1024);
    assert!(more <= 8, "{more} descriptors more than the {descriptors} after the first round");
    assert!(grown < 4 << 20, "{} KiB more", grown / 1024);
}

/// A file whose fault answers with a number.
fn numbered(number: u64) -> String {
    format!(
        "[[fault]]\nname = \"n\"\nedge = \"edge\"\nmatch = \"all\"\n\
         respond = {{ status = 200, headers = {{ x-number = \"{number}\" }}, body = \"{number}\" }}\n"
    )
}

#[test]
fn an_answer_is_wholly_old_or_wholly_new_through_three_hundred_reloads() {
    let upstream = Upstream::answering(ok("from below"));
    let proxy = before(upstream.at).workers(2).start();
    let (current, over) = (AtomicU64::new(0), AtomicBool::new(false));
    proxy.reload(&proxy.file("", &numbered(0)));
    let answers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, mut answers) = (proxy.connect(), 0u64);
                    while !over.load(Ordering::Acquire) {
                        let least = current.load(Ordering::Acquire);
                        let answer = client.send(GET).answer();
                        let number: u64 = answer.text().parse().unwrap();
                        assert_eq!(answer.field("x-number"), Some(answer.text()));
                        assert!(number >= least, "{number} after {least} was in force");
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        for number in 1..=300 {
            proxy.reload(&proxy.file("", &numbered(number)));
            current.store(number, Ordering::Release);
        }
        over.store(true, Ordering::Release);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    });
    println!("{answers} answers during 300 reloads");
    eventually("all are counted", || proxy.count("200", "injected") == answers);
}

#[test]
fn nobody_is_lost_when_an_edge_is_opened_anew_on_its_port() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = Arc::new(before(upstream.at).workers(2).start());
    let over = Arc::new(AtomicBool::new(false));
    let fixed = |n: usize| proxy.file(&format!("max_held = {}", 100 + n % 2), "");
    proxy.reload(&fixed(0));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (proxy, over) = (proxy.clone(), over.clone());
            std::thread::spawn(move || {
                let (mut good, mut lost) = (0u64, 0u64);
                while !over.load(Ordering::Acquire) {
                    // a new connection each
                    let answer = std::net::TcpStream::connect(proxy.at)
                        .map(|stream| Client::of(stream).send(GET).try_answer(false));
                    match answer {
                        Ok(Ok(answer)) if answer.status == 200 => good += 1,
                        _ => lost += 1,
                    }
                }
                (good, lost)
            })
        })
        .collect();
    for n in 1..=100 {
        proxy.reload(&fixed(n));
        crate::support::pass(ms(5));
    }
    over.store(true, Ordering::Release);
    let (good, lost) = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!("{good} answers while the edge was opened anew a hundred times, {lost} lost");
    assert!(good > 100);
    assert_eq!(lost, 0);
}
