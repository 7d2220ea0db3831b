//! `brownout serve`: faults armed and healed while it runs, the kill switch, reload, metrics, and the admin address.

use super::parts::{Brownout, Ended, Service, brownout, curl, free, metric, status, wait};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// A `brownout serve` in front of nginx.
struct Staging {
    nginx: Service,
    folder: tempfile::TempDir,
    brownout: Brownout,
    edge: SocketAddr,
    admin: SocketAddr,
}

const GONE: &str =
    "[[fault]]\nname = \"gone\"\nedge = \"front\"\nmatch = \"all\"\narmed = false\nrespond = 503\n";

impl Staging {
    fn start(tables: &str) -> Self {
        let (nginx, folder) = (Service::nginx(), tempfile::tempdir().unwrap());
        let edge = free();
        write(folder.path(), edge, &nginx.url(), tables);
        let brownout =
            Brownout::start(folder.path(), &["serve", "--admin", "127.0.0.1:0", "experiment.toml"]);
        let admin = brownout.address("admin: ");
        Self { nginx, folder, brownout, edge, admin }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.edge)
    }

    fn status(&self) -> String {
        status(&[self.url()])
    }

    fn scrape(&self) -> String {
        curl(&[format!("http://{}/metrics", self.admin)])
    }

    /// Another `brownout` that talks to this one.
    fn say(&self, args: &[&str]) -> Ended {
        let admin = self.admin.to_string();
        brownout(self.folder.path(), &[args, &["--admin", &admin]].concat())
    }
}

fn write(folder: &Path, edge: SocketAddr, upstream: &str, tables: &str) {
    let text = format!(
        "name = \"staging\"\nseed = 7\n[[edge]]\nname = \"front\"\nlisten = \"{edge}\"\nupstream = \"{upstream}\"\n{tables}"
    );
    fs::write(folder.join("experiment.toml"), text).unwrap();
}

#[test]
#[ignore = "with real parts (nginx, curl): ./check real"]
fn a_fault_armed_by_hand_ends_by_itself() {
    let staging = Staging::start(GONE);
    assert_eq!(staging.status(), "200");
    let armed = staging.say(&["fault", "arm", "gone", "--ttl", "1s"]);
    assert_eq!(armed.code, 0, "{armed:?}");
    let begin = Instant::now();
    assert_eq!(staging.status(), "503");
    wait("the end of its time to live", || (staging.status() == "200").then_some(()));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let list = staging.say(&["fault", "list"]).stdout;
    assert!(list.lines().any(|line| line.starts_with("gone") && line.contains(" off ")), "{list}");

    assert_eq!(staging.say(&["fault", "arm", "gone"]).code, 0);
    assert_eq!(staging.status(), "503");
    assert_eq!(staging.say(&["fault", "heal", "gone"]).code, 0);
    assert_eq!(staging.status(), "200");
    // At most an hour, unless `forever` is written.
    assert_ne!(staging.say(&["fault", "arm", "gone", "--ttl", "2h"]).code, 0);
    assert_eq!(staging.status(), "200");

    staging.brownout.signal(Signal::SIGTERM);
    let ended = staging.brownout.end();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
#[ignore = "with real parts (nginx, curl): ./check real"]
fn the_kill_switch_has_three_handles_and_latches() {
    let staging = Staging::start(GONE);
    let json = ["-X", "POST", "-H", "content-type: application/json", "-d", "{}"];
    let stop = staging.folder.path().join(".brownout/halt");
    let handles: [(&str, &dyn Fn()); 3] = [
        ("the API", &|| {
            let url = format!("http://{}/api/v1/halt", staging.admin);
            assert_eq!(status(&[&json[..], &[&url]].concat()), "200");
        }),
        ("SIGUSR1", &|| staging.brownout.signal(Signal::SIGUSR1)),
        ("the file", &|| {
            fs::create_dir_all(stop.parent().unwrap()).unwrap();
            fs::write(&stop, "").unwrap();
        }),
    ];
    for (name, pull) in handles {
        assert_eq!(staging.say(&["fault", "arm", "gone"]).code, 0, "{name}");
        assert_eq!(staging.status(), "503", "{name}");
        pull();
        wait(name, || (staging.status() == "200").then_some(()));
        let refused = staging.say(&["fault", "arm", "gone"]);
        assert!(refused.code != 0 && refused.stderr.contains("halt"), "{name}: {refused:?}");
        assert_eq!(staging.status(), "200", "{name} latches");
        let _ = fs::remove_file(&stop);
        assert_eq!(staging.say(&["halt", "--lift"]).code, 0, "{name}");
    }
}

#[test]
#[ignore = "with real parts (nginx, curl): ./check real"]
fn a_changed_file_is_in_force_and_a_broken_one_keeps_the_old() {
    let staging =
        Staging::start("[[fault]]\nname = \"gone\"\nedge = \"front\"\nmatch = \"all\"\nrespond = 503\n");
    assert_eq!(staging.status(), "503");
    let file = staging.folder.path().join("experiment.toml");
    let good = fs::read_to_string(&file).unwrap();

    fs::write(&file, good.replace("respond", "respnd")).unwrap();
    staging.brownout.says("did you mean `respond`?");
    staging.brownout.says("the old one stays in force");
    assert_eq!(staging.status(), "503");

    fs::write(&file, good.replace("503", "418")).unwrap();
    staging.brownout.says("is in force");
    wait("the new file", || (staging.status() == "418").then_some(()));

    // And at a signal, whether or not it was seen to change.
    fs::write(&file, good.replace("503", "404")).unwrap();
    staging.brownout.signal(Signal::SIGHUP);
    wait("the file read again", || (staging.status() == "404").then_some(()));
}

#[test]
#[ignore = "with real parts (nginx, curl, promtool): ./check real"]
fn metrics_count_what_the_clients_count() {
    let staging =
        Staging::start("[[fault]]\nname = \"some\"\nedge = \"front\"\npercent = 20\nrespond = 503\n");
    let out = curl(&[
        "--parallel",
        "--parallel-max",
        "20",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}\n",
        &format!("{}[1-500]", staging.url()),
    ]);
    let count = |code: &str| out.lines().filter(|line| *line == code).count();
    assert_eq!(count("200") + count("503"), 500, "{out}");
    assert!((50..150).contains(&count("503")), "{}", count("503"));
    let (name, injected) = ("brownout_requests_total", "origin=\"injected\"");
    let scrape = wait("the last of 500 requests", || {
        let scrape = staging.scrape();
        (metric(&scrape, name, &[]) >= 500.0).then_some(scrape)
    });
    let is = |labels: &[&str], number: usize| {
        assert!((metric(&scrape, name, labels) - number as f64).abs() < 0.5, "{labels:?} {number}\n{scrape}");
    };
    is(&["code=\"200\"", "origin=\"upstream\"", "method=\"GET\""], count("200"));
    is(&["code=\"503\"", injected], count("503"));
    is(&[], 500);
    assert_eq!(staging.nginx.logged(), count("200"), "what was injected never reached nginx");
    assert!(
        (metric(&scrape, "brownout_faults_injected_total", &["fault=\"some\""]) - count("503") as f64).abs()
            < 0.5
    );
    assert!(
        (metric(&scrape, "brownout_request_duration_seconds_count", &[]) - 500.0).abs() < 0.5,
        "{scrape}"
    );

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: `./check tools` installs it");
    promtool.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
}

#[test]
#[ignore = "with real parts (nginx, curl, wrk): ./check real"]
fn metrics_count_what_wrk_counts() {
    let staging = Staging::start("");
    let wrk = Command::new("wrk").args(["-t1", "-c16", "-d2s", &staging.url()]).output();
    let wrk = String::from_utf8(wrk.expect("wrk: `./check tools` installs it").stdout).unwrap();
    let counted = wrk
        .lines()
        .find_map(|line| line.trim().split_once(" requests in"))
        .unwrap_or_else(|| panic!("{wrk}"));
    let counted: f64 = counted.0.parse().unwrap();
    assert!(!wrk.contains("Non-2xx") && !wrk.contains("Socket errors"), "{wrk}");
    let scrape = wait("the last request to end", || {
        let scrape = staging.scrape();
        (metric(&scrape, "brownout_requests_in_flight", &[]) < 0.5).then_some(scrape)
    });
    let total = metric(&scrape, "brownout_requests_total", &[]);
    // wrk leaves with up to one request a connection under way, which it does not count.
    assert!((counted..=counted + 16.0).contains(&total), "wrk counted {counted}, Brownout {total}");
    assert!(
        (total - 16.0..=total).contains(&(staging.nginx.logged() as f64)),
        "{} {total}",
        staging.nginx.logged()
    );
    assert!(metric(&scrape, "brownout_connections_open", &[]) < 0.5, "{scrape}");
}

#[test]
#[ignore = "with real parts (curl): ./check real"]
fn a_dead_upstream_is_a_502_that_names_the_edge() {
    let (folder, edge, dead) = (tempfile::tempdir().unwrap(), free(), free());
    write(folder.path(), edge, &format!("http://{dead}"), "");
    let brownout = Brownout::start(folder.path(), &["serve", "--admin", "none", "experiment.toml"]);
    brownout.says("edge front: ");
    let answer = curl(&["-i", &format!("http://{edge}/")]);
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("x-brownout-error: "), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    assert!(body.contains("front") && body.contains(&dead.to_string()), "{answer}");
}

#[test]
#[ignore = "with real parts (nginx, curl): ./check real"]
fn the_admin_address_refuses_pages_and_the_data_plane() {
    let staging = Staging::start(GONE);
    let at = |path: &str| format!("http://{}{path}", staging.admin);
    let json = ["-H", "content-type: application/json", "-d", "{}"];
    assert_eq!(status(&[at("/healthz")]), "200");
    assert_eq!(status(&[at("/readyz")]), "200");
    // A name that was rebound to loopback.
    assert_eq!(status(&["-H", "Host: evil.example", &at("/api/v1/faults")]), "403");
    // A page of somebody else.
    let origin = ["-H", "Origin: http://evil.example", &at("/api/v1/halt")];
    assert_eq!(status(&[&json[..], &origin].concat()), "403");
    // What a page can send without asking first.
    assert_eq!(status(&["-d", "{}", &at("/api/v1/halt")]), "415");
    // No GET changes anything.
    assert_eq!(status(&[at("/api/v1/halt")]), "405");
    assert_eq!(staging.say(&["fault", "arm", "gone"]).code, 0, "nothing was halted");
    assert_eq!(staging.say(&["fault", "heal", "gone"]).code, 0);
    // The edge passes everything on to its upstream; there is no way to the admin address through it.
    assert_eq!(curl(&[format!("http://{}/api/v1/status", staging.edge)]), "hello\n");
    let host = format!("Host: {}", staging.admin);
    assert_eq!(curl(&["-H", &host, &format!("http://{}/api/v1/status", staging.edge)]), "hello\n");
    assert_eq!(status(&["-x", &staging.url(), &at("/api/v1/status")]), "200", "absolute-form goes to nginx");
    assert_eq!(staging.nginx.logged(), 3);
}

#[test]
#[ignore = "with real parts (nginx, curl): ./check real"]
fn bytes_of_a_tcp_edge_are_passed_on_and_cut() {
    let (nginx, folder, edge) = (Service::nginx(), tempfile::tempdir().unwrap(), free());
    let fault = "[[fault]]\nname = \"cut\"\nedge = \"front\"\nmatch = \"all\"\narmed = false\ndrop = { how = \"reset\", after_bytes = \"64 KiB\" }\n";
    write(folder.path(), edge, &format!("tcp://{}", nginx.address), fault);
    let brownout = Brownout::start(folder.path(), &["serve", "--admin", "127.0.0.1:0", "experiment.toml"]);
    let admin = brownout.address("admin: ").to_string();
    let size = || {
        let file = folder.path().join("got");
        curl(&[
            "-o",
            file.to_str().unwrap(),
            "-w",
            "%{size_download} %{errormsg}",
            &format!("http://{edge}/large"),
        ])
    };
    assert!(size().starts_with("1048576 "), "{}", size());
    let armed = super::parts::brownout(folder.path(), &["fault", "arm", "cut", "--admin", &admin]);
    assert_eq!(armed.code, 0, "{armed:?}");
    let cut = size();
    let got: usize = cut.split(' ').next().unwrap().parse().unwrap();
    assert!(got <= 65536 && cut.contains("reset"), "{cut}");
    assert_eq!(super::parts::brownout(folder.path(), &["fault", "heal", "cut", "--admin", &admin]).code, 0);
    assert!(size().starts_with("1048576 "));
}
