//! The system on the page: its picture, the run at a glance, who fell ill in which order, and each edge with its charts.
//!
//! Pure, and as [`render`](super::render) is: every text is escaped.

use super::render::{NAME, Piece};
use super::view::{View, seconds, short};
use crate::analysis::{Onset, Signal};
use crate::chart::{self, Graph, Lane, Stretch};
use crate::control::EdgeStatus;
use crate::model::Phase;
use crate::report::figures;
use crate::report::told::turned;
use crate::units::Unit;
use maud::{Markup, html};

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
pub(super) fn graph(view: &View<'_>) -> Markup {
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
    // Without a baseline nothing is as on it.
    let shown =
        |state: &chart::State| seen[*state as usize] && (view.run.is_some() || *state != chart::State::Calm);
    let states: Vec<chart::State> = ORDER.into_iter().filter(shown).collect();
    html! {
        // One box or two need not fill a wall.
        div class=(if view.edges.len() < 3 { "scroll small" } else { "scroll" }) tabindex="0" role="region" aria-label="picture of the system" { (picture) }
        @if !states.is_empty() { (chart::legend(&states)) }
    }
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
pub(super) fn glance(view: &View<'_>) -> Markup {
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
pub(super) fn cascade(view: &View<'_>) -> Markup {
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
        @for turn in view.findings.turns.iter().take(24) {
            p class="note" {
                "+" (seconds(view.told(turn.at))) " " (short(&turn.edge, NAME)) ": " (turned(turn))
            }
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
