//! What was done: the ledger of faults, and what the spared share of the same traffic says of what they caused.

use super::Section;
use super::parts::{or_dash, prose, stretch, table};
use crate::report::figures::{seconds, share};
use crate::report::{FaultResult, Report};
use maud::html;

/// So many stretches of a fault are told one by one.
const STRETCHES: usize = 4;

pub(super) fn ledger(report: &Report) -> Option<Section> {
    if report.faults.is_empty() {
        return None;
    }
    let late = report.faults.iter().any(|fault| fault.delay_error_p99.is_some());
    let mut columns = vec!["", "fault", "does", "on", "in force", "#matched", "#selected", "#hit"];
    columns.extend(late.then_some("#late by (p99)"));
    let rows = html! {
        @for fault in &report.faults {
            @let on_edge = fault.service.is_none();
            tr {
                td { (sign(fault)) }
                th scope="row" { (fault.name) @if fault.line > 0 { span class="soft small" { " line " (fault.line) } } }
                td { (if fault.actions.is_empty() { "by hand".to_owned() } else { fault.actions.join(", ") }) }
                td { (fault.edge.as_ref().or(fault.service.as_ref()).map(ToString::to_string).unwrap_or_default()) }
                td { (in_force(fault)) }
                td class="n" { (if on_edge { fault.matched.to_string() } else { String::new() }) }
                td class="n" { (if on_edge { fault.selected.to_string() } else { String::new() }) }
                td class="n" { (fault.hits) }
                @if late { td class="n" { (or_dash(fault.delay_error_p99.map(seconds))) } }
            }
        }
    };
    let lead = if late {
        "Matched: passed its matchers. Selected: chosen by percent and counts. Hit: someone could see it. Late: 99 % of its \
         delays were at most this much longer than asked for."
    } else {
        "Matched: passed its matchers. Selected: chosen by percent and counts. Hit: someone could see it."
    };
    Some(Section { id: "faults", title: "Faults", lead, body: table(&columns, &rows) })
}

fn sign(fault: &FaultResult) -> maud::Markup {
    let (class, sign, word) = match (fault.hits > 0, fault.vacuous) {
        (true, _) => ("good", "✓", "it struck"),
        (false, true) => ("warn", "?", "it struck nothing"),
        (false, false) => ("soft", "–", "it was not to strike"),
    };
    html! { span class=(format!("sign {class}")) role="img" aria-label=(word) title=(word) { (sign) } }
}

fn in_force(fault: &FaultResult) -> String {
    let told: Vec<String> =
        fault.intervals.iter().take(STRETCHES).map(|one| stretch(one.from, one.to)).collect();
    match fault.intervals.len() {
        0 => "never".into(),
        n if n > STRETCHES => format!("{} and {} more", told.join(", "), n - STRETCHES),
        _ => told.join(", "),
    }
}

/// Struck and spared exchanges side by side.
pub(super) fn control(report: &Report) -> Option<Section> {
    let control = &report.findings.control;
    if control.is_empty() {
        return None;
    }
    let rows = html! {
        @for one in control {
            tr {
                th scope="row" { (one.edge) }
                td class="n" { (one.hit) }
                td class="n" { (share(one.hit_error_rate)) }
                td class="n" { (or_dash(one.hit_p50.map(seconds))) }
                td class="n" { (one.spared) }
                td class="n" { (share(one.spared_error_rate)) }
                td class="n" { (or_dash(one.spared_p50.map(seconds))) }
                td class="wide" { (prose(&one.says)) }
            }
        }
    };
    let columns = ["edge", "#struck", "#failed", "#p50", "#spared", "#failed", "#p50", "so"];
    let lead = "Exchanges that a fault struck beside those of the same edge and time that it spared: the difference is what it caused.";
    Some(Section { id: "control", title: "Struck and spared", lead, body: table(&columns, &rows) })
}
