//! What is promised of safety, with its numbers: the kill switch, faults that do not match, and that what was injected can
//! be told from what is real.

use crate::support::{Client, Proxy, Upstream, before, eventually, ms, ok};
use brownout::telemetry::{Event, Origin};
use nix::sys::resource::{Resource, getrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Answers every request at once, from one thread however many connections there are. Ends with its runtime.
fn crowd() -> (tokio::runtime::Runtime, std::net::SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).listen(4096).unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 1024];
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(ok("real").as_bytes()).await;
                }
            });
        }
    });
    (runtime, at)
}

/// How long this machine lets a thread wait, in all, that only wants to look at the clock.
struct Heartbeat(Arc<AtomicU64>, Arc<AtomicBool>);

impl Heartbeat {
    fn start() -> Self {
        let (all, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (late, end) = (all.clone(), over.clone());
        std::thread::spawn(move || {
            while !end.load(Ordering::Acquire) {
                let begun = Instant::now();
                std::thread::park_timeout(ms(5));
                let waited = begun.elapsed().saturating_sub(ms(5));
                late.fetch_add(waited.as_micros() as u64, Ordering::AcqRel);
            }
        });
        Self(all, over)
    }

    fn late(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Acquire))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Release);
    }
}

/// Holds so many by all that holds, halts, and tells how long it took until the first new one was clean and all were let go.
fn halted(count: usize) -> (Duration, Duration, Duration) {
    let (_runtime, upstream) = crowd();
    let proxy = before(upstream).workers(2).start();
    proxy
        .arm("hangs", "every = 2\nhang = {}")
        .arm("slow", "latency = \"1h\"")
        .arm("frozen", "match = { method = \"POST\" }\nfreeze = { for = \"1h\" }");
    let held: Vec<Client> = (0..count)
        .map(|n| {
            let mut client = proxy.connect();
            client.send(if n % 3 == 0 {
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
            } else {
                GET
            });
            client
        })
        .collect();
    proxy.wait_held(count as u64);
    let heartbeat = Heartbeat::start();
    let begun = Instant::now();
    proxy.control.halt();
    let answer = proxy.get("/");
    let clean = begun.elapsed();
    assert_eq!((answer.status, answer.field("x-brownout-fault")), (200, None));
    eventually("all are let go", || proxy.held() == 0);
    let (released, late) = (begun.elapsed(), heartbeat.late());
    for mut client in held {
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, "real"));
    }
    proxy.wait_count(count as u64 + 1, "200", "upstream");
    // it latches
    assert!(
        proxy
            .control
            .arm(proxy.rule("late", "respond = 503"), brownout::control::Owner::Hand, None, 1.0)
            .is_err()
    );
    (clean, released, late)
}

#[test]
fn a_halt_lets_thousands_go_within_a_second() {
    // four descriptors each, here: both ends of both connections; and others test at the same time
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let enough = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
    let count = (most.saturating_sub(6_000) / 4).clamp(200, enough) as usize;
    let mut tries = 0;
    loop {
        tries += 1;
        let (clean, released, late) = halted(count);
        println!(
            "{count} held: a new one clean in {clean:?}, all released in {released:?}; the machine was {late:?} late"
        );
        let bound = Duration::from_secs(1);
        if released <= bound {
            return;
        }
        assert!(
            late > ms(50),
            "{count} held: {released:?}, and the machine was only {late:?} late by itself"
        );
        // tried once more; on a machine that is that late again, its lateness is not ours
        if tries == 2 {
            assert!(released <= bound + late, "{count} held: {released:?}, {late:?} late by itself");
            return;
        }
    }
}

/// One of each kind, how many requests it takes until one is struck, and what metrics call it.
const KINDS: &[(&str, usize, &str)] = &[
    ("latency = \"1ms\"", 1, "latency"),
    ("hang = { for = \"1ms\", then = \"504\" }", 1, "hang"),
    ("drop = { how = \"reset\" }", 1, "reset"),
    ("drop = { how = \"close\", after_bytes = 3 }", 1, ""),
    ("respond = 503", 1, "respond"),
    ("respond = { status = 500, after_upstream = true }", 1, ""),
    ("reroute = { upstream = \"http://@\" }", 1, "reroute"),
    ("bandwidth = { down = \"1 MB/s\" }", 1, "bandwidth"),
    ("chunk = { size = 5 }", 1, "chunk"),
    ("truncate = { bytes = 5 }", 1, "truncate"),
    ("truncate = { bytes = 5, clean = true }", 1, "truncate"),
    ("corrupt = { bit_flips = 1.0 }", 1, "corrupt"),
    ("corrupt = { wrong_length = true }", 1, "corrupt"),
    ("corrupt = { malformed_chunk = true }", 1, "corrupt"),
    ("corrupt = { garbage = true }", 1, "corrupt"),
    ("limit = { rate = \"1/m\", burst = 1 }", 2, "limit"),
    ("freeze = { for = \"50ms\" }", 1, "freeze"),
    ("capacity = { max = 1, queue = 0 }", 1, "capacity"),
    ("serialize = { hold = \"30ms\" }", 2, "serialize"),
    ("rewrite = { response = { json = { \"$.n\" = { scale = 3.0 } } } }", 1, "rewrite"),
    ("rewrite = { request = { headers = { set = { x-new = \"1\" } } } }", 1, "rewrite"),
    ("stale = { versions = 1 }", 2, "stale"),
    ("duplicate = { times = 1 }", 1, "duplicate"),
];

fn json() -> Upstream {
    let count = AtomicU64::new(1);
    Upstream::serve(move |link| {
        while link.request().is_some() {
            link.send(ok(&format!("{{\"n\":{:9}}}", count.fetch_add(1, Ordering::Relaxed))));
        }
    })
}

#[test]
fn whatever_is_injected_can_be_told_from_what_is_real() {
    let (upstream, other) = (json(), json());
    for (kind, requests, action) in KINDS {
        let proxy: Proxy = before(upstream.at).with("record = \"1 MiB\"").start();
        let mut events = proxy.telemetry.subscribe();
        let kind = kind.replace('@', &other.at.to_string());
        proxy.arm("it", &kind);
        let mut marked = false;
        let inside = kind.starts_with("capacity").then(|| {
            let mut client = proxy.connect();
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
            eventually("it has the place", || proxy.in_flight() == 1);
            client
        });
        for _ in 0..*requests {
            let (got, _) = proxy.connect().send(LAST).rest();
            marked = String::from_utf8_lossy(&got).contains("x-brownout-fault: it\r\n");
        }
        if let Some(mut client) = inside {
            assert_eq!(client.send("x").answer().status, 200);
        }
        proxy.wait_quiet();
        assert_eq!(proxy.hits("it"), 1, "{kind}");
        // what has a head of ours, or whose fate is known with its head, carries the mark
        let bare = ["garbage", "reset", "after_bytes"].iter().any(|word| kind.contains(word));
        assert_eq!(marked, !bare, "{kind}");
        proxy.telemetry.flush();
        let mut lines = Vec::new();
        while let Ok(stamped) = events.try_recv() {
            if let Event::Struck { hits, origin, status, .. } = &stamped.event {
                lines.extend(hits.iter().map(|hit| (hit.clone(), *origin, *status)));
            }
        }
        assert_eq!(lines.len(), 1, "{kind}: {lines:?}");
        let (hit, origin, status) = &lines[0];
        assert_eq!(hit.fault.as_str(), "it");
        assert!(action.is_empty() || hit.action == *action, "{kind}: {}", hit.action);
        let labels = ["fault=\"it\"".to_owned(), format!("action=\"{}\"", hit.action)];
        eventually("counted", || {
            proxy.metric("brownout_faults_injected_total", &[&labels[0], &labels[1]]) == 1.0
        });
        let ours = u64::from(*origin == Origin::Injected);
        assert_eq!(proxy.count("", "injected"), ours, "{kind}");
        assert!(
            proxy.count(&status.to_string(), if ours == 1 { "injected" } else { "upstream" }) >= 1,
            "{kind}"
        );
    }
}

#[test]
fn connections_that_are_turned_away_can_be_told_from_others() {
    let upstream = json();
    for then in ["reset", "refuse"] {
        let proxy = before(upstream.at).start();
        proxy.arm("it", &format!("connections = {{ max = 0, then = \"{then}\" }}"));
        assert!(proxy.connect().send(GET).try_answer(false).is_err());
        eventually("counted", || {
            proxy.metric("brownout_faults_injected_total", &["fault=\"it\"", "action=\"connections\""]) == 1.0
        });
        eventually("as ours", || {
            proxy.metric("brownout_connections_total", &["outcome=\"injected\""]) == 1.0
        });
        // a caller lost its request with it: it is counted, as ours
        proxy.wait_count(1, "0", "injected");
        assert_eq!((proxy.hits("it"), proxy.count("", "")), (1, 1));
    }
}

#[test]
fn faults_of_every_kind_that_do_not_match_touch_nothing() {
    let upstream = Upstream::answering(ok("untouched"));
    let proxy = before(upstream.at).with("forwarded = false\nrecord = \"1 MiB\"").workers(2).start();
    for (place, (kind, ..)) in KINDS.iter().enumerate() {
        let kind = kind.replace('@', "127.0.0.1:9");
        proxy.arm(&format!("f{place}"), &format!("match = {{ path = \"/else/**\" }}\n{kind}"));
    }
    proxy.arm("g", "match = { peer = \"10.0.0.0/8\" }\nconnections = { max = 0 }");
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nuntouched".repeat(50);
    let batch = GET.repeat(50);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = proxy.connect();
                for _ in 0..100 {
                    let got = client.send(&batch).take(expected.len()).unwrap();
                    assert!(got == expected.as_bytes(), "{}", String::from_utf8_lossy(&got));
                }
            });
        }
    });
    proxy.wait_count(20_000, "200", "upstream");
    assert_eq!(proxy.count("", ""), 20_000);
    assert_eq!(upstream.sizes().iter().sum::<usize>(), 20_000 * GET.len());
    assert!(proxy.control.faults().iter().all(|fault| (fault.matched, fault.hits) == (0, 0)));
}
