//! What remains: who made the traffic, what a reader should know beside, and how to do it again.

use super::Section;
use super::parts::{NONE, prose};
use crate::report::figures::seconds;
use crate::report::{Report, quote, replay};
use maud::html;

pub(super) fn traffic(report: &Report) -> Option<Section> {
    if report.load.is_none() && report.command.is_none() {
        return None;
    }
    let body = html! {
        dl class="pairs" {
            @if let Some(load) = report.load {
                dt { "built-in load" }
                dd { (load.sent) " sent, " (load.shed) " shed, " (load.timed_out) " timed out" }
            }
            @if let Some(command) = &report.command {
                @let words: Vec<String> = command.argv.iter().map(|word| quote(word)).collect();
                dt { "command" }
                dd {
                    code { (words.join(" ")) } ": "
                    @match (command.exit, command.stopped) {
                        (_, true) => "stopped at the end",
                        (Some(exit), _) => { "exit code " (exit) },
                        (None, _) => "did not end",
                    }
                }
            }
        }
    };
    Some(Section { id: "traffic", title: "Traffic", lead: "", body })
}

/// Warnings, cautions, and what Brownout says of itself.
pub(super) fn remarks(report: &Report) -> Option<Section> {
    let honesty = &report.findings.honesty;
    let overhead = honesty.overhead_p50.or(honesty.overhead_p99).map(|_| {
        let of = |value: Option<f64>| {
            value.map_or_else(
                || NONE.into(),
                |value| if value < 1e-5 { "less than 0.01ms".into() } else { seconds(value) },
            )
        };
        format!(
            "Brownout itself took {} of an exchange that no fault held (median), {} at the 99th percentile.",
            of(honesty.overhead_p50),
            of(honesty.overhead_p99)
        )
    });
    let notes: Vec<&String> = report.notes().collect();
    if notes.is_empty() && overhead.is_none() {
        return None;
    }
    let body = html! {
        @if !notes.is_empty() {
            ul class="warnings" {
                @for text in notes { li { (prose(text)) } }
            }
        }
        @if let Some(text) = overhead { p class="soft" { (text) } }
    };
    Some(Section { id: "remarks", title: "To bear in mind", lead: "", body })
}

pub(super) fn repeat(report: &Report) -> Option<Section> {
    let body = html! {
        pre class="copy" { code { (replay(&report.argv, report.seed)) } }
        dl class="pairs" {
            dt { "file" } dd { code { (report.file) } }
            dt { "SHA-256" } dd { code class="hash" { (report.sha256) } }
            dt { "seed" } dd { (report.seed) }
            dt { "Brownout" } dd { (report.version) }
            dt { "began" } dd { (report.started) }
            dt { "ended" } dd { (report.ended) }
        }
    };
    let lead = "The same file and seed strike the same requests.";
    Some(Section { id: "repeat", title: "Do it again", lead, body })
}
