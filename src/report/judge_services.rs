//! What was seen of services and probes, held against what was expected of them. Pure.
//!
//! Results are in the file's time. What Brownout ended itself is told from what ended by itself, everywhere.

use super::lives::{Incarnation, ServiceFold, State};
use super::{CheckResult, Fold, judge};
use crate::model::{Expectation, Experiment, Phase, Probe, Service, ServiceCheck, ServiceMetric};
use crate::telemetry::{ExitCause, StartReason};
use crate::units::{Op, Unit};

/// What a service did in one phase, in real seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lived {
    /// How long it was ready.
    pub up: f64,
    /// How long it was not, by itself.
    pub down: f64,
    /// How long it was not, by Brownout's doing.
    pub down_injected: f64,
    /// How often it ended by itself.
    pub crashes: u64,
    /// How often Brownout ended it.
    pub kills: u64,
    /// How often it was started again after it had ended by itself.
    pub restarts: u64,
    /// How often it was started again after Brownout had ended it.
    pub restarts_injected: u64,
    /// How long the phase was.
    pub seconds: f64,
}

/// What a service did in a phase; `None` if it was not there in it at all.
#[must_use]
pub fn lived(service: &ServiceFold, fold: &Fold, phase: Phase) -> Option<Lived> {
    let mut lived = Lived { seconds: fold.length(phase), ..Lived::default() };
    let mut there = false;
    for (from, to) in fold.spans(phase) {
        lived.up += service.time(from, to, |state| state == State::Up);
        lived.down += service.time(from, to, |state| state != State::Up && !state.is_injected());
        lived.down_injected += service.time(from, to, State::is_injected);
        there |= service.incarnations.iter().any(|one| one.started <= to);
    }
    if phase == Phase::Recovery {
        // Every fault is healed: that it is still down is its own doing, or its orchestrator's.
        lived.down += std::mem::take(&mut lived.down_injected);
    }
    let within = |t: f64| fold.phase_at(t) == phase;
    for one in &service.incarnations {
        if within(one.started) {
            match one.reason {
                StartReason::First => {}
                StartReason::Crash => lived.restarts += 1,
                StartReason::Fault | StartReason::Swap => lived.restarts_injected += 1,
            }
        }
        if let Some(ended) = one.ended.as_ref().filter(|ended| within(ended.at)) {
            match ended.cause {
                ExitCause::Itself => lived.crashes += 1,
                ExitCause::Fault => lived.kills += 1,
                ExitCause::Swap | ExitCause::End => {}
            }
        }
    }
    there.then_some(lived)
}

/// One check on a service in one phase.
pub(super) fn service(
    experiment: &Experiment,
    expectation: &Expectation,
    place: usize,
    check: &ServiceCheck,
    phase: Phase,
    fold: &Fold,
) -> CheckResult {
    let known = experiment.services.get(place);
    let observed = known
        .ok_or_else(|| "there is no such service".to_owned())
        .and_then(|service| measure(experiment, expectation, place, service, check, phase, fold));
    let (observed, reason) = match observed {
        Ok(value) => (Some(value), None),
        Err(why) => (None, Some(why)),
    };
    CheckResult {
        name: expectation.name.to_string(),
        key: check.metric.key(),
        edge: None,
        service: Some(known.map_or_else(String::new, |service| service.name.to_string())),
        probe: None,
        phase: phase.as_str(),
        observed,
        observed_text: None,
        op: check.limit.op,
        limit: check.limit.limit,
        unit: check.limit.unit,
        expected_text: None,
        vs: None,
        met: observed.map(|value| check.limit.holds(value)),
        reason,
        line: check.line,
    }
}

/// What was seen, in the file's time; or why there is nothing to judge by.
fn measure(
    experiment: &Experiment,
    expectation: &Expectation,
    place: usize,
    service: &Service,
    check: &ServiceCheck,
    phase: Phase,
    fold: &Fold,
) -> Result<f64, String> {
    if !fold.reached(phase) {
        return Err(judge::NOT_REACHED.into());
    }
    if let Some(why) = &service.skipped {
        return Err(format!("the service was not started: {why}"));
    }
    if service.command.is_empty() {
        return Err("the service is external: without a `command` nothing is known of its life".into());
    }
    let seen = fold.service(&service.name);
    let (seen, lived) = seen
        .and_then(|seen| Some((seen, lived(seen, fold, phase)?)))
        .ok_or_else(|| "the service was never started".to_owned())?;
    let injected = expectation.include_injected;
    let and = |own: u64, injected_ones: u64| (own + if injected { injected_ones } else { 0 }) as f64;
    let scale = judge::scale(experiment);
    let all = lived.up + lived.down + if injected { lived.down_injected } else { 0.0 };
    if all <= 0.0 && !matches!(check.metric, ServiceMetric::Env { .. }) {
        return Err(
            "throughout the phase the service was down by a fault: nothing is left to judge, or say `include_injected = true`"
                .into(),
        );
    }
    match &check.metric {
        ServiceMetric::Up => Ok(lived.up / all),
        ServiceMetric::Restarts => Ok(and(lived.restarts, lived.restarts_injected)),
        ServiceMetric::Downtime => {
            Ok((lived.down + if injected { lived.down_injected } else { 0.0 }) / scale)
        }
        ServiceMetric::CrashRate => {
            let seconds = lived.seconds / scale;
            Ok(and(lived.crashes, lived.kills) / seconds)
        }
        ServiceMetric::Env { name, value } => {
            let wanted = experiment.expected_env(place);
            let holds = wanted.iter().position(|pair| *pair == (name.as_str(), value.as_str()));
            let ran = |like: &dyn Fn(&Incarnation) -> bool| -> f64 {
                fold.spans(phase).map(|(from, to)| seen.ran(from, to, like)).sum()
            };
            let all = ran(&|_| true);
            let held = ran(&|one| holds.is_some_and(|holds| one.holds.contains(&holds)));
            (all > 0.0)
                .then(|| held / all)
                .ok_or_else(|| "no process of the service ran in this phase".into())
        }
    }
}

/// The one check of a probe in one phase: how long it was wrong at a stretch.
pub(super) fn probe(
    experiment: &Experiment,
    expectation: &Expectation,
    probe: &Probe,
    phase: Phase,
    fold: &Fold,
) -> CheckResult {
    let end = fold.spans(phase).map(|(_, to)| to).last().unwrap_or(fold.last);
    let sight = fold.probe(&expectation.name).map(|probe| probe.sight(phase, end)).unwrap_or_default();
    let limit = probe.max_exposure.as_secs_f64();
    let observed = (sight.right + sight.wrong > 0).then(|| sight.longest / judge::scale(experiment));
    let reason = observed.is_none().then(|| match (fold.reached(phase), sight.silent) {
        (false, _) => judge::NOT_REACHED.to_owned(),
        (true, 0) => "the probe had no answer in this phase: lengthen the phase, or lower `every`".to_owned(),
        (true, silent) => format!("nobody answered the probe, {silent} times in all"),
    });
    CheckResult {
        name: expectation.name.to_string(),
        key: "exposure".into(),
        edge: None,
        service: None,
        probe: Some(expectation.name.to_string()),
        phase: phase.as_str(),
        observed,
        observed_text: None,
        op: Op::AtMost,
        limit,
        unit: Unit::Seconds,
        expected_text: None,
        vs: None,
        // One wrong answer at the very end has no length, and is one all the same.
        met: observed.map(|seconds| seconds <= limit && (limit > 0.0 || sight.wrong == 0)),
        reason,
        line: expectation.line,
    }
}

#[cfg(test)]
#[path = "judge_services_tests.rs"]
mod tests;
