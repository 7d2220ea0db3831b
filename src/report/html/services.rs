//! The services: each process of each, what was exposed and how soon it was seen, what was done and what was put back.

use super::Section;
use super::parts::{NONE, or_dash, plural, prose, stretch, table};
use crate::report::figures::{clock, per_hour, seconds, share};
use crate::report::{DeedResult, ExitResult, IncarnationResult, Report, ServiceResult};
use crate::telemetry::{ExitCause, StartReason};
use maud::{Markup, html};

/// So many processes of a service are told one by one.
const PROCESSES: usize = 100;
/// So many exposures, and so many deeds.
const MANY: usize = 200;

pub(super) fn section(report: &Report) -> Option<Section> {
    if report.services.is_empty() {
        return None;
    }
    let body = html! { @for service in &report.services { (one(service)) } };
    let lead = "Each process, with the variables in which it differed from the file. Values are masked unless the file shows them.";
    Some(Section { id: "services", title: "Services", lead, body })
}

fn one(service: &ServiceResult) -> Markup {
    let shown = service.incarnations.len().min(PROCESSES);
    html! {
        article {
            h3 { (service.name) }
            @if let Some(why) = &service.skipped { p class="soft" { "not started: " (prose(why)) } }
            @else if service.incarnations.is_empty() { p class="soft" { "it was not started" } }
            @if !service.phases.is_empty() { (phases(service)) }
            @if !service.incarnations.is_empty() {
                (table(
                    &["#", "why", "#started", "#ready after", "environment", "ended", "#back after"],
                    &html! { @for one in service.incarnations.iter().take(PROCESSES) { (process(one)) } },
                ))
                @if service.incarnations.len() > shown { p class="soft" { "and " (service.incarnations.len() - shown) " more, in report.json" } }
            }
        }
    }
}

fn phases(service: &ServiceResult) -> Markup {
    let rows = html! {
        @for (name, phase) in ["baseline", "fault", "recovery"].into_iter().filter_map(|name| Some((name, service.phases.get(name)?))) {
            tr {
                th scope="row" { (name) }
                td class=(if phase.up.is_some_and(|up| up < 1.0) { "n bad" } else { "n" }) { (or_dash(phase.up.map(share))) }
                td class="n" { (clock(phase.downtime)) }
                td class="n" { (phase.crashes) }
                td class="n" { (or_dash(phase.crash_rate.map(per_hour))) }
                td class="n" { (phase.restarts) }
                td class="n" { (phase.kills) }
                td class="n" { (clock(phase.downtime_injected)) }
            }
        }
    };
    table(
        &[
            "phase",
            "#up",
            "#down",
            "#crashes",
            "#crash rate",
            "#restarts",
            "#killed by a fault",
            "#down by a fault",
        ],
        &rows,
    )
}

fn process(one: &IncarnationResult) -> Markup {
    let why = match one.reason {
        StartReason::First => "first start",
        StartReason::Crash => "after a crash",
        StartReason::Fault => "after a fault ended it",
        StartReason::Swap => "for its environment",
    };
    html! {
        tr {
            th scope="row" class="n" { (one.number) }
            td { (why) }
            td class="n" { (clock(one.started)) }
            td class="n" { (or_dash(one.ready_after.map(seconds))) }
            td class="wide" { (environment(one)) }
            td { (ended(one)) }
            td class="n" { (or_dash(one.down_for.map(seconds))) }
        }
    }
}

fn environment(one: &IncarnationResult) -> Markup {
    let hidden: Vec<&String> =
        one.env_changed.iter().filter(|name| !one.env_shown.contains_key(*name)).collect();
    html! {
        @if one.env_changed.is_empty() && one.env_shown.is_empty() { span class="soft" { "that of the file" } }
        @for (name, value) in &one.env_shown {
            @let changed = one.env_changed.contains(name);
            code class=(if changed { "var changed" } else { "var" }) { (name) "=" (value) }
            " "
        }
        @for name in hidden { code class="var changed" { (name) "=…" } " " }
    }
}

fn ended(one: &IncarnationResult) -> String {
    let how = match &one.exit {
        Some(ExitResult::Code(code)) => format!(" (exit code {code})"),
        Some(ExitResult::Signal(signal)) => format!(" ({signal})"),
        None => String::new(),
    };
    match (one.ended, one.cause) {
        (None, _) => "–".into(),
        (Some(at), Some(ExitCause::Itself)) => format!("crashed at {}{how}", clock(at)),
        (Some(at), Some(ExitCause::Fault)) => format!("by a fault at {}", clock(at)),
        (Some(at), Some(ExitCause::Swap)) => format!("for its environment at {}", clock(at)),
        (Some(at), Some(ExitCause::End) | None) => format!("with the run at {}", clock(at)),
    }
}

/// What probes saw that must not be.
pub(super) fn exposures(report: &Report) -> Option<Section> {
    if report.exposures.is_empty() {
        return None;
    }
    let rows = html! {
        @for one in report.exposures.iter().take(MANY) {
            tr {
                th scope="row" { (one.probe) }
                td { (stretch(one.from, one.to)) }
                td class="n bad" { (one.to.map_or_else(|| NONE.into(), |to| clock(to - one.from))) }
                td class="n" { (clock(one.detected_after)) }
                td class="n" { (or_dash(one.incarnation.map(|n| format!("#{n}")))) }
                td class="wide" { (one.saw.as_deref().unwrap_or_default()) }
            }
        }
        @if report.exposures.len() > MANY { tr { td colspan="6" class="soft" { "and " (report.exposures.len() - MANY) " more, in report.json" } } }
    };
    let columns = ["probe", "when", "#how long", "#seen after", "#process", "what it saw"];
    let lead = "Stretches in which a probe saw what must not be.";
    Some(Section { id: "exposures", title: "Exposures", lead, body: table(&columns, &rows) })
}

/// What was done to services and what was put back.
pub(super) fn deeds(report: &Report) -> Option<Section> {
    if report.deeds.is_empty() && report.undo.is_empty() {
        return None;
    }
    let list = |title: &str, deeds: &[DeedResult]| {
        html! {
            @if !deeds.is_empty() {
                h3 { (title) }
                ul class="deeds" {
                    @for deed in deeds.iter().take(MANY) {
                        li {
                            (super::parts::mark(Some(deed.done))) " "
                            span class="n" { (clock(deed.at)) } " "
                            strong { (deed.action) } " of " code { (deed.service) } span class="soft" { " (" (deed.fault) ")" } ": " (prose(&deed.text))
                        }
                    }
                    @if deeds.len() > MANY { li class="soft" { "and " (plural((deeds.len() - MANY) as u64, "more deed")) ", in report.json" } }
                }
            }
        }
    };
    let body = html! { (list("Done", &report.deeds)) (list("Put back", &report.undo)) };
    Some(Section { id: "deeds", title: "Done to services, and put back", lead: "", body })
}
