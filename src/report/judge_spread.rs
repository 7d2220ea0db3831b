//! How a failure spread and whether it ended, held against what was expected of it. Pure.
//!
//! What is true or not is told as a share, 1 or 0 of 1, with words beside it. What cannot be judged is never met.

use super::{CheckResult, Truth, judge};
use crate::analysis::{Findings, Onset, Within};
use crate::model::{Expectation, Experiment, Phase, Spread, SpreadCheck};
use crate::units::{Op, Unit};

/// One expectation on how a failure spread.
pub(super) fn spread(
    experiment: &Experiment,
    expectation: &Expectation,
    check: &SpreadCheck,
    truth: &Truth<'_>,
) -> CheckResult {
    let names = |edges: &[usize]| -> Vec<String> {
        edges.iter().filter_map(|edge| Some(experiment.edges.get(*edge)?.name.to_string())).collect()
    };
    let (wanted, expected) = match &check.what {
        Spread::Nowhere => (Vec::new(), "none".to_owned()),
        Spread::Source(edges) => (names(edges), names(edges).join(" and ")),
        Spread::Order(edges) => (names(edges), names(edges).join(", then ")),
    };
    let judged = if truth.fold().reached(Phase::Fault) {
        match &check.what {
            Spread::Nowhere => nowhere(truth.findings()),
            Spread::Source(_) => sources(truth.findings(), &wanted),
            Spread::Order(_) => order(truth.findings(), &wanted),
        }
    } else {
        Judged::Open(judge::NOT_REACHED.into())
    };
    let (met, seen, reason) = match judged {
        Judged::Seen(met, seen) => (Some(met), Some(seen), None),
        Judged::Open(why) => (None, None, Some(why)),
    };
    CheckResult {
        name: expectation.name.to_string(),
        key: check.what.key().into(),
        edge: None,
        service: None,
        probe: None,
        phase: Phase::Fault.as_str(),
        observed: met.map(|met| f64::from(u8::from(met))),
        observed_text: seen,
        op: Op::AtLeast,
        limit: 1.0,
        unit: Unit::Ratio,
        expected_text: Some(expected),
        vs: None,
        met,
        reason,
        line: check.line,
    }
}

/// What came of it.
enum Judged {
    /// Whether it held, and what was seen.
    Seen(bool, String),
    /// Why nobody can tell.
    Open(String),
}

fn nowhere(findings: &Findings) -> Judged {
    if !findings.cascade.is_empty() {
        return Judged::Seen(false, told(&findings.cascade.iter().collect::<Vec<_>>()));
    }
    match unjudged(findings, |_| true) {
        Some(why) => Judged::Open(why),
        None if findings.unmoved.is_empty() => Judged::Open("no traffic".into()),
        None => Judged::Seen(true, "none".into()),
    }
}

fn sources(findings: &Findings, wanted: &[String]) -> Judged {
    let sources: Vec<&Onset> = findings.cascade.iter().filter(|onset| onset.source).collect();
    let is = |edge: &String| sources.iter().any(|onset| onset.edge == *edge);
    let missing = |edge: &str| wanted.iter().any(|wanted| wanted == edge && !is(wanted));
    if wanted.iter().all(is) {
        return Judged::Seen(true, told(&sources));
    }
    match unjudged(findings, missing) {
        Some(why) => Judged::Open(why),
        None if findings.cascade.is_empty() && findings.unmoved.is_empty() => {
            Judged::Open("no traffic".into())
        }
        None => Judged::Seen(false, told(&sources)),
    }
}

fn order(findings: &Findings, wanted: &[String]) -> Judged {
    let mut rest = wanted.iter();
    let mut next = rest.next();
    for onset in &findings.cascade {
        if next.is_some_and(|edge| *edge == onset.edge) {
            next = rest.next();
        }
    }
    let seen = || told(&findings.cascade.iter().collect::<Vec<_>>());
    if next.is_none() {
        return Judged::Seen(true, seen());
    }
    let ill = |edge: &str| findings.cascade.iter().any(|onset| onset.edge == edge);
    match unjudged(findings, |edge| wanted.iter().any(|wanted| wanted == edge) && !ill(edge)) {
        Some(why) => Judged::Open(why),
        None if findings.cascade.is_empty() && findings.unmoved.is_empty() => {
            Judged::Open("no traffic".into())
        }
        None => Judged::Seen(false, seen()),
    }
}

/// Edges in the order in which they fell ill.
fn told(onsets: &[&Onset]) -> String {
    match onsets {
        [] => "none".into(),
        some => some.iter().map(|onset| onset.edge.as_str()).collect::<Vec<_>>().join(", then "),
    }
}

/// Why nothing can be said of edges that count, if there are such.
fn unjudged(findings: &Findings, counts: impl Fn(&str) -> bool) -> Option<String> {
    let whys: Vec<String> = findings
        .unjudged
        .iter()
        .filter(|(edge, _)| counts(edge))
        .map(|(edge, why)| format!("`{edge}` cannot be judged: {why}"))
        .collect();
    (!whys.is_empty()).then(|| whys.join("; "))
}

/// Whether an edge came back in time.
pub(super) fn recovers(
    experiment: &Experiment,
    edge: usize,
    result: CheckResult,
    truth: &Truth<'_>,
) -> CheckResult {
    if !truth.fold().reached(Phase::Recovery) {
        return CheckResult { reason: Some(judge::NOT_REACHED.into()), ..result };
    }
    match truth.recovers_within(edge) {
        Within::After(within) => {
            let within = within / judge::scale(experiment);
            CheckResult { observed: Some(within), met: Some(result.op.holds(within, result.limit)), ..result }
        }
        Within::Never => {
            let mut all = truth.findings().recovery.iter();
            let kept = all.find(|one| Some(&one.edge) == result.edge.as_ref());
            let kept = kept.and_then(|one| one.sustained_by.as_ref());
            let kept = kept.map_or_else(String::new, |by| format!(" ({by})"));
            let seen = format!("still ill at the end of the recovery{kept}");
            CheckResult { observed_text: Some(seen), met: Some(false), ..result }
        }
        Within::Unmeasured(why) => CheckResult { reason: Some(why.into()), ..result },
    }
}

/// Why there is no amplification.
pub(super) fn no_amplification(experiment: &Experiment, per: Option<usize>) -> String {
    match per.and_then(|edge| experiment.edges.get(edge)) {
        Some(edge) => format!("no request came, here or on `{}`", edge.name),
        None => "no request came".into(),
    }
}

#[cfg(test)]
#[path = "judge_spread_tests.rs"]
mod tests;
