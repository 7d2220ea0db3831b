//! How the failure spread: the system with the order of onset, the run at a glance, and the cascade step by step.

use super::Section;
use super::parts::{end, frame, moment, names, phase, prose, stretch};
use crate::analysis::{Onset, Recovered, Turn};
use crate::chart::{self, Edge, Graph, Lane, State, Stretch};
use crate::report::figures::{clock, seconds};
use crate::report::told::{is_plain, level, signal, turned};
use crate::report::{EdgeResult, Report};
use maud::{Markup, html};

/// More lanes than this are no glance.
const LANES: usize = 40;

/// The picture of the system; of one edge there is nothing to see.
pub(super) fn system(report: &Report) -> Option<Section> {
    if report.edges.is_empty() {
        return None;
    }
    let edges = report.edges.iter().map(|edge| drawn(report, edge)).collect();
    let graph = Graph { edges };
    let used: Vec<State> =
        State::ALL.into_iter().filter(|state| graph.edges.iter().any(|edge| edge.state == *state)).collect();
    let body = html! {
        div class="scroll picture" { (graph.draw()) }
        (chart::legend(&used))
    };
    Some(Section { id: "system", title: "The system", lead: "", body })
}

fn drawn(report: &Report, edge: &EdgeResult) -> Edge {
    let found = &report.findings;
    let onset = found.cascade.iter().position(|onset| onset.edge == edge.name);
    let (state, detail) = match onset.and_then(|n| found.cascade.get(n)) {
        Some(onset) if onset.source => (State::Source, since(onset)),
        Some(onset) => (State::Symptom, since(onset)),
        None if found.unjudged.contains_key(&edge.name) => (State::Unjudged, String::new()),
        None => (State::Calm, String::new()),
    };
    Edge {
        name: edge.name.clone(),
        from: edge.from.clone(),
        to: edge.to.clone(),
        state,
        order: onset.map(|n| n + 1),
        detail,
    }
}

fn since(onset: &Onset) -> String {
    format!("{} at {}", signal(onset.signal), signed(onset.at))
}

/// A time before or after the start of the fault phase.
fn signed(at: f64) -> String {
    format!("{}{}", if at < 0.0 { "−" } else { "+" }, seconds(at.abs()))
}

/// The run at a glance.
pub(super) fn glance(report: &Report) -> Option<Section> {
    if report.phases.is_empty() {
        return None;
    }
    let mut lanes: Vec<Lane> = Vec::new();
    lanes.extend(report.faults.iter().filter(|fault| !fault.intervals.is_empty()).map(|fault| {
        let bar = |one: &crate::report::Interval| {
            let to = one.to.unwrap_or(end(report));
            Stretch::Fault(one.from, to, format!("{}: {}", fault.name, stretch(one.from, one.to)))
        };
        Lane { name: format!("fault: {}", fault.name), stretches: fault.intervals.iter().map(bar).collect() }
    }));
    lanes.extend(report.findings.cascade.iter().enumerate().map(|(n, onset)| ill(report, n, onset)));
    lanes.extend(report.services.iter().filter(|service| !service.incarnations.is_empty()).map(|service| {
        let bar = |one: &crate::report::IncarnationResult| {
            let (from, to) = (one.started + one.ready_after?, one.ended.unwrap_or(end(report)));
            let text = format!("#{} ready {}", one.number, stretch(from, one.ended));
            Some(match one.env_changed.as_slice() {
                [] => Stretch::Well(from, to, text),
                changed => Stretch::Odd(from, to, format!("{text}; differs in {}", changed.join(", "))),
            })
        };
        Lane {
            name: format!("{} is up", service.name),
            stretches: service.incarnations.iter().filter_map(bar).collect(),
        }
    }));
    let mut probes: Vec<&str> = report.exposures.iter().map(|one| one.probe.as_str()).collect();
    probes.dedup();
    lanes.extend(probes.into_iter().map(|probe| {
        let of_it = report.exposures.iter().filter(|one| one.probe == probe);
        let bar = |one: &crate::report::ExposureResult| {
            let text = format!("exposed {}", stretch(one.from, one.to));
            Stretch::Ill(one.from, one.to.unwrap_or(end(report)), text)
        };
        Lane { name: format!("not so: {probe}"), stretches: of_it.map(bar).collect() }
    }));
    lanes.extend(report.guardrails.iter().filter_map(|rail| {
        let at = rail.at?;
        let mark = Stretch::Mark(at, "!".into(), format!("{} was breached at {}", rail.name, clock(at)));
        Some(Lane { name: format!("guardrail: {}", rail.name), stretches: vec![mark] })
    }));
    let more = lanes.len().saturating_sub(LANES);
    lanes.truncate(LANES);
    let body = html! {
        div class="scroll" { (chart::lanes(&frame(report, None), &lanes)) }
        @if more > 0 { p class="soft" { "and " (more) " more, below" } }
    };
    Some(Section { id: "glance", title: "The run at a glance", lead: "", body })
}

/// From its onset until it was back.
fn ill(report: &Report, n: usize, onset: &Onset) -> Lane {
    let from = moment(report, onset.at);
    let heal = phase(report, "recovery").map_or(end(report), |recovery| recovery.from);
    let recovery = report.findings.recovery.iter().find(|one| one.edge == onset.edge);
    let (to, open) = match recovery.map(|one| (one.state, one.within)) {
        Some((Recovered::Recovered, Some(within))) => (heal + within, false),
        Some((Recovered::Not, _)) => (end(report), false),
        _ => (heal, true),
    };
    let text = format!("{} was ill {}", onset.edge, stretch(from, Some(to)));
    let to = to.max(from);
    let mut stretches = vec![if onset.source {
        Stretch::Ill(from, to, text.clone())
    } else {
        Stretch::Followed(from, to, text.clone())
    }];
    if open && end(report) > to {
        stretches.push(Stretch::Odd(to, end(report), "whether it came back cannot be told".into()));
    }
    stretches.push(Stretch::Mark(from, (n + 1).to_string(), text));
    Lane { name: format!("{} is ill", onset.edge), stretches }
}

/// The cascade, the source first.
pub(super) fn cascade(report: &Report) -> Option<Section> {
    let found = &report.findings;
    phase(report, "fault")?;
    if found.cascade.is_empty() && found.unmoved.is_empty() && found.unjudged.is_empty() {
        return None;
    }
    let first = found.cascade.first().map_or(0.0, |onset| onset.at);
    let elsewhere: Vec<&Turn> =
        found.turns.iter().filter(|turn| found.cascade.iter().all(|onset| onset.edge != turn.edge)).collect();
    let unmoved: Vec<&str> = found.unmoved.iter().map(String::as_str).collect();
    let body = html! {
        @if found.cascade.is_empty() && unmoved.is_empty() {
            p { "Nothing can be said of any edge." }
        } @else if found.cascade.is_empty() {
            p { "No edge left the band of its baseline: as far as the edges show, the system bore it." }
        } @else {
            ol class="cascade" {
                @for (n, onset) in found.cascade.iter().enumerate() { (step(report, onset, n + 1, first)) }
            }
        }
        @if !elsewhere.is_empty() {
            ul class="notes" {
                @for turn in elsewhere {
                    li { span class="n" { (signed(turn.at)) } " " code { (turn.edge) } ": " (prose(&turned(turn))) }
                }
            }
        }
        @if !unmoved.is_empty() { p class="beyond" { "Beyond the blast radius: " (prose(&names(&unmoved))) "." } }
        @if !found.unjudged.is_empty() {
            ul class="notes" {
                @for (edge, why) in &found.unjudged { li { "Nothing can be said of " code { (edge) } ": " (prose(why)) } }
            }
        }
    };
    let lead =
        "When each edge left the band of its own baseline. Times count from the start of the fault phase.";
    Some(Section { id: "cascade", title: "How it spread", lead, body })
}

fn step(report: &Report, onset: &Onset, number: usize, first: f64) -> Markup {
    let class = if onset.source { "source" } else { "symptom" };
    html! {
        li class=(class) {
            span class="order" { (number) }
            div {
                p class="who" {
                    strong { (onset.edge) }
                    span class="tag" { (class) }
                    span class="n" { (signed(onset.at)) }
                    @if number > 1 { span class="soft" { (seconds((onset.at - first).max(0.0))) " after the first" } }
                }
                p class="what" {
                    (signal(onset.signal))
                    @if is_plain(onset) { " " span class="n" { (level(onset.signal, onset.baseline)) } " → "
                    strong class="n" { (level(onset.signal, onset.observed)) } }
                    @if let Some(after) = &onset.after { span class="soft" { ", follows " code { (after) } } }
                    @if !onset.faults.is_empty() { span class="soft" { ", under " (onset.faults.join(", ")) } }
                }
                @if !onset.evidence.is_empty() { p class="soft" { (prose(&onset.evidence)) } }
                @for turn in report.findings.turns.iter().filter(|turn| turn.edge == onset.edge) {
                    p class="turn" { span class="n" { (signed(turn.at)) } " " (prose(&turned(turn))) }
                }
            }
        }
    }
}
