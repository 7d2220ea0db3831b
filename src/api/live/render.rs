//! From what is known to pieces of HTML, each with the id of the place on the page where it stands.
//!
//! Pure. Every text is escaped, whoever wrote it; nothing here is a script or a style.

use super::state::Life;
use super::view::{View, left, seconds, short};
use crate::analysis::{Onset, Signal};
use crate::chart::{self, Graph, Lane, Stretch};
use crate::control::{EdgeStatus, FaultStatus};
use crate::model::Phase;
use crate::report::{CheckResult, figures};
use crate::units::Unit;
use maud::{Markup, html};

/// The longest name, in characters, that stands in a sentence.
const NAME: usize = 60;
/// Expectations, faults and services that are listed.
const LISTED: usize = 100;
/// Lines of the log.
const LINES: usize = 14;

/// A piece and the id of its place.
pub(super) type Piece = (String, String);

/// Everything but the charts.
pub(super) fn pieces(view: &View<'_>) -> Vec<Piece> {
    let shown = [
        ("what", what(view)),
        ("now", now(view)),
        ("alert", alert(view)),
        ("story", html! { (view.story()) }),
        ("graph", graph(view)),
        ("glance", glance(view)),
        ("cascade", cascade(view)),
        ("faults", faults(view)),
        ("expectations", expectations(view)),
        ("services", services(view)),
        ("log", log(view)),
    ];
    shown.into_iter().map(|(id, markup)| (id.to_owned(), markup.into_string())).collect()
}

/// The title of the window: what one sees of it in a row of others.
pub(super) fn title(view: &View<'_>) -> String {
    match view.state.phase() {
        _ if view.halted => format!("HALTED · {}", view.name),
        Some((phase, _)) => format!("{} · {}", phase.as_str(), view.name),
        None => format!("{} · Brownout", view.name),
    }
}

/// Which experiment, and what it asks.
fn what(view: &View<'_>) -> Markup {
    let title = view.run.and_then(|run| run.title.as_deref());
    html! {
        h1 { (short(view.name, NAME)) }
        @if let Some(title) = title { p { (title) } }
        @if view.run.is_none() { p { "serving: no phases; faults are armed and healed by hand or by the file" } }
    }
}

/// The phase, what is left of it, and the load.
fn now(view: &View<'_>) -> Markup {
    let (word, class, rest) = match view.state.phase() {
        _ if view.state.finished => ("over", "over", None),
        Some((phase, from)) => {
            let gone = view.told(view.now - from);
            (phase.as_str(), phase.as_str(), view.planned(phase).map(|length| (length - gone).max(0.0)))
        }
        None if view.run.is_some() => ("starting", "other", None),
        None => ("serving", "other", None),
    };
    html! {
        div class=(format!("phase-now {class}")) {
            strong { (word) }
            @if let Some(rest) = rest { span { b { (left(rest)) } " left" } }
            @else if view.run.is_none() { span { "for " b { (chart::clock(view.now)) } } }
        }
        @if let Some((sent, shed, timed_out)) = view.state.load {
            p class="load" {
                "load: " b { (sent) } " sent"
                @if shed > 0 { ", " b class="bad" { (shed) } " not sent: too many were out" }
                @if timed_out > 0 { ", " b class="bad" { (timed_out) } " given up" }
            }
        }
    }
}

/// What must be seen first.
fn alert(view: &View<'_>) -> Markup {
    html! {
        @if view.halted {
            div class="banner halted" {
                strong { "HALTED" }
                span { "Everything is healed. Nothing can be armed until the halt is lifted." }
                button type="button" data-act="lift" { "Lift the halt" }
            }
        }
        @if view.state.finished {
            div class="banner over" {
                strong { "The run is over" }
                span { "The verdict stands in the terminal, and in the folder of its results." }
            }
        } @else if !view.ready {
            div class="banner" { strong { "Not ready" } span { "Listeners or services are still coming up." } }
        }
    }
}

/// The order of the legend: what matters first.
const ORDER: [chart::State; 6] = [
    chart::State::Source,
    chart::State::Symptom,
    chart::State::Ill,
    chart::State::Unjudged,
    chart::State::Recovered,
    chart::State::Calm,
];

/// The system.
fn graph(view: &View<'_>) -> Markup {
    if view.edges.is_empty() {
        return html! { p class="none" { "There are no edges." } };
    }
    let mut seen = [false; chart::State::ALL.len()];
    let edges = view.edges.iter().take(super::state::EDGES).map(|edge| {
        let state = view.state_of(edge);
        seen[state as usize] = true;
        chart::Edge {
            name: edge.name.clone(),
            from: edge.from.clone(),
            to: edge.to.clone(),
            state,
            order: view.onset(&edge.name).map(|(place, _)| place + 1),
            detail: detail(view, edge),
        }
    });
    let picture = Graph { edges: edges.collect() }.draw();
    let states: Vec<chart::State> = ORDER.into_iter().filter(|state| seen[*state as usize]).collect();
    html! { div class="scroll" { (picture) } (chart::legend(&states)) }
}

/// A few words under an edge.
fn detail(view: &View<'_>, edge: &EdgeStatus) -> String {
    let mut words = Vec::new();
    if let Some(figures) = view.figures(edge) {
        words.push(rate(figures.rate));
        words.extend(
            figures.success.filter(|share| *share < 1.0).map(|share| format!("{} ok", percent(share))),
        );
    }
    match view.active_on(edge) {
        0 => {}
        1 => words.push("fault".into()),
        n => words.push(format!("{n} faults")),
    }
    words.join(" · ")
}

/// Phases, faults and ill edges on one time axis.
fn glance(view: &View<'_>) -> Markup {
    let frame = view.frame();
    let now = view.told(if view.state.finished { view.state.now } else { view.now });
    let mut lanes: Vec<Lane> = Vec::new();
    for band in &frame.faults {
        let stretch = Stretch::Fault(band.from, band.to, format!("fault: {}", band.name));
        let room = lanes.len() < 12;
        match lanes.iter_mut().find(|lane| lane.name == band.name) {
            Some(lane) => lane.stretches.push(stretch),
            None if room => lanes.push(Lane { name: band.name.clone(), stretches: vec![stretch] }),
            None => {}
        }
    }
    for (place, onset) in view.findings.cascade.iter().take(24).enumerate() {
        let Some(at) = view.onset_at(onset) else { continue };
        let number = (place + 1).to_string();
        let end = back_at(view, &onset.edge).unwrap_or(now).max(at);
        let says = format!("{} fell ill at {}", onset.edge, chart::clock(at));
        lanes.push(Lane {
            name: onset.edge.clone(),
            stretches: vec![Stretch::Ill(at, end, says.clone()), Stretch::Mark(at, number, says)],
        });
    }
    if lanes.is_empty() && view.run.is_none() {
        return html! {};
    }
    if let Some(first) = frame.phases.first() {
        let so_far = Stretch::Well(first.from.max(frame.from), now, "so far".into());
        lanes.insert(0, Lane { name: "the run".into(), stretches: vec![so_far] });
    }
    chart::lanes(&frame, &lanes)
}

/// When an edge was back, in the file's time.
fn back_at(view: &View<'_>, edge: &str) -> Option<f64> {
    let within = view.findings.recovery.iter().find(|one| one.edge == edge)?.within?;
    let (.., healed) = view.state.phases.iter().find(|(phase, ..)| *phase == Phase::Fault)?;
    Some(view.told((*healed)? + within))
}

/// Who fell ill, in order.
fn cascade(view: &View<'_>) -> Markup {
    let reached = view.state.phases.iter().any(|(phase, ..)| *phase == Phase::Fault);
    html! {
        @if view.findings.cascade.is_empty() {
            p class="none" {
                @if view.run.is_none() { "Only a run has a baseline to compare with." }
                @else if reached { "No edge has left its baseline." }
                @else { "Nobody is ill before the fault." }
            }
        } @else {
            ol class="cascade" { @for onset in &view.findings.cascade { (fell(view, onset)) } }
        }
        @for (edge, why) in &view.findings.unjudged { p class="note" { (short(edge, NAME)) ": " (why) } }
        @for caution in &view.findings.cautions { p class="note" { (caution) } }
    }
}

fn fell(view: &View<'_>, onset: &Onset) -> Markup {
    let back = view.is_back(&onset.edge);
    let class = match (back, onset.source) {
        (true, _) => "recovered",
        (false, true) => "source",
        (false, false) => "symptom",
    };
    html! {
        li class=(class) {
            strong { (short(&onset.edge, NAME)) }
            span class="at" { "+" (seconds(view.told(onset.at))) }
            span class="tag" { (if onset.source { "source" } else { "symptom" }) @if back { ", back" } }
            span class="why" {
                (sign(onset.signal)) " " (value(onset.signal, onset.baseline)) " → " (value(onset.signal, onset.observed))
                @if let Some(after) = &onset.after { ", after " (short(after, NAME)) }
                @if !onset.faults.is_empty() { ", under " (short(&onset.faults.join(", "), NAME)) }
            }
        }
    }
}

fn sign(signal: Signal) -> &'static str {
    match signal {
        Signal::Errors => "errors",
        Signal::Latency => "latency",
        Signal::InFlight => "in flight",
        Signal::Rate => "rate",
        Signal::Connections => "connections",
    }
}

fn value(signal: Signal, value: f64) -> String {
    match signal {
        Signal::Errors => percent(value),
        Signal::Latency => seconds(value),
        Signal::Rate => rate(value),
        Signal::InFlight | Signal::Connections => figures::number(Unit::Count, value),
    }
}

/// The faults, with what can be done about each.
fn faults(view: &View<'_>) -> Markup {
    let armed = view.faults.iter().filter(|fault| fault.armed).count();
    html! {
        @if view.faults.is_empty() {
            p class="none" { "The file has none. " code { "brownout fault arm" } " arms others." }
        }
        ul class="faults" {
            @for (n, fault) in view.faults.iter().take(LISTED).enumerate() { (one_fault(view, n, fault)) }
        }
        (more(view.faults.len()))
        button type="button" class="all" data-act="heal-all" disabled[armed == 0] { "Heal all" }
    }
}

fn one_fault(view: &View<'_>, n: usize, fault: &FaultStatus) -> Markup {
    let class = match (fault.armed, fault.active) {
        (true, true) => "active",
        (true, false) => "waiting",
        (false, _) => "idle",
    };
    let word = match class {
        "active" => "in force",
        "waiting" => "armed, waits for its time",
        _ => "not armed",
    };
    let name = short(&fault.name, NAME);
    html! {
        li class=(class) data-key=(fault.name) {
            div class="name" { strong { (name) } span class="tag" { (word) } }
            div class="about" {
                (fault.actions.join(", ")) " on " (short(&fault.places().join(", "), NAME))
                @if fault.matched > 0 { " · " b { (fault.hits) } " hit of " (fault.matched) }
                @if let Some(ends) = fault.ends_in { " · heals in " b { (left(if fault.owner == "run" { view.told(ends) } else { ends })) } }
            }
            div class="do" {
                @if fault.armed {
                    button type="button" data-act="heal" data-name=(fault.name) aria-label=(format!("heal {name}")) { "Heal" }
                } @else {
                    @let id = format!("ttl-{n}");
                    label class="unseen" for=(id) { "how long " (name) " lasts" }
                    select id=(id) disabled[view.halted] {
                        option value="" { "for as long as the file says" }
                        @for (value, text) in TTLS { option value=(value) { (text) } }
                    }
                    button type="button" class="arm" data-act="arm" data-name=(fault.name) data-ttl=(id) disabled[view.halted]
                        aria-label=(format!("arm {name}")) { "Arm" }
                }
            }
        }
    }
}

const TTLS: [(&str, &str); 5] = [
    ("30s", "for 30 seconds"),
    ("2m", "for 2 minutes"),
    ("15m", "for 15 minutes"),
    ("1h", "for an hour"),
    ("forever", "until healed"),
];

fn more(count: usize) -> Markup {
    html! { @if count > LISTED { p class="note" { "and " (count - LISTED) " more" } } }
}

/// What must hold, and how it stands.
fn expectations(view: &View<'_>) -> Markup {
    let Some(run) = view.run else { return html! {} };
    let under_way = view.state.phase().map_or("", |(phase, _)| phase.as_str());
    html! {
        @if run.expects.is_empty() { p class="none" { "The file expects nothing." } }
        ul class="expects" {
            @for expectation in run.expects.iter().take(LISTED) {
                @let own: Vec<&CheckResult> =
                    view.checks.iter().filter(|check| check.name == expectation.name.as_str()).collect();
                @let (class, word) = stands(&own);
                li class=(class) data-key=(expectation.name) {
                    strong { (short(expectation.name.as_str(), NAME)) }
                    span class="tag" { (word) }
                    @for check in own.iter().filter(|check| check.observed.is_some()) {
                        span class=(if check.met == Some(false) { "why bad" } else { "why" }) {
                            (check.phase) @if check.phase == under_way { " so far" } ": "
                            (check.key) " " (figures::number(check.unit, check.observed.unwrap_or_default()))
                            " (must be " (check.op.to_string()) " " (figures::number(check.unit, check.limit)) ")"
                        }
                    }
                }
            }
        }
        (more(run.expects.len()))
    }
}

/// How an expectation stands: class and word.
fn stands(checks: &[&CheckResult]) -> (&'static str, &'static str) {
    let mets = || checks.iter().map(|check| check.met);
    match () {
        () if mets().any(|met| met == Some(false)) => ("failed", "does not hold"),
        () if mets().all(|met| met == Some(true)) && !checks.is_empty() => ("met", "holds"),
        () if mets().any(|met| met == Some(true)) => ("met", "holds so far"),
        () => ("open", "nothing to judge by yet"),
    }
}

/// The services, and what of their environment differs.
fn services(view: &View<'_>) -> Markup {
    html! {
        @if view.state.services.is_empty() { p class="none" { "None is supervised here." } }
        ul class="services" {
            @for (name, service) in view.state.services.iter().take(LISTED) {
                @let (class, word) = match &service.life {
                    Life::Unborn => ("open", "not started yet".to_owned()),
                    Life::Starting => ("waiting", "starting".to_owned()),
                    Life::Ready => ("met", "ready".to_owned()),
                    Life::Paused => ("failed", "paused".to_owned()),
                    Life::Ended(how) => ("failed", format!("down: {how}")),
                };
                li class=(class) data-key=(name) {
                    strong { (short(name, NAME)) }
                    span class="tag" { (short(&word, NAME)) }
                    @if service.incarnation > 1 { span class="why" { "process number " (service.incarnation) } }
                    @if !service.drift.is_empty() {
                        span class="why bad" { "differs from the file: " (short(&service.drift.join(", "), 120)) }
                    }
                }
            }
        }
    }
}

fn log(view: &View<'_>) -> Markup {
    html! {
        ol class="log" {
            @for (t, weight, text) in view.state.log.iter().rev().take(LINES) {
                li class=(weight.as_str()) { time { (chart::clock(view.told(*t))) } span { (short(text, 240)) } }
            }
        }
    }
}

/// An edge: its figures, and its charts.
pub(super) fn edge(view: &View<'_>, frame: &chart::Frame, edge: &EdgeStatus) -> Piece {
    let state = view.state_of(edge);
    let figures_now = view.figures(edge);
    let frame = view.frame_of(frame, edge);
    let own = view.state.edges.get(&edge.id);
    let drawn = own.filter(|own| !own.series.is_empty()).map(|own| {
        let scaled;
        let series = if (view.scale() - 1.0).abs() < 1e-9 {
            &own.series
        } else {
            scaled = own.series.scaled(view.scale());
            &scaled
        };
        let draw = [chart::rate, chart::latency, chart::in_flight];
        draw.map(|draw| draw(&frame, series, &edge.name))
    });
    let name = short(&edge.name, NAME);
    let markup = html! {
        header {
            h3 { (name) }
            span class="tag" { (state.as_str()) @if let Some((place, _)) = view.onset(&edge.name) { " · " (place + 1) } }
            span class="way" { (short(&edge.from, NAME)) " → " (short(&edge.to, NAME)) " · " code { (edge.listen) } }
        }
        dl {
            @let now = figures_now.unwrap_or_default();
            (figure("rate", &rate(now.rate), false))
            (figure("ok", &now.success.map_or_else(|| "–".into(), percent), now.success.is_some_and(|share| share < 0.95)))
            (figure("p95", &now.p95.map_or_else(|| "–".into(), seconds), false))
            (figure("in flight", &now.in_flight.to_string(), false))
        }
        @match drawn {
            Some(charts) => div class="charts" { @for chart in charts { (chart) } },
            None => p class="none" { "Nothing has come through this edge yet." },
        }
    };
    let piece = html! { article class=(format!("edge {}", state.as_str())) aria-label=(name) { (markup) } };
    (place_of(edge), piece.into_string())
}

/// The id of an edge's place.
pub(super) fn place_of(edge: &EdgeStatus) -> String {
    format!("edge-{}", edge.id)
}

fn figure(name: &str, value: &str, bad: bool) -> Markup {
    html! { div class=[bad.then_some("bad")] { dt { (name) } dd { (value) } } }
}

fn rate(value: f64) -> String {
    figures::number(Unit::PerSecond, if value >= 10.0 { value.round() } else { value })
}

/// A share in whole percent, but never all or nothing unless it is.
fn percent(share: f64) -> String {
    let whole = (share * 100.0).round();
    match share {
        s if s < 1.0 && whole >= 100.0 => ">99%".into(),
        s if s > 0.0 && whole < 1.0 => "<1%".into(),
        _ => format!("{whole}%"),
    }
}
