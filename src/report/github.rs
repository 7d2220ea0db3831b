//! Annotations as GitHub reads them from the output of a step: each mistake at its line of the experiment file. Pure.

use super::{Report, Verdict};
use std::fmt::Write;

/// What failed, a line each; `file` is the experiment as the repository knows it. A run that ended as it should has none but
/// its warnings.
#[must_use]
pub fn annotations(report: &Report, file: &str) -> String {
    let mut out = String::new();
    let mut tell = |level: &str, line: usize, title: &str, text: &str| {
        let mut at = Vec::new();
        if !file.is_empty() {
            at.push(format!("file={}", property(file)));
            if line > 0 {
                at.push(format!("line={line}"));
            }
        }
        at.push(format!("title={}", property(title)));
        let _ = writeln!(out, "::{level} {}::{}", at.join(","), data(text));
    };
    if report.exit != 0 {
        let mut told = 0;
        for check in report.expectations.iter().filter(|check| check.met == Some(false)) {
            // A baseline that failed later says nothing.
            if check.phase == "baseline" && report.verdict != Verdict::Unsteady {
                continue;
            }
            let seen = check.seen().unwrap_or_default();
            let text = format!(
                "{} was {seen} in the {}, expected {}",
                check.subject(),
                phase(check.phase),
                check.expected()
            );
            tell("error", check.line, &check.name, &text);
            told += 1;
        }
        let open = report.verdict == Verdict::Inconclusive;
        for check in report.expectations.iter().filter(|check| open && check.met.is_none()) {
            let why = check.reason.as_deref().unwrap_or("no sample");
            let text = format!("{} cannot be judged in the {}: {why}", check.subject(), phase(check.phase));
            tell("error", check.line, &check.name, &text);
            told += 1;
        }
        for fault in report.faults.iter().filter(|fault| open && fault.vacuous) {
            let text = format!("{} matched, {} selected, none hit", fault.matched, fault.selected);
            tell("error", fault.line, &format!("fault {} struck nothing", fault.name), &text);
            told += 1;
        }
        for rail in report.guardrails.iter().filter(|rail| rail.breached) {
            let text = format!("guardrail breached by {} on {}: all faults were healed", rail.key, rail.edge);
            tell("error", rail.line, &rail.name, &text);
            told += 1;
        }
        if told == 0 {
            let why = report.reasons.first().map_or(report.verdict.as_str(), String::as_str);
            tell("error", 0, &report.name, why);
        }
    }
    for warning in &report.warnings {
        tell("warning", 0, &report.name, warning);
    }
    out
}

fn phase(name: &str) -> &str {
    if name == "fault" { "fault phase" } else { name }
}

/// The text of a command: what would end its line is escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value of a command: what would end it is escaped too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_before_its_end() {
        assert_eq!(data("100%\r\na::b,c"), "100%25%0D%0Aa::b,c");
        assert_eq!(property("a: b, 5%\n"), "a%3A b%2C 5%25%0A");
    }
}
