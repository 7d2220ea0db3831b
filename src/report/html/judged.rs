//! What was expected and what guarded the run, each with the line of the file that says so.

use super::Section;
use super::parts::{NONE, mark, or_dash, phase, plural, prose, quote, table};
use crate::report::figures::{clock, number};
use crate::report::{CheckResult, GuardrailResult, Report};
use crate::units::Comparison;
use maud::{Markup, html};

pub(super) fn expectations(report: &Report) -> Option<Section> {
    if report.expectations.is_empty() {
        return None;
    }
    let (reached, not): (Vec<&CheckResult>, Vec<&CheckResult>) =
        report.expectations.iter().partition(|check| phase(report, check.phase).is_some());
    let rows = html! { @for check in &reached { (row(report, check)) } };
    let columns = ["", "expectation", "what", "phase", "#seen", "#expected", "in the file"];
    let body = html! {
        (table(&columns, &rows))
        @if !not.is_empty() { p class="soft" { (plural(not.len() as u64, "check")) " of phases that were not reached" } }
    };
    Some(Section { id: "expectations", title: "Expectations", lead: "", body })
}

fn row(report: &Report, check: &CheckResult) -> Markup {
    let before = check
        .vs
        .map(|vs| format!("{}, baseline {}", number(vs.unit, vs.value), number(vs.unit, vs.baseline)));
    html! {
        tr {
            td { (mark(check.met)) }
            th scope="row" { (check.name) }
            td { (prose(&check.subject())) }
            td { (check.phase) }
            td class=(if check.met == Some(false) { "n bad" } else { "n" }) {
                (or_dash(check.seen()))
                @if let Some(before) = before { span class="soft small under" { (before) } }
            }
            td class="n" { (check.expected()) }
            td { (quote(report, check.line)) }
        }
        @if let Some(reason) = &check.reason { tr class="why" { td {} td colspan="6" class="soft" { (prose(reason)) } } }
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
