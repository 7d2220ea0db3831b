//! The dashboard and the rules against a live demo and a real Prometheus: every metric they name is there, and every query
//! of them returns something.

use super::parts::{Brownout, Process, curl, free, wait};
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// A service whose environment a fault changes, and a probe: neither is in the demo. It lasts as long as the demo does.
const DRIFT: &str = r#"
name = "drift"
[run]
baseline = "2s"
fault    = "20s"
recovery = "2s"
[[service]]
name     = "api"
command  = ["sleep", "1000"]
env      = { MODE = "production" }
show_env = ["MODE"]
[[edge]]
name     = "api"
listen   = "127.0.0.1:0"
upstream = "http://127.0.0.1:9"
to       = "api"
[[fault]]
name    = "another mode"
service = "api"
env     = { set = { MODE = "development" } }
[[expect]]
name         = "something is right"
command      = ["true"]
every        = "500ms"
max_exposure = "1s"
"#;

/// All texts below a key with one of these names.
fn texts<'a>(value: &'a Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if keys.contains(&key.as_str()) => found.push(text),
                    _ => texts(value, keys, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| texts(value, keys, found)),
        _ => {}
    }
}

/// What an alert looks at, whether or not it fires: each side without the comparison that makes it fire.
fn looked_at(alert: &str) -> Vec<String> {
    let comparison = Regex::new(r"\s*(==|!=|>=|<=|>|<)\s*-?[0-9.]+").unwrap();
    let absent = Regex::new(r"absent\((.*)\)").unwrap();
    let text = absent.replace_all(alert, "$1").into_owned();
    let sides = Regex::new(r"unless\s+(on|ignoring)\s*\([^)]*\)").unwrap();
    sides.split(&text).map(|side| comparison.replace_all(side, "").into_owned()).collect()
}

struct Prometheus {
    address: SocketAddr,
    begin: f64,
    _process: Process,
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

impl Prometheus {
    fn start(folder: &std::path::Path, targets: &[SocketAddr]) -> Self {
        let address = free();
        let rules = fs::read_to_string("dashboards/prometheus-rules.yml").unwrap();
        // The demo lasts half a minute.
        let often = Regex::new(r"interval: \d+s").unwrap().replace_all(&rules, "interval: 1s").into_owned();
        fs::write(folder.join("prometheus-rules.yml"), often).unwrap();
        let config = fs::read_to_string("dashboards/prometheus.yml").unwrap();
        let config =
            Regex::new(r"_interval: \d+s").unwrap().replace_all(&config, "_interval: 1s").into_owned();
        let list = targets.iter().map(|target| format!("\"{target}\"")).collect::<Vec<_>>().join(", ");
        fs::write(folder.join("prometheus.yml"), config.replace("\"127.0.0.1:8475\"", &list)).unwrap();
        let process = Process::start(
            Command::new("prometheus")
                .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
                .arg(format!("--web.listen-address={address}"))
                .current_dir(folder)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(folder.join("prometheus.log")).unwrap()),
        );
        let prometheus = Self { address, begin: now(), _process: process };
        wait("Prometheus", || prometheus.ready());
        prometheus
    }

    fn ready(&self) -> Option<()> {
        let url = format!("http://{}/-/ready", self.address);
        Command::new("curl").args(["-sf", "-o", "/dev/null", &url]).status().unwrap().success().then_some(())
    }

    fn ask(&self, path: &str, args: &[&str]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let answer: Value = serde_json::from_str(&curl(&[&["-G", &url][..], args].concat())).unwrap();
        assert_eq!(answer["status"], "success", "{args:?}: {answer}");
        answer["data"].clone()
    }

    /// How many series a query had at any time since the start.
    fn series(&self, query: &str) -> usize {
        let (query, start) = (format!("query={query}"), format!("start={}", self.begin));
        let end = format!("end={}", now());
        let args = ["--data-urlencode", &query, "-d", &start, "-d", &end, "-d", "step=1"];
        self.ask("query_range", &args)["result"].as_array().unwrap().len()
    }
}

#[test]
#[ignore = "with real parts (prometheus, curl): ./check real"]
fn every_query_of_dashboard_and_rules_returns_something_on_a_live_demo() {
    let folder = tempfile::tempdir().unwrap();
    let (admin, other, third) = (free(), free(), free());
    // What the demo never sees: a limit that is reached, and a delay that somebody waits out.
    let edge = format!(
        "name = \"dead\"\nlisten = \"{}\"\nupstream = \"http://{}\"\nmax_in_flight = 1\n",
        free(),
        free()
    );
    let fault = "name = \"late\"\nedge = \"dead\"\nmatch = \"all\"\nlatency = \"50ms\"\n";
    let text = format!("name = \"dead\"\n[[edge]]\n{edge}[[fault]]\n{fault}");
    fs::write(folder.path().join("dead.toml"), text).unwrap();
    let dead = Brownout::start(folder.path(), &["serve", "--admin", &other.to_string(), "dead.toml"]);
    let edge = dead.address("edge dead: ");
    let prometheus = Prometheus::start(folder.path(), &[admin, other, third]);
    fs::write(folder.path().join("drift.toml"), DRIFT).unwrap();
    let drift = Brownout::start(folder.path(), &["run", "--admin", &third.to_string(), "drift.toml"]);
    let mut args = vec!["demo".to_owned(), "--admin".into(), admin.to_string()];
    for (phase, time) in [("warmup", "1s"), ("baseline", "5s"), ("fault", "14s"), ("recovery", "8s")] {
        args.extend(["--set".into(), format!("run.{phase}={time}")]);
    }
    let demo = Brownout::start(folder.path(), &args);
    demo.says("armed: ");
    curl(&["--parallel", "-o", "/dev/null", &format!("http://{edge}/[1-9]")]);
    demo.says("healed: ");
    curl(&["--parallel", "-o", "/dev/null", &format!("http://{edge}/[1-9]")]);
    let ended = demo.end();
    assert!(ended.stderr.contains("recovery for"), "{ended:?}");
    let ended = drift.end();
    assert_eq!(ended.code, 0, "{ended:?}");

    let names: BTreeSet<String> =
        serde_json::from_value(prometheus.ask("label/__name__/values", &[])).unwrap();
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string("dashboards/grafana-brownout.json").unwrap()).unwrap();
    let rules = prometheus.ask("rules", &[]);
    let mut queries = Vec::new();
    texts(&dashboard, &["expr", "definition"], &mut queries);
    let on_the_dashboard = queries.len();
    texts(&rules, &["query"], &mut queries);
    assert!(on_the_dashboard > 10 && queries.len() > on_the_dashboard + 5, "{queries:#?}");

    let name = Regex::new(r"\b(?:[a-z_]+:)?(?:brownout|process)_[a-z0-9_]+(?::[a-z0-9_]+)?").unwrap();
    let mut missing = BTreeSet::new();
    for query in &queries {
        missing.extend(
            name.find_iter(query).map(|found| found.as_str()).filter(|found| !names.contains(*found)),
        );
    }
    assert!(missing.is_empty(), "no such metrics: {missing:#?}\nthere are: {names:#?}");

    let filled = |query: &str| {
        let all = query.replace("$__rate_interval", "5s").replace("$__range", "30s");
        all.replace("$instance", ".*").replace("$edge", ".*")
    };
    let mut silent = Vec::new();
    let mut recorded: Vec<&Value> = Vec::new();
    let mut alerts: Vec<&Value> = Vec::new();
    for rule in
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        if rule["type"] == "alerting" { alerts.push(rule) } else { recorded.push(rule) }
    }
    let mut expressions = Vec::new();
    texts(&dashboard, &["expr"], &mut expressions);
    let recorded = recorded.iter().flat_map(|rule| [rule["query"].as_str(), rule["name"].as_str()]).flatten();
    let alerts = alerts.iter().flat_map(|rule| looked_at(rule["query"].as_str().unwrap()));
    for query in expressions.into_iter().chain(recorded).map(str::to_owned).chain(alerts) {
        if prometheus.series(&filled(&query)) == 0 {
            silent.push(query);
        }
    }
    assert!(silent.is_empty(), "nothing comes back from: {silent:#?}");
}

#[test]
#[ignore = "with real parts (promtool): ./check real"]
fn promtool_finds_nothing_in_the_rules() {
    for args in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "prometheus-rules.yml"],
        ["test", "rules", "prometheus-rules.test.yml"],
    ] {
        let output = Command::new("promtool").args(args).current_dir("dashboards").output();
        let output = output.expect("promtool: `./check tools` installs it");
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}

#[test]
fn what_an_alert_looks_at() {
    assert_eq!(looked_at("absent(up)"), ["up"]);
    assert_eq!(looked_at("a > 0.05 and on (job) max(b) == 1"), ["a and on (job) max(b)"]);
    assert_eq!(looked_at("sum(a) > 0 unless on (job) (b > 0)"), ["sum(a) ", " (b)"]);
}
