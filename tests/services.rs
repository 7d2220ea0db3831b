//! Services end to end: the real program, and processes that really read their environment.

use crate::support::{Client, Upstream, eventually, ok};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

/// Every incarnation writes what it was started with, and is ready when it has.
const SERVICE: &str = r#"
    [[service]]
    name     = "api"
    command  = ["sh", "-c", "echo $ENVIRONMENT $TOKEN; echo $$ > pid; echo $ENVIRONMENT >> started; echo up; exec sleep 600"]
    env      = { ENVIRONMENT = "production", TOKEN = "a-real-secret" }
    show_env = ["ENVIRONMENT"]
    ready    = { log = "^up$", within = "20s" }
    restart  = { when = "always", delay = "10ms" }
    [[edge]]
    name     = "web"
    listen   = "127.0.0.1:0"
    upstream = "http://127.0.0.1:9"
    to       = "api"
"#;

const RUN: &str = "name = \"t\"\n[run]\nbaseline = \"300ms\"\nfault = \"1500ms\"\nrecovery = \"300ms\"\n";

struct Home(tempfile::TempDir);

impl Home {
    fn new(file: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::write(home.path("x.toml"), file).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("BROWNOUT_WORKERS", "1").current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Runs it to its end: the exit code, the report, and everything that was written.
    fn run(&self) -> (i32, Value, String) {
        let out = self.command(&["run", "x.toml", "--admin", "none", "--out", "out"]).output().unwrap();
        let report = fs::read_to_string(self.path("out/report.json")).unwrap();
        let journal = fs::read_to_string(self.path("out/journal.jsonl")).unwrap();
        let again = self.command(&["report", "out", "--format", "json"]).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&again.stdout),
            report,
            "{}",
            String::from_utf8_lossy(&again.stderr)
        );
        let junit = fs::read_to_string(self.path("out/junit.xml")).unwrap();
        let page = fs::read_to_string(self.path("out/report.html")).unwrap();
        let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let code = out.status.code().unwrap();
        (code, serde_json::from_str(&report).unwrap(), [said, report, journal, junit, page].concat())
    }

    fn started(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("started")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn incarnations(report: &Value) -> &Vec<Value> {
    report["services"][0]["incarnations"].as_array().unwrap()
}

fn check<'r>(report: &'r Value, key: &str, phase: &str) -> &'r Value {
    let all = report["expectations"].as_array().unwrap();
    all.iter().find(|check| check["key"] == key && check["phase"] == phase).unwrap()
}

#[test]
fn a_swap_is_seen_by_the_process_itself_and_put_back() {
    let home = Home::new(&format!(
        "{RUN}{SERVICE}
        [[fault]]
        name    = \"drift\"
        service = \"api\"
        env     = {{ set = {{ ENVIRONMENT = \"development\", TOKEN = \"another-secret\" }} }}
        [[expect]]
        name    = \"production\"
        service = \"api\"
        env     = {{ ENVIRONMENT = \"production\" }}
        phase   = [\"fault\", \"recovery\"]
        [[expect]]
        name    = \"up\"
        service = \"api\"
        up      = \">= 99%\"
        restarts = \"<= 0\""
    ));
    let (code, report, written) = home.run();
    assert_eq!((code, &report["verdict"]), (1, &"failed".into()), "{written}");
    assert_eq!(home.started(), ["production", "development", "production"]);
    assert_eq!(check(&report, "env.ENVIRONMENT", "fault")["observed"], 0.0);
    assert_eq!(check(&report, "env.ENVIRONMENT", "fault")["met"], false);
    for (key, phase) in [
        ("env.ENVIRONMENT", "baseline"),
        ("env.ENVIRONMENT", "recovery"),
        ("up", "fault"),
        ("restarts", "fault"),
    ] {
        assert_eq!(check(&report, key, phase)["met"], true, "{key} {phase}: {written}");
    }
    let changed: Vec<&Value> = incarnations(&report).iter().map(|one| &one["env_changed"]).collect();
    let none = serde_json::json!([]);
    assert_eq!(changed, [&none, &serde_json::json!(["ENVIRONMENT", "TOKEN"]), &none]);
    let names: Vec<&str> =
        report["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["baseline", "apply", "fault", "restore", "recovery"]);
    assert_eq!(report["undo"][0]["done"], true, "{}", report["undo"]);
    assert!(!written.contains("a-real-secret") && !written.contains("another-secret"), "{written}");
    assert!(written.contains("production ***"), "what it wrote is in the journal, masked");
}

#[test]
fn what_crashes_comes_back_drifted_for_one_process_only() {
    let home = Home::new(&format!(
        "{RUN}{SERVICE}
        [[fault]]
        name    = \"old definition\"
        service = \"api\"
        env     = {{ set = {{ ENVIRONMENT = \"development\" }}, apply = \"next_restart\" }}
        [[fault]]
        name    = \"crash\"
        service = \"api\"
        process = {{ kill = \"KILL\", times = 2 }}
        [[expect]]
        name    = \"no crash of its own\"
        service = \"api\"
        crash_rate = \"<= 0/h\""
    ));
    let (code, report, written) = home.run();
    assert_eq!((code, &report["verdict"]), (0, &"passed".into()), "{written}");
    assert_eq!(home.started(), ["production", "development", "production"]);
    let causes: Vec<&Value> = incarnations(&report).iter().map(|one| &one["cause"]).collect();
    assert_eq!(causes, ["fault", "fault", "end"]);
    for fault in report["faults"].as_array().unwrap() {
        assert_eq!(fault["vacuous"], false, "{fault}");
    }
}

#[test]
fn a_service_that_is_never_ready_says_why_itself() {
    let service = SERVICE.replace("echo up; exec sleep 600", "echo no database >&2; exec sleep 600");
    let home = Home::new(&format!("{RUN}{}", service.replace("\"20s\"", "\"500ms\"")));
    let (code, report, written) = home.run();
    assert_eq!((code, &report["verdict"]), (5, &"error".into()), "{written}");
    let reason = report["reasons"][0].as_str().unwrap();
    assert!(
        reason.contains("`api` was not ready within 500ms") && reason.contains("no database"),
        "{reason}"
    );
    assert!(!written.contains("a-real-secret"), "{written}");
    assert_eq!(incarnations(&report).len(), 1);
}

#[test]
fn a_fault_of_a_service_that_is_never_ready_under_it_fails_the_run() {
    let home = Home::new(&format!(
        "{RUN}{}
        [[fault]]
        name    = \"drift\"
        service = \"api\"
        env     = {{ set = {{ ENVIRONMENT = \"development\" }} }}
        [[expect]]
        name    = \"up\"
        service = \"api\"
        up      = \">= 1%\"
        baseline = false",
        SERVICE
            .replace("echo up; exec", "test $ENVIRONMENT = production && echo up; exec")
            .replace("\"20s\"", "\"2s\"")
    ));
    let (code, report, written) = home.run();
    assert_eq!((code, &report["verdict"]), (1, &"failed".into()), "{written}");
    assert_eq!(home.started().last().unwrap(), "production", "it is put back all the same");
    let last = incarnations(&report).last().unwrap();
    assert!(last["ready_after"].is_number(), "{last}");
}

/// A Brownout that serves.
struct Serving {
    child: Child,
    admin: Arc<OnceLock<SocketAddr>>,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Serving {
    /// Its admin address, which is told once everything stands.
    #[track_caller]
    fn admin(&self) -> SocketAddr {
        eventually("it stands", || self.admin.get().is_some());
        *self.admin.get().unwrap()
    }

    fn get(&self, path: &str) -> u16 {
        self.call(&format!("GET {path} HTTP/1.1"), "")
    }

    fn call(&self, line: &str, body: &str) -> u16 {
        let admin = self.admin();
        Client::connect(admin)
            .send(format!(
                "{line}\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            ))
            .answer()
            .status
    }

    fn metrics(&self) -> String {
        let admin = self.admin();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        Client::connect(admin).send(request).answer().text().to_owned()
    }

    /// Where an edge listens.
    #[track_caller]
    fn edge(&self, name: &str) -> SocketAddr {
        self.admin();
        let said = self.said();
        let rest = said.split_once(&format!("edge {name}: ")).unwrap().1;
        rest.split(' ').next().unwrap().parse().unwrap()
    }

    fn arm(&self, fault: &str) -> u16 {
        self.call(&format!("POST /api/v1/faults/{fault}/arm HTTP/1.1"), "{}")
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    fn says(&self, what: &str) {
        eventually(what, || self.said().contains(what));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Sends SIGTERM and waits for its end: the exit code, and all that it said.
    fn end(mut self) -> (Option<i32>, String) {
        self.signal(Signal::SIGTERM);
        let code = self.child.wait().unwrap().code();
        self.reader.take().unwrap().join().unwrap();
        (code, self.said())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Home {
    /// Serves; what it says is kept.
    fn serve(&self, arguments: &[&str]) -> Serving {
        let mut child = self
            .command(&["serve", "x.toml", "--admin", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (admin, said) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(String::new())));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (address, text) = (Arc::clone(&admin), Arc::clone(&said));
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *text.lock().unwrap() += &format!("{line}\n");
                if let Some(rest) = line.strip_prefix("admin: http://") {
                    let _ = address.set(rest.split(' ').next().unwrap().parse().unwrap());
                }
            }
        });
        Serving { child, admin, said, reader: Some(reader) }
    }
}

#[test]
fn serve_is_ready_with_its_services_and_leaves_none_behind() {
    let service =
        SERVICE.replace("echo up; exec sleep 600", "while ! test -e go; do :; done; echo up; exec sleep 600");
    let home = Home::new(&format!(
        "name = \"s\"\n{service}
        [[fault]]
        name    = \"drift\"
        service = \"api\"
        armed   = false
        env     = {{ set = {{ ENVIRONMENT = \"development\" }} }}"
    ));
    let serving = home.serve(&[]);
    // the address is told once everything stands; until then nobody is asked
    eventually("the service runs", || home.started().len() == 1);
    fs::write(home.path("go"), "").unwrap();
    assert_eq!(serving.get("/readyz"), 200);

    assert_eq!(serving.arm("drift"), 200);
    eventually("it comes back drifted", || home.started().last().is_some_and(|last| last == "development"));
    assert_eq!(serving.call("POST /api/v1/halt HTTP/1.1", "{}"), 200);
    eventually("the kill switch puts it back", || {
        home.started() == ["production", "development", "production"]
    });

    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
    let pid = fs::read_to_string(home.path("pid")).unwrap();
    let gone = || match fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    eventually("nothing of the service is left", gone);
    assert_eq!(fs::read_dir(home.path(".brownout/ledger")).unwrap().count(), 0);
}

#[test]
fn restart_delays_of_what_serves_are_not_scaled() {
    let service = SERVICE.replace("delay = \"10ms\"", "delay = \"100ms\"");
    let home = Home::new(&format!(
        "name = \"s\"\n[run]\ntime_scale = 1000\n{service}
        [[fault]]
        name    = \"crash\"
        service = \"api\"
        armed   = false
        process = {{ kill = \"KILL\" }}"
    ));
    let serving = home.serve(&[]);
    assert_eq!(serving.arm("crash"), 200);
    eventually("it comes back", || home.started().len() == 2);
    assert_eq!(serving.end().0, Some(0));
}

#[test]
fn callers_are_let_go_before_their_services_end() {
    let folder = tempfile::tempdir().unwrap();
    let ended = folder.path().join("ended");
    let script = format!(
        "trap 'echo x > {}; exit 0' TERM; echo up; while :; do sleep 600 & wait; done",
        ended.display()
    );
    let (gone, late) = (ended.clone(), Arc::new(OnceLock::new()));
    let seen = Arc::clone(&late);
    let upstream = Upstream::serve(move |link| {
        while link.request().is_some() {
            let _ = seen.set(gone.exists());
            link.send(ok("x"));
        }
    });
    let home = Home::new(&format!(
        "name = \"s\"\n{}
        [[fault]]
        name  = \"hang\"
        edge  = \"web\"
        match = \"all\"
        hang  = true",
        SERVICE.replace("echo up; exec sleep 600", &script).replace("127.0.0.1:9", &upstream.at.to_string())
    ));
    let serving = home.serve(&[]);
    serving.says("fault hang: armed");
    let mut client = Client::connect(serving.edge("web"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is held", || serving.metrics().contains("brownout_requests_held{edge=\"web\"} 1"));
    let (code, said) = serving.end();
    assert_eq!(client.answer().status, 200, "{said}");
    assert_eq!((late.get(), ended.exists()), (Some(&false), true), "{said}");
    assert_eq!(code, Some(0), "{said}");
}

const DRIFT: &str = "
    [[fault]]
    name    = \"drift\"
    service = \"api\"
    env     = { set = { ENVIRONMENT = \"development\" } }";

#[test]
fn a_kill_switch_that_is_on_before_it_serves_is_obeyed() {
    let home = Home::new(&format!("name = \"s\"\n{SERVICE}{DRIFT}"));
    fs::create_dir(home.path(".brownout")).unwrap();
    fs::write(home.path(".brownout/halt"), "").unwrap();
    let serving = home.serve(&[]);
    assert_eq!(serving.get("/readyz"), 200);
    for what in ["halt is there", "the faults of the file are not armed", "fault drift: not armed"] {
        assert!(serving.said().contains(what), "{}", serving.said());
    }
    assert_eq!(serving.arm("drift"), 503, "{}", serving.said());
    assert_eq!(serving.call("DELETE /api/v1/halt HTTP/1.1", "{}"), 200);
    assert!(!home.path(".brownout/halt").exists());
    assert_eq!(home.started(), ["production"]);
    assert_eq!(serving.arm("drift"), 200, "{}", serving.said());
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn signals_are_heard_while_services_come_up() {
    let service =
        SERVICE.replace("echo up; exec sleep 600", "while ! test -e go; do :; done; echo up; exec sleep 600");
    let home = Home::new(&format!("name = \"s\"\n{service}{DRIFT}"));
    let serving = home.serve(&[]);
    eventually("the service runs", || home.started().len() == 1);
    serving.signal(Signal::SIGHUP);
    serving.signal(Signal::SIGUSR1);
    serving.says("SIGUSR1: everything is healed");
    fs::write(home.path("go"), "").unwrap();
    assert_eq!(serving.get("/readyz"), 200);
    serving.says("the faults of the file are not armed");
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(home.started(), ["production"], "{said}");
}

#[test]
fn what_fails_while_it_serves_is_said_once_and_is_no_exit_code() {
    let home = Home::new(&format!(
        "name = \"s\"\n{SERVICE}
        [[fault]]
        name    = \"flag\"
        service = \"api\"
        armed   = false
        hook    = {{ apply = [\"sh\", \"-c\", \"echo no such flag >&2; exit 3\"], undo = [\"true\"] }}"
    ));
    let serving = home.serve(&[]);
    for times in 1..=2 {
        assert_eq!(serving.arm("flag"), 200);
        eventually("it is said", || serving.said().matches("error: fault `flag`").count() == times);
        assert_eq!(serving.call("POST /api/v1/faults/flag/heal HTTP/1.1", "{}"), 200);
    }
    let (code, said) = serving.end();
    assert_eq!((code, said.matches("error: ").count()), (Some(0), 2), "{said}");
}

#[test]
fn a_reload_knows_edges_and_what_is_skipped_and_leaves_services() {
    let drift = |value: &str| DRIFT.replace("development", value);
    let quiet = |name: &str| {
        format!("\n[[fault]]\nname = \"{name}\"\nedge = \"web\"\npercent = 1\nlatency = \"1ms\"\n")
    };
    let home = Home::new("");
    let write = |service: &str, faults: &str| {
        fs::write(home.path("x.toml"), format!("name = \"s\"\n{service}{faults}")).unwrap();
    };
    write(SERVICE, &drift("${edge.web}/a"));
    let serving = home.serve(&[]);
    let url = format!("http://{}", serving.edge("web"));
    let last = |what: &str| {
        eventually(what, || home.started().last() == Some(&format!("{url}{what}")));
    };
    last("/a");
    let count = home.started().len();
    write(SERVICE, &(quiet("one") + &drift("${edge.web}/a")));
    serving.signal(Signal::SIGHUP);
    serving.says("is in force: armed one\n");
    assert_eq!(home.started().len(), count, "what is the same goes on");
    assert!(!serving.said().contains("have changed"), "{}", serving.said());

    write(&SERVICE.replace("10ms", "20ms"), &(quiet("one") + &drift("${edge.web}/b")));
    serving.signal(Signal::SIGHUP);
    last("/b");
    serving.says("these have changed: `api`: restart Brownout");
    let heal = || {
        assert_eq!(serving.call("POST /api/v1/faults/drift/heal HTTP/1.1", "{}"), 200);
        eventually("it is put back", || home.started().last().is_some_and(|last| last == "production"));
    };
    heal();
    assert_eq!(serving.arm("drift"), 200);
    last("/b");
    heal();
    let by_hand =
        r#"{ "name": "hand", "service": "api", "env": { "set": { "ENVIRONMENT": "${edge.web}/c" } } }"#;
    assert_eq!(serving.call("POST /api/v1/faults HTTP/1.1", by_hand), 201, "{}", serving.said());
    last("/c");
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");

    write(SERVICE, &drift("${edge.web}/a"));
    let count = home.started().len();
    let serving = home.serve(&["--upstream", "http://127.0.0.1:9"]);
    serving.says("fault drift: skipped: ");
    write(SERVICE, &(quiet("two") + &drift("${edge.web}/b")));
    serving.signal(Signal::SIGHUP);
    serving.says("is in force: armed two\n");
    let (code, said) = serving.end();
    assert_eq!((code, home.started().len()), (Some(0), count), "{said}");
}
