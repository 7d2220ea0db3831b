//! Reports of runs with services, in the shape of the incident that they are for.

use super::*;
use crate::model::{Deed, EnvApply, EnvSwap, FaultRule, ServiceMetric, When, Who};
use crate::report::testing::{PROBE, exited, expects, experiment, fold, name, phase, ready, saw, started};
use crate::report::{Exit, Report, Terms, build, json, junit, text};
use crate::telemetry::{Event, Saw};

/// Day 1: a crash, an exposed process in development that crashes in turn, and the right one again. Compressed a hundredfold.
fn incident(healed_hits: u64, undone: bool) -> Vec<(f64, Event)> {
    let minute = |minutes: f64| minutes * 60.0 * 0.01;
    let fault = || name("old task definition");
    vec![
        (0.0, started(1, StartReason::First, false)),
        (0.1, ready(1)),
        (0.2, phase(Phase::Baseline)),
        (0.3, saw(Saw::Right)),
        (minute(10.0), phase(Phase::Fault)),
        (
            minute(10.0),
            Event::Armed { fault: fault(), edges: vec![], services: vec![name("api")], owner: "run".into() },
        ),
        (minute(20.0), saw(Saw::Right)),
        (minute(30.0), exited(1, ExitCause::Itself)),
        (minute(30.0), saw(Saw::Unreachable)),
        (minute(31.0), started(2, StartReason::Crash, true)),
        (minute(46.0), ready(2)),
        (minute(48.0), saw(Saw::Wrong)),
        (minute(60.0), saw(Saw::Wrong)),
        (minute(61.0), exited(2, ExitCause::Itself)),
        (minute(62.0), saw(Saw::Unreachable)),
        (minute(70.0), started(3, StartReason::Crash, false)),
        (minute(92.0), ready(3)),
        (minute(93.0), saw(Saw::Right)),
        (
            minute(130.0),
            Event::Healed {
                fault: fault(),
                why: "end".into(),
                matched: 0,
                selected: 0,
                hits: healed_hits,
                delay_error_p99: None,
            },
        ),
        (
            minute(130.0),
            Event::Undone {
                fault: fault(),
                service: name("api"),
                action: "env".into(),
                done: undone,
                text: "the environment of `api`: start it with the file's".into(),
            },
        ),
        (minute(130.0), phase(Phase::Recovery)),
        (minute(131.0), saw(Saw::Right)),
        (minute(140.0), exited(3, ExitCause::End)),
        (minute(140.0), Event::Finished),
    ]
}

fn drift() -> FaultRule {
    FaultRule {
        name: name("old task definition"),
        edges: vec![],
        services: vec![name("api")],
        who: Who::default(),
        when: When::default(),
        armed: true,
        ttl: None,
        optional: false,
        actions: vec![],
        deeds: vec![Deed::Env(EnvSwap {
            set: vec![("ENVIRONMENT".into(), "development".into())],
            unset: vec![],
            apply: EnvApply::NextRestart,
            restarts: Some(1),
        })],
        line: 12,
    }
}

fn drifting() -> Experiment {
    let mut experiment = experiment(0.01);
    experiment.faults.push(drift());
    experiment.expects.push(expects(ServiceMetric::CrashRate, "< 0.01/h"));
    experiment
}

fn report(events: Vec<(f64, Event)>) -> Report {
    build(&fold(events), &drifting(), &Terms::default())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

#[test]
fn the_drift_incident_can_be_read_from_the_report() {
    let report = report(incident(1, true));
    assert_eq!(report.exit, Exit::Failed.code(), "{:?}", report.reasons);
    let api = &report.services[0];
    let fault = api.phases["fault"];
    assert_eq!((fault.crashes, fault.restarts, fault.kills), (2, 2, 0));
    // two hours of the file's time
    assert!(close(fault.crash_rate.unwrap() * 3600.0, 1.0), "{fault:?}");
    assert!(close(fault.downtime, 47.0 * 60.0), "{fault:?}");
    let down: Vec<_> =
        api.incarnations.iter().map(|one| one.down_for.map(|down| (down / 60.0).round())).collect();
    assert_eq!(down, [Some(16.0), Some(31.0), None]);
    let env: Vec<_> = api
        .incarnations
        .iter()
        .map(|one| (one.env_changed.len(), one.env_shown["ENVIRONMENT"].as_str()))
        .collect();
    assert_eq!(env, [(0, "production"), (1, "development"), (0, "production")]);
    assert_eq!(api.exposures, report.exposures);
    let [exposure] = &api.exposures[..] else { panic!("{:?}", api.exposures) };
    assert_eq!(exposure.incarnation, Some(2));
    assert!(close(exposure.from, 48.0 * 60.0) && close(exposure.to.unwrap(), 93.0 * 60.0));
    assert!(close(exposure.detected_after, 120.0), "two minutes after it was ready: {exposure:?}");
    let unmet: Vec<_> = report.expectations.iter().filter(|check| check.met == Some(false)).collect();
    let keys: Vec<_> = unmet.iter().map(|check| (check.key.as_str(), check.target(), check.phase)).collect();
    assert_eq!(keys, [("exposure", PROBE, "fault"), ("crash_rate", "api", "fault")]);
    assert_eq!(report.faults[0].actions, ["env"]);
    assert!(!report.faults[0].vacuous && report.faults[0].edge.is_none());
}

#[test]
fn people_read_it_too() {
    let page = text::render(&report(incident(1, true)), false);
    for line in page.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "env on api",
        "carried out 1 time",
        "! api: 3 starts, 2 crashes; 1/h in the fault phase, 47m down, 60.83% up",
        "#2 31m started after a crash, ready after 15m; differs in ENVIRONMENT=development; crashed at 1h 1m (exit code 1), ready again after 31m",
        "#3 1h 10m started after a crash, ready after 22m; ENVIRONMENT=production; stopped with the run at 2h 20m",
        "✗ the playground is closed: 48m to 1h 33m (45m), seen 2m after api #2 began: status 200, expected 404",
        "✓ 2h 10m env of api (old task definition)",
        "crash_rate on `api` was 1/h in the fault phase, expected < 0.01/h",
    ] {
        assert!(flat.contains(part), "no `{part}` in:\n{page}");
    }
    assert!(junit::render(&report(incident(1, true))).contains("1/h, expected &lt; 0.01/h"));
}

#[test]
fn one_of_edge_service_and_probe_is_named() {
    let value: serde_json::Value = serde_json::from_str(&json::render(&report(incident(1, true)))).unwrap();
    for list in ["expectations", "faults"] {
        for one in value[list].as_array().unwrap() {
            let named = ["edge", "service", "probe"].iter().filter(|key| one.get(key).is_some()).count();
            assert_eq!(named, 1, "{one}");
        }
    }
    assert_eq!(value["services"][0]["incarnations"][1]["exit"], 1);
    assert_eq!(value["services"][0]["incarnations"][2]["exit"], "SIGKILL");
    assert_eq!(value["undo"][0]["done"], true);
}

#[test]
fn what_could_not_be_put_back_outweighs_all_but_a_bug() {
    let report = report(incident(1, false));
    assert_eq!(report.exit, Exit::NotRestored.code());
    assert_eq!(report.reasons[0], "the environment of `api`: start it with the file's");
}

#[test]
fn a_fault_that_was_never_carried_out_is_vacuous() {
    let mut experiment = drifting();
    experiment.expects.truncate(1);
    if let On::Probe(probe) = &mut experiment.expects[0].on {
        probe.max_exposure = std::time::Duration::from_secs(24 * 3600);
    }
    let mut events = incident(0, true);
    let run = |events: &Vec<_>, experiment: &Experiment| {
        build(&fold(events.clone()), experiment, &Terms::default())
    };
    let report = run(&events, &experiment);
    assert_eq!(
        (report.exit, &report.reasons[..]),
        (
            Exit::Vacuous.code(),
            &["fault `old task definition` struck nothing: it was never carried out".to_owned()][..]
        )
    );
    let failed = Event::Deed {
        fault: name("old task definition"),
        service: name("api"),
        action: "env".into(),
        done: false,
        text: "`api` was gone".into(),
    };
    events.insert(6, (6.5, failed));
    let report = run(&events, &experiment);
    assert_eq!(report.reasons, ["fault `old task definition` struck nothing: `api` was gone"]);
    assert!(text::render(&report, false).contains("not done"));
    // Skipped faults are no reason by themselves; a run in which nothing else was tried is not a pass.
    experiment.services[0].skipped = Some("`--upstream` is given".into());
    let report = run(&events, &experiment);
    assert_eq!(report.reasons, ["every fault is on a service that was not started: nothing was injected"]);
    let mut passed = incident(1, true);
    experiment.services[0].skipped = None;
    passed.retain(|(_, event)| !matches!(event, Event::Undone { .. }));
    assert_eq!(run(&passed, &experiment).exit, 0);
}

#[test]
fn how_soon_it_was_seen_counts_from_what_began_last() {
    for (events, after, incarnation) in [
        // from the last right answer, if no process began since
        (
            vec![
                (0.0, started(1, StartReason::First, false)),
                (0.0, ready(1)),
                (5.0, saw(Saw::Right)),
                (9.0, saw(Saw::Wrong)),
            ],
            4.0,
            None,
        ),
        // from the start of a process that never was ready
        (
            vec![(5.0, saw(Saw::Right)), (6.0, started(1, StartReason::First, true)), (9.0, saw(Saw::Wrong))],
            3.0,
            Some(1),
        ),
        // ready only after it was seen
        (
            vec![
                (5.0, saw(Saw::Right)),
                (6.0, started(1, StartReason::First, true)),
                (9.0, saw(Saw::Wrong)),
                (10.0, ready(1)),
            ],
            3.0,
            Some(1),
        ),
        // of two processes, the one that was there
        (
            vec![
                (5.0, saw(Saw::Right)),
                (6.0, started(1, StartReason::First, true)),
                (7.0, exited(1, ExitCause::Itself)),
                (8.0, started(2, StartReason::Crash, true)),
                (8.5, ready(2)),
                (9.0, saw(Saw::Wrong)),
            ],
            0.5,
            Some(2),
        ),
        // the first answer of all
        (vec![(9.0, saw(Saw::Wrong))], 0.0, None),
    ] {
        let exposures = exposures(&fold(events), &experiment(1.0));
        assert_eq!(exposures.len(), 1);
        assert_eq!((exposures[0].detected_after, exposures[0].incarnation), (after, incarnation));
    }
}

#[test]
fn a_probe_looks_at_the_service_its_edge_leads_to() {
    let experiment = experiment(1.0);
    let On::Probe(probe) = &experiment.expects[0].on else { panic!() };
    for (edge, url, found) in [
        (Some(0), "/x", Some(0)),
        (None, "${edge.front}/x", Some(0)),
        (None, "http://127.0.0.1:4000/x", Some(0)),
        (None, "http://127.0.0.1:40001/x", None),
    ] {
        let mut probe = probe.clone();
        if let Ask::Http(ask) = &mut probe.ask {
            (ask.edge, ask.url) = (edge, url.into());
        }
        assert_eq!(service_of(&experiment, &probe), found, "{url}");
    }
    let mut tcp = probe.clone();
    tcp.ask = Ask::Tcp("127.0.0.1:4000".into());
    assert_eq!(service_of(&experiment, &tcp), Some(0));
}
