//! `report.html`: what a run found, for people: one file that needs nothing else, on a screen or on paper, in light or dark.
//!
//! The verdict first, then how the failure spread, then what it rests on. A section with nothing to say is not there. Reads
//! only the [`Report`]; every text in it is escaped, whoever wrote it, and a content security policy forbids whatever is not
//! in the file: scripts, requests, styles of others. The same report gives the same bytes.

mod callers;
mod edges;
mod faults;
mod judged;
mod parts;
mod policy;
mod recovery;
mod rest;
mod services;
mod spread;
mod verdict;

use super::Report;
use crate::chart;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The style of the page; that of its charts stands before it.
const STYLE: &str = include_str!("style.css");

/// A part of the page with a heading.
struct Section {
    id: &'static str,
    title: &'static str,
    /// What it shows, in a line; may be empty.
    lead: &'static str,
    body: Markup,
}

/// The page.
#[must_use]
pub fn render(report: &Report) -> String {
    let style = format!("{}{STYLE}", chart::STYLE);
    let sections: Vec<Section> = [
        spread::system(report),
        spread::glance(report),
        spread::cascade(report),
        edges::section(report),
        faults::ledger(report),
        faults::control(report),
        recovery::section(report),
        recovery::amplification(report),
        callers::section(report),
        services::section(report),
        services::exposures(report),
        judged::expectations(report),
        judged::guardrails(report),
        services::deeds(report),
        rest::traffic(report),
        rest::remarks(report),
        rest::repeat(report),
    ]
    .into_iter()
    .flatten()
    .collect();
    let title = format!("{}: {}", report.verdict.as_str(), report.title.as_ref().unwrap_or(&report.name));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy::of(&style));
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="generator" content=(format!("brownout {}", report.version));
                title { (title) }
                // Not escaped, because nothing of it comes from elsewhere.
                style { (PreEscaped(&style)) }
            }
            body {
                (chart::patterns())
                (verdict::head(report))
                nav aria-label="contents" {
                    @for section in &sections { a href=(format!("#{}", section.id)) { (section.title) } }
                }
                main {
                    @for section in &sections {
                        section id=(section.id) {
                            h2 { (section.title) }
                            @if !section.lead.is_empty() { p class="lead" { (section.lead) } }
                            (section.body)
                        }
                    }
                }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
