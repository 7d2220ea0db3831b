//! The part of the summary about the cascade: who fell ill first and who followed, what retries made of it, who came back,
//! and what the callers are made of. Nothing happened is nothing said.

use super::{BAD, DIM, GOOD, Page, UNSURE, fit};
use crate::analysis::{Findings, Onset, Recovered};
use crate::report::figures::{number, seconds};
use crate::report::{Report, told};
use crate::units::Unit;
use std::collections::BTreeMap;

/// So many lines of each kind are shown; `report.json` has them all.
const SHOWN: usize = 20;
/// Attempts per logical request beyond which there are retries worth telling.
const RETRIES: f64 = 1.005;
/// A claim of less confidence is marked.
const SURE: f64 = 0.7;

impl Page {
    pub(super) fn spread(&mut self, report: &Report) {
        let findings = &report.findings;
        if !findings.cascade.is_empty() {
            self.heading("how it spread");
            let width = names(findings.cascade.iter().map(|onset| onset.edge.as_str()));
            for onset in findings.cascade.iter().take(SHOWN) {
                self.onset(onset, width);
            }
            self.more(findings.cascade.len());
        } else if !findings.unmoved.is_empty() {
            self.heading("how it spread");
            self.aside(4, "no edge left what it was on the baseline");
        }
        if !findings.cascade.is_empty() && !findings.unmoved.is_empty() {
            self.aside(4, &format!("never moved: {}", findings.unmoved.join(", ")));
        }
        if !findings.cascade.is_empty() || !findings.unmoved.is_empty() {
            for (edge, why) in &findings.unjudged {
                self.aside(4, &format!("not judged: {edge} ({why})"));
            }
        }
        for control in &findings.control {
            self.aside(4, &control.says);
        }
        self.amplified(findings);
        self.recovered(findings);
        self.callers(report);
    }

    fn onset(&mut self, onset: &Onset, width: usize) {
        let (mark, style) = if onset.source { ("●", BAD) } else { ("↳", UNSURE) };
        let mark = self.paint(style, mark);
        let name =
            self.paint(if onset.source { style } else { anstyle::Style::new() }, &fit(&onset.edge, width));
        let at = format!("+{}", seconds(onset.at.max(0.0)));
        let first = format!("    {at:>7}  {mark} {name}  ");
        self.wrapped(&first, width + 17, &format!("{} — {}", told::symptom(onset), told::cause(onset)));
    }

    fn amplified(&mut self, findings: &Findings) {
        let mut edges: Vec<(&str, BTreeMap<&str, f64>)> = Vec::new();
        for one in &findings.amplification {
            let Some(times) = one.amplification else { continue };
            match edges.iter_mut().find(|(edge, _)| *edge == one.edge) {
                Some((_, phases)) => drop(phases.insert(one.phase, times)),
                None => edges.push((&one.edge, BTreeMap::from([(one.phase, times)]))),
            }
        }
        edges.retain(|(_, phases)| phases.values().any(|times| *times > RETRIES));
        if edges.is_empty() {
            return;
        }
        self.heading("attempts per request");
        let width = names(edges.iter().map(|(edge, _)| *edge));
        for (edge, phases) in edges.iter().take(SHOWN) {
            let show = |phase: &str| {
                phases.get(phase).map_or_else(|| "–".into(), |times| number(Unit::Times, *times))
            };
            let fault = show("fault");
            let storm = phases.get("fault").is_some_and(|times| *times > RETRIES);
            let fault = self.paint(if storm { BAD } else { DIM }, &fault);
            let recovery = phases
                .get("recovery")
                .map_or_else(String::new, |_| format!(", recovery {}", show("recovery")));
            self.line(&format!(
                "    {}  {fault} in the fault phase, baseline {}{recovery}",
                fit(edge, width),
                show("baseline")
            ));
        }
        self.more(edges.len());
    }

    fn recovered(&mut self, findings: &Findings) {
        let mut told: Vec<_> = findings
            .recovery
            .iter()
            .filter_map(|recovery| Some((recovery, told::came_back(recovery)?)))
            .collect();
        if told.is_empty() {
            return;
        }
        // Who never came back stands last.
        told.sort_by(|(a, _), (b, _)| {
            let late = |recovery: &crate::analysis::Recovery| match recovery.state {
                Recovered::Recovered => recovery.within.unwrap_or(0.0),
                Recovered::Not | Recovered::Unmeasured => f64::INFINITY,
            };
            late(a).total_cmp(&late(b))
        });
        self.heading("after heal");
        let width = names(told.iter().map(|(recovery, _)| recovery.edge.as_str()));
        for (recovery, text) in told.iter().take(SHOWN) {
            let mark = match recovery.state {
                Recovered::Recovered => self.paint(GOOD, "✓"),
                Recovered::Not => self.paint(BAD, "✗"),
                Recovered::Unmeasured => self.paint(DIM, "-"),
            };
            self.wrapped(&format!("    {mark} {}  ", fit(&recovery.edge, width)), width + 8, text);
        }
        self.more(told.len());
    }

    fn callers(&mut self, report: &Report) {
        let callers: Vec<_> = report
            .findings
            .fingerprints
            .iter()
            .map(|print| {
                let edge = report.edges.iter().find(|edge| edge.name == print.edge);
                let from = edge.map_or("?", |edge| edge.from.as_str());
                (format!("{from} on {}", print.edge), told::made_of(print), print.confidence)
            })
            .filter(|(_, claims, _)| !claims.is_empty())
            .collect();
        if callers.is_empty() {
            return;
        }
        self.heading("what the callers are made of");
        let width = names(callers.iter().map(|(caller, ..)| caller.as_str()));
        for (caller, claims, confidence) in callers.iter().take(SHOWN) {
            let unsure = confidence.is_some_and(|confidence| confidence < SURE);
            let unsure = if unsure { " (not sure)" } else { "" };
            let text = format!("{}{unsure}", claims.join("; "));
            self.wrapped(&format!("    {}  ", fit(caller, width)), width + 6, &text);
        }
        self.more(callers.len());
    }

    fn more(&mut self, all: usize) {
        if all > SHOWN {
            self.aside(4, &format!("and {} more in report.json", all - SHOWN));
        }
    }
}

/// The columns that these names need, within bounds.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(4, 28)
}
