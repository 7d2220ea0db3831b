//! Whether it came back, in which order and with what surge; and how many attempts a request became.

use super::Section;
use super::parts::{NONE, names, or_dash, prose, table};
use crate::analysis::{Amplified, Recovered, Recovery};
use crate::chart;
use crate::report::Report;
use crate::report::figures::{number, seconds, share};
use crate::units::Unit;
use maud::{Markup, html};

/// Attempts from this number on share a bar.
const MANY: u32 = 8;

pub(super) fn section(report: &Report) -> Option<Section> {
    let mut all: Vec<&Recovery> = report.findings.recovery.iter().collect();
    if all.iter().all(|one| one.state == Recovered::Unmeasured) && report.findings.cascade.is_empty() {
        return None;
    }
    // The first to come back first; who did not, after them; of whom nobody can tell, last.
    let rank = |one: &Recovery| match one.state {
        Recovered::Recovered => (0, one.within.unwrap_or(f64::MAX)),
        Recovered::Not => (1, 0.0),
        Recovered::Unmeasured => (2, 0.0),
    };
    all.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let surge = all.iter().any(|one| one.surge.is_some());
    let sustained = all.iter().any(|one| one.sustained_by.is_some());
    let mut columns = vec!["", "edge", "came back", "#after heal"];
    columns.extend(surge.then_some("#surge"));
    columns.extend(sustained.then_some("kept ill by"));
    let rows = html! {
        @for one in all {
            tr {
                td { (sign(one.state)) }
                th scope="row" { (one.edge) }
                td { (word(one.state)) }
                td class="n" { (or_dash(one.within.map(seconds))) }
                @if surge {
                    td class="n" {
                        (or_dash(one.surge.map(|surge| format!("{} for {}", number(Unit::Times, surge.height), seconds(surge.width)))))
                    }
                }
                @if sustained { td class="wide" { (prose(one.sustained_by.as_deref().unwrap_or_default())) } }
            }
        }
    };
    let lead = "From the end of heal until an edge was as before, and stayed so. A surge is a rate above the baseline's meanwhile.";
    Some(Section { id: "recovery", title: "Did it come back?", lead, body: table(&columns, &rows) })
}

fn sign(state: Recovered) -> Markup {
    let (class, sign) = match state {
        Recovered::Recovered => ("good", "✓"),
        Recovered::Not => ("bad", "✗"),
        Recovered::Unmeasured => ("soft", NONE),
    };
    html! { span class=(format!("sign {class}")) aria-hidden="true" { (sign) } }
}

fn word(state: Recovered) -> &'static str {
    match state {
        Recovered::Recovered => "yes",
        Recovered::Not => "no, not within the recovery phase",
        Recovered::Unmeasured => "cannot be told",
    }
}

/// Attempts per logical request, by edge and phase.
pub(super) fn amplification(report: &Report) -> Option<Section> {
    let seen: Vec<&Amplified> = report
        .findings
        .amplification
        .iter()
        .filter(|one| one.attempts > 0 && one.phase != "warmup")
        .collect();
    if seen.is_empty() {
        return None;
    }
    let repeats = |edge: &str| seen.iter().any(|one| one.edge == edge && one.attempts > one.logical);
    let mut single: Vec<&str> =
        seen.iter().map(|one| one.edge.as_str()).filter(|edge| !repeats(edge)).collect();
    single.dedup();
    let all: Vec<&Amplified> = seen.iter().copied().filter(|one| repeats(&one.edge)).collect();
    let honoured = all.iter().any(|one| one.retry_after_honoured.is_some());
    let mut columns = vec![
        "edge",
        "phase",
        "#attempts",
        "#requests",
        "#each",
        "requests by attempts",
        "gaps between attempts",
    ];
    columns.extend(honoured.then_some("#Retry-After kept"));
    let rows = html! {
        @for (n, one) in all.iter().enumerate() {
            @let same = n > 0 && all[n - 1].edge == one.edge;
            tr class=(if same { "same" } else { "" }) {
                th scope="row" { @if !same { (one.edge) } }
                td { (one.phase) }
                td class="n" { (one.attempts) }
                td class="n" { (one.logical) }
                td class=(if one.amplification.is_some_and(|times| times >= 1.5) { "n bad" } else { "n" }) {
                    (or_dash(one.amplification.map(|times| number(Unit::Times, times))))
                }
                td { (histogram(one)) }
                td { (gaps(one)) }
                @if honoured { td class="n" { (or_dash(one.retry_after_honoured.map(share))) } }
            }
        }
    };
    let body = html! {
        @if !all.is_empty() { (table(&columns, &rows)) }
        @if !single.is_empty() {
            p class="beyond" { "On " (prose(&names(&single))) " every request was one attempt." }
        }
    };
    let lead = "How many attempts reached an edge for each logical request of its caller.";
    Some(Section { id: "amplification", title: "Amplification", lead, body })
}

fn histogram(one: &Amplified) -> Markup {
    let mut bars: Vec<(String, u64)> =
        one.histogram.range(..MANY).map(|(n, count)| (n.to_string(), *count)).collect();
    let many: u64 = one.histogram.range(MANY..).map(|(_, count)| count).sum();
    if many > 0 {
        bars.push((format!("{MANY}+"), many));
    }
    match bars.as_slice() {
        [] => html! { (NONE) },
        [(attempts, _)] if attempts == "1" => html! { span class="soft" { "one attempt each" } },
        bars => chart::bars(
            bars,
            &format!("{} in the {}: requests by their number of attempts", one.edge, one.phase),
        ),
    }
}

fn gaps(one: &Amplified) -> String {
    let gaps: Vec<String> = one.backoff.iter().map(|gap| seconds(*gap)).collect();
    match (gaps.is_empty(), one.jittered) {
        (true, _) => NONE.into(),
        (false, Some(true)) => format!("{}, spread out", gaps.join(", ")),
        (false, Some(false)) => format!("{}, all alike", gaps.join(", ")),
        (false, None) => gaps.join(", "),
    }
}
