//! Holding what was seen against what was expected. Pure.

use super::{CheckResult, Compared, Fold, Truth, judge_services, judge_spread};
use crate::model::{Check, Expectation, Experiment, Metric, On, Phase, Versus};
use crate::telemetry::{Histogram, Window};
use crate::units::{Name, Unit};

/// Why nothing can be said of a phase that was not reached.
pub(super) const NOT_REACHED: &str = "the run ended before this phase";

/// Real time is the file's time multiplied by this. Results show the file's time.
#[must_use]
pub(super) fn scale(experiment: &Experiment) -> f64 {
    let scale = experiment.run.time_scale;
    if scale > 0.0 { scale } else { 1.0 }
}

/// The value of a metric over these exchanges, which took `seconds` to come. `None`: there is no sample.
///
/// Injected outcomes count only if `include_injected`; health requests never do. What only single exchanges tell has none.
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
        Metric::DuplicatesDiffer => Some(window.duplicates_differ as f64),
        Metric::InFlight => Some(window.in_flight as f64),
        Metric::OpenConnections => Some(window.connections as f64),
        // No window tells: see `Truth`.
        Metric::Amplification(_) | Metric::RecoversWithin => None,
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

/// The phases in which a key of an expectation is judged.
fn judged_in(expectation: &Expectation, metric: Metric) -> Vec<Phase> {
    let mut all = phases(expectation);
    match (metric, expectation.versus) {
        (Metric::RecoversWithin, _) => return vec![Phase::Recovery],
        // Without a fault nothing is sent twice; and the baseline is not compared with itself.
        (Metric::DuplicatesDiffer, _) | (_, Versus::Baseline) => {
            all.retain(|phase| *phase != Phase::Baseline)
        }
        (_, Versus::Itself) => {}
    }
    all
}

/// Every check of every expectation in each of its phases.
#[must_use]
pub fn checks(experiment: &Experiment, fold: &Fold) -> Vec<CheckResult> {
    checks_of(experiment, &Truth::of(fold))
}

/// As [`checks`], of what was worked out already.
pub(super) fn checks_of(experiment: &Experiment, truth: &Truth<'_>) -> Vec<CheckResult> {
    let fold = truth.fold();
    let mut out = Vec::new();
    for expectation in &experiment.expects {
        match &expectation.on {
            On::Edge { edge, checks } => {
                for check in checks {
                    let phases = judged_in(expectation, check.metric).into_iter();
                    out.extend(
                        phases.map(|phase| judge(experiment, expectation, *edge, check, phase, truth)),
                    );
                }
            }
            On::Service { service, checks } => {
                for check in checks {
                    out.extend(phases(expectation).into_iter().map(|phase| {
                        judge_services::service(experiment, expectation, *service, check, phase, fold)
                    }));
                }
            }
            On::Probe(probe) => {
                out.extend(
                    phases(expectation)
                        .into_iter()
                        .map(|phase| judge_services::probe(experiment, expectation, probe, phase, fold)),
                );
            }
            On::Spread(checks) => {
                let judged = |check| judge_spread::spread(experiment, expectation, check, truth);
                out.extend(checks.iter().map(judged));
            }
        }
    }
    out
}

/// How an expectation stands: not met if one of its checks is not, met if all are, else nobody can tell.
#[must_use]
pub fn met(checks: &[CheckResult], expectation: &Name) -> Option<bool> {
    let mets = || checks.iter().filter(|check| check.name == expectation.as_str()).map(|check| check.met);
    if mets().any(|met| met == Some(false)) {
        return Some(false);
    }
    mets().all(|met| met == Some(true)).then_some(true)
}

fn judge(
    experiment: &Experiment,
    expectation: &Expectation,
    edge: usize,
    check: &Check,
    phase: Phase,
    truth: &Truth<'_>,
) -> CheckResult {
    let result = CheckResult {
        name: expectation.name.to_string(),
        key: check.metric.key(),
        edge: Some(experiment.edges.get(edge).map_or_else(String::new, |edge| edge.name.to_string())),
        service: None,
        probe: None,
        phase: phase.as_str(),
        observed: None,
        observed_text: None,
        op: check.limit.op,
        limit: check.limit.limit,
        unit: check.limit.unit,
        expected_text: None,
        vs: None,
        met: None,
        reason: None,
        line: check.line,
    };
    if check.metric == Metric::RecoversWithin {
        return judge_spread::recovers(experiment, edge, result, truth);
    }
    let value = |phase| value(experiment, expectation, edge, check.metric, phase, truth);
    let seen = match expectation.versus {
        Versus::Itself => value(phase).map(|value| (value, None)),
        Versus::Baseline => value(phase).and_then(|here| {
            let before = value(Phase::Baseline).map_err(|why| format!("in the baseline: {why}"))?;
            let unit = unit(check.metric);
            Ok((multiple(here, before), Some(Compared { value: here, baseline: before, unit })))
        }),
    };
    match seen {
        Ok((observed, vs)) => {
            CheckResult { observed: Some(observed), met: Some(check.limit.holds(observed)), vs, ..result }
        }
        Err(why) => CheckResult { reason: Some(why), ..result },
    }
}

/// A value as a multiple of what it was. Nothing that stays nothing is once itself, and what was nothing and is something is
/// more than any multiple.
fn multiple(here: f64, before: f64) -> f64 {
    match (here > 0.0, before > 0.0) {
        (_, true) => here / before,
        (true, false) => f64::INFINITY,
        (false, false) => 1.0,
    }
}

/// The unit in which a metric is measured.
fn unit(metric: Metric) -> Unit {
    match metric {
        Metric::SuccessRate | Metric::ErrorRate | Metric::StatusRate(_) => Unit::Ratio,
        Metric::Quantile(_) | Metric::RecoversWithin => Unit::Seconds,
        Metric::Rate => Unit::PerSecond,
        Metric::InFlight | Metric::OpenConnections | Metric::DuplicatesDiffer => Unit::Count,
        Metric::Amplification(_) => Unit::Times,
    }
}

/// The value of a metric on an edge in a phase, or why there is none.
fn value(
    experiment: &Experiment,
    expectation: &Expectation,
    edge: usize,
    metric: Metric,
    phase: Phase,
    truth: &Truth<'_>,
) -> Result<f64, String> {
    let fold = truth.fold();
    if let Metric::Amplification(per) = metric {
        if !fold.reached(phase) {
            return Err(NOT_REACHED.into());
        }
        return truth
            .amplification(edge, phase, per)
            .ok_or_else(|| judge_spread::no_amplification(experiment, per));
    }
    let none = Window::default();
    let window = u16::try_from(edge).ok().and_then(|edge| fold.judged(edge, phase)).unwrap_or(&none);
    measure(metric, window, fold.length(phase), expectation.include_injected)
        .ok_or_else(|| why_not(expectation, phase, window, fold))
}

fn why_not(expectation: &Expectation, phase: Phase, window: &Window, fold: &Fold) -> String {
    if !fold.reached(phase) {
        NOT_REACHED.into()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StatusSet;
    use crate::telemetry::{Event, Stamped};
    use std::time::Duration;

    /// 100 judged of which 2 failed, 50 injected of which 40 failed.
    fn window() -> Window {
        let mut window = Window {
            requests: 100,
            failed: 2,
            injected: 50,
            injected_failed: 40,
            health: 1_000,
            in_flight: 7,
            duplicates_differ: 3,
            ..Window::default()
        };
        window.by_status.extend([(200, 97), (404, 1), (500, 1), (503, 1)]);
        window.injected_by_status.extend([(200, 10), (503, 40)]);
        (1..=100).for_each(|ms| window.durations.record(Duration::from_millis(ms)));
        (0..50).for_each(|_| window.injected_durations.record(Duration::from_secs(1)));
        window
    }

    #[test]
    fn every_metric_without_and_with_what_was_injected() {
        let class = |low, high| Metric::StatusRate(StatusSet { low, high });
        for (metric, without, with) in [
            (Metric::SuccessRate, 0.98, 108.0 / 150.0),
            (Metric::ErrorRate, 0.02, 42.0 / 150.0),
            (class(503, 503), 0.01, 41.0 / 150.0),
            (class(500, 599), 0.02, 42.0 / 150.0),
            (class(400, 499), 0.01, 1.0 / 150.0),
            (class(300, 399), 0.0, 0.0),
            (Metric::Quantile(0.5), 0.05, 0.075),
            (Metric::Quantile(0.99), 0.099, 1.0),
            (Metric::Rate, 10.0, 15.0),
            (Metric::InFlight, 7.0, 7.0),
            (Metric::DuplicatesDiffer, 3.0, 3.0),
        ] {
            for (include, expected) in [(false, without), (true, with)] {
                let seen = measure(metric, &window(), 10.0, include).unwrap();
                assert!((seen - expected).abs() <= expected * 0.008, "{metric:?} {include}: {seen}");
            }
        }
    }

    #[test]
    fn no_sample_is_no_value() {
        let injected = Window { injected: 5, health: 5, ..Window::default() };
        let untimed = Window { requests: 5, ..Window::default() };
        for metric in [
            Metric::SuccessRate,
            Metric::ErrorRate,
            Metric::StatusRate(StatusSet { low: 200, high: 200 }),
            Metric::Quantile(0.5),
            Metric::Rate,
            Metric::InFlight,
        ] {
            assert_eq!(measure(metric, &Window::default(), 1.0, true), None);
            assert_eq!(measure(metric, &injected, 1.0, false), None, "{metric:?}");
        }
        assert_eq!(measure(Metric::Quantile(0.5), &untimed, 1.0, false), None);
        assert_eq!(measure(Metric::SuccessRate, &untimed, 1.0, false), Some(1.0));
        assert_eq!(measure(Metric::Rate, &untimed, 0.0, false), None);
    }

    fn experiment(phases: &[Phase], baseline: bool) -> Experiment {
        let phases: Vec<_> = phases.iter().map(|phase| phase.as_str()).collect();
        let text = format!(
            "name = \"x\"\n[[edge]]\nname = \"e\"\nlisten = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:1\"\n\
             [[expect]]\nname = \"y\"\nedge = \"e\"\nsuccess_rate = \">= 99%\"\nphase = {phases:?}\nbaseline = {baseline}"
        );
        crate::model::parse(&text, "x.toml".as_ref(), &crate::model::Overrides::default())
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
            .experiment
    }

    #[test]
    fn the_baseline_is_judged_by_all_but_recovery() {
        use Phase::{Baseline, Fault, Recovery};
        for (own, baseline, judged) in [
            (&[Fault][..], true, &[Baseline, Fault][..]),
            (&[Fault], false, &[Fault]),
            (&[Recovery], true, &[Recovery]),
            (&[Fault, Recovery], true, &[Baseline, Fault, Recovery]),
            (&[Baseline], false, &[Baseline]),
            (&[Baseline], true, &[Baseline]),
        ] {
            assert_eq!(phases(&experiment(own, baseline).expects[0]), judged);
        }
    }

    #[test]
    fn what_ended_after_the_first_fault_does_not_count_against_the_baseline() {
        let experiment = experiment(&[Phase::Fault], true);
        let mut fold = Fold::new();
        let mut t = 0.0;
        let mut tell = |event| {
            t += 1.0;
            fold.take(&Stamped { t, event });
        };
        let window = |failed| {
            Event::Window(Window { phase: Some(Phase::Baseline), requests: 10, failed, ..Window::default() })
        };
        tell(Event::Phase { phase: Phase::Baseline });
        tell(window(0));
        tell(Event::Phase { phase: Phase::Fault });
        tell(window(10));
        assert_eq!(baseline(&experiment, &fold), Steadiness::Steady);
        assert_eq!(fold.sum(0, Phase::Baseline).unwrap().failed, 10, "it is counted all the same");
    }
}
