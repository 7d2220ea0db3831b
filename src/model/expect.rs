//! `[[expect]]` and `[[guardrail]]`: limits on what is measured on an edge.

use super::fault::Surroundings;
use super::keys::{quantile, status_set};
use super::reader::Reader;
use super::tree::Node;
use super::{Check, Expectation, Guardrail, Metric, On, Phase, Phases};
use crate::decision::Protocol;
use crate::problem::{Place, Problem, Problems};
use crate::units::{Comparison, Name, Op, Span, Unit};

/// What a limit is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judge {
    /// It must hold.
    Expectation,
    /// It must not hold for long.
    Guardrail,
}

/// Reads one expectation.
pub(crate) fn expectation(
    table: &Reader<'_>,
    around: &Surroundings,
    phases: &Phases,
    problems: &mut Problems,
) -> Option<Expectation> {
    let (edge, checks) = measured(table, around, Judge::Expectation, problems);
    let judged = judged_phases(table, phases, problems);
    Some(Expectation {
        name: name(table, &checks)?,
        on: On::Edge { edge: edge?, checks },
        phases: judged,
        include_injected: table.flag_or_default("include_injected"),
        baseline: table.flag_or_default("baseline"),
        line: problems.line_column(table.place).0,
    })
}

/// Reads one guardrail.
pub(crate) fn guardrail(
    table: &Reader<'_>,
    around: &Surroundings,
    phases: &Phases,
    problems: &mut Problems,
) -> Option<Guardrail> {
    let (edge, checks) = measured(table, around, Judge::Guardrail, problems);
    let lasts = table.duration_or_default("for");
    if lasts > phases.fault && !phases.fault.is_zero() {
        problems.push(
            Problem::warning("this guardrail cannot act")
                .at(table.place_of("for"))
                .label(format!("needs {}, and the fault phase lasts {}", Span(lasts), Span(phases.fault)))
                .help("set a `for` that is well shorter than `run.fault`"),
        );
    }
    Some(Guardrail {
        name: name(table, &checks)?,
        edge: edge?,
        checks,
        lasts,
        window: table.duration_or_default("window"),
        include_injected: table.flag_or_default("include_injected"),
        line: problems.line_column(table.place).0,
    })
}

/// The name, or one made of the edge and what is measured.
fn name(table: &Reader<'_>, checks: &[Check]) -> Option<Name> {
    if table.has("name") {
        return table.parsed("name");
    }
    let keys: Vec<String> = checks.iter().map(|check| check.metric.key()).collect();
    let full = format!("{}: {}", table.text("edge")?, keys.join(", "));
    let short: String = full.chars().take(64).collect();
    short.trim_end().parse().ok()
}

/// The edge and the checks on it.
fn measured(
    table: &Reader<'_>,
    around: &Surroundings,
    judge: Judge,
    problems: &mut Problems,
) -> (Option<usize>, Vec<Check>) {
    let edge = around.find(table, problems).first().copied();
    let mut checks = Vec::new();
    let mut anything = false;
    for entry in table.entries() {
        let metrics: Vec<(Metric, Place, &Node)> = match (entry.key.as_str(), entry.node.as_tree()) {
            ("success_rate", _) => vec![(Metric::SuccessRate, entry.key_place, &entry.node)],
            ("error_rate", _) => vec![(Metric::ErrorRate, entry.key_place, &entry.node)],
            ("rate", _) => vec![(Metric::Rate, entry.key_place, &entry.node)],
            ("in_flight", _) => vec![(Metric::InFlight, entry.key_place, &entry.node)],
            ("status_rate", Some(tree)) => {
                let sets = tree.entries.iter().filter_map(|status| {
                    Some((Metric::StatusRate(status_set(&status.key)?), status.key_place, &status.node))
                });
                sets.collect()
            }
            (key, _) => match quantile(key) {
                Some(q) => vec![(Metric::Quantile(q), entry.key_place, &entry.node)],
                None => Vec::new(),
            },
        };
        anything |= !metrics.is_empty() || entry.node.broken;
        for (metric, key_place, node) in metrics {
            if let Some((_, Protocol::Tcp)) = edge
                && matches!(metric, Metric::Quantile(_) | Metric::StatusRate(_))
            {
                problems.push(
                    Problem::error(format!("`{}` is not measured on a tcp edge", metric.key()))
                        .at(key_place)
                        .label("connections have no status and no response time")
                        .help("use `success_rate`, `error_rate`, `rate` or `in_flight`"),
                );
            }
            checks.extend(check(metric, node, judge, problems));
        }
    }
    if !anything {
        problems.push(
            Problem::error("nothing is measured here")
                .at(table.place)
                .label("has no limit")
                .help("add one, such as `success_rate = \">= 99%\"` or `p99 = \"< 800ms\"`"),
        );
    }
    (edge.map(|(index, _)| index), checks)
}

fn check(metric: Metric, node: &Node, judge: Judge, problems: &mut Problems) -> Option<Check> {
    if node.broken {
        return None;
    }
    let limit: Comparison = node.as_text()?.parse().ok()?;
    let (unit, what, example) = match metric {
        Metric::SuccessRate => (Unit::Ratio, "a share, written in percent", ">= 99%"),
        Metric::ErrorRate | Metric::StatusRate(_) => (Unit::Ratio, "a share, written in percent", "< 1%"),
        Metric::Quantile(_) => (Unit::Seconds, "a duration", "< 800ms"),
        Metric::Rate => (Unit::PerSecond, "a number per second", "> 40/s"),
        Metric::InFlight => (Unit::Count, "a count", "<= 200"),
    };
    let key = metric.key();
    if limit.unit != unit {
        let text = node.as_text().unwrap_or_default().trim();
        let help = match (unit, limit.unit) {
            (Unit::Ratio, Unit::Count) if limit.limit <= 1.0 => {
                format!("write `\"{} {}\"`", limit.op, Comparison::show(Unit::Ratio, limit.limit))
            }
            (Unit::Ratio, Unit::Count) if limit.limit <= 100.0 => format!("write `\"{text}%\"`"),
            (Unit::Seconds, Unit::Count) => format!("add the unit: `\"{text}ms\"` or `\"{text}s\"`"),
            (Unit::PerSecond, Unit::Count) => format!("write `\"{text}/s\"`"),
            _ => format!("write one such as `\"{example}\"`"),
        };
        let problem = Problem::error(format!("`{key}` cannot be compared with this"))
            .at(node.place)
            .label(format!("`{key}` is {what}"));
        problems.push(if limit.unit == Unit::Times {
            problem.help(format!("comparing phases comes with a later version; {help}"))
        } else {
            problem.help(help)
        });
        return None;
    }
    let top = if unit == Unit::Ratio { 1.0 } else { f64::INFINITY };
    let never = match limit.op {
        Op::Less => limit.limit <= 0.0,
        Op::More => limit.limit >= top,
        Op::AtLeast | Op::AtMost | Op::Equal => limit.limit > top,
    };
    if never {
        let reason =
            if limit.limit > 0.0 { "more than 100 % cannot be" } else { "less than nothing cannot be" };
        let help = if limit.limit > 1.0 && unit == Unit::Ratio {
            "a share is at most `100%`".to_owned()
        } else {
            format!("write a limit that can be met, such as `\"{example}\"`")
        };
        problems.push(
            Problem::error(match judge {
                Judge::Expectation => format!("this limit of `{key}` cannot hold"),
                Judge::Guardrail => format!("this limit of `{key}` is never breached"),
            })
            .at(node.place)
            .label(reason)
            .help(help),
        );
        return None;
    }
    let always = match limit.op {
        Op::AtLeast => limit.limit <= 0.0,
        Op::AtMost => limit.limit >= top,
        Op::Less | Op::More | Op::Equal => false,
    };
    if always && judge == Judge::Guardrail {
        problems.push(
            Problem::error(format!("this limit of `{key}` is always breached"))
                .at(node.place)
                .label("a guardrail says what must not be")
                .help("turn the comparison round, such as `error_rate = \"> 50%\"`"),
        );
        return None;
    }
    if always {
        problems.push(
            Problem::warning(format!("this limit of `{key}` always holds"))
                .at(node.place)
                .label("says nothing about the system")
                .help(format!("write a limit that can fail, such as `\"{example}\"`")),
        );
    }
    Some(Check { metric, limit, line: problems.line_column(node.place).0 })
}

fn judged_phases(table: &Reader<'_>, phases: &Phases, problems: &mut Problems) -> Vec<Phase> {
    let mut all = Vec::new();
    if !table.has("phase") {
        all.push(Phase::Fault);
        if phases.fault.is_zero() {
            problems.push(empty_phase(table.place, Phase::Fault));
        }
    }
    for node in table.many("phase") {
        let (phase, length) = match node.as_text() {
            Some("baseline") => (Phase::Baseline, phases.baseline),
            Some("fault") => (Phase::Fault, phases.fault),
            Some("recovery") => (Phase::Recovery, phases.recovery),
            _ => continue,
        };
        if all.contains(&phase) {
            problems.push(
                Problem::error(format!("phase `{}` is there twice", phase.as_str()))
                    .at(node.place)
                    .label("again")
                    .help("take one out"),
            );
            continue;
        }
        if length.is_zero() {
            problems.push(empty_phase(node.place, phase));
        }
        all.push(phase);
    }
    all
}

fn empty_phase(place: Place, phase: Phase) -> Problem {
    let word = phase.as_str();
    Problem::error(format!("the {word} phase has no length"))
        .at(place)
        .label("judged here, but nothing can be measured in it")
        .help(format!("set `{word} = \"30s\"` under `[run]`, or judge another phase"))
}
