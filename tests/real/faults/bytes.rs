//! What happens to the bytes of an answer: bandwidth, chunk, truncate, endless, corrupt.

use super::super::parts::{Process, Service, wait};
use super::{Bench, Row, Setup, came, noise, redis};
use std::fs;
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const ROWS: &[Row] = &[
    ("bandwidth", bandwidth),
    ("chunk", chunk),
    ("truncate", truncate),
    ("endless", endless),
    ("corrupt", corrupt),
];

/// What a rate lets through without a wait, at most: a lower bound of times is shorter by this share.
const SLACK: f64 = 0.8;

fn bandwidth(setup: Setup) -> Bench {
    let redis_server = Service::redis();
    let bench = setup.database(&redis_server).start();
    let (down, up) = (noise(128 << 10), noise(32 << 10));
    bench.file("down.bin", &down);
    let (file, messages) = bench.under("a mobile network", || {
        (bench.get("/files/down.bin", &[]), bench.client("ws", &["8", "16384", "0"]))
    });
    assert!(file.ended() == (0, "200") && file.body == down, "{:?}", file.ended());
    assert!(file.seconds >= 2.0 * SLACK, "128 KiB at 64 KiB/s: {} s", file.seconds);
    assert_eq!(came(&messages), ("done", 8));
    assert!(messages["total"].as_f64() >= Some(2.0 * SLACK), "{messages}");

    bench.file("up.bin", &up);
    let path = bench.nginx.folder.path().join("files/up.bin");
    let data = format!("@{}", path.to_str().unwrap());
    let post = bench.under("uploads crawl", || bench.get("/app/upload", &["--data-binary", &data]));
    assert_eq!(post.ended(), (0, "200"));
    assert!(post.text().contains(&format!("\"bytes\": {},", up.len())), "{}", post.text());
    assert!(post.seconds >= 2.0 * SLACK, "32 KiB at 16 KiB/s: {} s", post.seconds);

    let database = bench.database.unwrap();
    let large = "x".repeat(2 << 20);
    let script = format!("return redis.call('set', 'large', string.rep('x', {}))", large.len());
    assert_eq!(redis(redis_server.address, &["eval", &script, "0"]), "OK");
    bench.under("a saturated link", || {
        let begun = Instant::now();
        let got = redis(database, &["get", "large"]);
        assert!(got == large, "{} bytes", got.len());
        assert!(begun.elapsed() >= Duration::from_secs_f64(2.0 * SLACK), "2 MiB at 1 MiB/s");
    });
    bench
}

fn chunk(setup: Setup) -> Bench {
    let redis_server = Service::redis();
    let bench = setup.database(&redis_server).start();
    let slow = noise(64 * 256);
    bench.file("slow.bin", &slow);
    let got = bench.under("a slow writer", || bench.get("/files/slow.bin", &[]));
    assert!(got.ended() == (0, "200") && got.body == slow, "{:?}", got.ended());
    assert!(got.seconds >= 0.63, "63 pauses of 10 ms: {} s", got.seconds);

    let json = format!("{{\"name\": \"{}\"}}", "a".repeat(300));
    bench.file("name.json", json.as_bytes());
    let (raw, gzip, events, messages) = bench.under("packets of a byte", || {
        let raw = bench.get("/files/name.json", &["--raw", "-H", "accept-encoding: gzip"]);
        let gzip = bench.client("get", &["/files/name.json", ""]);
        (raw, gzip, bench.client("sse", &["5", "0"]), bench.client("ws", &["5", "100", "0"]))
    });
    assert_eq!(raw.field("transfer-encoding"), Some("chunked"), "{raw:?}");
    let pieces = raw.body.chunks(6).filter(|piece| piece.starts_with(b"1\r\n")).count();
    assert_eq!((raw.body.len() - b"0\r\n\r\n".len(), raw.body.len() % 6), (pieces * 6, 5), "{raw:?}");
    assert_eq!(gzip["body"], json.as_str());
    assert_eq!((came(&events), came(&messages)), (("done", 5), ("done", 5)));

    let text = "y".repeat(20 << 10);
    assert_eq!(redis(redis_server.address, &["set", "text", &text]), "OK");
    bench.under("a database that sends in bits", || {
        let begun = Instant::now();
        let got = redis(bench.database.unwrap(), &["get", "text"]);
        assert!(got == text, "{} bytes", got.len());
        assert!(begun.elapsed() >= Duration::from_millis(20), "20 pauses of a millisecond or more");
    });
    bench
}

fn truncate(setup: Setup) -> Bench {
    let bench = setup.start();
    let large = noise(3 << 20);
    bench.file("large.bin", &large);
    let half = large.len() / 2;
    let name = "cut in the middle";
    let (got, events) =
        bench.under(name, || (bench.get("/files/large.bin", &[]), bench.client("sse", &["5", "0"])));
    assert!(matches!(got.code, 18 | 56) && got.status == "200", "{:?}", got.ended());
    assert_eq!(got.mark(), Some(name));
    assert!(got.body == large[..got.size] && got.size <= half && got.size > 0, "{} of {half}", got.size);
    assert_eq!(came(&events), ("done", 5), "no length, no half");
    let name = "half, and nobody can tell";
    let got = bench.under(name, || bench.get("/files/large.bin", &[]));
    assert_eq!((got.ended(), got.size, got.mark()), ((0, "200"), half, Some(name)));
    assert!(got.body == large[..half]);
    let name = "only the first bytes";
    let (got, events, messages) = bench.under(name, || {
        let got = bench.get("/files/large.bin", &[]);
        (got, bench.client("sse", &["20", "0.01"]), bench.client("ws", &["20", "40", "0.01"]))
    });
    assert_eq!((got.ended(), got.size, got.mark()), ((0, "200"), 100, Some(name)));
    assert!(got.body == large[..100]);
    assert_eq!(events["came"], 1, "its 100 bytes look like the whole of it: {events}");
    let (end, count) = came(&messages);
    assert!(end == "closed" && count <= 2, "{messages}");
    bench
}

fn endless(setup: Setup) -> Bench {
    let bench = setup.start();
    let (small, folder) = (noise(1000), tempfile::tempdir().unwrap());
    bench.file("small.bin", &small);
    for (name, rate) in [("it goes on and on", 16 << 10), ("and fast", 1 << 20)] {
        bench.arm(name);
        let got = bench.get("/files/small.bin", &["--max-time", "1.5"]);
        assert_eq!((got.ended(), got.mark()), ((28, "200"), Some(name)));
        assert!(got.body.starts_with(&small) && got.size > rate / 2, "{name}: {} bytes", got.size);
        let most = small.len() + (got.seconds * rate as f64 / SLACK) as usize + (64 << 10);
        assert!(got.size <= most, "{name}: {} bytes, more than {most}", got.size);
        // three events, the last ones of them again and again, and a proper end once it is healed
        let saved = folder.path().join(name);
        let mut command = Command::new("curl");
        command.args(["-sSN", "-o"]).arg(&saved).arg(bench.url("/events?count=3&pause=0"));
        let mut following = Process::start(&mut command);
        let length = || fs::read(&saved).map_or(0, |events| events.len());
        wait("more than three events", || (length() > 2000).then_some(()));
        bench.heal(name);
        assert_eq!(following.code(), 0, "{name}");
        assert!(fs::read(&saved).unwrap().starts_with(b"id: 0\ndata: ..."), "{name}");
    }
    bench
}

fn corrupt(setup: Setup) -> Bench {
    let redis_server = Service::redis();
    let bench = setup.database(&redis_server).start();
    let sound = noise(256 << 10);
    bench.file("sound.bin", &sound);
    let get = |name: &str| bench.under(name, || bench.get("/files/sound.bin", &[]));
    let name = "bits flip";
    let got = get(name);
    assert_eq!((got.ended(), got.size, got.mark()), ((0, "200"), sound.len(), Some(name)));
    let wrong: Vec<_> = got.body.iter().zip(&sound).filter(|(a, b)| a != b).collect();
    assert!((100..600).contains(&wrong.len()), "262 of them: {}", wrong.len());
    assert!(wrong.iter().all(|(a, b)| (*a ^ *b).count_ones() == 1));
    let name = "a broken chunk";
    let got = get(name);
    assert_eq!((got.ended(), got.mark()), ((56, "200"), Some(name)));
    let name = "less than announced";
    let got = get(name);
    assert_eq!((got.ended(), got.mark()), ((18, "200"), Some(name)));
    assert_eq!(got.field("content-length"), Some((sound.len() + 1024).to_string().as_str()));
    assert!(got.body == sound);
    let (got, messages) = bench.under("no HTTP at all", || {
        (bench.get("/files/sound.bin", &[]), bench.client("ws", &["3", "100", "0"]))
    });
    assert!(matches!(got.code, 1 | 8) && got.size == 0, "curl knows no such protocol: {got:?}");
    let end = messages["end"].as_str().unwrap();
    assert!(end.starts_with("nonsense") && messages["came"] == 0, "{messages}");
    let said = bench.under("a database that speaks in tongues", || redis(bench.database.unwrap(), &["ping"]));
    assert!(said.contains("Protocol error"), "{said}");
    assert_eq!(redis(bench.database.unwrap(), &["ping"]), "PONG");
    bench
}
