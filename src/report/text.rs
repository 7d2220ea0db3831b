//! The summary that a person reads at the end of a run: the verdict first, then what it rests on.

mod services;
mod spread;

use super::figures::{clock, fit, number, seconds, share, wrap};
use super::{CheckResult, EdgePhase, EdgeResult, FaultResult, GuardrailResult, Report, Verdict, replay};
use crate::units::{Comparison, Unit};
use anstyle::{AnsiColor, Style};
use std::fmt::Write;

/// The summary is never wider than this.
const WIDTH: usize = 100;
/// So many reasons stand under the verdict; the rest is below anyway.
const REASONS: usize = 6;

/// The summary, with colours or without.
#[must_use]
pub fn render(report: &Report, colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    page.verdict(report);
    page.spread(report);
    page.edges(report);
    page.faults(report);
    page.expectations(report);
    page.guardrails(report);
    page.services(report);
    page.rest(report);
    page.text
}

/// One line for each of several runs.
#[must_use]
pub fn scorecard(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let why = report.reasons.first().map_or("", String::as_str);
        let line = format!("  {:<13}{} {why}", report.verdict.as_str(), fit(&report.name, 30));
        let _ = writeln!(text, "{}", fit(&line, WIDTH).trim_end());
    }
    text
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const UNSURE: Style = AnsiColor::Yellow.on_default();

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.colour && !text.trim().is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn heading(&mut self, text: &str) {
        let heading = self.paint(BOLD, text);
        self.line(&format!("\n  {heading}"));
    }

    /// Text under a mark, wrapped at words; the first line begins with `first`, which takes `indent` columns.
    fn wrapped(&mut self, first: &str, indent: usize, text: &str) {
        let lines: Vec<String> = text.lines().flat_map(|line| wrap(line, WIDTH - indent)).collect();
        for (n, line) in lines.iter().enumerate() {
            let lead = if n == 0 { first.to_owned() } else { " ".repeat(indent) };
            self.line(&format!("{lead}{line}"));
        }
    }

    /// Wrapped text that stands back.
    fn aside(&mut self, indent: usize, text: &str) {
        for line in wrap(text, WIDTH - indent) {
            let line = self.paint(DIM, &line);
            self.line(&format!("{}{line}", " ".repeat(indent)));
        }
    }

    fn verdict(&mut self, report: &Report) {
        let style = match report.verdict {
            Verdict::Passed => GOOD,
            Verdict::Failed | Verdict::Error | Verdict::Aborted => BAD,
            Verdict::Inconclusive | Verdict::Unsteady | Verdict::Interrupted => UNSURE,
        };
        let word = report.verdict.as_str().to_uppercase();
        let indent = word.chars().count() + 2;
        let first = format!("{}  ", self.paint(style.bold(), &word));
        self.wrapped(&first, indent, report.title.as_ref().unwrap_or(&report.name));
        let lasted = report.phases.last().map_or(0.0, |phase| phase.to);
        let facts = format!("{} · seed {} · {}", report.name, report.seed, clock(lasted));
        let facts = self.paint(DIM, &facts);
        self.line(&format!("{}{facts}", " ".repeat(indent)));
        for reason in report.reasons.iter().take(REASONS) {
            self.wrapped("  - ", 4, reason);
        }
        if report.reasons.len() > REASONS {
            self.line(&format!("  - and {} more", report.reasons.len() - REASONS));
        }
        let exit = super::Exit::of(report.exit);
        if report.verdict == Verdict::Passed {
            if report.expectations.is_empty() {
                self.line("  - nothing was judged: the file has no `[[expect]]`");
            }
            if report.exit != 0 {
                self.line("  - another outcome was expected (`--expect-exit`)");
            }
        } else if exit == super::Exit::Passed {
            self.line("  - this outcome was expected (`--expect-exit`)");
        }
    }

    fn edges(&mut self, report: &Report) {
        let injected =
            report.edges.iter().flat_map(|edge| edge.phases.values()).any(|phase| phase.injected > 0);
        let head = format!(
            "  {:<22}  {:<8}{:>9}{:>10}{:>9}{:>8}{:>8}{:>8}{}",
            "edge",
            "phase",
            "requests",
            "rate",
            "success",
            "p50",
            "p95",
            "p99",
            if injected { "  injected" } else { "" }
        );
        if report.edges.iter().all(|edge| edge.phases.is_empty()) {
            return;
        }
        let head = self.paint(DIM, &head);
        self.line(&format!("\n{head}"));
        for edge in &report.edges {
            self.edge(edge, injected);
        }
    }

    fn edge(&mut self, edge: &EdgeResult, injected: bool) {
        let order = ["baseline", "fault", "recovery"];
        let rows: Vec<_> = order.iter().filter_map(|name| Some((*name, edge.phases.get(name)?))).collect();
        let route = format!("{} → {}", edge.from, edge.to);
        for (n, (name, phase)) in rows.iter().enumerate() {
            let label = match n {
                0 => self.paint(BOLD, &fit(&edge.name, 22)),
                1 => self.paint(DIM, &fit(&route, 22)),
                _ => fit("", 22),
            };
            let cells = self.cells(phase, injected);
            self.line(&format!("  {label}  {name:<8}{cells}"));
        }
    }

    fn cells(&self, phase: &EdgePhase, injected: bool) -> String {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        let success = format!("{:>9}", or_dash(phase.success_rate.map(share)));
        let failed = phase.success_rate.is_some_and(|rate| rate < 1.0);
        let success = if failed { self.paint(BAD, &success) } else { success };
        let rate = or_dash(phase.rate.map(|rate| number(Unit::PerSecond, rate)));
        let mut cells = format!("{:>9}{rate:>10}{success}", phase.requests);
        for quantile in [phase.p50, phase.p95, phase.p99] {
            let _ = write!(cells, "{:>8}", or_dash(quantile.map(seconds)));
        }
        if injected {
            let _ = write!(cells, "{:>10}", phase.injected);
        }
        cells
    }

    fn faults(&mut self, report: &Report) {
        if report.faults.is_empty() {
            return;
        }
        self.heading("faults");
        for fault in &report.faults {
            let mark = if fault.hits > 0 {
                self.paint(GOOD, "✓")
            } else if fault.vacuous {
                self.paint(UNSURE, "?")
            } else {
                self.paint(DIM, "-")
            };
            let what = if fault.actions.is_empty() { "by hand".into() } else { fault.actions.join(", ") };
            let name = fit(&fault.name, 30);
            let place = fault.edge.as_ref().or(fault.service.as_ref());
            let place = place.map_or_else(String::new, ToString::to_string);
            let on = format!("{what} on {place} {}", intervals(fault));
            self.wrapped(&format!("    {mark} {name}  "), 38, &on);
            let mut counts = match (&fault.service, fault.hits) {
                (None, hits) => format!("{} matched, {} selected, {hits} hit", fault.matched, fault.selected),
                (Some(_), 0) => "never carried out".to_owned(),
                (Some(_), hits) => format!("carried out {hits} {}", if hits == 1 { "time" } else { "times" }),
            };
            if let Some(late) = fault.delay_error_p99 {
                let _ = write!(counts, "; late by {} (p99)", seconds(late));
            }
            self.aside(38, &counts);
        }
    }

    fn expectations(&mut self, report: &Report) {
        if report.expectations.is_empty() {
            return;
        }
        self.heading("expectations");
        let reached = |check: &&CheckResult| report.phases.iter().any(|phase| phase.name == check.phase);
        let shown: Vec<_> = report.expectations.iter().filter(reached).collect();
        for check in &shown {
            let mut others = shown.iter().filter(|other| same(check, other));
            // A baseline that held is a remark on the line of the phase that matters, if there is one.
            if check.phase == "baseline" && check.met == Some(true) && others.clone().next().is_some() {
                continue;
            }
            let before = others.find(|other| other.phase == "baseline").copied();
            self.expectation(report, check, before);
        }
        let unseen = report.expectations.len() - shown.len();
        if unseen > 0 {
            let checks = if unseen == 1 { "check" } else { "checks" };
            let dash = self.paint(DIM, &format!("- {unseen} {checks} of phases that were not reached"));
            self.line(&format!("    {dash}"));
        }
    }

    fn expectation(&mut self, report: &Report, check: &CheckResult, before: Option<&CheckResult>) {
        let (mark, style) = mark(check.met);
        let mark = self.paint(style, mark);
        let limit = check.expected();
        if check.observed_text.is_some() || check.expected_text.is_some() {
            self.in_words(check, &mark, &limit);
            return self.why(report, check);
        }
        let seen = check.seen().unwrap_or_else(|| "–".into());
        let seen =
            self.paint(if check.met == Some(false) { BAD } else { Style::new() }, &format!("{seen:>9}"));
        let on = match check.probe {
            Some(_) => check.key.clone(),
            None => format!("{} {}", check.target(), check.key),
        };
        let what = format!("{} {}", fit(&check.name, 30), fit(&on, 24));
        let mut remark = Vec::new();
        if check.phase != "fault" {
            remark.push(format!("in the {}", check.phase));
        }
        if let Some(vs) = check.vs {
            let show = |value| number(vs.unit, value);
            remark.push(format!("{} → {}", show(vs.baseline), show(vs.value)));
        } else if let Some(value) = before.and_then(|before| before.observed) {
            remark.push(format!("baseline {}", check.shown(value)));
        }
        let room = WIDTH - 83;
        let remark = fit(&remark.join(", "), room);
        let remark = self.paint(DIM, remark.trim_end());
        self.line(&format!("    {mark} {what}{seen}  {:<10} {remark}", limit));
        self.why(report, check);
    }

    /// A check whose values are words: they stand in a line of their own.
    fn in_words(&mut self, check: &CheckResult, mark: &str, limit: &str) {
        let on = format!("{} {}", check.target(), check.key);
        let phase = if check.phase == "fault" { String::new() } else { format!("in the {}", check.phase) };
        self.line(&format!("    {mark} {} {} {limit}  {phase}", fit(&check.name, 30), fit(on.trim(), 24)));
        if let Some(seen) = check.seen().filter(|_| check.met == Some(false)) {
            self.wrapped("      ", 6, &format!("seen: {seen}"));
        }
    }

    fn why(&mut self, report: &Report, check: &CheckResult) {
        if check.met != Some(true) {
            let place = place(report, check.line);
            let why = check.reason.as_ref().map_or_else(String::new, |why| format!("{why} "));
            self.aside(6, &format!("{why}({place})"));
        }
    }

    fn guardrails(&mut self, report: &Report) {
        if report.guardrails.is_empty() {
            return;
        }
        self.heading("guardrails");
        for rail in &report.guardrails {
            let watched = report.phases.iter().any(|phase| phase.name == "fault");
            let (mark, style) = if watched { mark(Some(!rail.breached)) } else { ("-", DIM) };
            let mark = self.paint(style, mark);
            let limit = Comparison { op: rail.op, limit: rail.limit, unit: rail.unit };
            let key = fit(&format!("{} {}", rail.edge, rail.key), 24);
            let limit = format!("{limit} for {}", clock(rail.lasts));
            let state = self.state(rail, watched);
            self.line(&format!("    {mark} {} {key}  {limit:<18}  {state}", fit(&rail.name, 30)));
        }
    }

    fn state(&self, rail: &GuardrailResult, watched: bool) -> String {
        match (rail.breached, rail.at, rail.observed) {
            (true, Some(at), Some(seen)) => {
                let text = format!("{} at {}", number(rail.unit, seen), clock(at));
                self.paint(BAD, &text)
            }
            _ if watched => self.paint(DIM, "held"),
            _ => self.paint(DIM, "not watched"),
        }
    }

    fn rest(&mut self, report: &Report) {
        if let Some(load) = report.load {
            self.line("");
            let text =
                format!("  load      {} sent, {} shed, {} timed out", load.sent, load.shed, load.timed_out);
            self.line(&text);
        }
        if let Some(command) = &report.command {
            let end = match (command.exit, command.stopped) {
                (_, true) => "stopped at the end".to_owned(),
                (Some(exit), _) => format!("exit code {exit}"),
                (None, _) => "did not end".to_owned(),
            };
            let words: Vec<String> = command.argv.iter().map(|word| super::quote(word)).collect();
            self.line("");
            self.wrapped("  command   ", 12, &format!("{end}: {}", words.join(" ")));
        }
        if report.notes().next().is_some() {
            self.line("");
        }
        for warning in report.notes() {
            let first = format!("  {}   ", self.paint(UNSURE, "warning"));
            self.wrapped(&first, 12, warning);
        }
        let honesty = &report.findings.honesty;
        if let (Some(half), Some(most)) =
            (honesty.overhead_p50, honesty.overhead_p99.filter(|most| *most > 0.0))
        {
            let text = format!(
                "Brownout itself took {} of an exchange (p50), {} (p99)",
                seconds(half),
                seconds(most)
            );
            self.line("");
            self.aside(2, &text);
        }
        // One line even if it is long, so that it can be copied.
        self.line("");
        self.line(&format!("  replay    {}", replay(&report.argv, report.seed)));
    }
}

/// Two checks of one key of one expectation.
fn same(a: &CheckResult, b: &CheckResult) -> bool {
    a.phase != b.phase && a.name == b.name && a.key == b.key && a.line == b.line && a.target() == b.target()
}

fn mark(met: Option<bool>) -> (&'static str, Style) {
    match met {
        Some(true) => ("✓", GOOD),
        Some(false) => ("✗", BAD),
        None => ("?", UNSURE),
    }
}

fn place(report: &Report, line: usize) -> String {
    match (report.file.as_str(), line) {
        (_, 0) => "from the command line".into(),
        ("", line) => format!("line {line}"),
        (file, line) => format!("{file}:{line}"),
    }
}

fn intervals(fault: &FaultResult) -> String {
    let show = |interval: &super::Interval| {
        format!("{} to {}", clock(interval.from), interval.to.map_or_else(|| "?".into(), clock))
    };
    match fault.intervals.as_slice() {
        [] => "never".into(),
        [only] => show(only),
        [first, .., last] => format!(
            "{} times from {} to {}",
            fault.intervals.len(),
            clock(first.from),
            last.to.map_or_else(|| "?".into(), clock)
        ),
    }
}

/// What was observed, with as many digits as it takes to see on which side of the limit it lies.
#[must_use]
pub fn value(check: &CheckResult, value: f64) -> String {
    let short = check.shown(value);
    if short != check.shown(check.limit) {
        short
    } else if check.key == super::CRASH_RATE {
        format!("{:.6}/h", value * 3600.0)
    } else {
        Comparison::show(check.unit, value)
    }
}
