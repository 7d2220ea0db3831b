//! Expectations on how a failure spreads and ends, held against findings and traffic of the tests' own.

use super::*;
use crate::analysis::{EdgeTraffic, PhaseSpan, Signal, Traffic};
use crate::model::{Overrides, Phase, parse};
use crate::report::{Fold, judge};
use crate::telemetry::{Ending, Event, Identity, Origin, Passed, Stamped};

const EDGES: &str = r#"
name = "x"
[run]
baseline = "20s"
fault = "60s"
recovery = "60s"
[[edge]]
name = "checkout"
listen = "127.0.0.1:0"
upstream = "http://127.0.0.1:1"
[[edge]]
name = "provider"
listen = "127.0.0.1:0"
upstream = "http://127.0.0.1:1"
[[edge]]
name = "cache"
listen = "127.0.0.1:0"
upstream = "http://127.0.0.1:1"
"#;

fn experiment(expect: &str) -> Experiment {
    let text = format!("{EDGES}\n[[expect]]\nname = \"e\"\n{expect}");
    parse(&text, "x.toml".as_ref(), &Overrides::default())
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
        .experiment
}

fn fold(last: Phase) -> Fold {
    let mut fold = Fold::new();
    let phases =
        [(0.0, Phase::Baseline), (20.0, Phase::Fault), (80.0, Phase::Recovery), (140.0, Phase::Idle)];
    for (t, phase) in phases {
        if phase == Phase::Idle || phase <= last {
            fold.take(&Stamped { t, event: Event::Phase { phase } });
        }
    }
    fold
}

fn ill(edge: &str, at: f64, source: bool) -> Onset {
    Onset {
        edge: edge.into(),
        at,
        signal: Signal::Errors,
        baseline: 0.0,
        observed: 1.0,
        source,
        after: None,
        faults: vec![],
        evidence: String::new(),
    }
}

fn judged(expect: &str, findings: Findings) -> CheckResult {
    let fold = fold(Phase::Recovery);
    let experiment = experiment(expect);
    let truth = Truth::with(&fold, Traffic::default(), findings);
    let mut checks = judge::checks_of(&experiment, &truth);
    assert_eq!(checks.len(), 1, "{checks:?}");
    checks.remove(0)
}

#[test]
fn sources_and_order_are_held_against_the_onsets() {
    let spread = Findings {
        cascade: vec![ill("provider", 0.4, true), ill("checkout", 3.0, false)],
        unmoved: vec!["cache".into()],
        ..Findings::default()
    };
    let calm = Findings {
        unmoved: ["provider", "checkout", "cache"].map(str::to_owned).into(),
        ..Findings::default()
    };
    let blind = Findings {
        cascade: vec![ill("checkout", 3.0, true)],
        unjudged: [("provider".to_owned(), "no traffic on the baseline".to_owned())].into(),
        ..Findings::default()
    };
    for (expect, findings, met, seen) in [
        ("onset_source = \"provider\"", &spread, Some(true), "provider"),
        ("onset_source = \"checkout\"", &spread, Some(false), "provider"),
        ("onset_source = [\"provider\", \"checkout\"]", &spread, Some(false), "provider"),
        ("onset_source = \"cache\"", &spread, Some(false), "provider"),
        ("onset_source = \"none\"", &spread, Some(false), "provider, then checkout"),
        ("onset_source = \"none\"", &calm, Some(true), "none"),
        ("onset_source = \"provider\"", &calm, Some(false), "none"),
        ("onset_order = [\"provider\", \"checkout\"]", &spread, Some(true), "provider, then checkout"),
        ("onset_order = [\"checkout\", \"provider\"]", &spread, Some(false), "provider, then checkout"),
        ("onset_order = [\"provider\", \"cache\"]", &spread, Some(false), "provider, then checkout"),
        (
            "onset_source = \"provider\"",
            &blind,
            None,
            "`provider` cannot be judged: no traffic on the baseline",
        ),
        ("onset_source = \"checkout\"", &blind, Some(true), "checkout"),
        (
            "onset_order = [\"provider\", \"checkout\"]",
            &blind,
            None,
            "`provider` cannot be judged: no traffic on the baseline",
        ),
        ("onset_source = \"none\"", &Findings::default(), None, "no traffic"),
        ("onset_source = \"provider\"", &Findings::default(), None, "no traffic"),
        ("onset_order = [\"provider\", \"checkout\"]", &Findings::default(), None, "no traffic"),
    ] {
        let check = judged(expect, findings.clone());
        assert_eq!(check.met, met, "{expect}");
        assert_eq!(check.observed_text.or(check.reason).as_deref(), Some(seen), "{expect}");
        assert_eq!(check.observed, met.map(|met| f64::from(u8::from(met))));
    }
}

#[test]
fn without_a_fault_phase_there_is_nothing_to_hold_it_against() {
    let fold = fold(Phase::Baseline);
    let experiment = experiment("onset_source = \"none\"");
    let calm = Findings { unmoved: vec!["cache".into()], ..Findings::default() };
    let checks = judge::checks_of(&experiment, &Truth::with(&fold, Traffic::default(), calm));
    assert_eq!((checks[0].met, checks[0].reason.as_deref()), (None, Some(judge::NOT_REACHED)));
}

/// `checkout` with ten exchanges a second; those that begin within `ill` fail.
fn traffic(ill: std::ops::Range<f64>) -> Traffic {
    let passed = |n: u32| {
        let began = f64::from(n) / 10.0;
        Passed {
            began,
            took: 0.01,
            zombie: None,
            upstream: Some(0.01),
            held: 0.0,
            status: 200,
            origin: Origin::Upstream,
            ending: Ending::Complete,
            failed: ill.contains(&began),
            timed: true,
            hit: false,
            identity: Identity::Given(n.into()),
            target: 1,
            retry_after: None,
        }
    };
    let span = |phase, from, to| PhaseSpan { phase, from, to };
    Traffic {
        edges: vec![EdgeTraffic {
            name: "checkout".into(),
            exchanges: (0..1400).map(passed).collect(),
            ..EdgeTraffic::default()
        }],
        phases: vec![
            span(Phase::Baseline, 0.0, 20.0),
            span(Phase::Fault, 20.0, 80.0),
            span(Phase::Recovery, 80.0, 140.0),
        ],
        end: 140.0,
        one_in: 1,
        ..Traffic::default()
    }
}

#[test]
fn an_edge_is_back_in_time_or_late_or_never() {
    for (until, met, at_least) in [
        (20.0, Some(true), 0.0),
        (85.0, Some(true), 4.9),
        (100.0, Some(false), 19.9),
        (200.0, Some(false), f64::NAN),
    ] {
        let fold = fold(Phase::Recovery);
        let experiment = experiment("edge = \"checkout\"\nrecovers_within = \"15s\"");
        let truth = Truth::with(&fold, traffic(20.0..until), Findings::default());
        let checks = judge::checks_of(&experiment, &truth);
        assert_eq!(checks.len(), 1, "only the recovery is judged: {checks:?}");
        assert_eq!((checks[0].met, checks[0].phase), (met, "recovery"), "{until}: {checks:?}");
        match checks[0].observed {
            Some(within) => assert!(within >= at_least && within < at_least + 1.0, "{until}: {within}"),
            None => assert!(
                at_least.is_nan() && checks[0].seen().is_some_and(|seen| seen.starts_with("still ill"))
            ),
        }
    }
    let silent = Traffic {
        edges: vec![EdgeTraffic { name: "checkout".into(), ..EdgeTraffic::default() }],
        ..traffic(0.0..0.0)
    };
    let fold = fold(Phase::Recovery);
    let experiment = experiment("edge = \"checkout\"\nrecovers_within = \"15s\"");
    let checks = judge::checks_of(&experiment, &Truth::with(&fold, silent, Findings::default()));
    assert!(checks[0].met.is_none() && checks[0].reason.is_some(), "no samples is never met: {checks:?}");
}

#[test]
fn amplification_is_judged_in_the_baseline_too_and_never_without_a_request() {
    let fold = fold(Phase::Recovery);
    let experiment = experiment("edge = \"checkout\"\namplification = \"<= 1.5x\"");
    let checks = judge::checks_of(&experiment, &Truth::with(&fold, traffic(0.0..0.0), Findings::default()));
    let found: Vec<_> = checks.iter().map(|check| (check.phase, check.observed, check.met)).collect();
    assert_eq!(found, [("baseline", Some(1.0), Some(true)), ("fault", Some(1.0), Some(true))]);
    let none = judge::checks_of(&experiment, &Truth::with(&fold, Traffic::default(), Findings::default()));
    assert!(none.iter().all(|check| check.met.is_none() && check.reason.is_some()), "{none:?}");
}

#[test]
fn a_limit_is_a_multiple_of_the_baseline() {
    use crate::telemetry::Window;
    for (before, here, observed, met) in [
        ((100, 2), (100, 3), 1.5, true),
        ((100, 2), (100, 4), 2.0, false),
        ((100, 0), (100, 0), 1.0, true),
        ((100, 0), (100, 1), f64::INFINITY, false),
    ] {
        let mut fold = Fold::new();
        let window = |phase, (requests, failed)| {
            Event::Window(Window { phase: Some(phase), requests, failed, ..Window::default() })
        };
        for (t, event) in [
            (0.0, Event::Phase { phase: Phase::Baseline }),
            (19.0, window(Phase::Baseline, before)),
            (20.0, Event::Phase { phase: Phase::Fault }),
            (79.0, window(Phase::Fault, here)),
            (80.0, Event::Phase { phase: Phase::Idle }),
        ] {
            fold.take(&Stamped { t, event });
        }
        let of = experiment("edge = \"checkout\"\nvs = \"baseline\"\nerror_rate = \"<= 1.5x\"");
        let checks = judge::checks(&of, &fold);
        assert_eq!(checks.len(), 1, "the baseline is not compared with itself: {checks:?}");
        assert!((checks[0].observed.unwrap() - observed).abs() < 1e-9 || observed.is_infinite());
        assert_eq!(checks[0].met, Some(met), "{checks:?}");
        assert!(checks[0].vs.is_some());
        let empty = experiment("edge = \"cache\"\nvs = \"baseline\"\nerror_rate = \"<= 1.5x\"");
        assert_eq!(judge::checks(&empty, &fold)[0].met, None);
    }
}
