//! Runs to a verdict: each exit code, the load and other people's, the seed, and Ctrl-C.

use super::parts::{Brownout, Service, brownout, curl, free, metric, report, results, status, wait};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const SHORT: &str = "[run]\nbaseline = \"1s\"\nfault = \"2s\"\nrecovery = \"1s\"\n";
const LOAD: &str = "[load]\nedge = \"front\"\nrate = \"50/s\"\n";
const LATE: &str = "[[fault]]\nname = \"late\"\nedge = \"front\"\npercent = 30\nlatency = \"50ms\"\n";
const GOOD: &str = "[[expect]]\nedge = \"front\"\nsuccess_rate = \">= 99%\"\n";

/// Writes `experiment.toml`: one edge in front of a service, and these tables.
fn write(folder: &Path, listen: SocketAddr, upstream: &str, tables: &[&str]) {
    let edge = format!("[[edge]]\nname = \"front\"\nlisten = \"{listen}\"\nupstream = \"{upstream}\"\n");
    let text = format!("name = \"real\"\nseed = 7\n{}\n{edge}\n", tables.join("\n"));
    fs::write(folder.join("experiment.toml"), text).unwrap();
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Runs an experiment of these tables against nginx.
fn run(tables: &[&str], args: &[&str]) -> (i32, Value, String) {
    let (nginx, folder) = (Service::nginx(), tempfile::tempdir().unwrap());
    write(folder.path(), any(), &nginx.url(), tables);
    let ended = brownout(folder.path(), &[&["run", "--admin", "none", "experiment.toml"], args].concat());
    let text = format!("{}\n{}", ended.stdout, ended.stderr);
    assert!(folder.path().join("runs").exists(), "no results: {text}");
    (ended.code, report(folder.path()), text)
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn exit_0_when_every_expectation_holds() {
    let (nginx, folder) = (Service::nginx(), tempfile::tempdir().unwrap());
    write(folder.path(), any(), &nginx.url(), &[SHORT, LOAD, LATE, GOOD]);
    let ended = brownout(folder.path(), &["run", "--admin", "none", "experiment.toml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("PASSED"), "{ended:?}");

    let report = report(folder.path());
    assert_eq!((&report["verdict"], &report["exit"]), (&"passed".into(), &0.into()));
    let phases = &report["edges"][0]["phases"];
    let journal = fs::read_to_string(results(folder.path()).join("journal.jsonl")).unwrap();
    let windows = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let requests: u64 =
        windows.filter(|e| e["event"] == "window").filter_map(|e| e["requests"].as_u64()).sum();
    assert_eq!(requests, nginx.logged() as u64, "the journal counts what nginx has seen");
    assert_eq!(report["load"]["sent"], requests, "{report:#}");
    for (phase, least) in [("baseline", 45), ("fault", 90), ("recovery", 45)] {
        assert!(phases[phase]["requests"].as_u64() >= Some(least), "{phase}: {report:#}");
    }
    let fault = &report["faults"][0];
    // Requests may come between the change of the phase and the change of the plan: as many as the load sends in that time.
    let at = |event: &str, key: &str, value: &str| {
        let lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut told = lines.filter(|line| line["event"] == event && line[key] == value);
        told.next().unwrap()["t"].as_f64().unwrap()
    };
    let gap = at("armed", "fault", "late") - at("phase", "phase", "fault");
    let unmatched = phases["fault"]["requests"].as_u64().unwrap() - fault["matched"].as_u64().unwrap();
    assert!(unmatched <= 1 + (gap * 50.0).ceil() as u64, "{gap}: {report:#}");
    let (hits, matched) = (fault["hits"].as_f64().unwrap(), fault["matched"].as_f64().unwrap());
    assert!((0.1..0.5).contains(&(hits / matched)), "{fault}");
    let junit = fs::read_to_string(results(folder.path()).join("junit.xml")).unwrap();
    assert!(junit.contains("failures=\"0\""), "{junit}");
}

#[test]
#[ignore = "with real parts (python3): ./check real"]
fn a_threaded_python_service_passes_as_well() {
    let (shop, folder) = (Service::shop(), tempfile::tempdir().unwrap());
    let load = "[load]\nedge = \"front\"\nrate = \"30/s\"\nrequests = [{ path = \"/products\" }, \
                { method = \"POST\", path = \"/checkout\", body = \"{}\" }]\n";
    write(folder.path(), any(), &shop.url(), &[SHORT, load, LATE, GOOD]);
    let ended = brownout(folder.path(), &["run", "--admin", "none", "experiment.toml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let by_status = &report(folder.path())["edges"][0]["phases"]["fault"]["by_status"];
    assert!(by_status["200"].as_u64() > Some(0) && by_status["201"].as_u64() > Some(0), "{by_status}");
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn exit_1_when_an_expectation_fails() {
    let late = "[[expect]]\nedge = \"front\"\nbaseline = false\np50 = \"< 40ms\"\n";
    let (code, report, text) = run(&[SHORT, LOAD, LATE, late], &["--set", "fault.late.percent=90"]);
    assert_eq!((code, &report["verdict"]), (1, &"failed".into()), "{text}");
    assert_eq!(report["expectations"][0]["met"], false);
}

#[test]
#[ignore = "with real parts (nginx, curl): ./check real"]
fn exit_1_when_the_command_fails() {
    let command = "curl -s $BROWNOUT_EDGE_FRONT/[1-20]; exit 3";
    let (code, report, text) = run(&[SHORT, LATE, GOOD], &["--during", "fault", "--", "sh", "-c", command]);
    assert_eq!((code, &report["verdict"]), (1, &"failed".into()), "{text}");
    assert_eq!(report["command"]["exit"], 3, "{report:#}");
}

#[test]
#[ignore = "with real parts: ./check real"]
fn exit_2_when_the_file_is_broken_or_unsafe() {
    let folder = tempfile::tempdir().unwrap();
    for (tables, said) in [
        ("[lod]\n", "did you mean `[load]`?"),
        ("[[fault]]\nname = \"all\"\nedge = \"front\"\nlatency = \"1s\"\n", "match = \"all\""),
        ("not toml", "experiment.toml:"),
    ] {
        write(folder.path(), any(), "http://127.0.0.1:1", &[tables]);
        let ended = brownout(folder.path(), &["run", "experiment.toml"]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
    write(folder.path(), any(), "http://api.production.example", &[]);
    let ended = brownout(folder.path(), &["check", "experiment.toml"]);
    assert!(ended.code == 2 && ended.stderr.contains("allow_production"), "{ended:?}");
    assert_eq!(brownout(folder.path(), &["run", "--no-such-flag"]).code, 2);
    assert!(!folder.path().join("runs").exists(), "a broken file starts nothing");
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn exit_3_when_the_baseline_is_not_well() {
    let load = "[load]\nedge = \"front\"\nrate = \"50/s\"\nrequest = { path = \"/broken\" }\n";
    let (code, report, text) = run(&[SHORT, load, LATE, GOOD], &[]);
    assert_eq!((code, &report["verdict"]), (3, &"unsteady".into()), "{text}");
    assert_eq!(report["faults"][0]["matched"], 0, "nothing is armed on an unhealthy system");
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn exit_4_when_a_guardrail_ends_the_fault() {
    let fault = "[[fault]]\nname = \"gone\"\nedge = \"front\"\npercent = 90\nrespond = 503\n";
    let guardrail = "[[guardrail]]\nname = \"enough\"\nedge = \"front\"\nerror_rate = \"> 20%\"\nfor = \"500ms\"\ninclude_injected = true\n";
    let args = ["--set", "run.fault=20s"];
    let begin = Instant::now();
    let (code, report, text) = run(&[SHORT, LOAD, fault, GOOD, guardrail], &args);
    assert_eq!((code, &report["verdict"]), (4, &"aborted".into()), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(15), "the guardrail did not end the fault phase: {text}");
    assert!(report["phases"].to_string().contains("recovery"), "recovery is still measured: {report:#}");
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn exit_5_when_the_environment_fails() {
    let (nginx, folder) = (Service::nginx(), tempfile::tempdir().unwrap());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    write(folder.path(), address, &nginx.url(), &[SHORT, LOAD, LATE, GOOD]);
    for command in ["run", "serve"] {
        let ended = brownout(folder.path(), &[command, "experiment.toml"]);
        assert_eq!(ended.code, 5, "{ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains(&address.to_string()) && said.contains("another process"), "{ended:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), any(), &nginx.url(), &[SHORT, LATE, GOOD]);
    let ended = brownout(folder.path(), &["run", "experiment.toml", "--", "./no-such-program"]);
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(format!("{}{}", ended.stdout, ended.stderr).contains("no-such-program"), "{ended:?}");
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn exit_6_when_nothing_was_shown() {
    let elsewhere = "[[fault]]\nname = \"elsewhere\"\nedge = \"front\"\nmatch = { path = \"/never\" }\nlatency = \"1s\"\n";
    let (code, report, text) = run(&[SHORT, LOAD, elsewhere, GOOD], &[]);
    assert_eq!((code, &report["verdict"]), (6, &"inconclusive".into()), "{text}");
    assert_eq!(report["faults"][0]["vacuous"], true);
    // No traffic at all.
    let (code, _, text) = run(&[SHORT, LATE, GOOD], &[]);
    assert_eq!(code, 6, "{text}");
    let (code, _, text) = run(&[SHORT, LOAD, elsewhere, GOOD], &["--allow-vacuous"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
#[ignore = "with real parts (nginx, wrk): ./check real"]
fn the_users_own_load_makes_the_traffic() {
    // wrk ends within the last phase, however late it began: who is stopped at the end of a run is not counted.
    let args = ["--set", "run.recovery=20s", "--", "sh", "-c", "exec wrk -t1 -c8 -d5s $BROWNOUT_EDGE_FRONT/"];
    let (code, report, text) = run(&[SHORT, LATE, GOOD], &args);
    assert_eq!((code, &report["verdict"]), (0, &"passed".into()), "{text}");
    let counted = text.lines().find(|line| line.contains("requests in")).unwrap_or_else(|| panic!("{text}"));
    let counted: u64 = counted.split_whitespace().next().unwrap().parse().unwrap();
    assert!(counted > 100, "{text}");
    let phases = &report["edges"][0]["phases"];
    let seen: u64 =
        ["baseline", "fault", "recovery"].iter().filter_map(|p| phases[p]["requests"].as_u64()).sum();
    // wrk leaves with up to one request a connection under way, which it does not count.
    assert!((counted..=counted + 8).contains(&seen), "wrk counted {counted}, Brownout {seen}");
}

/// The requests that are struck are the same in every run with the same seed, and others with another.
#[test]
#[ignore = "with real parts (nginx, curl): ./check real"]
fn the_same_seed_strikes_the_same_requests() {
    let fault = "[[fault]]\nname = \"gone\"\nedge = \"front\"\npercent = 20\nrespond = 503\n";
    let command = "curl -s -o /dev/null -w '%{http_code}\\n' \"$BROWNOUT_EDGE_FRONT/[1-200]\" >&2";
    let codes = |seed: &str| {
        let args = ["--seed", seed, "--during", "fault", "--", "sh", "-c", command];
        let (code, report, text) = run(&[SHORT, fault, GOOD], &args);
        assert_eq!(code, 0, "{text}");
        let codes: Vec<String> =
            text.lines().filter(|l| ["200", "503"].contains(l)).map(str::to_owned).collect();
        assert_eq!(codes.len(), 200, "{text}");
        let hits = codes.iter().filter(|code| *code == "503").count();
        assert_eq!(report["faults"][0]["hits"], hits, "the report counts what curl saw");
        codes
    };
    let first = codes("42");
    assert_eq!(first, codes("42"));
    assert_ne!(first, codes("43"));
}

/// A fault that holds everybody who comes, for long.
const HELD: &str =
    "[[fault]]\nname = \"silence\"\nedge = \"front\"\nmatch = { path = \"/held\" }\nhang = true\n";
const LONG: &str = "[run]\nbaseline = \"1s\"\nfault = \"10m\"\nrecovery = \"1s\"\n";

#[test]
#[ignore = "with real parts (nginx, curl): ./check real"]
fn ctrl_c_heals_and_reports_and_lets_go_whoever_is_held() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (nginx, folder, edge, admin) = (Service::nginx(), tempfile::tempdir().unwrap(), free(), free());
        write(folder.path(), edge, &nginx.url(), &[LONG, LOAD, HELD, GOOD]);
        let running =
            Brownout::start(folder.path(), &["run", "--admin", &admin.to_string(), "experiment.toml"]);
        running.says("armed: silence");
        let held: Vec<_> =
            (0..5).map(|_| std::thread::spawn(move || status(&[format!("http://{edge}/held")]))).collect();
        wait("five held requests", || {
            let scrape = curl(&[format!("http://{admin}/metrics")]);
            (metric(&scrape, "brownout_requests_held", &["front"]) == 5.0).then_some(())
        });
        let begin = Instant::now();
        running.signal(signal);
        for thread in held {
            assert_eq!(thread.join().unwrap(), "200", "a held request goes on to the upstream");
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "let go after {:?}", begin.elapsed());
        let ended = running.end();
        assert_eq!(ended.code, code, "{ended:?}");
        let report = report(folder.path());
        assert_eq!((&report["verdict"], &report["exit"]), (&"interrupted".into(), &code.into()), "{ended:?}");
        assert_eq!(report["faults"][0]["hits"], 5, "{report:#}");
    }
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn the_kill_switch_ends_the_fault_phase_of_a_run() {
    let (nginx, folder) = (Service::nginx(), tempfile::tempdir().unwrap());
    write(folder.path(), any(), &nginx.url(), &[LONG, LOAD, LATE, GOOD]);
    let running = Brownout::start(folder.path(), &["run", "--admin", "none", "experiment.toml"]);
    running.says("armed: late");
    running.signal(Signal::SIGUSR1);
    running.says("recovery for");
    let ended = running.end();
    let report = report(folder.path());
    assert_ne!(ended.code, 0, "a run that was halted has not passed: {ended:?}");
    assert_eq!(report["exit"], ended.code, "{report:#}");
}

#[test]
#[ignore = "with real parts (python3, curl): ./check real"]
fn a_second_ctrl_c_leaves_at_once() {
    let slow = Service::python(
        "import sys, time\nfrom http.server import *\n\
         class Slow(BaseHTTPRequestHandler):\n  def do_GET(self):\n    time.sleep(60)\n\
         ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Slow).serve_forever()\n",
    );
    for command in ["serve", "run"] {
        let (folder, edge) = (tempfile::tempdir().unwrap(), free());
        write(folder.path(), edge, &slow.url(), &["[run]\nbaseline = \"10m\"\n", LATE, GOOD]);
        let args = [command, "--admin", "none", "experiment.toml"];
        let mut running = Brownout::start(folder.path(), &args);
        wait("the edge", || std::net::TcpStream::connect(edge).ok());
        // Under way for a minute, so that a patient end would take long.
        let waiting = std::thread::spawn(move || status(&[format!("http://{edge}/")]));
        std::thread::park_timeout(Duration::from_millis(300));
        running.signal(Signal::SIGINT);
        std::thread::park_timeout(Duration::from_millis(300));
        assert!(running.is_running(), "{command}: what is under way is let end");
        let begin = Instant::now();
        running.signal(Signal::SIGINT);
        let ended = running.end();
        assert!(begin.elapsed() < Duration::from_secs(3), "{command} left after {:?}", begin.elapsed());
        assert_eq!(ended.code, 130, "{command}: {ended:?}");
        waiting.join().unwrap();
    }
}
