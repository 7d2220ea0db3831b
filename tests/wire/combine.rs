//! Faults of all kinds at once: whatever is combined, every exchange is counted once, and nothing is left after healing.

use crate::support::{Client, End, Proxy, Upstream, before, chunked, eventually, ms, panics, pass};
use brownout::telemetry::Event;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

/// What may be done to HTTP exchanges; `@` is another upstream.
const HTTP: &[&str] = &[
    "latency = \"5ms\"",
    "latency = { before = \"2ms\", after = \"5ms\" }",
    "latency = { chunk = \"1ms\" }",
    "hang = { for = \"20ms\", then = \"504\" }",
    "hang = { for = \"10ms\", at = \"headers\", then = \"reset\" }",
    "hang = { for = \"10ms\", at = \"body\", then = \"close\" }",
    "hang = {}",
    "drop = { how = \"close\" }",
    "drop = { how = \"reset\", at = \"headers\" }",
    "drop = { how = \"close\", after_bytes = 100 }",
    "drop = { how = \"reset\", after = \"10ms\" }",
    "drop = { how = \"blackhole\" }",
    "respond = 503",
    "respond = { status = 500, body = \"no\", after_upstream = true }",
    "reroute = { upstream = \"http://@\" }",
    "bandwidth = { down = \"1 MB/s\", up = \"1 MB/s\" }",
    "chunk = { size = 700, delay = \"1ms\" }",
    "chunk = { size = 7 }",
    "truncate = { bytes = 300 }",
    "truncate = { bytes = 300, clean = true }",
    "truncate = { fraction = 0.5 }",
    "truncate = { fraction = 0.5, clean = true }",
    "endless = {}",
    "endless = { rate = \"64 KiB/s\" }",
    "corrupt = { bit_flips = 0.01 }",
    "corrupt = { malformed_chunk = true }",
    "corrupt = { wrong_length = true }",
    "corrupt = { garbage = true }",
    "limit = { rate = \"100/s\", burst = 2 }",
    "freeze = { for = \"10ms\", every = \"40ms\" }",
    "capacity = { max = 1, wait = \"20ms\" }",
    "capacity = { max = 1, queue = 0, then = \"close\" }",
    "serialize = { hold = \"2ms\" }",
    "serialize = { key = \"header:x-user\" }",
    "rewrite = { response = { json = { \"$.n\" = { scale = 2.0 } }, headers = { set = { x-new = \"1\" } } } }",
    "rewrite = { response = { status = 404, text = [{ find = \"n\", with = \"m\" }] } }",
    "rewrite = { request = { headers = { remove = [\"x-user\"] } } }",
    "stale = { versions = 1 }",
    "duplicate = { times = 2, concurrency = 2 }",
    "duplicate = { times = 1, respond_with = \"last\" }",
    // only what is known of a connection can choose for these, and nothing else is in their fault
    "connections = { max = 1, then = \"reset\" }",
    "connections = { max = 1, leak = true }",
    "drop = { how = \"close\", at = \"accept\" }",
];

const WHO: &[&str] = &[
    "match = \"all\"",
    "match = \"all\"",
    "percent = 50",
    "first = 2",
    "every = 2",
    "max = 1",
    "sticky = \"connection\"\npercent = 50",
    "after = 1",
    "match = { method = \"POST\" }",
    "match = { path = \"/length/**\" }",
];

/// A fault: its keys, and how often it may strike at most.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) keys: String,
    most: u64,
}

pub(super) fn rules(kinds: &'static [&'static str], whos: usize) -> impl Strategy<Value = Vec<Rule>> {
    let one = (0..kinds.len(), proptest::option::weighted(0.3, 0..kinds.len()), 0..whos);
    proptest::collection::vec(one, 1..=5).prop_map(|picked| {
        let rule = |(kind, more, who): (usize, Option<usize>, usize)| {
            let key = |place: usize| kinds[place].split(' ').next();
            let alone =
                |place: usize| kinds[place].starts_with("connections") || kinds[place].contains("accept");
            let at_accept = alone(kind);
            let who = if at_accept && WHO[who].contains('{') { 0 } else { who };
            let who = if at_accept && WHO[who].contains("sticky") { 2 } else { who };
            let mut keys = format!("{}\n{}", WHO[who], kinds[kind]);
            if let Some(more) = more.filter(|more| !at_accept && !alone(*more) && key(*more) != key(kind)) {
                keys = format!("{keys}\n{}", kinds[more]);
            }
            let most = if WHO[who] == "max = 1" {
                1
            } else if WHO[who] == "first = 2" {
                2
            } else {
                u64::MAX
            };
            Rule { keys, most }
        };
        picked.into_iter().map(rule).collect()
    })
}

/// One request, and how the upstream frames its answer.
#[derive(Clone, Debug)]
struct Ask {
    method: &'static str,
    how: &'static str,
    size: usize,
    body: usize,
    chunks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Patient,
    Pipelined,
    /// After so many parts of its first request, or with the answer begun (3).
    Leaves(usize, bool),
}

#[derive(Clone, Debug)]
struct Caller {
    asks: Vec<Ask>,
    style: Style,
}

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let method = prop_oneof![3 => Just("GET"), 2 => Just("POST"), 1 => Just("HEAD")];
    let how = prop_oneof![3 => Just("length"), 2 => Just("chunks"), 1 => Just("close")];
    let ask = (method, how, 0usize..4000, 0usize..4000, any::<bool>())
        .prop_map(|(method, how, size, body, chunks)| Ask { method, how, size, body, chunks });
    let style = prop_oneof![
        4 => Just(Style::Patient),
        1 => Just(Style::Pipelined),
        2 => (1usize..4, any::<bool>()).prop_map(|(when, reset)| Style::Leaves(when, reset)),
    ];
    let caller =
        (proptest::collection::vec(ask, 1..5), style).prop_map(|(asks, style)| Caller { asks, style });
    proptest::collection::vec(caller, 1..5)
}

pub(super) fn filler(size: usize) -> String {
    "abcdefghij".chars().cycle().take(size).collect()
}

impl Ask {
    fn text(&self) -> Vec<u8> {
        let Self { method, how, size, body, chunks } = self;
        let head = format!("{method} /{how}/{size} HTTP/1.1\r\nHost: a\r\nX-User: u\r\n");
        let body = filler(*body).into_bytes();
        let (framing, body) = match (*method, *chunks) {
            ("POST", true) => ("Transfer-Encoding: chunked\r\n\r\n".to_owned(), chunked(&body, 500)),
            ("POST", false) => (format!("Content-Length: {}\r\n\r\n", body.len()), body),
            _ => ("\r\n".to_owned(), Vec::new()),
        };
        [head.as_bytes(), framing.as_bytes(), &body].concat()
    }
}

/// Answers as asked: a number that grows, and a filler.
fn upstream() -> Upstream {
    let count = AtomicUsize::new(10_000_000);
    Upstream::serve(move |link| {
        while let Some(request) = link.request() {
            let text = String::from_utf8_lossy(&request).into_owned();
            let mut parts = text.split([' ', '/']);
            let (method, how) = (parts.next().unwrap(), parts.nth(1).unwrap());
            let size: usize = parts.next().unwrap().parse().unwrap();
            let n = count.fetch_add(1, Ordering::Relaxed);
            let body = format!("{{\"n\":{n},\"f\":\"{}\"}}", filler(size)).into_bytes();
            let (framing, body) = match how {
                "length" => (format!("Content-Length: {}", body.len()), body),
                "chunks" => ("Transfer-Encoding: chunked".to_owned(), chunked(&body, 600)),
                _ => ("Connection: close".to_owned(), body),
            };
            link.send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"));
            if method != "HEAD" {
                link.send(body);
            }
            if how == "close" {
                return;
            }
        }
    })
}

/// What a caller saw of one answer.
#[derive(Debug)]
enum Seen {
    /// All of it, and whether the connection goes on.
    Whole(u16, bool),
    Broken(u16),
    /// No head.
    Nothing,
    /// Bytes that are no HTTP.
    Garbage,
}

/// Reads one answer; what is not marked must be as the upstream sent it.
fn see(client: &mut Client, ask: &Ask) -> Seen {
    let head = match client.until(b"\r\n\r\n") {
        Ok(head) => String::from_utf8_lossy(&head).to_ascii_lowercase(),
        Err((got, _)) if got.is_empty() => return Seen::Nothing,
        Err((got, _)) => return if got.starts_with(b"HTTP") { Seen::Nothing } else { Seen::Garbage },
    };
    if !head.starts_with("http/1.1 ") {
        return Seen::Garbage;
    }
    let status: u16 = head[9..12].parse().unwrap();
    let goes_on = !head.contains("\r\nconnection: close");
    let marked = head.contains("\r\nx-brownout-fault: ");
    let length = head.split("\r\ncontent-length: ").nth(1).map(|rest| rest.split("\r\n").next().unwrap());
    let mut body = Vec::new();
    if ask.method == "HEAD" {
    } else if let Some(length) = length {
        match client.take(length.parse().unwrap()) {
            Ok(got) => body = got,
            Err(_) => return Seen::Broken(status),
        }
    } else if head.contains("\r\ntransfer-encoding: chunked") {
        loop {
            let Ok(line) = client.until(b"\r\n") else { return Seen::Broken(status) };
            let size = std::str::from_utf8(&line).unwrap().trim();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                client.rest();
                return Seen::Broken(status);
            };
            let Ok(data) = client.take(size + 2) else { return Seen::Broken(status) };
            body.extend_from_slice(&data[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        assert!(!goes_on, "a body without an end: {head}");
        match client.rest() {
            (got, End::Fin) => body = got,
            (_, End::Reset) => return Seen::Broken(status),
        }
    }
    if !marked {
        assert_eq!(status, 200, "{head}");
        if ask.method != "HEAD" {
            let text = String::from_utf8(body).unwrap();
            assert!(text.starts_with("{\"n\":1") && text.len() == ask.size + 21, "{ask:?} {head} {text}");
            assert!(text.ends_with(&format!("\"f\":\"{}\"}}", filler(ask.size))), "{text}");
        }
    }
    Seen::Whole(status, goes_on)
}

/// What must be counted: at least these codes; and at most so many exchanges in all.
#[derive(Debug, Default)]
struct Tally {
    codes: BTreeMap<u16, u64>,
    least: u64,
    most: u64,
    exact: bool,
}

fn call(proxy: &Proxy, caller: &Caller) -> Tally {
    let mut tally = Tally { exact: true, ..Tally::default() };
    let mut client = proxy.connect();
    if let Style::Leaves(when, reset) = caller.style {
        let text = caller.asks[0].text();
        client.send(&text[..text.len() * when.min(2) / 2]);
        if when == 3 {
            let _ = client.take(5);
        }
        if reset {
            client.reset();
        }
        return Tally { most: 1, ..Tally::default() };
    }
    if caller.style == Style::Pipelined {
        client.send(caller.asks.iter().flat_map(Ask::text).collect::<Vec<_>>());
        tally.exact = false;
    }
    for ask in &caller.asks {
        if caller.style == Style::Patient {
            client.send(ask.text());
        }
        let seen = see(&mut client, ask);
        tally.most += 1;
        let status = match seen {
            Seen::Whole(status, _) | Seen::Broken(status) => Some(status),
            Seen::Nothing if tally.exact => Some(0),
            Seen::Nothing => None,
            Seen::Garbage => {
                tally.exact = false;
                tally.least += 1;
                None
            }
        };
        if let Some(status) = status {
            tally.least += 1;
            *tally.codes.entry(status).or_default() += 1;
        } else {
            tally.exact = false;
        }
        if !matches!(seen, Seen::Whole(_, true)) {
            break;
        }
    }
    tally
}

/// Sockets of these ports that somebody still holds open.
pub(super) fn open_sockets(ports: &[u16]) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16).unwrap();
    let open = |line: &&str| {
        let parts: Vec<&str> = line.split_whitespace().collect();
        ["01", "08"].contains(&parts[3])
            && (ports.contains(&port(parts[1])) || ports.contains(&port(parts[2])))
    };
    table.lines().skip(1).filter(open).count()
}

/// Waits for callers; faults that only end by healing are healed after a while.
pub(super) fn heal_after<T>(proxy: &Proxy, calls: Vec<std::thread::ScopedJoinHandle<'_, T>>) -> Vec<T> {
    let begun = Instant::now();
    while calls.iter().any(|call| !call.is_finished()) && begun.elapsed() < ms(120) {
        pass(ms(2));
    }
    proxy.control.heal_all(None, "hand");
    calls.into_iter().map(|call| call.join().unwrap()).collect()
}

/// Arms them all, known by name, so that they are remembered after healing.
pub(super) fn arm(proxy: &Proxy, rules: &[Rule], other: &Upstream) {
    let names: Vec<String> = (0..rules.len()).map(|place| format!("f{place}")).collect();
    let keys = |rule: &Rule| rule.keys.replace('@', &other.at.to_string());
    let known: Vec<_> = rules.iter().zip(&names).map(|(rule, name)| proxy.rule(name, &keys(rule))).collect();
    proxy.control.know(&known);
    for name in &names {
        proxy.control.arm_named(name, None).unwrap();
    }
}

/// What the counts of all faults must be, whatever was done.
pub(super) fn counts_fit(proxy: &Proxy, rules: &[Rule]) {
    for (place, rule) in rules.iter().enumerate() {
        let name = format!("f{place}");
        let all = proxy.control.faults();
        let fault = all.iter().find(|fault| fault.name == name).unwrap();
        assert!(fault.matched >= fault.selected && fault.selected >= fault.hits, "{rule:?} {fault:?}");
        assert!(fault.hits <= rule.most, "{rule:?} {fault:?}");
        let label = format!("fault=\"{name}\"");
        eventually("injected", || {
            proxy.metric("brownout_faults_injected_total", &[&label]) as u64 == proxy.hits(&name)
        });
    }
}

pub(super) fn config(cases: u32) -> ProptestConfig {
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 40,
        rng_seed,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn whatever_strikes_requests_each_is_counted_once_and_nothing_is_left(
        rules in rules(HTTP, WHO.len()), callers in callers(),
    ) {
        let (usual, other, known_panics) = (upstream(), upstream(), panics());
        let proxy = before(usual.at).with("record = \"1 MiB\"").start();
        let mut events = proxy.telemetry.subscribe();
        arm(&proxy, &rules, &other);
        let tallies = std::thread::scope(|scope| {
            let proxy = &proxy;
            let call = |caller| scope.spawn(move || call(proxy, caller));
            heal_after(proxy, callers.iter().map(call).collect())
        });
        proxy.wait_quiet();
        let counted = proxy.count("", "");
        let (least, most) = tallies.iter().fold((0, 0), |(a, b), tally| (a + tally.least, b + tally.most));
        prop_assert!((least..=most).contains(&counted), "{counted} of {least} to {most}");
        let mut codes = BTreeMap::<u16, u64>::new();
        tallies.iter().flat_map(|tally| &tally.codes).for_each(|(code, n)| *codes.entry(*code).or_default() += n);
        for (code, n) in &codes {
            let counted = proxy.count(&code.to_string(), "");
            let exact = tallies.iter().all(|tally| tally.exact);
            prop_assert!(if exact { counted == *n } else { counted >= *n }, "{code}: {counted}, not {n}");
        }
        prop_assert_eq!(proxy.count("", "internal"), 0);
        eventually("connections", || {
            proxy.metric("brownout_connections_total", &[]) as usize == callers.len()
        });
        counts_fit(&proxy, &rules);
        // what is ours is in the journal, and marked as ours
        proxy.telemetry.flush();
        let mut ours = 0;
        while let Ok(stamped) = events.try_recv() {
            if let Event::Struck { origin, .. } = &stamped.event {
                ours += u64::from(format!("{origin:?}") == "Injected");
            }
        }
        prop_assert_eq!(ours, proxy.count("", "injected"));
        // and all is as if nothing had been
        let mut client = proxy.connect();
        let asks: Vec<Ask> = (0..20).map(|n| Ask {
            method: if n % 2 == 0 { "GET" } else { "POST" },
            how: if n % 3 == 0 { "chunks" } else { "length" },
            size: 100 * n, body: 50 * n, chunks: n % 4 == 1,
        }).collect();
        for ask in &asks {
            client.send(ask.text());
            let seen = see(&mut client, ask);
            prop_assert!(matches!(seen, Seen::Whole(200, true)), "{seen:?}");
        }
        drop(client);
        proxy.wait_quiet();
        prop_assert_eq!(proxy.count("", ""), counted + 20);
        let ports = [proxy.at.port(), usual.at.port(), other.at.port()];
        drop(proxy);
        eventually("no socket is left", || open_sockets(&ports) == 0);
        prop_assert_eq!(panics(), known_panics);
    }
}
