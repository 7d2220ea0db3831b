//! The screen of a run as text, at the size of an old terminal and at others.

use super::*;
use crate::analysis::{Onset, Recovered, Recovery, Signal, Turn, Turned};
use crate::run::testing::{experiment, window};
use crate::telemetry::{EnvShown, StartReason};
use insta::assert_snapshot;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

fn view() -> View {
    let lengths = vec![
        (Phase::Baseline, Duration::from_secs(20)),
        (Phase::Fault, Duration::from_secs(60)),
        (Phase::Recovery, Duration::from_secs(30)),
    ];
    let mut view = View::new(&experiment(), lengths, 1.0);
    tell(&mut view, 0.0, Event::Phase { phase: Phase::Baseline });
    view.seed = 42;
    view.admin(Some(([127, 0, 0, 1], 8475).into()));
    view
}

fn tell(view: &mut View, t: f64, event: Event) {
    view.take(&Stamped { t, event });
}

/// So many seconds of traffic on both edges, of which some failed.
fn traffic(view: &mut View, phase: Phase, from: u32, to: u32, failed: [u64; 2]) {
    for quarter in from * 4..to * 4 {
        let t = f64::from(quarter) / 4.0;
        for (edge, failed) in [(0, failed[0]), (1, failed[1])] {
            let requests = 10 + u64::from(quarter / 4 % 5);
            tell(view, t, Event::Window(window(edge, phase, requests, failed)));
        }
    }
}

fn ill(view: &mut View) {
    traffic(view, Phase::Baseline, 0, 20, [0, 0]);
    tell(view, 20.0, Event::Phase { phase: Phase::Fault });
    let fault = "provider is slow".parse().unwrap();
    tell(view, 20.0, Event::Armed { fault, edges: vec![1], services: vec![], owner: "run".into() });
    view.say(20.0, "armed: provider is slow".into());
    traffic(view, Phase::Fault, 20, 24, [0, 8]);
    traffic(view, Phase::Fault, 24, 50, [9, 8]);
    let onset = |edge: &str, at, signal, baseline, observed, after: Option<&str>| Onset {
        edge: edge.into(),
        at,
        signal,
        baseline,
        observed,
        source: after.is_none(),
        after: after.map(str::to_owned),
        faults: vec![],
        evidence: String::new(),
    };
    view.found(Findings {
        cascade: vec![
            onset("provider", 0.52, Signal::Latency, 0.052, 1.5, None),
            onset("checkout", 3.9, Signal::Errors, 0.0, 0.87, Some("provider")),
        ],
        turns: vec![Turn {
            edge: "provider".into(),
            at: 1.1,
            what: Turned::GivenUp,
            evidence: "12 of 12 gave up within 2 s".into(),
        }],
        ..Findings::default()
    });
}

/// What is on the screen, without styles and without blanks at the ends of lines.
fn shown(view: &View, width: u16, height: u16) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw(view, area, &mut buffer);
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[test]
fn a_calm_baseline() {
    let mut view = view();
    view.say(0.0, "baseline for 20s".into());
    traffic(&mut view, Phase::Baseline, 0, 8, [0, 0]);
    assert_snapshot!("baseline", shown(&view, 80, 24));
}

#[test]
fn a_cascade_as_it_spreads() {
    let mut view = view();
    ill(&mut view);
    assert_snapshot!("cascade", shown(&view, 80, 24));
}

#[test]
fn recovery_services_and_what_happened() {
    let mut view = view();
    ill(&mut view);
    tell(&mut view, 80.0, Event::Phase { phase: Phase::Recovery });
    traffic(&mut view, Phase::Recovery, 80, 90, [0, 0]);
    let (service, env) = ("api".parse::<crate::units::Name>().unwrap(), |changed| {
        vec![EnvShown { name: "ENVIRONMENT".into(), value: None, changed }]
    });
    let mut lived = |incarnation, did| {
        tell(&mut view, 85.0, Event::Service { service: service.clone(), incarnation, did });
    };
    lived(1, Did::Started { pid: 1, reason: StartReason::First, env: env(false), holds: vec![] });
    lived(1, Did::Exited { code: Some(1), signal: None, cause: ExitCause::Itself });
    lived(2, Did::Started { pid: 2, reason: StartReason::Crash, env: env(true), holds: vec![] });
    lived(2, Did::Ready { after: 0.2 });
    for edge in ["provider", "checkout"] {
        view.findings.recovery.push(Recovery {
            edge: edge.into(),
            state: Recovered::Recovered,
            within: Some(1.0),
            surge: None,
            sustained_by: None,
        });
    }
    for n in 0..30 {
        view.say(80.0 + f64::from(n), format!("line {n}"));
    }
    assert_snapshot!("recovery", shown(&view, 80, 24));
}

#[test]
fn small_wide_and_without_edges() {
    let mut view = view();
    ill(&mut view);
    assert_snapshot!("tiny", shown(&view, 30, 5));
    assert_snapshot!("small", shown(&view, 60, 10));
    assert_snapshot!("wide", shown(&view, 130, 14));
    view.edges.clear();
    assert!(shown(&view, 80, 24).contains("no edges"));
}

#[test]
fn names_of_any_length_and_more_edges_than_room() {
    let mut view = view();
    view.edges[0].name = "a-very-long-name-of-an-edge-that-goes-on".into();
    view.title =
        Some("also a title that is far too long for a line of an old terminal, and then some".into());
    for n in 0..60 {
        view.edges.push(Row {
            name: format!("edge-{n}"),
            from: String::new(),
            to: String::new(),
            seconds: VecDeque::new(),
            connections: 0,
            in_flight: 0,
        });
    }
    let text = shown(&view, 80, 24);
    assert!(text.lines().all(|line| line.chars().count() <= 80));
    assert!(text.contains("a-very-long-name-of-an-…") && text.contains("more"), "{text}");
    // any size there is
    for (width, height) in (1..120).step_by(7).flat_map(|width| (1..40).map(move |height| (width, height))) {
        shown(&view, width, height);
    }
}

#[test]
fn an_edge_shows_a_minute_and_forgets_the_rest() {
    let mut view = view();
    traffic(&mut view, Phase::Baseline, 0, 300, [0, 0]);
    assert_eq!(view.edges[0].seconds.len(), SHOWN);
    for n in 0..1_000 {
        view.say(0.0, n.to_string());
    }
    assert_eq!(view.lines().count(), LINES);
}
