//! Gates before a real PostgreSQL and a real Redis, as their own clients see them.

use super::parts::{Brownout, Process, Service, brownout, curl, metric, psql, wait};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// A `brownout serve` in front of a service that speaks TCP.
struct Before {
    folder: tempfile::TempDir,
    _brownout: Brownout,
    edge: SocketAddr,
    admin: SocketAddr,
}

impl Before {
    /// The faults, each with its name, wait to be armed.
    fn start(service: &Service, faults: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = format!(
            "name = \"gates\"\nseed = 7\n[[edge]]\nname = \"db\"\nlisten = \"127.0.0.1:0\"\nupstream = \"tcp://{}\"\n",
            service.address
        );
        for (name, what) in faults {
            text += &format!(
                "[[fault]]\nname = \"{name}\"\nedge = \"db\"\nmatch = \"all\"\narmed = false\n{what}\n"
            );
        }
        fs::write(folder.path().join("gates.toml"), text).unwrap();
        let brownout = Brownout::start(folder.path(), &["serve", "--admin", "127.0.0.1:0", "gates.toml"]);
        let (edge, admin) = (brownout.address("edge db: "), brownout.address("admin: "));
        Self { folder, _brownout: brownout, edge, admin }
    }

    fn fault(&self, what: &str, name: &str) {
        let ended = brownout(self.folder.path(), &["fault", what, name, "--admin", &self.admin.to_string()]);
        assert_eq!(ended.code, 0, "{ended:?}");
    }

    fn open(&self) -> f64 {
        metric(&curl(&[format!("http://{}/metrics", self.admin)]), "brownout_connections_open", &[])
    }

    fn hits(&self, action: &str) -> f64 {
        let scrape = curl(&[format!("http://{}/metrics", self.admin)]);
        metric(&scrape, "brownout_faults_injected_total", &[&format!("action=\"{action}\"")])
    }

    /// A psql that has a connection through the edge for a while.
    fn busy(&self, seconds: f64) -> Process {
        let before = self.open();
        let mut command = psql(self.edge, &format!("select pg_sleep({seconds})"));
        let process = Process::start(command.stdout(Stdio::null()));
        wait("psql to be connected", || (self.open() > before).then_some(()));
        process
    }
}

#[test]
#[ignore = "with real parts (PostgreSQL): ./check real"]
fn psql_hears_that_there_are_too_many_clients() {
    let postgres = Service::postgres();
    let before =
        Before::start(&postgres, &[("slots", "connections = { max = 1, then = \"postgres:53300\" }")]);
    let ask = || postgres.psql(before.edge, "select 40 + 2");
    assert_eq!(ask().unwrap(), "42");
    wait("it to be closed", || (before.open() == 0.0).then_some(()));
    let busy = before.busy(5.0);
    before.fault("arm", "slots");
    // with and without asking for encryption first
    for mode in ["prefer", "disable"] {
        let output = psql(before.edge, "select 1").env("PGSSLMODE", mode).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("FATAL:  sorry, too many clients already"), "{mode}: {said}");
        assert_eq!(output.status.code(), Some(2));
    }
    assert!(before.hits("connections") >= 2.0);
    drop(busy); // PostgreSQL sees that when it has slept
    assert_eq!(wait("a slot", || ask().ok()), "42");
    let _busy = before.busy(60.0);
    assert!(ask().is_err());
    before.fault("heal", "slots");
    assert_eq!(ask().unwrap(), "42");
}

#[test]
#[ignore = "with real parts (PostgreSQL): ./check real"]
fn queries_wait_for_a_place_and_for_the_thaw() {
    let postgres = Service::postgres();
    let faults = [
        ("pool", "capacity = { max = 1, wait = \"60s\" }"),
        ("none", "capacity = { max = 1, queue = 0 }"),
        ("gc", "freeze = { for = \"2s\" }"),
    ];
    let before = Before::start(&postgres, &faults);
    before.fault("arm", "pool");
    let begun = Instant::now();
    let mut busy = before.busy(1.5);
    assert_eq!(postgres.psql(before.edge, "select 1").unwrap(), "1");
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    assert_eq!(busy.code(), 0);
    assert!(before.hits("capacity") >= 1.0);
    before.fault("heal", "pool");
    // no room to wait: closed, and psql says so
    before.fault("arm", "none");
    let busy = before.busy(60.0);
    let said = postgres.psql(before.edge, "select 1").unwrap_err();
    assert!(said.contains("server closed the connection unexpectedly"), "{said}");
    before.fault("heal", "none");
    drop(busy);
    // frozen: late, and whole
    let begun = Instant::now();
    before.fault("arm", "gc");
    let sum =
        postgres.psql(before.edge, "select sum(length(repeat('x', n))) from generate_series(1, 1000) n");
    assert_eq!(sum.unwrap(), "500500");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    before.fault("heal", "gc");
    // a result that is on its way
    let rows = "select n, repeat('x', 1000) from generate_series(1, 20000) n";
    before.fault("arm", "gc");
    let got = postgres.psql(before.edge, rows).unwrap();
    assert_eq!((got.lines().count(), got.lines().last().unwrap().len()), (20_000, 1006));
    assert!(before.hits("freeze") >= 2.0);
}

#[test]
#[ignore = "with real parts (Redis): ./check real"]
fn redis_loses_nothing_through_a_frozen_edge() {
    let redis = Service::redis();
    let before = Before::start(&redis, &[("gc", "freeze = { for = \"150ms\", every = \"250ms\" }")]);
    let cli = |stdin: Stdio| {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &before.edge.port().to_string()]);
        command.stdin(stdin).stdout(Stdio::piped());
        command
    };
    before.fault("arm", "gc");
    let mut writing = cli(Stdio::piped()).spawn().expect("redis-cli: `./check tools` installs it");
    let mut stdin = writing.stdin.take().unwrap();
    let counting = std::thread::spawn(move || {
        for _ in 0..3000 {
            stdin.write_all(b"INCR n\n").unwrap();
        }
    });
    let output = writing.wait_with_output().unwrap();
    counting.join().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let expected: Vec<String> = (1..=3000).map(|n| n.to_string()).collect();
    assert_eq!(answers.lines().collect::<Vec<_>>(), expected);
    // a megabyte each way
    let large = "x".repeat(1 << 20);
    let mut storing = cli(Stdio::piped()).args(["-x", "set", "large"]).spawn().unwrap();
    storing.stdin.take().unwrap().write_all(large.as_bytes()).unwrap();
    assert!(storing.wait_with_output().unwrap().status.success());
    let got = cli(Stdio::null()).args(["get", "large"]).output().unwrap().stdout;
    assert!(String::from_utf8(got).unwrap().trim_end() == large);
    assert!(before.hits("freeze") >= 1.0);
    before.fault("heal", "gc");
    let answer = cli(Stdio::null()).arg("ping").output().unwrap().stdout;
    assert_eq!(answer, b"PONG\n");
}
