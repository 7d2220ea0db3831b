//! What a user's file is told: every message as a golden file, and what no file may do.

use brownout::decision::{Distribution, Law, Length, Protocol};
use brownout::fault::{BadFrame, Bandwidth, Chunk, Corrupt, Drop, DropAt, Endless, Fault, How, Truncate};
use brownout::model::{
    Ask, Deed, EnvApply, FaultSource, Loaded, Metric, On, Overrides, Phase, ProcessWhat, Ramp, Ready,
    ReadyCheck, Restart, RestartWhen, SinceMoment, Spread, Sticky, Ttl, Versus, parse, parse_fault,
    parse_fault_on, reference, schema,
};
use brownout::problem::Problems;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

fn files(folder: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "{folder}");
    all
}

/// Parses a file under its bare name, so that messages are the same everywhere.
fn parse_file(path: &Path, overrides: &Overrides<'_>) -> Result<Loaded, Problems> {
    let text = fs::read_to_string(path).unwrap();
    parse(&text, Path::new(path.file_name().unwrap()), overrides)
}

fn golden(path: &Path, got: &str) -> bool {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, got).unwrap();
        return true;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != got {
        eprintln!("{} differs; BLESS=1 writes it anew.\nexpected:\n{expected}\ngot:\n{got}", path.display());
    }
    expected == got
}

/// Flags of a golden file stand in its comments: `#! --set run.fault=10s`, `#! env NAME=value`.
type Pairs<K> = Vec<(K, String)>;

fn flags(text: &str) -> (Pairs<String>, Pairs<Option<String>>, Pairs<String>) {
    let (mut set, mut upstream, mut env) = (Vec::new(), Vec::new(), Vec::new());
    let pair = |text: &str| text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("#! ")) {
        match line.split_once(' ').unwrap() {
            ("--set", rest) => set.push(pair(rest)),
            ("--upstream", rest) if rest.starts_with("http") => upstream.push((None, rest.to_owned())),
            ("--upstream", rest) => {
                let (edge, url) = pair(rest);
                upstream.push((Some(edge), url));
            }
            ("env", rest) => env.push(pair(rest)),
            other => panic!("{other:?}"),
        }
    }
    (set, upstream, env)
}

fn messages(path: &Path) -> (String, bool) {
    let (set, upstream, env) = flags(&fs::read_to_string(path).unwrap());
    let lookup = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    match parse_file(path, &Overrides { set, upstream, env: &lookup, ..Overrides::default() }) {
        Ok(loaded) => (loaded.warnings.render(false), false),
        Err(problems) => (problems.render(false), true),
    }
}

#[test]
fn every_message_is_as_it_was_read_aloud() {
    let mut same = true;
    for path in files("tests/golden/check") {
        let (got, fatal) = messages(&path);
        let warns = path.file_name().unwrap().to_str().unwrap().starts_with("warn");
        same &= golden(&path.with_extension("txt"), &got);
        assert_eq!(fatal, !warns, "{}: {got}", path.display());
        assert!(!got.is_empty(), "{}", path.display());
    }
    assert!(same);
}

#[test]
fn what_is_right_is_accepted() {
    for path in files("tests/golden/accepted")
        .into_iter()
        .chain(files("experiments"))
        .chain(files("experiments/faults"))
        .chain(files("experiments/incidents"))
    {
        if let Err(problems) = parse_file(&path, &Overrides::default()) {
            panic!("{problems}");
        }
    }
}

/// Whether a text matches; each rule is compiled once.
fn matches(rule: &str, text: &str) -> bool {
    static COMPILED: Mutex<BTreeMap<String, regex::Regex>> = Mutex::new(BTreeMap::new());
    let mut all = COMPILED.lock().unwrap();
    all.entry(rule.to_owned()).or_insert_with(|| regex::Regex::new(rule).unwrap()).is_match(text)
}

/// A draft-7 validator for the words that our schema uses; another word fails the test.
fn validate(schema: &Value, root: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (word, rule) in schema.as_object().unwrap() {
        let ok = match (word.as_str(), value) {
            ("title" | "description" | "examples" | "default" | "definitions" | "$schema" | "$id", _) => true,
            ("$ref", _) => {
                let name = rule.as_str().unwrap().strip_prefix("#/definitions/").unwrap();
                return validate(&root["definitions"][name], root, value, at);
            }
            ("type", _) => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                other => panic!("{other}"),
            },
            ("anyOf", _) => rule.as_array().unwrap().iter().any(|one| validate(one, root, value, at).is_ok()),
            ("allOf", _) => {
                for one in rule.as_array().unwrap() {
                    validate(one, root, value, at)?;
                }
                true
            }
            ("enum", _) => rule.as_array().unwrap().contains(value),
            ("pattern", Value::String(text)) => matches(rule.as_str().unwrap(), text),
            ("minimum", Value::Number(n)) => n.as_f64() >= rule.as_f64(),
            ("maximum", Value::Number(n)) => n.as_f64() <= rule.as_f64(),
            ("minItems", Value::Array(list)) => list.len() as u64 >= rule.as_u64().unwrap(),
            ("maxItems", Value::Array(list)) => list.len() as u64 <= rule.as_u64().unwrap(),
            ("items", Value::Array(list)) => {
                for one in list {
                    validate(rule, root, one, at)?;
                }
                true
            }
            ("required", Value::Object(map)) => {
                rule.as_array().unwrap().iter().all(|key| map.contains_key(key.as_str().unwrap()))
            }
            ("propertyNames", Value::Object(map)) => {
                map.keys().all(|key| validate(rule, root, &json!(key), at).is_ok())
            }
            ("properties" | "patternProperties", Value::Object(_)) => true,
            ("additionalProperties", Value::Object(map)) => {
                for (key, value) in map {
                    let family =
                        schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
                    let by_rule = family.into_iter().find(|(rule, _)| matches(rule, key)).map(|(_, one)| one);
                    match schema.get("properties").and_then(|all| all.get(key)).or(by_rule).unwrap_or(rule) {
                        Value::Bool(false) => return Err(format!("{at}.{key} is unknown")),
                        one => validate(one, root, value, &format!("{at}.{key}"))?,
                    }
                }
                true
            }
            ("pattern" | "minimum" | "maximum" | "minItems" | "maxItems" | "items", _) => true,
            (
                "required" | "propertyNames" | "properties" | "patternProperties" | "additionalProperties",
                _,
            ) => true,
            (other, _) => panic!("`{other}` is not known to this validator"),
        };
        if !ok {
            return Err(format!("{at}: `{word}` {rule} refuses {value}"));
        }
    }
    Ok(())
}

fn accepted() -> Vec<PathBuf> {
    [
        "tests/golden/accepted",
        "experiments",
        "experiments/demo",
        "experiments/faults",
        "experiments/incidents",
    ]
    .into_iter()
    .flat_map(files)
    .collect()
}

fn as_json(path: &Path) -> Value {
    let table: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    serde_json::to_value(table).unwrap()
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let schema = schema();
    for path in accepted() {
        if let Err(reason) = validate(&schema, &schema, &as_json(&path), "") {
            panic!("{}: {reason}", path.display());
        }
    }
}

#[test]
fn the_schema_refuses_unknown_keys_wherever_they_are() {
    let edges = refused_by_the_schema("tests/golden/accepted/full.toml");
    let services = refused_by_the_schema("tests/golden/accepted/services.toml");
    assert!(edges > 20 && services > 25, "{edges}, {services}");
}

/// How many tables of a file cannot have an unknown key.
fn refused_by_the_schema(file: &str) -> usize {
    let schema = schema();
    let whole = as_json(Path::new(file));
    let mut refused = 0;
    let mut paths = vec![String::new()];
    while let Some(path) = paths.pop() {
        let here = whole.pointer(&path).unwrap();
        match here {
            Value::Array(list) => paths.extend((0..list.len()).map(|n| format!("{path}/{n}"))),
            Value::Object(map) => {
                paths.extend(map.keys().map(|key| format!("{path}/{key}")));
                // Header fields, query parameters, variables and paths into JSON are the user's own.
                let variables = path.ends_with("/env") && !path.starts_with("/fault");
                let own = ["/headers", "/query", "/set", "/json"].iter().any(|key| path.ends_with(key));
                if !own && !variables {
                    let mut spoilt = whole.clone();
                    spoilt.pointer_mut(&path).unwrap()["zebra"] = json!("1s");
                    assert!(validate(&schema, &schema, &spoilt, "").is_err(), "{path}");
                    refused += 1;
                }
            }
            _ => {}
        }
    }
    refused
}

#[test]
fn the_schema_in_the_repository_is_that_of_the_keys() {
    let text = format!("{:#}\n", schema());
    assert!(golden(Path::new("docs/experiment.schema.json"), &text));
}

#[test]
fn the_reference_is_that_of_the_keys() {
    assert!(golden(Path::new("docs/experiment.md"), &reference()));
}

#[test]
fn a_whole_experiment_reads_as_it_is_written() {
    let Loaded { experiment: x, warnings } =
        parse_file(Path::new("tests/golden/accepted/full.toml"), &Overrides::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!((x.name.as_str(), x.seed, x.run.fault), ("timeout-cut", Some(42), Duration::from_secs(60)));
    let [checkout, provider, db] = x.edges.as_slice() else { panic!() };
    assert_eq!(checkout.upstreams[1].base, "/base");
    assert_eq!((checkout.max_connections, checkout.max_in_flight, checkout.max_held), (Some(100), 50, 40));
    assert_eq!((checkout.caller.as_deref(), checkout.success.len()), (Some("x-service"), 3));
    assert_eq!((provider.listen.port(), provider.to.as_str(), provider.max_held), (0, "provider", 10_000));
    assert_eq!((db.protocol, db.listen.to_string().as_str()), (Protocol::Tcp, "127.0.0.1:5433"));
    let load = x.load.as_ref().unwrap();
    assert_eq!((load.edge, load.requests.len(), load.requests[0].weight), (0, 2, 3));
    let [slow, laws, refused, cut, answered] = x.faults.as_slice() else { panic!() };
    assert_eq!(slow.who.sticky, Some(Sticky::Header("x-user".into())));
    assert_eq!(slow.who.matches.as_ref().unwrap().body_size, Some((1025, u64::MAX)));
    assert_eq!((slow.who.percent.get(), slow.ttl, slow.armed), (12.5, Some(Ttl::Forever), false));
    assert_eq!(slow.when.schedule.as_ref().unwrap().ramp, Some(Ramp::Percent(Duration::from_secs(3))));
    assert_eq!((laws.edges.as_slice(), laws.actions.len(), laws.when.at.len()), (&[1, 0][..], 2, 2));
    assert!(refused.actions[0].refuses() && refused.who.matches.is_none());
    assert_eq!(cut.actions[0], Fault::Drop(Drop { how: How::Reset, at: DropAt::AfterBytes(1024) }));
    let Fault::Reroute(reroute) = &cut.actions[1] else { panic!() };
    assert_eq!(
        (reroute.protocol, reroute.upstreams[1].authority().as_str()),
        (Protocol::Tcp, "replica:5432")
    );
    let Fault::Respond(respond) = &answered.actions[0] else { panic!() };
    assert_eq!((respond.answer.status, respond.answer.headers.len(), respond.after_upstream), (503, 3, true));
    let keys: Vec<String> = edge_checks(&x.expects[0]).iter().map(|check| check.metric.key()).collect();
    assert_eq!(
        keys,
        ["success_rate", "p99", "p999", "status_rate.503", "status_rate.5xx", "rate", "in_flight"]
    );
    assert_eq!(x.expects[0].line, 101);
    assert_eq!(x.expects[1].name.as_str(), "db: error_rate");
    let metrics =
        |n: usize| -> Vec<Metric> { edge_checks(&x.expects[n]).iter().map(|check| check.metric).collect() };
    assert_eq!(metrics(2), [Metric::OpenConnections]);
    assert_eq!(metrics(3), [Metric::Amplification(Some(0))]);
    assert_eq!(metrics(4), [Metric::Amplification(None), Metric::RecoversWithin]);
    assert_eq!(
        (x.expects[4].phases.as_slice(), x.expects[5].phases.as_slice()),
        (&[Phase::Fault][..], &[Phase::Recovery][..])
    );
    assert_eq!((x.expects[5].versus, x.expects[6].versus), (Versus::Itself, Versus::Baseline));
    let spread = |n: usize| match &x.expects[n].on {
        On::Spread(checks) => checks.iter().map(|check| check.what.clone()).collect(),
        _ => Vec::new(),
    };
    assert_eq!(spread(7), [Spread::Source(vec![1]), Spread::Order(vec![1, 0])]);
    assert_eq!((spread(8), x.expects[8].name.as_str()), (vec![Spread::Nowhere], "onset_source"));
    assert_eq!(x.source.sha256.len(), 64);
}

#[test]
fn faults_on_bytes_read_as_they_are_written() {
    let Loaded { experiment: x, warnings } =
        parse_file(Path::new("tests/golden/accepted/bytes.toml"), &Overrides::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let (ms, none) = (|ms| Law::Uniform(ms, 2.0 * ms), Distribution::fixed(Duration::ZERO));
    assert_eq!(
        x.faults[0].actions,
        [
            Fault::Bandwidth(Bandwidth { up: Some(65_536), down: Some(25_000) }),
            Fault::Chunk(Chunk { size: 1024, delay: Distribution { law: ms(0.001), max: None } }),
            Fault::Truncate(Truncate { after: Length::Bytes(1024), clean: true }),
            Fault::Corrupt(Corrupt { bit_flips: Some(0.001), frame: None }),
        ]
    );
    // in the order of the file: the first end wins
    assert_eq!(
        x.faults[1].actions,
        [
            Fault::Endless(Endless { rate: 16_384 }),
            Fault::Truncate(Truncate { after: Length::Fraction(0.5), clean: false }),
            Fault::Corrupt(Corrupt { bit_flips: Some(1.0), frame: Some(BadFrame::WrongLength) }),
            Fault::Chunk(Chunk { size: 10, delay: none }),
        ]
    );
}

#[test]
fn services_and_what_is_done_to_them_read_as_they_are_written() {
    let Loaded { experiment: x, warnings } =
        parse_file(Path::new("tests/golden/accepted/services.toml"), &Overrides::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let seconds = Duration::from_secs;
    let [db, api, cluster] = x.services.as_slice() else { panic!() };
    assert_eq!((db.restart, db.grace, db.after.len()), (Restart::default(), seconds(10), 0));
    assert!(db.is_ours() && api.is_ours() && !cluster.is_ours());
    let port = db.command[2].clone();
    assert!(port.parse::<u16>().unwrap() > 0);
    let Some(Ready { check: ReadyCheck::Tcp(at), within }) = &db.ready else { panic!() };
    assert_eq!((at.as_str(), *within), (format!("127.0.0.1:{port}").as_str(), seconds(20)));
    assert_eq!(x.edges[2].upstreams[0].port.to_string(), port);
    assert_eq!(api.cwd.as_deref(), Some(Path::new("../api")));
    assert_eq!((api.after.as_slice(), api.clean_env, api.user.as_deref()), (&[0][..], true, Some("nobody")));
    assert_eq!(api.env[1], ("PROVIDER_URL".to_owned(), "${edge.provider}".to_owned()));
    assert_eq!(api.env[2].1, x.edges[0].upstreams[0].port.to_string());
    assert_ne!(api.env[2].1, port);
    let when = RestartWhen::Always;
    let restart = Restart { when, delay: seconds(2), backoff: 2.0, max_delay: seconds(40) };
    assert_eq!((api.restart, api.show_env.as_slice()), (restart, &["ENVIRONMENT".to_owned()][..]));
    assert_eq!(x.expected_env(1), [("ENVIRONMENT", "production")]);

    let [drift, pause, again, hook, slow] = x.faults.as_slice() else { panic!() };
    let [Deed::Env(swap), Deed::Process(killed)] = drift.deeds.as_slice() else { panic!() };
    assert_eq!((swap.apply, swap.restarts, swap.unset.len()), (EnvApply::NextRestart, Some(1), 1));
    assert_eq!(swap.set, [("ENVIRONMENT".to_owned(), "development".to_owned())]);
    let kill = ProcessWhat::Kill(nix::sys::signal::Signal::SIGKILL);
    assert_eq!((killed.what, killed.down, killed.times), (kill, Some(seconds(960)), Some(3)));
    let schedule = drift.when.schedule.as_ref().unwrap();
    assert_eq!((schedule.every, schedule.lasts), (Some(seconds(20)), None));
    assert!(drift.edges.is_empty() && drift.actions.is_empty());
    assert_eq!((pause.services.len(), pause.when.at.len()), (2, 2));
    let since = again.when.schedule.as_ref().unwrap().since.as_ref().unwrap();
    assert_eq!((since.service.as_str(), since.moment), ("api", SinceMoment::Ready));
    let [Deed::Hook(hooked)] = hook.deeds.as_slice() else { panic!() };
    assert_eq!((hooked.apply[2].as_str(), hooked.within), ("${edge.web}", seconds(30)));
    assert_eq!((slow.edges.len(), slow.services.len(), slow.deeds.len()), (1, 0, 0));
}

#[test]
fn expectations_on_services_and_probes_read_as_they_are_written() {
    let x = parse_file(Path::new("tests/golden/accepted/services.toml"), &Overrides::default())
        .unwrap()
        .experiment;
    let seconds = Duration::from_secs;
    let names: Vec<&str> = x.expects.iter().map(|one| one.name.as_str()).collect();
    let url = format!("GET 127.0.0.1:{}/x", x.services[1].env[2].1);
    assert_eq!(
        names,
        [
            "api: up, restarts, downtime, crash_rate, env.ENVIRONMENT",
            "playground stays closed",
            "web: GET /.env",
            &url,
            "tcp ${edge.db}",
            "command is-closed.sh"
        ]
    );
    let On::Service { service: 1, checks } = &x.expects[0].on else { panic!() };
    assert_eq!((checks.len(), checks[3].limit.limit), (5, 0.01 / 3600.0));
    let On::Probe(probe) = &x.expects[1].on else { panic!() };
    let Ask::Http(ask) = &probe.ask else { panic!() };
    assert_eq!((ask.edge, ask.url.as_str(), ask.method.as_str()), (Some(0), "/graphql", "POST"));
    assert_eq!((ask.status.len(), ask.headers.len(), ask.text.is_some()), (2, 1, true));
    assert_eq!(ask.json, [("$.mode".to_owned(), json!("production")), ("$.n[0]".to_owned(), json!(5))]);
    assert_eq!((probe.every, probe.max_exposure), (seconds(2), seconds(300)));
    assert!(probe.tolerate_unreachable && x.expects[1].phases.len() == 2);
    let On::Probe(usual) = &x.expects[2].on else { panic!() };
    assert_eq!((usual.every, usual.timeout, usual.max_exposure), (seconds(1), seconds(2), Duration::ZERO));
    assert!(matches!(&x.expects[4].on, On::Probe(probe) if matches!(&probe.ask, Ask::Tcp(_))));
    assert!(!x.expects[5].baseline && !usual.tolerate_unreachable);
}

#[test]
fn a_port_keeps_its_number_when_the_file_is_read_again() {
    let overrides = Overrides::default();
    let ports = || -> Vec<u16> {
        let path = Path::new("tests/golden/accepted/services.toml");
        let x = parse_file(path, &overrides).unwrap().experiment;
        x.edges.iter().map(|edge| edge.upstreams[0].port).collect()
    };
    assert_eq!(ports(), ports());
}

#[test]
fn another_upstream_takes_the_place_of_a_service() {
    let overrides = Overrides {
        upstream: vec![(Some("web".into()), "http://127.0.0.1:5".into())],
        set: vec![("service.api.grace".into(), "7s".into())],
        ..Overrides::default()
    };
    let x = parse_file(Path::new("tests/golden/accepted/services.toml"), &overrides).unwrap().experiment;
    assert_eq!(x.services[1].grace, Duration::from_secs(7));
    assert!(!x.services[1].is_ours() && x.services[0].is_ours());
    let reason = x.services[1].skipped.as_deref().unwrap();
    assert!(reason.contains("--upstream") && reason.contains("`web`"), "{reason}");
}

#[test]
fn a_fault_by_hand_may_be_on_a_service_but_runs_no_commands() {
    let overrides = Overrides::default();
    let x = parse_file(Path::new("tests/golden/accepted/services.toml"), &overrides).unwrap().experiment;
    let edges = [("web".to_owned(), Protocol::Http)];
    let kill = json!({ "name": "x", "service": "api", "process": { "kill": "TERM" }, "ttl": "1m" });
    let (rule, _) = parse_fault_on(FaultSource::Json(&kill), &edges, &x.services).unwrap();
    assert_eq!((rule.services.len(), rule.deeds.len()), (1, 1));
    let hook = json!({ "name": "x", "service": "api", "hook": { "apply": ["a"], "undo": ["b"] } });
    let external = json!({ "name": "x", "service": "cluster", "process": { "restart": true } });
    for (fault, services, title) in [
        (kill, &[][..], "there is no service `api`"),
        (hook, &x.services, "a fault that is armed by hand runs no commands"),
        (external, &x.services, "`process` cannot be done to service `cluster`"),
    ] {
        let problems = parse_fault_on(FaultSource::Json(&fault), &edges, services).unwrap_err();
        let titles: Vec<&str> = problems.errors().map(|p| p.title.as_str()).collect();
        assert_eq!(titles, [title]);
    }
}

#[test]
fn what_is_in_effect_shows_no_value_of_a_variable() {
    let text = fs::read_to_string("tests/golden/accepted/services.toml").unwrap();
    let text = text.replace("\"${edge.provider}\"", "\"s3cret\"").replace("\"-p\"", "\"s3cret\"");
    assert_eq!(text.matches("s3cret").count(), 2);
    let x = parse(&text, Path::new("x.toml"), &Overrides::default()).unwrap().experiment;
    let lines = x.in_effect().join("\n");
    assert!(!lines.contains("s3cret"), "{lines}");
    for line in [
        "service.db.command: \"postgres\", and 2 arguments",
        "service.db.grace = \"10s\"",
        "service.db.restart = \"never\"",
        "service.db.user: the user of Brownout",
        "service.api.env = { ENVIRONMENT = \"production\", PROVIDER_URL = (hidden), PORT = (hidden) }",
        "service.api.after = [\"db\"]",
        "service.api.ready: by http, within = \"5s\"",
        "service.api.restart.max_delay = \"40s\"",
        "service.cluster.command: none, it is external",
        "fault.\"drift\".env: apply = \"next_restart\", restarts = 1",
        "fault.\"drift\".process: kill = \"KILL\", down = \"16m\", times = 3",
        "fault.\"hook\".hook: within = \"30s\"",
    ] {
        assert!(lines.lines().any(|other| other == line), "{line}\n{lines}");
    }
}

#[test]
fn a_file_has_a_bounded_number_of_tables() {
    let edge = |n: usize| {
        format!("[[edge]]\nname = \"e{n}\"\nlisten = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:1\"\n")
    };
    let file = |most| format!("name = \"x\"\n{}", (0..most).map(edge).collect::<String>());
    assert!(parse(&file(200), Path::new("x.toml"), &Overrides::default()).is_ok());
    let problems = parse(&file(201), Path::new("x.toml"), &Overrides::default()).unwrap_err();
    let titles: Vec<&str> = problems.errors().map(|p| p.title.as_str()).collect();
    assert_eq!(titles, ["more `[[edge]]` than one experiment may have"]);
}

#[test]
fn flags_replace_what_the_file_says() {
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let env = |name: &str| (name == "PORT").then(|| "4321".to_owned());
    let overrides = Overrides {
        set: vec![
            set("run.fault", "90s"),
            set("edge.checkout.listen", "127.0.0.1:0"),
            set("fault.\"provider is slow\".percent", "5"),
            set("edge.2.timeout.idle", "1m"),
            set("guardrail.'too bad'.for", "\"3s\""),
            set("expect.\"checkout stays available\".status_rate.404", "< 3%"),
            set("seed", "7"),
        ],
        upstream: vec![
            (None, "http://127.0.0.1:${env.PORT}".into()),
            (Some("db".into()), "tcp://127.0.0.1:5".into()),
        ],
        seed: Some(9),
        env: &env,
        ..Overrides::default()
    };
    let x = parse_file(Path::new("tests/golden/accepted/full.toml"), &overrides).unwrap().experiment;
    assert_eq!((x.run.fault, x.seed), (Duration::from_secs(90), Some(9)));
    assert_eq!((x.edges[0].listen.port(), x.edges[0].upstreams.len()), (0, 1));
    assert_eq!((x.edges[0].upstreams[0].port, x.edges[2].upstreams[0].port), (4321, 5));
    assert_eq!(x.edges[1].timeout.idle, Duration::from_secs(60));
    assert_eq!(x.faults[0].who.percent.get(), 5.0);
    assert_eq!(x.guardrails[0].lasts, Duration::from_secs(3));
    assert_eq!(edge_checks(&x.expects[0]).len(), 8);
}

#[test]
fn a_fault_by_hand_is_checked_like_one_of_a_file() {
    let edges = [("front".to_owned(), Protocol::Http), ("db".to_owned(), Protocol::Tcp)];
    let json = json!({
        "name": "by hand", "edge": "front", "percent": 5, "latency": { "uniform": ["1s", "2s"] }, "ttl": "1m",
    });
    let (rule, warnings) = parse_fault(FaultSource::Json(&json), &edges).unwrap();
    assert!(warnings.is_empty());
    assert_eq!((rule.name.as_str(), rule.edges.as_slice(), rule.line), ("by hand", &[0][..], 0));
    let toml = "name = \"x\"\nedge = \"db\"\nmatch = \"all\"\ndrop = \"reset\"\n";
    assert_eq!(parse_fault(FaultSource::Toml(toml), &edges).unwrap().0.edges, [1]);
    for (toml, title) in [
        ("name = \"x\"\nedge = \"db\"\ndrop = \"reset\"", "nothing bounds this fault"),
        ("name = \"x\"\nedge = \"dbb\"\npercent = 5\ndrop = \"reset\"", "there is no edge `dbb`"),
        ("name = \"x\"\nedge = \"db\"\npercent = 5\nrespond = 503", "`respond` does not fit edge `db`"),
        (
            "name = \"x\"\nedge = \"db\"\npercent = 5\nlatency = { samples = \"/etc/passwd\" }",
            "samples that cannot be read",
        ),
        ("name = x", "this is not TOML"),
        (
            "name = \"x\"\nedge = \"db\"\nmatch = \"all\"\nreroute = { upstream = \"tcp://db.prod:5432\" }",
            "this upstream looks like production",
        ),
    ] {
        let problems = parse_fault(FaultSource::Toml(toml), &edges).unwrap_err();
        let titles: Vec<&str> = problems.errors().map(|p| p.title.as_str()).collect();
        assert_eq!(titles, [title]);
    }
    for json in [json!(5), json!(null), json!([]), json!({})] {
        assert!(parse_fault(FaultSource::Json(&json), &edges).is_err());
    }
}

fn check(files: &[&str], json: bool, verbose: bool) -> (u8, String, String) {
    let args = brownout::cli::check::Args { files: files.iter().map(PathBuf::from).collect() };
    let flags = brownout::cli::check::Flags {
        set: Vec::new(),
        upstream: Vec::new(),
        seed: None,
        json,
        verbose,
        color: false,
        env: &|_| None,
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = brownout::cli::check::run(&args, &flags, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_check_command_tells_right_from_broken() {
    let (code, out, err) = check(&["experiments/first.toml"], false, true);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.starts_with("experiments/first.toml: ok: `first`, 1 edge, 1 fault, 1 expectation, 25s\n"),
        "{out}"
    );
    for bound in ["edge.front.timeout.header = \"5s\"", "edge.front.max_held = 10000", "run.warmup = \"0s\""]
    {
        assert!(out.contains(bound), "{bound}\n{out}");
    }
    let (code, out, err) =
        check(&["tests/golden/check/many.toml", "experiments/first.toml", "no/such.toml"], false, false);
    assert_eq!((code, out.lines().count()), (2, 1));
    assert!(
        err.contains("many.toml: broken, 13 errors") && err.contains("this file cannot be read"),
        "{err}"
    );
    let (code, out, err) = check(&["tests/golden/check/many.toml"], true, false);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str(), &report["ok"]), (2, "", &json!(false)));
    let first = &report["files"][0]["problems"][0];
    assert_eq!(
        (&first["line"], &first["column"], &first["severity"]),
        (&json!(1), &json!(1), &json!("error"))
    );
    assert_eq!(first["help"], "did you mean `name`?");
}

/// Every problem points into the text that it names, and can be shown.
fn is_sound(result: Result<Loaded, Problems>) {
    let problems = match result {
        Ok(loaded) => loaded.warnings,
        Err(problems) => {
            assert!(problems.is_fatal());
            problems
        }
    };
    for problem in problems.iter() {
        if let Some(place) = problem.span {
            let (_, text) = problems.text(place.source).unwrap();
            assert!(place.start <= place.end && place.end <= text.len(), "{problem:?}");
        }
    }
    let _ = (problems.render(true), problems.to_json());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn spoilt_files_never_break_the_reader(
        which in 0..8usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let all = accepted();
        let mut bytes = fs::read(&all[which % all.len()]).unwrap();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                _ => bytes.insert(at, b"\"=[]{}.\n#'\\,"[usize::from(byte) % 12]),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        is_sound(parse(&text, Path::new("x.toml"), &Overrides::default()));
    }

    #[test]
    fn spoilt_lines_never_break_the_reader(lines in prop::collection::vec(any::<prop::sample::Index>(), 1..40)) {
        let whole = ["full", "services"]
            .map(|name| fs::read_to_string(format!("tests/golden/accepted/{name}.toml")).unwrap())
            .join("\n");
        let all: Vec<&str> = whole.lines().collect();
        let text: Vec<&str> = lines.iter().map(|n| all[n.index(all.len())]).collect();
        is_sound(parse(&text.join("\n"), Path::new("x.toml"), &Overrides::default()));
    }

    #[test]
    fn any_flag_never_breaks_the_reader(key in "(run|edge|fault|\\PC)?[.a-z\"' 0-9]{0,12}\\PC?", value in "\\PC{0,12}") {
        let overrides = Overrides { set: vec![(key, value.clone())], upstream: vec![(None, value)], ..Overrides::default() };
        is_sound(parse_file(Path::new("experiments/first.toml"), &overrides));
    }
}

fn edge_checks(expectation: &brownout::model::Expectation) -> &[brownout::model::Check] {
    match &expectation.on {
        brownout::model::On::Edge { checks, .. } => checks,
        other => panic!("{other:?}"),
    }
}
