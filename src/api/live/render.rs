//! From what is known to pieces of HTML, each with the id of the place on the page where it stands.
//!
//! Pure. Every text is escaped, whoever wrote it; nothing here is a script or a style.

use super::state::Life;
use super::system::{cascade, glance, graph};
use super::view::{View, left, short};
use crate::chart;
use crate::control::FaultStatus;
use crate::report::{CheckResult, figures};
use maud::{Markup, html};

/// The longest name, in characters, that stands in a sentence.
pub(super) const NAME: usize = 60;
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
