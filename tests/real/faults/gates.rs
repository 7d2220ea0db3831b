//! What turns away or lets wait: limit, freeze, capacity, serialize, connections.

use super::super::parts::{Service, wait};
use super::{Bench, Row, Setup, came, noise, redis, told};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const ROWS: &[Row] = &[
    ("limit", limit),
    ("freeze", freeze),
    ("capacity", capacity),
    ("serialize", serialize),
    ("connections", connections),
];

fn limit(setup: Setup) -> Bench {
    let bench = setup.start();
    for (name, rate, burst, tenant) in
        [("the provider's limit", 45.0, 20, ""), ("each tenant has its own", 10.0, 10, "a")]
    {
        bench.under(name, || {
            let told = bench.client("burst", &["/", tenant, "5000"]);
            assert_eq!((&told["status"], &told["mark"]), (&429.into(), &name.into()), "{told}");
            let retry: u32 = told["retry"].as_str().unwrap().parse().unwrap();
            assert!(retry >= 1, "{told}");
            let (through, seconds) = (told["through"].as_u64().unwrap(), told["total"].as_f64().unwrap());
            assert!(through >= burst, "{told}");
            assert!(through as f64 <= burst as f64 + rate * seconds + 1.0, "{told}");
            if !tenant.is_empty() {
                assert_eq!(bench.get("/", &["-H", "x-tenant: b"]).ended(), (0, "200"));
                assert_eq!(bench.client("burst", &["/", "", "40"])["status"], 200, "who is no tenant");
            }
        });
    }
    bench
}

fn freeze(setup: Setup) -> Bench {
    let redis_server = Service::redis();
    let bench = setup.database(&redis_server).start();
    let large = noise(4 << 20);
    bench.file("large.bin", &large);
    let messages = bench.spawn("ws", &["100", "100", "0.02"]);
    let events = bench.spawn("sse", &["100", "0.02"]);
    wait("both to be under way", || {
        (bench.stats("messages") >= 3 && bench.stats("events") >= 3).then_some(())
    });
    bench.under("the collector runs", || {
        for told in [told(messages), told(events)] {
            assert_eq!(came(&told), ("done", 100), "nothing is lost");
            assert!(told["longest"].as_f64() >= Some(0.6), "it stood still: {told}");
        }
        // the next pause, five seconds after the first
        let begun = Instant::now();
        wait("a request that waits", || {
            let got = bench.get("/", &[]);
            assert_eq!(got.ended(), (0, "200"));
            (got.seconds >= 0.3 || begun.elapsed() > Duration::from_secs(20)).then_some(())
        });
        assert!(begun.elapsed() < Duration::from_secs(20));
        let got = bench.get("/files/large.bin", &["--limit-rate", "4M"]);
        assert!(got.ended() == (0, "200") && got.body == large, "{:?}", got.ended());
    });
    bench.arm("the database moves to another host");
    let begun = Instant::now();
    assert_eq!(redis(bench.database.unwrap(), &["ping"]), "PONG");
    // three, without the time that arming took
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    bench.heal("the database moves to another host");
    bench
}

/// Connections that are there, and do nothing.
fn hold(at: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(at).unwrap()).collect()
}

fn capacity(setup: Setup) -> Bench {
    let redis_server = Service::redis();
    let bench = setup.database(&redis_server).start();
    let all = bench.under("a pool of five", || bench.crowd(48, "/reports/1", &[]));
    let of = |status: &str| all.iter().filter(|got| got.ended() == (0, status)).collect::<Vec<_>>();
    let (well, turned) = (of("200"), of("503"));
    assert_eq!((well.len() + turned.len(), turned.is_empty()), (48, false), "20 wait, the next ones do not");
    assert!(turned.iter().all(|got| got.mark() == Some("a pool of five")), "{turned:?}");
    // so many rounds of five in a second each
    let mut seconds: Vec<f64> = well.iter().map(|got| got.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    assert!(well.len() >= 25 && seconds.iter().all(|seconds| *seconds >= 1.0), "{seconds:?}");
    assert!(seconds.iter().filter(|seconds| **seconds >= 2.0).count() >= 10, "{seconds:?}");

    let all = bench.under("two workers", || bench.crowd(6, "/app/slow?pause=0.2", &[]));
    assert!(all.iter().all(|got| got.ended() == (0, "200")), "{all:?}");
    assert_eq!(bench.stats("most"), 2, "at a time");

    bench.under("a pooler before the database", || {
        let database = bench.database.unwrap();
        let mut held = hold(database, 20);
        // all of them are inside when Redis has them all, and the connection that asks
        let clients = || redis(redis_server.address, &["info", "clients"]);
        wait("20 to be inside", || clients().contains("connected_clients:21").then_some(()));
        let begun = Instant::now();
        let said = redis(database, &["ping"]);
        assert!(said.contains("closed") && begun.elapsed() >= Duration::from_secs(5), "{said}");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| redis(database, &["ping"]));
            held.pop();
            assert_eq!(waiting.join().unwrap(), "PONG");
        });
    });
    bench
}

fn serialize(setup: Setup) -> Bench {
    let bench = setup.start();
    let crowd = |fault: &str, count: usize, path: &str, more: &[&str]| {
        let (all, took) = bench.under(fault, || {
            let begun = Instant::now();
            (bench.crowd(count, path, more), begun.elapsed())
        });
        assert!(all.iter().all(|got| got.ended() == (0, "200")), "{all:?}");
        assert!(all.iter().any(|got| got.mark().is_none()), "the first one need not wait: {all:?}");
        took
    };
    let took = crowd("one lock for all writes", 9, "/app/write", &["-d", "x"]);
    assert!(took >= Duration::from_millis(8 * 50), "{took:?}");
    let took = crowd("one thread does it all", 11, "/", &[]);
    assert!(took >= Duration::from_millis(10 * 30), "{took:?}");
    // each account for itself: never two of one at a time, and two of them side by side
    let ask = |id: u8| bench.crowd(3, &format!("/accounts/{id}/book?pause=0.4"), &[]);
    bench.under("each account is locked", || {
        ask(1);
        assert_eq!(bench.stats("most"), 1);
        std::thread::scope(|scope| {
            let others = [2, 3].map(|id| scope.spawn(move || ask(id)));
            for other in others {
                assert!(other.join().unwrap().iter().all(|got| got.ended() == (0, "200")));
            }
        });
        assert_eq!(bench.stats("most"), 2);
    });
    bench
}

fn connections(setup: Setup) -> Bench {
    let postgres = Service::postgres();
    let bench = setup.database(&postgres).start();
    let database = bench.database.unwrap();
    bench.under("the database has given all its slots", || {
        assert_eq!(postgres.psql(database, "select 1").unwrap(), "1");
        let open = || bench.metric("brownout_connections_open", &["edge=\"database\""]);
        wait("it to be closed", || (open() == 0.0).then_some(()));
        let held = hold(database, 10);
        let said = wait("all slots to be given", || postgres.psql(database, "select 1").err());
        assert!(said.contains("FATAL:  sorry, too many clients already"), "{said}");
        drop(held);
        assert_eq!(wait("a slot", || postgres.psql(database, "select 2").ok()), "2");
    });
    let name = "connections leak";
    bench.under(name, || {
        // those that close stay counted
        for _ in 0..90 {
            drop(TcpStream::connect(bench.front).unwrap());
        }
        let count = |n: usize| (bench.get("/", &[]).code != 0).then_some(n);
        let refused = (1..=40).find_map(count);
        assert!(refused.is_some_and(|n| n <= 11), "100 and no more: {refused:?}");
        let got = bench.get("/", &[]);
        assert!(matches!(got.code, 7 | 52 | 56), "{got:?}");
        let mut late = TcpStream::connect(bench.front).unwrap();
        assert!(!late.read(&mut [0]).is_ok_and(|read| read > 0));
    });
    assert_eq!(bench.get("/", &[]).ended(), (0, "200"));
    bench
}
