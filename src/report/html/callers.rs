//! What the callers are made of, as far as it showed: a claim only with its evidence, and said where nothing was seen.

use super::Section;
use super::parts::{plural, prose};
use crate::analysis::{Breaker, Counted, Fingerprint};
use crate::report::Report;
use crate::report::figures::{seconds, share};
use maud::{Markup, html};

pub(super) fn section(report: &Report) -> Option<Section> {
    if report.findings.fingerprints.is_empty() {
        return None;
    }
    let body = html! {
        div class="cards" { @for one in &report.findings.fingerprints { (card(report, one)) } }
    };
    let lead = "Read from the edges alone. A dash is no claim: whether it is there did not show in this run; the sentences below say what was looked for and not seen.";
    Some(Section { id: "callers", title: "What the callers are made of", lead, body })
}

fn card(report: &Report, one: &Fingerprint) -> Markup {
    let caller = report.edges.iter().find(|edge| edge.name == one.edge).map_or("", |edge| edge.from.as_str());
    let backoff = one.backoff.as_ref().filter(|gaps| !gaps.is_empty());
    let claims: [(&str, Option<String>); 6] = [
        ("gives up after", one.timeout.map(seconds)),
        ("tries again", one.retries.map(times)),
        ("pauses", backoff.map(|gaps| gaps.iter().map(|gap| seconds(*gap)).collect::<Vec<_>>().join(", "))),
        ("breaker", one.breaker.map(breaker)),
        ("at once", one.pool.map(|n| format!("{n} at most"))),
        ("falls back", one.fallback.map(falls_back)),
    ];
    html! {
        article class="card" {
            h3 { @if !caller.is_empty() { (caller) } @else { (one.edge) } span class="soft" { "seen on " (one.edge) } }
            dl class="claims" {
                @for (name, claim) in claims {
                    div {
                        dt { (name) }
                        @match claim {
                            Some(claim) => dd { (claim) },
                            None => dd class="soft" { "– not told" },
                        }
                    }
                }
            }
            @if let Some(confidence) = one.confidence {
                p class="confidence" { "confidence " meter min="0" max="1" value=(format!("{confidence:.2}")) { (share(confidence)) } " " span class="n" { (share(confidence)) } }
            }
            @if !one.evidence.is_empty() {
                ul class="notes" { @for text in &one.evidence { li { (prose(text)) } } }
            }
        }
    }
}

fn breaker(breaker: Breaker) -> String {
    let what = match breaker.counts {
        Some(Counted::Attempts) => "failed attempt",
        Some(Counted::Calls) => "failed call",
        None => "failure",
    };
    let after =
        breaker.failures.map_or_else(String::new, |n| format!(" after {}", plural(u64::from(n), what)));
    let open = breaker.open_for.map_or_else(String::new, |open| format!(", for {}", seconds(open)));
    format!("opens{after}{open}")
}

fn times(retries: u32) -> String {
    match retries {
        0 => "no".into(),
        1 => "once".into(),
        n => format!("{n} times"),
    }
}

/// What it answers its own caller when this edge fails.
fn falls_back(well: f64) -> String {
    if well <= 0.0 { "no".into() } else { format!("{} of its answers are well all the same", share(well)) }
}
