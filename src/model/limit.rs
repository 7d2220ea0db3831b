//! The limits of expectations and guardrails: comparisons that fit what is measured, and that can both hold and fail.

use super::Versus;
use super::tree::Node;
use crate::problem::{Problem, Problems};
use crate::units::{Comparison, Op, Unit};

/// What a limit is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judge {
    /// It must hold.
    Expectation(Versus),
    /// It must hold of a service, which is not compared with what it was.
    OfService,
    /// It must not hold for long.
    Guardrail,
}

/// What a limit is compared with.
#[derive(Clone, Copy)]
pub(crate) struct Measure {
    /// Its unit.
    pub(crate) unit: Unit,
    /// What it is, in words.
    pub(crate) what: &'static str,
    /// A limit that makes sense.
    pub(crate) example: &'static str,
}

/// A share of all.
pub(crate) const SHARE: Measure =
    Measure { unit: Unit::Ratio, what: "a share, written in percent", example: ">= 99%" };

/// A multiple of the baseline.
const MULTIPLE: Measure =
    Measure { unit: Unit::Times, what: "compared with the baseline, by `vs`", example: "<= 1.5x" };

/// The limit of a key, if it can be compared with what is measured, and can fail and hold.
pub(crate) fn limit(
    key: &str,
    measure: Measure,
    node: &Node,
    judge: Judge,
    problems: &mut Problems,
) -> Option<Comparison> {
    if node.broken {
        return None;
    }
    let limit: Comparison = node.as_text()?.parse().ok()?;
    let measure = match judge {
        Judge::Expectation(Versus::Baseline) => MULTIPLE,
        _ => measure,
    };
    let Measure { unit, what, example } = measure;
    if limit.unit != unit {
        let text = node.as_text().unwrap_or_default().trim();
        let help = match (unit, limit.unit) {
            (Unit::Ratio, Unit::Count) if limit.limit <= 1.0 => {
                format!("write `\"{} {}\"`", limit.op, Comparison::show(Unit::Ratio, limit.limit))
            }
            (Unit::Ratio, Unit::Count) if limit.limit <= 100.0 => format!("write `\"{text}%\"`"),
            (Unit::Times, Unit::Count) => format!("write `\"{text}x\"`"),
            (Unit::Seconds, Unit::Count) => format!("add the unit: `\"{text}ms\"` or `\"{text}s\"`"),
            (Unit::PerSecond, Unit::Count) => {
                format!("write `\"{text}/{}\"`", if example.ends_with("/h") { "h" } else { "s" })
            }
            _ => format!("write one such as `\"{example}\"`"),
        };
        let problem = Problem::error(format!("`{key}` cannot be compared with this"))
            .at(node.place)
            .label(format!("`{key}` is {what}"));
        problems.push(match (limit.unit, judge) {
            (Unit::Times, Judge::Expectation(Versus::Itself)) => {
                problem.help(format!("add `vs = \"baseline\"` to compare it with the baseline, or {help}"))
            }
            _ => problem.help(help),
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
                Judge::Expectation(_) | Judge::OfService => format!("this limit of `{key}` cannot hold"),
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
    Some(limit)
}
