//! The page says what was found, whoever wrote the words in it, and holds nothing that runs or loads.

use super::*;
use crate::analysis::{
    Amplified, Breaker, Control, Counted, Findings, Fingerprint, Honesty, Onset, Recovered, Recovery, Signal,
    Surge, Turn, Turned,
};
use crate::chart::Series;
use crate::model::Phase;
use crate::report::testing::{exited, experiment, fold, phase, ready, saw, started};
use crate::report::{CommandResult, FaultResult, GuardrailResult, Interval, OneOrMany, Terms, build};
use crate::telemetry::{Event, ExitCause, Saw, StartReason, Window};
use crate::units::{Op, Unit};
use std::time::Duration;

const EVIL: &str = "\"><script>alert('x')</script><img src=x onerror=alert(1)>&amp;`";

/// A run of which nothing is known but that it was.
fn bare() -> Report {
    let mut report = build(&fold([(0.0, Event::Finished)]), &experiment(1.0), &Terms::default());
    (report.services, report.expectations) = (vec![], vec![]);
    report
}

/// A run of which there is something to say in every section, in the words of somebody who means harm.
fn hostile() -> Report {
    let events = [
        (0.0, phase(Phase::Baseline)),
        (0.0, started(1, StartReason::First, false)),
        (1.0, ready(1)),
        (2.0, saw(Saw::Right)),
        (10.0, phase(Phase::Fault)),
        (12.0, exited(1, ExitCause::Itself)),
        (13.0, started(2, StartReason::Crash, true)),
        (14.0, ready(2)),
        (15.0, saw(Saw::Wrong)),
        (20.0, phase(Phase::Recovery)),
        (25.0, saw(Saw::Right)),
        (30.0, Event::Finished),
    ];
    let mut report = build(&fold(events), &experiment(1.0), &Terms::default());
    let evil = || EVIL.to_owned();
    report.title = Some(evil());
    (report.name, report.run, report.file, report.sha256) = (evil(), evil(), evil(), evil());
    (report.version, report.started, report.ended) = (evil(), evil(), evil());
    report.argv = vec!["brownout".into(), "run".into(), evil()];
    report.reasons = vec![evil()];
    report.warnings = vec![evil()];
    report.command = Some(CommandResult { argv: vec![evil()], exit: Some(1), stopped: false });
    report.source = format!("{EVIL}\n").repeat(40);
    for edge in &mut report.edges {
        (edge.name, edge.from, edge.to) = (evil(), evil(), evil());
        edge.phases.values_mut().for_each(|phase| (phase.requests, phase.injected) = (10, 1));
    }
    let mut series = Series::default();
    for n in 1..120 {
        let mut window = Window {
            requests: 10,
            failed: 4,
            injected: 2,
            in_flight: 3,
            connections: 4,
            ..Window::default()
        };
        window.durations.record(Duration::from_millis(n));
        series.take(n as f64 * 0.25, &window);
    }
    report.series = vec![series];
    report.faults = vec![FaultResult {
        name: evil(),
        edge: Some(OneOrMany::of(vec![evil()])),
        service: None,
        actions: vec!["latency"],
        matched: 9,
        selected: 5,
        hits: 3,
        vacuous: false,
        intervals: vec![Interval { from: 10.0, to: Some(20.0) }],
        delay_error_p99: Some(0.001),
        line: 4,
    }];
    report.guardrails = vec![GuardrailResult {
        name: evil(),
        key: evil(),
        edge: evil(),
        op: Op::More,
        limit: 0.5,
        unit: Unit::Ratio,
        lasts: 10.0,
        breached: true,
        at: Some(15.0),
        observed: Some(0.7),
        line: 3,
    }];
    for check in &mut report.expectations {
        (check.name, check.key, check.reason) = (evil(), evil(), Some(evil()));
    }
    for service in &mut report.services {
        (service.name, service.skipped) = (evil(), Some(evil()));
        for one in &mut service.incarnations {
            one.env_changed = vec![evil()];
            one.env_shown = [(evil(), evil())].into();
        }
    }
    for one in &mut report.exposures {
        (one.probe, one.saw) = (evil(), Some(evil()));
    }
    report.deeds = vec![crate::report::DeedResult {
        at: 11.0,
        fault: evil(),
        service: evil(),
        action: evil(),
        done: false,
        text: evil(),
    }];
    report.undo = report.deeds.clone();
    report.findings = found(EVIL);
    report
}

fn found(name: &str) -> Findings {
    let name = || name.to_owned();
    let onset = |at, source, after| Onset {
        edge: name(),
        at,
        signal: Signal::Latency,
        baseline: 0.02,
        observed: 1.4,
        source,
        after,
        faults: vec![name()],
        evidence: name(),
    };
    let recovery = |state, within| Recovery {
        edge: name(),
        state,
        within,
        surge: Some(Surge { height: 2.0, width: 3.0 }),
        sustained_by: Some(name()),
    };
    Findings {
        cascade: vec![onset(0.4, true, None), onset(0.9, false, Some(name()))],
        turns: vec![Turn { edge: name(), at: 1.5, what: Turned::Full, evidence: name() }],
        unmoved: vec![name()],
        unjudged: [(name(), name())].into(),
        recovery: vec![recovery(Recovered::Not, None), recovery(Recovered::Recovered, Some(4.0))],
        amplification: vec![Amplified {
            edge: name(),
            phase: "fault",
            attempts: 40,
            logical: 10,
            amplification: Some(4.0),
            histogram: [(1, 3), (4, 6), (12, 1)].into(),
            backoff: vec![0.1, 0.2],
            jittered: Some(false),
            retry_after_honoured: Some(0.5),
        }],
        fingerprints: vec![Fingerprint {
            edge: name(),
            timeout: Some(0.5),
            retries: Some(3),
            backoff: Some(vec![0.1]),
            breaker: Some(Breaker { failures: Some(5), counts: Some(Counted::Calls), open_for: Some(10.0) }),
            pool: Some(50),
            fallback: Some(0.9),
            evidence: vec![name()],
            confidence: Some(0.8),
        }],
        control: vec![Control {
            edge: name(),
            hit: 3,
            spared: 6,
            hit_error_rate: 1.0,
            spared_error_rate: 0.0,
            hit_p50: Some(1.0),
            spared_p50: None,
            says: name(),
        }],
        honesty: Honesty {
            overhead_p50: Some(0.0002),
            overhead_p99: Some(0.001),
            closed_loop: None,
            one_in: 1,
        },
        cautions: vec![name()],
    }
}

const SECTIONS: [&str; 17] = [
    "system",
    "glance",
    "cascade",
    "edges",
    "faults",
    "control",
    "recovery",
    "amplification",
    "callers",
    "services",
    "exposures",
    "expectations",
    "guardrails",
    "deeds",
    "traffic",
    "remarks",
    "repeat",
];

fn sections(page: &str) -> Vec<&str> {
    page.split("<section id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_section_is_there_in_its_order_when_there_is_something_to_say() {
    let page = render(&hostile());
    assert_eq!(sections(&page), SECTIONS);
    let verdict = page.find("class=\"verdict\"").unwrap();
    assert!(verdict < page.find("<section").unwrap(), "the verdict comes first");
    for id in SECTIONS {
        assert!(page.contains(&format!("href=\"#{id}\"")), "{id}");
    }
}

#[test]
fn a_section_with_nothing_to_say_is_not_there() {
    assert_eq!(sections(&render(&bare())), ["system", "repeat"]);
}

#[test]
fn words_of_others_stay_words() {
    let page = render(&hostile());
    for markup in ["<script", "<img", "alert('x')</"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.matches("&lt;script&gt;alert('x')&lt;/script&gt;").count() > 60);
    // Every one of them is a whole one: no attribute ends early.
    assert_eq!(page.matches("onerror=alert(1)&gt;").count(), page.matches("onerror=").count());
    assert_eq!(page.matches("&quot;&gt;&lt;").count(), page.matches("&gt;&lt;script").count());
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let page = render(&hostile());
    let policy =
        page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    assert_eq!(policy, policy::of(style));
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let own = page.replace("http://www.w3.org/2000/svg", "");
    for loads in
        ["http://", "https://", " src=\"", "url(http", "@import", "<link", "<iframe", " style=\"", " onclick"]
    {
        assert!(!own.contains(loads), "{loads}");
    }
    assert_eq!(page.matches("<style>").count(), 1);
}

#[test]
fn the_same_report_is_the_same_page() {
    assert_eq!(render(&hostile()), render(&hostile()));
}

#[test]
fn a_long_run_of_many_edges_stays_below_a_megabyte() {
    let mut report = hostile();
    report.findings = found("edge");
    let mut series = Series::default();
    for n in 1..40_000_u32 {
        let mut window = Window {
            requests: 9 + u64::from(n % 11),
            failed: u64::from(n % 5),
            injected: 1,
            ..Window::default()
        };
        (window.in_flight, window.connections) = (u64::from(n % 13), u64::from(n % 17));
        window.durations.record(Duration::from_micros(u64::from(n) * 37 % 900_000));
        series.take(f64::from(n) * 0.25, &window);
    }
    report
        .phases
        .iter_mut()
        .for_each(|phase| (phase.from, phase.to) = (phase.from * 333.0, phase.to * 333.0));
    let edge = report.edges[0].clone();
    report.edges = (0..12)
        .map(|n| crate::report::EdgeResult {
            name: format!("edge {n}"),
            from: "web".into(),
            to: format!("to {n}"),
            ..edge.clone()
        })
        .collect();
    report.series = vec![series; 12];
    let page = render(&report);
    assert!(page.len() < 1_000_000, "{}", page.len());
}

#[test]
fn what_a_page_says_of_a_cascade() {
    let mut report = hostile();
    report.findings = found("provider");
    report.findings.cascade[1].edge = "checkout".into();
    let page = render(&report);
    for says in [
        "<code>provider</code> fell ill first, 400ms into the fault phase: latency went from 20ms to 1.4s.",
        "<code>checkout</code> followed within 500ms.",
        "did not come back",
        "opens after 5 failed calls, for 10s",
        "3 times",
        "50 at most",
    ] {
        assert!(page.contains(says), "{says}");
    }
}

#[test]
fn what_cannot_be_told_is_not_claimed() {
    let mut report = hostile();
    report.findings = found("provider");
    report.findings.recovery.truncate(1);
    report.findings.recovery[0].state = Recovered::Unmeasured;
    let page = render(&report);
    assert!(
        page.contains("Whether <code>provider</code> and <code>provider</code> came back cannot be told.")
    );
    assert!(page.contains("cannot be told of 2 edges") && !page.contains("All was as before"));
    assert!(page.contains("<title>whether it came back cannot be told</title>"));
    report.findings = Findings::default();
    report.findings.unjudged = [("front".to_owned(), "it had no traffic".to_owned())].into();
    let page = render(&report);
    assert!(page.contains("Nothing can be said of any edge.") && !page.contains("bore it"));
    report.findings.unmoved = vec!["back".into()];
    assert!(render(&report).contains("the system bore it"));
}
