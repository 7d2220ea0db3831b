//! What was expected and what guarded the run, each with the line of the file that says so.

use super::Section;
use super::parts::{NONE, mark, or_dash, phase, plural, prose, quote, table};
use crate::report::figures::{clock, number};
use crate::report::{CheckResult, GuardrailResult, Report};
use crate::units::Comparison;
use maud::{Markup, html};

/// The checks of the phases that were reached, each with what was seen on the baseline. A baseline that held is a remark on
/// the check that matters, if there is one.
pub(super) fn told(report: &Report) -> Vec<(&CheckResult, Option<&CheckResult>)> {
    let reached: Vec<&CheckResult> =
        report.expectations.iter().filter(|check| phase(report, check.phase).is_some()).collect();
    let same = |a: &CheckResult, b: &CheckResult| {
        a.phase != b.phase
            && a.name == b.name
            && a.key == b.key
            && a.line == b.line
            && a.target() == b.target()
    };
    let mut told = Vec::new();
    for check in &reached {
        let mut others = reached.iter().filter(|other| same(check, other));
        if check.phase == "baseline" && check.met == Some(true) && others.clone().next().is_some() {
            continue;
        }
        told.push((*check, others.find(|other| other.phase == "baseline").copied()));
    }
    told
}

pub(super) fn expectations(report: &Report) -> Option<Section> {
    if report.expectations.is_empty() {
        return None;
    }
    let told = told(report);
    let before = told.iter().any(|(_, before)| before.is_some());
    let rows = html! { @for (check, base) in &told { (row(report, check, *base, before)) } };
    let mut columns = vec!["", "expectation", "what", "phase"];
    columns.extend(before.then_some("#baseline"));
    columns.extend(["#seen", "#expected", "in the file"]);
    let missed =
        report.expectations.iter().filter(|check| phase(report, check.phase).is_none()).count() as u64;
    let body = html! {
        @if !told.is_empty() { (table(&columns, &rows)) }
        @if missed > 0 { p class="soft" { (plural(missed, "check")) " of phases that were not reached" } }
    };
    Some(Section { id: "expectations", title: "Expectations", lead: "", body })
}

fn row(report: &Report, check: &CheckResult, base: Option<&CheckResult>, before: bool) -> Markup {
    let compared =
        check.vs.map(|vs| format!("{} to {}", number(vs.unit, vs.baseline), number(vs.unit, vs.value)));
    html! {
        tr {
            td { (mark(check.met)) }
            th scope="row" { (check.name) }
            td { (prose(&check.subject())) }
            td { (check.phase) }
            @if before { td class="n soft" { (or_dash(base.and_then(CheckResult::seen))) } }
            @let words = if check.observed_text.is_some() { "said" } else { "n" };
            td class=(if check.met == Some(false) { format!("{words} bad") } else { words.to_owned() }) {
                (or_dash(check.seen()))
                @if let Some(compared) = compared { " " span class="soft small" { (compared) } }
            }
            td class=(if check.expected_text.is_some() { "said" } else { "n" }) { (check.expected()) }
            td { (quote(report, check.line)) }
        }
        @if let Some(reason) = &check.reason { tr class="why" { td {} td colspan="7" class="soft" { (prose(reason)) } } }
    }
}

pub(super) fn guardrails(report: &Report) -> Option<Section> {
    if report.guardrails.is_empty() {
        return None;
    }
    let watched = phase(report, "fault").is_some();
    let rows = html! {
        @for rail in &report.guardrails {
            @let limit = Comparison { op: rail.op, limit: rail.limit, unit: rail.unit };
            tr {
                td { (if watched { mark(Some(!rail.breached)) } else { html! { span class="soft" { (NONE) } } }) }
                th scope="row" { (rail.name) }
                td { (rail.key) " on " code { (rail.edge) } }
                td class="n" { (limit.to_string()) " for " (clock(rail.lasts)) }
                td { (state(rail, watched)) }
                td { (quote(report, rail.line)) }
            }
        }
    };
    let columns = ["", "guardrail", "what", "#limit", "came of it", "in the file"];
    let lead = "A breach heals everything at once.";
    Some(Section { id: "guardrails", title: "Guardrails", lead, body: table(&columns, &rows) })
}

fn state(rail: &GuardrailResult, watched: bool) -> Markup {
    match (rail.breached, rail.at, rail.observed) {
        (true, Some(at), Some(seen)) => {
            html! { strong class="bad" { "breached at " (clock(at)) ": " (number(rail.unit, seen)) } }
        }
        _ if watched => html! { "held" },
        _ => html! { span class="soft" { "not watched" } },
    }
}
