//! `report.md`: a run as a comment of a pull request, or as the summary of a CI step. The verdict first; tables below.
//!
//! Names come from files, so whatever would be markup in them is told as it stands.

use super::figures::{clock, number, seconds, share};
use super::{CheckResult, Report, Verdict, replay, told};
use crate::units::Unit;
use std::fmt::Write;

/// So many rows of a table.
const ROWS: usize = 50;

/// The run.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    head(report, &mut out);
    spread(report, &mut out);
    expectations(report, &mut out);
    edges(report, &mut out);
    callers(report, &mut out);
    faults(report, &mut out);
    let _ = writeln!(out, "\n```sh\n{}\n```", replay(&report.argv, report.seed));
    out
}

/// Several runs, one after the other, with a table of all of them first.
#[must_use]
pub fn render_all(reports: &[Report]) -> String {
    if let [report] = reports {
        return render(report);
    }
    let mut out = table(
        &["", "experiment", "verdict", "why"],
        reports.iter().map(|report| {
            let why = report.reasons.first().map_or("", String::as_str);
            vec![mark(report.verdict).into(), cell(&report.name), report.verdict.as_str().into(), cell(why)]
        }),
    );
    for report in reports {
        let _ = write!(out, "\n{}", render(report));
    }
    out
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "✅",
        Verdict::Failed | Verdict::Aborted | Verdict::Error => "❌",
        Verdict::Inconclusive | Verdict::Unsteady | Verdict::Interrupted => "⚠️",
    }
}

fn head(report: &Report, out: &mut String) {
    let title = report.title.as_ref().unwrap_or(&report.name);
    let verdict = report.verdict.as_str();
    let _ = writeln!(out, "### {} {verdict}: {}\n", mark(report.verdict), cell(title));
    let lasted = report.phases.last().map_or(0.0, |phase| phase.to);
    let _ = writeln!(
        out,
        "{} · seed {} · {} · exit code {}",
        code(&report.name),
        report.seed,
        clock(lasted),
        report.exit
    );
    if !report.reasons.is_empty() {
        out.push('\n');
    }
    for reason in report.reasons.iter().take(ROWS) {
        let _ = writeln!(out, "- {}", prose(reason));
    }
}

fn spread(report: &Report, out: &mut String) {
    let findings = &report.findings;
    if !findings.cascade.is_empty() {
        let _ = writeln!(out, "\n**How it spread**\n");
        let rows = findings.cascade.iter().take(ROWS).map(|onset| {
            let edge = if onset.source { format!("**{}**", cell(&onset.edge)) } else { cell(&onset.edge) };
            vec![
                format!("+{}", seconds(onset.at.max(0.0))),
                edge,
                cell(&told::symptom(onset)),
                prose(&told::cause(onset)).replace('|', "\\|"),
            ]
        });
        out.push_str(&table(&["after", "edge", "showed", ""], rows));
        if !findings.unmoved.is_empty() {
            let _ = writeln!(out, "\nNever moved: {}", cell(&findings.unmoved.join(", ")));
        }
    }
    let back: Vec<_> = findings
        .recovery
        .iter()
        .filter_map(|recovery| Some((&recovery.edge, told::came_back(recovery)?)))
        .take(ROWS)
        .collect();
    if !back.is_empty() {
        let _ = writeln!(out, "\n**After heal**\n");
    }
    for (edge, text) in back {
        let _ = writeln!(out, "- {}: {}", code(edge), prose(&text));
    }
}

fn expectations(report: &Report, out: &mut String) {
    let reached = |check: &&CheckResult| report.phases.iter().any(|phase| phase.name == check.phase);
    // A baseline that held says nothing that the phase after it does not say.
    let tells = |check: &&CheckResult| check.phase != "baseline" || check.met != Some(true);
    let rows: Vec<_> = report.expectations.iter().filter(reached).filter(tells).take(ROWS).map(row).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n**Expectations**\n");
    out.push_str(&table(&["", "expectation", "on", "key", "phase", "seen", "expected"], rows.into_iter()));
}

fn row(check: &CheckResult) -> Vec<String> {
    let mark = match check.met {
        Some(true) => "✅",
        Some(false) => "❌",
        None => "⚠️",
    };
    let seen = check.seen().or_else(|| check.reason.clone()).unwrap_or_default();
    let seen = match check.vs {
        Some(vs) => {
            format!("{seen} ({}, before {})", number(vs.unit, vs.value), number(vs.unit, vs.baseline))
        }
        None => seen,
    };
    vec![
        mark.into(),
        cell(&check.name),
        cell(check.target()),
        cell(&check.key),
        check.phase.into(),
        cell(&seen),
        cell(&check.expected()),
    ]
}

fn edges(report: &Report, out: &mut String) {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let rows: Vec<Vec<String>> = report
        .edges
        .iter()
        .flat_map(|edge| {
            ["baseline", "fault", "recovery"].into_iter().filter_map(move |name| {
                let phase = edge.phases.get(name)?;
                Some(vec![
                    cell(&edge.name),
                    name.into(),
                    phase.requests.to_string(),
                    or_dash(phase.rate.map(|rate| number(Unit::PerSecond, rate))),
                    or_dash(phase.success_rate.map(share)),
                    or_dash(phase.p50.map(seconds)),
                    or_dash(phase.p99.map(seconds)),
                    or_dash(phase.amplification.map(|times| number(Unit::Times, times))),
                ])
            })
        })
        .take(ROWS)
        .collect();
    if rows.is_empty() {
        return;
    }
    let heads = ["edge", "phase", "requests", "rate", "success", "p50", "p99", "attempts"];
    folded("Edges", &table(&heads, rows.into_iter()), out);
}

fn callers(report: &Report, out: &mut String) {
    let rows: Vec<Vec<String>> = report
        .findings
        .fingerprints
        .iter()
        .map(|print| (print, told::made_of(print)))
        .filter(|(_, claims)| !claims.is_empty())
        .take(ROWS)
        .map(|(print, claims)| {
            let edge = report.edges.iter().find(|edge| edge.name == print.edge);
            vec![cell(edge.map_or("?", |edge| &edge.from)), cell(&print.edge), cell(&claims.join("; "))]
        })
        .collect();
    if !rows.is_empty() {
        folded("What the callers are made of", &table(&["caller", "on", "shows"], rows.into_iter()), out);
    }
}

fn faults(report: &Report, out: &mut String) {
    let rows: Vec<Vec<String>> = report
        .faults
        .iter()
        .take(ROWS)
        .map(|fault| {
            let place =
                fault.edge.as_ref().or(fault.service.as_ref()).map_or_else(String::new, ToString::to_string);
            vec![
                cell(&fault.name),
                fault.actions.join(", "),
                cell(&place),
                fault.matched.to_string(),
                fault.hits.to_string(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        folded("Faults", &table(&["fault", "does", "on", "matched", "hit"], rows.into_iter()), out);
    }
    for note in report.notes().take(ROWS) {
        let _ = writeln!(out, "\n> {}", prose(note));
    }
}

/// What most readers do not need at once.
fn folded(what: &str, text: &str, out: &mut String) {
    let _ = writeln!(out, "\n<details><summary>{what}</summary>\n\n{text}\n</details>");
}

/// A table of cells that are Markdown already.
pub(super) fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len()));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

/// Text that is no markup, in a cell or a line.
pub(super) fn cell(text: &str) -> String {
    escaped(text, true)
}

/// A sentence of ours, in which backticks mean what they say.
pub(super) fn prose(text: &str) -> String {
    // An odd number of them would make code of all that follows.
    escaped(text, text.matches('`').count() % 2 == 1)
}

fn escaped(text: &str, ticks: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' if !ticks => {
                within = !within;
                out.push('`');
            }
            '\n' | '\r' => out.push(' '),
            '|' => out.push_str("\\|"),
            _ if within => out.push(c),
            // Before anything else it begins no tag.
            '<' if chars.peek().is_some_and(|next| next.is_alphabetic() || "/!?".contains(*next)) => {
                out.push_str("&lt;");
            }
            '&' => out.push_str("&amp;"),
            '`' | '*' | '[' | ']' | '\\' | '#' | '~' | '@' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_markup() {
        for (text, told) in [
            ("a|b", "a\\|b"),
            ("<img src=x>", "&lt;img src=x>"),
            ("<= 5", "<= 5"),
            ("*bold* `x`", "\\*bold\\* \\`x\\`"),
            ("@everyone #1", "\\@everyone \\#1"),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(cell(text), told);
        }
        assert_eq!(prose("fault `a_b|*` did <it>"), "fault `a_b\\|*` did &lt;it>");
        assert_eq!(prose("odd ` one*"), "odd \\` one\\*");
        assert_eq!(code("a`b"), "`a'b`");
    }
}
