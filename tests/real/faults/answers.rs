//! What comes instead of an answer, or late: latency, hang, drop, respond, reroute.

use super::super::parts::{Service, wait};
use super::{Bench, Row, Setup, came, redis};
use std::fs;

pub(super) const ROWS: &[Row] =
    &[("latency", latency), ("hang", hang), ("drop", drop), ("respond", respond), ("reroute", reroute)];

fn latency(setup: Setup) -> Bench {
    let bench = setup.start();
    let got = bench.under("a fixed delay", || bench.get("/", &[]));
    assert!(got.ended() == (0, "200") && got.seconds >= 0.25, "{got:?}");
    let all = bench.under("a long tail", || bench.crowd(12, "/", &[]));
    assert!(all.iter().all(|got| got.ended() == (0, "200")), "{all:?}");
    assert!(all.iter().map(|got| got.seconds).fold(0.0, f64::max) >= 0.05, "half are slower: {all:?}");
    let got = bench.under("slow after the work is done", || bench.get("/?done", &[]));
    assert!(got.ended() == (0, "200") && got.seconds >= 0.1, "{got:?}");
    assert_eq!(bench.logged("GET /?done"), 1);
    // streams go on, each piece late
    let (events, messages) = bench.under("a trickling body", || {
        (bench.client("sse", &["10", "0.03"]), bench.client("ws", &["10", "300", "0"]))
    });
    assert_eq!((came(&events), came(&messages)), (("done", 10), ("done", 10)));
    for told in [events, messages] {
        assert!(told["total"].as_f64() >= Some(0.2), "20 ms for each of ten: {told}");
    }
    bench
}

fn hang(setup: Setup) -> Bench {
    let bench = setup.start();
    bench.arm("silence");
    let got = bench.get("/", &["--max-time", "1"]);
    assert_eq!((got.ended(), got.size), ((28, "000"), 0), "{got:?}");
    std::thread::scope(|scope| {
        let held = scope.spawn(|| bench.get("/held", &[]));
        wait("it to hang", || (bench.metric("brownout_requests_held", &[]) == 1.0).then_some(()));
        assert_eq!(bench.logged("GET /held"), 0);
        bench.heal("silence");
        assert_eq!(held.join().unwrap().ended(), (0, "200"), "it goes on once that is over");
    });
    let got = bench.under("a gateway that gives up", || bench.get("/given-up", &[]));
    assert!(got.ended() == (0, "504") && got.seconds >= 1.0, "{got:?}");
    assert_eq!(got.mark(), Some("a gateway that gives up"), "{got:?}");
    assert_eq!(bench.logged("GET /given-up"), 0);
    let got = bench.under("a head without a body", || bench.get("/body", &[]));
    assert!(got.ended() == (56, "200") && got.seconds >= 1.0 && got.size == 0, "{got:?}");
    assert_eq!(bench.logged("GET /body"), 1);
    bench
}

fn drop(setup: Setup) -> Bench {
    let bench = setup.start();
    let got = bench.under("reset before the answer", || bench.get("/reset", &[]));
    assert_eq!(got.ended(), (56, "000"), "{got:?}");
    assert_eq!(bench.logged("GET /reset"), 1, "the upstream has executed it");
    let (file, events, messages) = bench.under("a body cut short", || {
        let file = bench.get("/large", &[]);
        (file, bench.client("sse", &["40", "0.01"]), bench.client("ws", &["40", "100", "0.01"]))
    });
    assert_eq!((file.ended(), file.size), ((18, "200"), 1024), "{file:?}");
    for told in [&events, &messages] {
        let (end, count) = came(told);
        assert!(end == "closed" && (5..=11).contains(&count), "after 1 KiB: {told}");
    }
    bench.arm("nobody listens");
    wait("the listener to be closed", || (bench.get("/", &[]).code == 7).then_some(()));
    wait("it to be back", || (bench.get("/", &[]).ended() == (0, "200")).then_some(()));
    streams_cut_after_a_time();
    bench
}

/// The same file with `after` in the place of `after_bytes`.
fn streams_cut_after_a_time() {
    let cut = "fault.\"a body cut short\".drop";
    let bench = Setup { file: "drop", sets: Vec::new() };
    let bench = bench.set(cut, "{ how = \"close\", after = \"600ms\" }").start();
    let (events, messages) = bench.under("a body cut short", || {
        (bench.client("sse", &["1000", "0.02"]), bench.client("ws", &["1000", "100", "0.02"]))
    });
    for told in [&events, &messages] {
        let (end, count) = came(told);
        assert!(end == "closed" && (1..1000).contains(&count), "{told}");
        assert!(told["total"].as_f64() >= Some(0.6), "{told}");
    }
}

fn respond(setup: Setup) -> Bench {
    let bench = setup.start();
    let got = bench.under("overloaded", || bench.get("/overloaded", &[]));
    assert_eq!((got.ended(), got.text().as_str()), ((0, "503"), "try again"), "{got:?}");
    assert_eq!((got.field("retry-after"), got.mark()), (Some("1"), Some("overloaded")), "{got:?}");
    assert_eq!(bench.logged("/overloaded"), 0);
    let name = "done, but told it failed";
    let (post, get) = bench.under(name, || (bench.get("/app/work", &["-d", "order"]), bench.get("/", &[])));
    assert_eq!((post.ended(), post.mark()), ((0, "502"), Some(name)), "{post:?}");
    assert_eq!(get.ended(), (0, "200"));
    wait("nginx to log it", || (bench.logged("\"POST /app/work HTTP/1.1\" 200") == 1).then_some(()));
    let name = "the first two attempts fail";
    let statuses = bench.under(name, || {
        ["one", "one", "other", "one", "other", "other"]
            .map(|id| bench.get("/", &["-H", &format!("x-request-id: {id}")]).status)
    });
    assert_eq!(statuses, ["500", "500", "500", "200", "500", "200"]);
    bench
}

fn reroute(setup: Setup) -> Bench {
    let olds = ["old", "drifted", "drifted too"].map(|name| {
        let nginx = Service::nginx_with("location /files/ { root @; default_type text/plain; }");
        fs::create_dir(nginx.folder.path().join("files")).unwrap();
        fs::write(nginx.folder.path().join("files/version"), name).unwrap();
        nginx
    });
    let (database, replica) = (Service::redis(), Service::redis());
    let (old, drifted) =
        ("a tenth meets the old version", "one request in twenty meets the instance that has drifted");
    let (instead, list) = ("the replica instead", format!("[\"{}\", \"{}\"]", olds[1].url(), olds[2].url()));
    let setup = setup.set(&format!("fault.\"{old}\".reroute.upstream"), &olds[0].url());
    let setup = setup.set(&format!("fault.\"{drifted}\".reroute.upstream"), &list);
    let tcp = format!("tcp://{}", replica.address);
    let setup = setup.set(&format!("fault.\"{instead}\".reroute.upstream"), &tcp);
    let bench = setup.database(&database).start();
    bench.file("version", b"new");
    let version = || {
        let got = bench.get("/files/version", &[]);
        assert_eq!(got.ended(), (0, "200"), "{got:?}");
        (got.text(), got.mark().map(str::to_owned))
    };
    assert_eq!(version(), ("new".to_owned(), None));
    assert_eq!(bench.under(old, version).0, "old");
    let mut both = bench.under(drifted, || [version().0, version().0]);
    both.sort();
    assert_eq!(both, ["drifted", "drifted too"], "in turn");
    assert_eq!(version().0, "new");

    redis(database.address, &["set", "who", "database"]);
    redis(replica.address, &["set", "who", "replica"]);
    let who = || redis(bench.database.unwrap(), &["get", "who"]);
    assert_eq!(
        (who(), bench.under(instead, who), who()),
        ("database".into(), "replica".into(), "database".into())
    );
    bench
}
