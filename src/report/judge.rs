//! Holding what was seen against what was expected. Pure.

use super::{CheckResult, Fold};
use crate::model::{Check, Expectation, Experiment, Metric, Phase};
use crate::telemetry::{Histogram, Window};

/// The value of a metric over these exchanges, which took `seconds` to come. `None`: there is no sample.
///
/// Injected outcomes count only if `include_injected`; health requests never do.
#[must_use]
pub fn measure(metric: Metric, window: &Window, seconds: f64, include_injected: bool) -> Option<f64> {
    let total = samples(window, include_injected);
    if total == 0 {
        return None;
    }
    let injected = |count: u64| if include_injected { count } else { 0 };
    let share = |count: u64| count as f64 / total as f64;
    let failed = window.failed + injected(window.injected_failed);
    match metric {
        Metric::SuccessRate => Some(share(total.saturating_sub(failed))),
        Metric::ErrorRate => Some(share(failed)),
        Metric::StatusRate(set) => {
            let of = |statuses: &std::collections::BTreeMap<u16, u64>| -> u64 {
                statuses.iter().filter(|(status, _)| set.contains(**status)).map(|(_, count)| *count).sum()
            };
            Some(share(of(&window.by_status) + injected(of(&window.injected_by_status))))
        }
        Metric::Quantile(q) if include_injected && window.injected > 0 => {
            let mut all: Histogram = window.durations.clone();
            all.merge(&window.injected_durations);
            all.quantile(q)
        }
        Metric::Quantile(q) => window.durations.quantile(q),
        Metric::Rate => (seconds > 0.0).then(|| total as f64 / seconds),
        Metric::InFlight => Some(window.in_flight as f64),
    }
}

/// How many exchanges are judged.
#[must_use]
pub fn samples(window: &Window, include_injected: bool) -> u64 {
    window.requests + if include_injected { window.injected } else { 0 }
}

/// How the baseline came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steadiness {
    /// Everything held.
    Steady,
    /// Something did not hold.
    Unsteady,
    /// Something could not be judged, for want of samples.
    Unsampled,
}

/// Judges the baseline by itself.
#[must_use]
pub fn baseline(experiment: &Experiment, fold: &Fold) -> Steadiness {
    let checks = checks(experiment, fold);
    let mut met = checks.iter().filter(|check| check.phase == Phase::Baseline.as_str()).map(|c| c.met);
    if met.clone().any(|met| met == Some(false)) {
        Steadiness::Unsteady
    } else if met.any(|met| met.is_none()) {
        Steadiness::Unsampled
    } else {
        Steadiness::Steady
    }
}

/// The phases in which an expectation is judged: its own, and the baseline before them, in order.
#[must_use]
pub fn phases(expectation: &Expectation) -> Vec<Phase> {
    let mut phases = expectation.phases.clone();
    if expectation.baseline && phases.iter().any(|phase| *phase != Phase::Recovery) {
        phases.push(Phase::Baseline);
    }
    phases.sort_unstable();
    phases.dedup();
    phases
}

/// Every check of every expectation in each of its phases.
#[must_use]
pub fn checks(experiment: &Experiment, fold: &Fold) -> Vec<CheckResult> {
    let mut out = Vec::new();
    for expectation in &experiment.expects {
        for check in &expectation.checks {
            for phase in phases(expectation) {
                out.push(judge(experiment, expectation, check, phase, fold));
            }
        }
    }
    out
}

fn judge(
    experiment: &Experiment,
    expectation: &Expectation,
    check: &Check,
    phase: Phase,
    fold: &Fold,
) -> CheckResult {
    let none = Window::default();
    let window = u16::try_from(expectation.edge).ok().and_then(|edge| fold.judged(edge, phase));
    let window = window.unwrap_or(&none);
    let observed = measure(check.metric, window, fold.length(phase), expectation.include_injected);
    CheckResult {
        name: expectation.name.to_string(),
        key: check.metric.key(),
        edge: experiment
            .edges
            .get(expectation.edge)
            .map_or_else(String::new, |edge| edge.name.as_str().to_owned()),
        phase: phase.as_str(),
        observed,
        op: check.limit.op,
        limit: check.limit.limit,
        unit: check.limit.unit,
        met: observed.map(|value| check.limit.holds(value)),
        reason: observed.is_none().then(|| why_not(expectation, phase, window, fold)),
        line: check.line,
    }
}

fn why_not(expectation: &Expectation, phase: Phase, window: &Window, fold: &Fold) -> String {
    if !fold.reached(phase) {
        "the run ended before this phase".into()
    } else if samples(window, expectation.include_injected) > 0 {
        "no exchange could be timed: streams, upgrades and TCP have no percentiles".into()
    } else if window.injected > 0 {
        format!(
            "all {} exchanges were answered or cut by a fault: judge an edge above it, or say `include_injected = true`",
            window.injected
        )
    } else if window.health > 0 {
        format!("only health requests came ({})", window.health)
    } else {
        "no traffic".into()
    }
}
