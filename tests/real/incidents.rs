//! The experiments of `experiments/incidents/` against their victims: what each run shows, held against the post-mortem.

use super::parts::{Brownout, Ended, report};
use serde_json::Value;
use std::path::Path;

/// The longest of them takes two minutes of its own, and three times that where the machine is slow.
const ROUNDS: usize = 30;
/// In two days that take two minutes, a process that needs longer to start is still not there when it is to be killed again.
const SLOW: f64 = 0.7;

/// Runs one of the incidents to its end, in a folder of its own; where processes started too slowly for its pace, once more at
/// a third of it.
fn replay(folder: &Path, incident: &str) -> (Ended, Value) {
    let file = Path::new("experiments/incidents").canonicalize().unwrap().join(format!("{incident}.toml"));
    let text = std::fs::read_to_string(&file).unwrap();
    let scale: Option<f64> =
        text.lines().find_map(|line| line.strip_prefix("time_scale = ")?.split(' ').next()?.parse().ok());
    let file = file.to_str().unwrap();
    let (ended, report) = replayed(&folder.join("first"), &["run", "--admin", "none", file]);
    match scale {
        Some(scale) if slowest_start(&report) * scale > SLOW => {
            let slower = format!("run.time_scale={}", scale * 3.0);
            replayed(&folder.join("slower"), &["run", "--admin", "none", "--set", &slower, file])
        }
        _ => (ended, report),
    }
}

fn replayed(folder: &Path, arguments: &[&str]) -> (Ended, Value) {
    std::fs::create_dir(folder).unwrap();
    let mut run = Brownout::start(folder, arguments);
    for _ in 0..ROUNDS {
        if run.ends() {
            break;
        }
    }
    let ended = run.end();
    let report = report(folder);
    (ended, report)
}

/// How long the slowest process took to be ready, in the file's time. Some are killed before they are, as in the incident.
fn slowest_start(report: &Value) -> f64 {
    let services = report["services"].as_array().unwrap().iter();
    let all = services.flat_map(|service| service["incarnations"].as_array().unwrap());
    all.filter_map(|one| one["ready_after"].as_f64()).fold(0.0, f64::max)
}

fn expectation<'r>(report: &'r Value, name: &str, key: &str, phase: &str) -> &'r Value {
    let all = report["expectations"].as_array().unwrap();
    let found = all.iter().find(|e| e["name"] == name && e["key"] == key && e["phase"] == phase);
    found.unwrap_or_else(|| panic!("no `{key}` of `{name}` in the {phase} phase: {all:#?}"))
}

fn met(report: &Value, name: &str, key: &str) -> (bool, f64) {
    let found = expectation(report, name, key, "fault");
    (found["met"].as_bool().unwrap(), found["observed"].as_f64().unwrap())
}

fn service<'r>(report: &'r Value, name: &str) -> &'r Value {
    report["services"].as_array().unwrap().iter().find(|service| service["name"] == name).unwrap()
}

/// When the fault phase began and ended, in the file's time.
fn fault_phase(report: &Value) -> (f64, f64) {
    let phase = report["phases"].as_array().unwrap().iter().find(|phase| phase["name"] == "fault").unwrap();
    (phase["from"].as_f64().unwrap(), phase["to"].as_f64().unwrap())
}

/// The processes that Brownout killed in the fault phase, and the environments in which those after them ran.
fn killed(exchange: &Value) -> usize {
    let all = exchange["incarnations"].as_array().unwrap();
    all.iter().filter(|one| one["cause"] == "fault").count()
}

#[test]
#[ignore = "with real parts (python3), two minutes: ./check real"]
fn a_drift_behind_crashes_is_found_with_its_times_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, report) = replay(folder.path(), "environment-drift");
    assert_eq!((ended.code, &report["verdict"]), (1, &"failed".into()), "{ended:?}");
    let exchange = service(&report, "exchange");
    let (begun, _) = fault_phase(&report);

    // 9 outages of the first day and 10 crashes of the second
    assert_eq!(killed(exchange), 19, "{exchange:#}");
    assert_eq!(exchange["phases"]["fault"]["crashes"], 0, "{exchange:#}");
    let (held, rate) = met(&report, "it does not crash", "crash_rate");
    // they had 0.5 an hour
    assert!(!held && (rate * 3600.0 - 19.0 / 38.0).abs() < 0.01, "{rate} a second");

    // where each began, from 12:00 of the first day, and how long nobody answered
    let clock = |hour: f64, minute: f64| begun + hour * 3600.0 + minute * 60.0;
    let all = exchange["incarnations"].as_array().unwrap();
    let pairs = all.windows(2).filter(|pair| pair[0]["cause"] == "fault");
    let outages: Vec<(f64, f64)> = pairs
        .map(|pair| {
            let ended = pair[0]["ended"].as_f64().unwrap();
            (ended, pair[1]["started"].as_f64().unwrap() - ended)
        })
        .collect();
    for (place, at, down) in [
        (0, clock(0.0, 53.0), 16.0),
        (1, clock(1.0, 12.0), 31.0),
        (2, clock(2.0, 15.0), 19.0),
        (8, clock(7.0, 1.0), 68.0),
        (9, clock(12.0, 25.0), 20.0),
        (15, clock(18.0, 29.0), 20.0),
    ] {
        let (ended, lasted) = outages[place];
        assert!((ended - at).abs() < 600.0, "outage {place} at {ended}, expected {at}");
        // from the kill to the next start; compressed 1250 times, half a second is ten minutes
        assert!((down * 60.0 - 120.0..down * 60.0 + 600.0).contains(&lasted), "outage {place}: {lasted}");
    }

    // which environment each process ran with
    let drifted: Vec<&Value> = exchange["incarnations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["env_shown"]["ENVIRONMENT"] == "development")
        .collect();
    assert_eq!(drifted.len(), 9, "seven of the first day, two from 18:18 of the second: {exchange:#}");
    assert!(
        drifted.iter().all(|one| one["env_changed"] == serde_json::json!(["ENVIRONMENT"])),
        "{drifted:#?}"
    );

    // the exposures: 7 of the first day, and the one of more than 7 hours
    let of_playground = |one: &&Value| one["probe"] == "the playground is closed";
    let exposures: Vec<&Value> =
        report["exposures"].as_array().unwrap().iter().filter(of_playground).collect();
    let from = |one: &Value| one["from"].as_f64().unwrap();
    let minutes = |one: &Value| (one["to"].as_f64().unwrap() - from(one)) / 60.0;
    let first_day: Vec<&&Value> = exposures.iter().filter(|one| from(one) < clock(12.0, 0.0)).collect();
    assert!(
        (5..=7).contains(&first_day.len()),
        "those that follow each other may be seen as one: {exposures:#?}"
    );
    assert!(first_day.iter().all(|one| minutes(one) > 5.0), "{exposures:#?}");
    let last = exposures.last().unwrap();
    assert!((from(last) - clock(30.0, 19.0)).abs() < 1800.0 && minutes(last) > 7.0 * 60.0, "{last:#}");
    for one in &exposures {
        let seconds = one["detected_after"].as_f64().unwrap();
        assert!((0.0..1800.0).contains(&seconds), "a probe sees it at once: {one:#}");
    }
    let (held, longest) = met(&report, "the playground is closed", "exposure");
    assert!(!held && longest > 7.0 * 3600.0, "{longest}");
    let (held, share) = met(&report, "every task runs as production", "env.ENVIRONMENT");
    assert!(!held && (0.4..0.85).contains(&share), "{share}");
    // what was watched saw nothing, and all is as it was in the end
    assert!(met(&report, "health says all is well", "exposure").0);
    assert_eq!(expectation(&report, "the playground is closed", "exposure", "recovery")["met"], true);
}

#[test]
#[ignore = "with real parts (python3), two minutes: ./check real"]
fn the_override_keeps_a_service_closed_under_the_same_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, report) = replay(folder.path(), "environment-drift-forced");
    assert_eq!((ended.code, &report["verdict"]), (0, &"passed".into()), "{ended:?}");
    let exchange = service(&report, "exchange");
    assert_eq!(killed(exchange), 19, "{exchange:#}");
    let ran = exchange["incarnations"].as_array().unwrap();
    let drifted = ran.iter().filter(|one| one["env_shown"]["ENVIRONMENT"] == "development").count();
    assert_eq!(drifted, 9, "the drift was there all the same: {exchange:#}");
    assert!(ran.iter().all(|one| one["env_shown"]["FORCE_ENVIRONMENT"] == "production"), "{exchange:#}");
    assert_eq!(report["exposures"], serde_json::json!([]));
}

#[test]
#[ignore = "with real parts (python3): ./check real"]
fn after_a_restart_of_everything_each_comes_back_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, report) = replay(folder.path(), "startup-cascade");
    assert_eq!((ended.code, &report["verdict"]), (1, &"failed".into()), "{ended:?}");
    let restarted = report["faults"].as_array().unwrap();
    let of = |name: &str| restarted.iter().find(|fault| fault["name"] == name).unwrap();
    assert_eq!(of("everything restarts at once")["hits"], 4, "{restarted:#?}");
    assert!(of("the gateway warms up")["hits"].as_u64() > Some(0), "{restarted:#?}");

    // who is well again when
    let back = |probe: &str| -> f64 {
        let all = report["exposures"].as_array().unwrap();
        let last = all.iter().rfind(|one| one["probe"] == probe);
        last.and_then(|one| one["to"].as_f64()).unwrap_or_else(|| panic!("`{probe}` in {all:#?}"))
    };
    let presence = back("presence answers");
    let (gateway, events) = (back("the gateway answers"), back("events are handled"));
    let (upgrades, search) = (back("upgrades work"), back("queries find something"));
    // each probe asks ten times a second, and not at the same moments
    let beat = 0.5;
    assert!(presence < gateway + beat && presence < events + beat, "{presence} {gateway} {events}");
    assert!(presence < upgrades, "healthy before its WebSocket port is bound: {presence} {upgrades}");
    assert!(gateway.max(events).max(upgrades) < search, "{gateway} {events} {upgrades} {search}");
    for probe in [
        "presence answers",
        "the gateway answers",
        "events are handled",
        "upgrades work",
        "queries find something",
    ] {
        assert!(met(&report, probe, "exposure").0, "within the 30 s of the limit: {probe}");
    }
    // what made it an incident
    for name in ["gateway", "events"] {
        let crashes = &service(&report, name)["phases"]["fault"]["crashes"];
        assert!(crashes.as_u64() >= Some(1), "`{name}` dies at its first start: {crashes}");
    }
    assert_eq!(service(&report, "presence")["phases"]["fault"]["crashes"], 0);
    for (name, key) in [
        ("queries work as soon as search is up", "exposure"),
        ("the gateway starts at the first attempt", "restarts"),
        ("the event handler starts at the first attempt", "restarts"),
        ("users see nothing of it", "success_rate"),
    ] {
        assert!(!met(&report, name, key).0, "{name}");
    }
}

/// The finding of an edge in one of the report's lists.
fn of_edge<'r>(report: &'r Value, list: &str, edge: &str) -> &'r Value {
    let all = report[list].as_array().unwrap();
    all.iter().find(|one| one["edge"] == edge).unwrap_or_else(|| panic!("no `{edge}` in {list}: {all:#?}"))
}

/// Who fell ill by itself.
fn sources(report: &Value) -> Vec<&str> {
    let all = report["cascade"].as_array().unwrap().iter();
    all.filter(|one| one["source"] == true).map(|one| one["edge"].as_str().unwrap()).collect()
}

fn near(value: &Value, wanted: f64, share: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - wanted).abs() <= wanted * share)
}

#[test]
#[ignore = "with real parts (python3), a minute: ./check real"]
fn after_a_cut_timeout_the_provider_is_the_source_and_the_pool_a_symptom() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, report) = replay(folder.path(), "timeout-cut");
    assert_eq!((ended.code, &report["verdict"]), (1, &"failed".into()), "{ended:?}");
    assert_eq!(sources(&report), ["provider"], "{:#}", report["cascade"]);
    let at = |edge: &str| of_edge(&report, "cascade", edge)["at"].as_f64().unwrap();
    for symptom in ["database", "payments", "checkout"] {
        assert!(at("provider") <= at(symptom) + 0.5, "{symptom}: {:#}", report["cascade"]);
    }
    assert!(expectation(&report, "it spreads from there", "onset_order", "fault")["met"] == true);
    // Four attempts a charge until the breaker opens, and then none: what is seen lies between.
    let attempts = report["amplification"].as_array().unwrap().iter();
    let mut attempts = attempts.filter(|one| one["edge"] == "provider" && one["phase"] == "fault");
    let amplified = attempts.next().unwrap()["amplification"].as_f64().unwrap();
    assert!((2.0..4.05).contains(&amplified), "{amplified}");
    assert!(!met(&report, "connections suffice", "open_connections").0);
    // what payments is made of, as far as it showed: what is not told is not wrong
    let payments = of_edge(&report, "fingerprints", "provider");
    assert!(near(&payments["timeout"], 0.5, 0.05), "{payments:#}");
    assert!(payments["retries"].is_null() || payments["retries"] == 3, "{payments:#}");
    let failures = &payments["breaker"]["failures"];
    assert!(failures.is_null() || near(failures, 10.0, 0.1), "{payments:#}");
    let pool = &of_edge(&report, "fingerprints", "database")["pool"];
    assert!(pool.is_null() || near(pool, 50.0, 0.02), "{pool}");
    let recovery = of_edge(&report, "recovery", "provider");
    assert_eq!(recovery["state"], "recovered", "{recovery:#}");
}

#[test]
#[ignore = "with real parts (python3), a minute: ./check real"]
fn with_the_timeout_as_it_was_nothing_is_tried_twice_and_all_connections_suffice() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, report) = replay(folder.path(), "timeout-patient");
    for (name, key) in [
        ("users see nothing of it", "success_rate"),
        ("retries do not multiply the load", "amplification"),
        ("connections suffice", "open_connections"),
    ] {
        assert!(met(&report, name, key).0, "{name}: {ended:?}");
    }
}

#[test]
#[ignore = "with real parts (python3), two minutes: ./check real"]
fn a_retry_storm_outlives_its_cause_and_three_runs_tell_the_same_story() {
    let mut stories = Vec::new();
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let (ended, report) = replay(folder.path(), "retry-storm");
        let order = report["cascade"].as_array().unwrap().iter();
        let order: Vec<String> = order.map(|one| one["edge"].as_str().unwrap().into()).collect();
        let catalog = of_edge(&report, "recovery", "catalog");
        assert_eq!(catalog["state"], "not", "{catalog:#}");
        assert!(catalog["sustained_by"].is_string(), "{catalog:#}");
        let sources: Vec<String> = sources(&report).into_iter().map(str::to_owned).collect();
        stories.push((ended.code, report["verdict"].clone(), sources, order));
    }
    let told =
        (1, "failed".into(), vec!["catalog".to_owned()], vec!["catalog".to_owned(), "shop".to_owned()]);
    assert!(stories.iter().all(|story| *story == told), "{stories:#?}");
}

#[test]
#[ignore = "with real parts (python3), a minute: ./check real"]
fn with_a_retry_budget_the_same_silence_ends_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, report) = replay(folder.path(), "retry-budget");
    assert_eq!(sources(&report), ["catalog"], "{:#}", report["cascade"]);
    assert_eq!(of_edge(&report, "recovery", "catalog")["state"], "recovered", "{ended:?}");
    assert_eq!(of_edge(&report, "recovery", "shop")["state"], "recovered", "{ended:?}");
}
