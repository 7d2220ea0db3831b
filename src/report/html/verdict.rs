//! The head of the page: what was asked, what came of it and why, and the run in four figures.

use super::judged;
use super::parts::{end, names, plural, prose};
use crate::analysis::Recovered;
use crate::report::figures::{clock, number, seconds};
use crate::report::told::{is_plain, level, signal};
use crate::report::{Exit, Report, Verdict};
use crate::units::Unit;
use maud::{Markup, html};

/// Fewer attempts per request are no amplification worth a figure.
const REPEATS: f64 = 1.05;
/// So many reasons stand under the verdict; the rest is below anyway.
const REASONS: usize = 8;

pub(super) fn head(report: &Report) -> Markup {
    let class = match report.verdict {
        Verdict::Passed => "good",
        Verdict::Failed | Verdict::Error | Verdict::Aborted => "bad",
        Verdict::Inconclusive | Verdict::Unsteady | Verdict::Interrupted => "warn",
    };
    let asked = report.title.as_ref().unwrap_or(&report.name);
    html! {
        header class=(class) {
            p class="brand" { "Brownout report" span class="soft" { " · " (report.name) } }
            h1 { (asked) }
            p class="verdict" {
                span class="badge" { (report.verdict.as_str()) }
                span { (meaning(report)) }
                span class="soft" { "exit code " (report.exit) }
            }
            @if let Some(remark) = remark(report) { p class="soft" { (prose(remark)) } }
            @if !report.reasons.is_empty() {
                ul class="reasons" {
                    @for reason in report.reasons.iter().take(REASONS) { li { (prose(reason)) } }
                    @if report.reasons.len() > REASONS { li class="soft" { "and " (report.reasons.len() - REASONS) " more, below" } }
                }
            }
            @if let Some(text) = short(report) { p class="short" { (prose(&text)) } }
            (figures(report))
            p class="facts" {
                @if !report.run.is_empty() { span { "run " code { (report.run) } } }
                span { (report.started.split('.').next().unwrap_or_default().replace('T', " ")) " UTC" }
                span { "lasted " (clock(end(report))) }
                span { "seed " (report.seed) }
            }
        }
    }
}

fn meaning(report: &Report) -> String {
    let failed = judged::told(report).iter().filter(|(check, _)| check.met == Some(false)).count();
    let command = report.command.as_ref().is_some_and(|command| !command.stopped && command.exit != Some(0));
    match report.verdict {
        Verdict::Passed => "every expectation held".into(),
        Verdict::Failed => match (failed, command) {
            (0, true) => "the command failed".into(),
            (0 | 1, false) => "an expectation did not hold".into(),
            (failed, false) => format!("{failed} expectations did not hold"),
            (failed, true) => {
                format!("{} did not hold, and the command failed", plural(failed as u64, "expectation"))
            }
        },
        Verdict::Inconclusive => "nothing can be learned from this run".into(),
        Verdict::Unsteady => "the steady state did not hold before any fault: nothing was learned".into(),
        Verdict::Aborted => "a guardrail or the kill switch ended the fault phase".into(),
        Verdict::Interrupted => "interrupted by the user".into(),
        Verdict::Error => "the run could not be carried out as asked".into(),
    }
}

fn remark(report: &Report) -> Option<&'static str> {
    let passed = report.verdict == Verdict::Passed;
    if passed && report.expectations.is_empty() {
        Some("Nothing was judged: the file has no `[[expect]]`.")
    } else if passed && report.exit != 0 {
        Some("Another outcome was expected (`--expect-exit`).")
    } else if !passed && Exit::of(report.exit) == Exit::Passed {
        Some("This outcome was expected (`--expect-exit`).")
    } else {
        None
    }
}

/// How it spread and came back, in two sentences; nothing if no edge fell ill.
fn short(report: &Report) -> Option<String> {
    let found = &report.findings;
    let first = found.cascade.first()?;
    let sources: Vec<&str> =
        found.cascade.iter().filter(|one| one.source).map(|one| one.edge.as_str()).collect();
    let after = if first.at >= 0.0 { "into" } else { "before" };
    let mut text = format!(
        "{} fell ill first, {} {after} the fault phase",
        names(&[first.edge.as_str()]),
        seconds(first.at.abs()),
    );
    if is_plain(first) {
        let (was, is) = (level(first.signal, first.baseline), level(first.signal, first.observed));
        text += &format!(": {} went from {was} to {is}", signal(first.signal));
    }
    text.push('.');
    let followed: Vec<&str> =
        found.cascade.iter().skip(1).filter(|one| !one.source).map(|one| one.edge.as_str()).collect();
    if let (Some(last), false) = (found.cascade.last(), followed.is_empty()) {
        text += &format!(" {} followed within {}.", names(&followed), seconds((last.at - first.at).max(0.0)));
    }
    if sources.len() > 1 {
        text += &format!(" {} are sources by themselves.", names(&sources));
    }
    let of = |state| found.recovery.iter().filter(move |one| one.state == state).map(|one| one.edge.as_str());
    let not: Vec<&str> = of(Recovered::Not).collect();
    let open = open(report);
    match (not.is_empty(), open.is_empty(), slowest(report)) {
        (false, ..) => text += &format!(" {} did not come back.", names(&not)),
        (_, false, _) => text += &format!(" Whether {} came back cannot be told.", names(&open)),
        (.., Some((within, _))) => text += &format!(" All was as before {} after heal.", seconds(within)),
        (.., None) => {}
    }
    Some(text)
}

/// The run in a few figures.
fn figures(report: &Report) -> Markup {
    let found = &report.findings;
    let mut tiles: Vec<(&str, String, String)> = Vec::new();
    let told = judged::told(report);
    if !told.is_empty() {
        let held = told.iter().filter(|(check, _)| check.met == Some(true)).count();
        tiles.push(("expectations", format!("{held} of {}", told.len()), "held".into()));
    }
    let looked = found.cascade.len() + found.unmoved.len();
    if looked > 0 {
        let sources: Vec<&str> =
            found.cascade.iter().filter(|one| one.source).map(|one| one.edge.as_str()).collect();
        let from = if sources.is_empty() {
            "none fell ill".into()
        } else {
            format!("source: {}", sources.join(", "))
        };
        tiles.push((
            "blast radius",
            format!("{} of {looked}", found.cascade.len()),
            format!("edges; {from}"),
        ));
    }
    let worst = found
        .amplification
        .iter()
        .filter(|one| one.phase == "fault")
        .filter_map(|one| Some((one.amplification.filter(|times| *times >= REPEATS)?, one)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((times, one)) = worst {
        tiles.push((
            "amplification",
            number(Unit::Times, times),
            format!("attempts per request at {}", one.edge),
        ));
    }
    if let Some(tile) = recovery(report) {
        tiles.push(tile);
    }
    let on_edges = report.faults.iter().filter(|fault| fault.edge.is_some());
    let hits: u64 = on_edges.clone().map(|fault| fault.hits).sum();
    if on_edges.count() > 0 {
        tiles.push(("faults", hits.to_string(), if hits == 1 { "hit" } else { "hits" }.into()));
    }
    html! {
        @if !tiles.is_empty() {
            dl class=(if tiles.len() < 4 { "tiles few" } else { "tiles" }) {
                @for (name, figure, what) in tiles {
                    div { dt { (name) } dd { strong { (figure) } span { (what) } } }
                }
            }
        }
    }
}

/// The last edge to come back.
fn slowest(report: &Report) -> Option<(f64, &str)> {
    let back = report.findings.recovery.iter().filter(|one| one.state == Recovered::Recovered);
    back.filter_map(|one| Some((one.within?, one.edge.as_str()))).max_by(|a, b| a.0.total_cmp(&b.0))
}

/// The edges that fell ill and of which nobody can tell whether they came back.
fn open(report: &Report) -> Vec<&str> {
    let told = |edge: &str| {
        report.findings.recovery.iter().any(|one| one.edge == edge && one.state != Recovered::Unmeasured)
    };
    report.findings.cascade.iter().map(|onset| onset.edge.as_str()).filter(|edge| !told(edge)).collect()
}

fn recovery(report: &Report) -> Option<(&'static str, String, String)> {
    let not = report.findings.recovery.iter().filter(|one| one.state == Recovered::Not).count() as u64;
    let open = open(report).len() as u64;
    match (not, open, slowest(report)) {
        (0, 0, None) => None,
        (0, 0, Some((within, edge))) => {
            Some(("recovery", seconds(within), format!("after heal; slowest: {edge}")))
        }
        (0, open, _) => Some(("recovery", "?".into(), format!("cannot be told of {}", plural(open, "edge")))),
        (not, ..) => Some(("recovery", "no".into(), format!("{} did not come back", plural(not, "edge")))),
    }
}
