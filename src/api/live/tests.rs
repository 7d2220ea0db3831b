//! The live page: what it remembers, what it shows, and that no name gets out of its place.

use super::render;
use super::state::{BACK, EDGES, Life, State};
use super::system;
use super::view::View;
use crate::analysis::{Findings, Onset, Recovered, Recovery, Signal};
use crate::api::tests::experiment;
use crate::chart;
use crate::control::{EdgeStatus, FaultStatus};
use crate::decision::Protocol;
use crate::model::{Experiment, Phase};
use crate::telemetry::{Did, EnvShown, Event, ExitCause, Stamped, StartReason, Window};
use std::time::Duration;

fn told(state: &mut State, events: impl IntoIterator<Item = (f64, Event)>) {
    events.into_iter().for_each(|(t, event)| state.take(&Stamped { t, event }));
}

fn window(edge: u16, requests: u64, failed: u64) -> Event {
    let mut window = Window { edge, requests, failed, in_flight: 3, ..Window::default() };
    window.durations.record(Duration::from_millis(20));
    Event::Window(window)
}

fn edge(id: u16, name: &str, from: &str, to: &str) -> EdgeStatus {
    EdgeStatus {
        id,
        name: name.into(),
        listen: ([127, 0, 0, 1], 9000 + id).into(),
        protocol: Protocol::Http,
        upstreams: vec!["127.0.0.1:4000".into()],
        from: from.into(),
        to: to.into(),
    }
}

fn fault(name: &str, armed: bool) -> FaultStatus {
    FaultStatus {
        name: name.into(),
        edges: vec!["provider".into()],
        services: vec![],
        owner: "hand".into(),
        armed,
        active: armed,
        actions: vec!["latency".into()],
        matched: 14,
        selected: 12,
        hits: 12,
        ends_in: armed.then_some(41.2),
    }
}

fn onset(edge: &str, at: f64, source: bool) -> Onset {
    Onset {
        edge: edge.into(),
        at,
        signal: Signal::Latency,
        baseline: 0.02,
        observed: 0.5,
        source,
        after: (!source).then(|| "provider".into()),
        faults: vec![],
        evidence: String::new(),
    }
}

/// Everything that a view needs, with a system of two edges.
struct Scene {
    run: Option<Experiment>,
    state: State,
    edges: Vec<EdgeStatus>,
    faults: Vec<FaultStatus>,
    halted: bool,
    findings: Findings,
    now: f64,
}

impl Scene {
    fn run() -> Self {
        Self { run: Some(experiment()), state: State::new(true, []), ..Self::serve() }
    }

    fn serve() -> Self {
        Self {
            run: None,
            state: State::new(false, []),
            edges: vec![edge(0, "checkout", "client", "shop"), edge(1, "provider", "shop", "provider")],
            faults: vec![fault("slow", true), fault("gone", false)],
            halted: false,
            findings: Findings::default(),
            now: 0.0,
        }
    }

    fn look<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        read(&View {
            name: "timeout-cut",
            run: self.run.as_ref(),
            state: &self.state,
            edges: &self.edges,
            faults: &self.faults,
            halted: self.halted,
            ready: true,
            findings: &self.findings,
            checks: &[],
            now: self.now,
        })
    }

    fn piece(&self, id: &str) -> String {
        self.look(render::pieces).into_iter().find(|(known, _)| known == id).unwrap().1
    }

    /// All that can be seen.
    fn page(&self) -> String {
        self.look(|view| {
            let frame = view.frame();
            let edges = view.edges.iter().map(|edge| system::edge(view, &frame, edge));
            let all: Vec<String> =
                render::pieces(view).into_iter().chain(edges).map(|(_, text)| text).collect();
            all.join("\n")
        })
    }
}

#[test]
fn it_remembers_ten_minutes_of_at_most_so_many_edges() {
    let mut state = State::new(false, []);
    for n in 0..20_000 {
        told(&mut state, [(f64::from(n) * 0.25, window(0, 10, 1))]);
    }
    let slices = state.edges[&0].series.slices();
    let oldest = state.now - slices[0].to;
    assert!((BACK - 0.5..=BACK).contains(&oldest), "{oldest}");
    assert!(slices.len() <= 2_401 && slices.iter().all(|slice| slice.to - slice.from < 0.3), "not merged");
    told(&mut state, (0..=u16::MAX).map(|edge| (5000.0, window(edge, 1, 0))));
    assert_eq!(state.edges.len(), EDGES);
    let names = (0..5_000).map(|n| format!("service {n}").parse().unwrap());
    let ready = |service| Event::Service { service, incarnation: 1, did: Did::Ready { after: 0.1 } };
    told(&mut state, names.map(|name| (5000.0, ready(name))));
    let warned = |n| Event::Warning { text: format!("{n}") };
    told(&mut state, (0..5_000).map(|n| (5000.0, warned(n))));
    for n in 0..5_000 {
        let fault: crate::units::Name = format!("f{n}").parse().unwrap();
        let armed = Event::Armed { fault, edges: vec![0], services: vec![], owner: "hand".into() };
        told(&mut state, [(5000.0, armed)]);
    }
    assert!(state.services.len() <= 64 && state.log.len() <= 40 && state.faults.len() <= 256);
    assert_eq!(state.log.back().unwrap().2, "armed: f4999 (by hand)");
}

#[test]
fn figures_are_those_of_the_last_seconds() {
    let mut scene = Scene::serve();
    told(&mut scene.state, (1..=40).map(|n| (f64::from(n) * 0.25, window(0, 10, u64::from(n > 36) * 5))));
    scene.now = 10.0;
    let now = scene.look(|view| view.figures(&view.edges[0])).unwrap();
    assert_eq!((now.rate, now.success, now.in_flight), (40.0, Some(100.0 / 120.0), 3));
    assert_eq!(scene.look(|view| view.state_of(&view.edges[0])), chart::State::Ill);
    assert!(scene.piece("story").contains("One fault is armed. One edge fails."));
    scene.now = 20.0;
    assert_eq!(
        scene.look(|view| view.figures(&view.edges[0])),
        None,
        "an edge that is silent shows nothing old"
    );
    assert_eq!(scene.look(|view| view.state_of(&view.edges[0])), chart::State::Calm);
}

#[test]
fn the_frame_of_a_run_is_its_plan_and_then_what_came_of_it() {
    let mut scene = Scene::run();
    let names = |scene: &Scene| {
        let frame = scene.look(|view| view.frame());
        let bands = frame.phases.iter().map(|band| (band.name.clone(), band.from, band.to));
        (frame.from, frame.to, bands.collect::<Vec<_>>())
    };
    told(&mut scene.state, [(0.0, Event::Phase { phase: Phase::Baseline })]);
    scene.now = 4.0;
    let planned = [("baseline", 0.0, 20.0), ("fault", 20.0, 80.0), ("recovery", 80.0, 110.0)];
    let planned = planned.map(|(name, from, to)| (name.to_owned(), from, to)).to_vec();
    assert_eq!(names(&scene), (0.0, 110.0, planned));
    told(&mut scene.state, [(21.0, Event::Phase { phase: Phase::Fault }), (30.0, Event::Finished)]);
    scene.now = 500.0;
    let came = [("baseline", 0.0, 21.0), ("fault", 21.0, 30.0)];
    let came = came.map(|(name, from, to)| (name.to_owned(), from, to)).to_vec();
    assert_eq!(names(&scene), (0.0, 30.0, came));
}

#[test]
fn what_serves_shows_its_last_ten_minutes() {
    let mut scene = Scene::serve();
    for (now, from, to) in [(5.0, 0.0, 60.0), (100.0, 0.0, 100.0), (2_000.0, 1_400.0, 2_000.0)] {
        scene.now = now;
        let frame = scene.look(|view| view.frame());
        assert_eq!((frame.from, frame.to, frame.phases.len()), (from, to, 0));
    }
}

#[test]
fn the_cascade_lights_up_and_goes_out() {
    let mut scene = Scene::run();
    told(
        &mut scene.state,
        [
            (0.0, Event::Phase { phase: Phase::Baseline }),
            (20.0, Event::Phase { phase: Phase::Fault }),
            (21.0, window(1, 10, 0)),
        ],
    );
    scene.now = 25.0;
    assert!(scene.piece("story").contains("The fault is on, and every edge is as it was."));
    scene.findings.cascade = vec![onset("provider", 1.5, true), onset("checkout", 3.0, false)];
    assert_eq!(scene.piece("story"), "provider is the source, 1.5s into the fault; all 2 edges fell ill.");
    let graph = scene.piece("graph");
    assert!(graph.contains("edge source") && graph.contains("edge symptom") && !graph.contains("edge calm"));
    let cascade = scene.piece("cascade");
    let place = |name: &str| cascade.find(&format!("<strong>{name}</strong>")).unwrap();
    assert!(place("provider") < place("checkout"));
    assert!(cascade.contains("latency 20ms → 500ms, after provider") && cascade.contains("+1.5s"));
    let page = scene.page();
    assert!(page.contains("provider fell ill: number 1"), "the charts have a mark");
    let back = |edge: &str| Recovery {
        edge: edge.into(),
        state: Recovered::Recovered,
        within: Some(2.0),
        surge: None,
        sustained_by: None,
    };
    scene.findings.recovery = vec![back("provider"), back("checkout")];
    told(&mut scene.state, [(80.0, Event::Phase { phase: Phase::Recovery })]);
    scene.now = 90.0;
    assert!(scene.piece("story").ends_with("all 2 edges fell ill, and came back."));
    assert!(scene.piece("graph").contains("edge recovered"));
}

#[test]
fn what_can_be_done_is_what_makes_sense() {
    let mut scene = Scene::serve();
    let faults = scene.piece("faults");
    assert!(
        faults.contains(r#"data-act="heal" data-name="slow""#)
            && !faults.contains(r#"data-act="arm" data-name="slow""#)
    );
    assert!(faults.contains(r#"data-act="arm" data-name="gone""#) && faults.contains("heals in <b>0:42</b>"));
    assert!(!scene.piece("alert").contains("lift"));
    scene.halted = true;
    scene.faults = vec![fault("gone", false)];
    let faults = scene.piece("faults");
    assert!(
        faults.contains(r#"data-ttl="ttl-0" disabled"#) && faults.contains(r#"data-act="heal-all" disabled"#)
    );
    assert!(scene.piece("alert").contains(r#"data-act="lift""#));
    assert!(scene.look(render::title).starts_with("HALTED"));
}

#[test]
fn services_show_how_they_are_and_what_differs() {
    let mut scene = Scene::serve();
    scene.state = State::new(false, ["api".to_owned(), "db".to_owned()]);
    let api = |did| Event::Service { service: "api".parse().unwrap(), incarnation: 2, did };
    let env = vec![
        EnvShown { name: "TIMEOUT".into(), value: Some("a secret".into()), changed: true },
        EnvShown { name: "HOME".into(), value: None, changed: false },
    ];
    told(
        &mut scene.state,
        [
            (1.0, api(Did::Started { pid: 7, reason: StartReason::Swap, env, holds: vec![] })),
            (2.0, api(Did::Ready { after: 1.0 })),
        ],
    );
    assert_eq!(scene.state.services["api"].life, Life::Ready);
    let shown = scene.piece("services");
    assert!(shown.contains("differs from the file: TIMEOUT") && shown.contains("not started yet"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("HOME"));
    told(
        &mut scene.state,
        [(3.0, api(Did::Exited { code: None, signal: Some("SIGKILL".into()), cause: ExitCause::Fault }))],
    );
    assert!(scene.piece("services").contains("down: SIGKILL"));
}

#[test]
fn names_are_cut_and_what_cannot_be_seen_is_left_out() {
    for (text, cut) in [
        ("checkout", "checkout"),
        ("12345678", "12345678"),
        ("123456789", "1234567…"),
        ("a\u{202e}b\nc", "a b c"),
        ("ööööööööö", "ööööööö…"),
        ("", ""),
    ] {
        assert_eq!(super::view::short(text, 8), cut);
    }
}

#[test]
fn no_name_gets_out_of_its_place() {
    let evil = "<img src=x onerror=alert(1)>\"'&\u{202e}";
    let mut scene = Scene::run();
    if let Some(run) = &mut scene.run {
        run.title = Some(evil.into());
    }
    scene.edges = vec![edge(0, evil, evil, "\"><script>alert(1)</script>")];
    scene.faults =
        vec![FaultStatus { edges: vec![evil.into()], actions: vec![evil.into()], ..fault(evil, true) }];
    scene.faults.push(fault("\" autofocus onfocus=\"alert(1)", false));
    scene.findings.cascade = vec![onset(evil, 1.0, true)];
    scene.findings.unjudged.insert(evil.into(), evil.into());
    scene.findings.cautions.push(evil.into());
    scene.state = State::new(true, [evil.to_owned()]);
    let service = "a<img onerror=1>".parse().unwrap();
    let not_ready = Did::NotReady { text: evil.into() };
    told(
        &mut scene.state,
        [
            (0.0, Event::Phase { phase: Phase::Fault }),
            (1.0, window(0, 10, 5)),
            (1.0, Event::Warning { text: evil.into() }),
            (1.0, Event::Service { service, incarnation: 1, did: not_ready }),
        ],
    );
    scene.now = 2.0;
    let page = scene.page();
    assert!(page.contains("&lt;img") && page.len() > 3_000);
    for tag in page.split('<').skip(1) {
        let name: String =
            tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(!["img", "script", "style", "iframe", ""].contains(&name.as_str()), "<{tag}");
        // Outside of quoted values nothing is a handler or a style.
        let bare: String = tag.split('>').next().unwrap().split('"').step_by(2).collect();
        assert!(!bare.contains(" on") && !bare.contains("style"), "<{tag}");
    }
}
