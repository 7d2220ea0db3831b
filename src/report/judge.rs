//! Holding what was seen against what was expected. Pure.

use super::{CheckResult, Fold, judge_services};
use crate::model::{Check, Expectation, Experiment, Metric, On, Phase};
use crate::telemetry::{Histogram, Window};
use crate::units::Name;

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
        Metric::DuplicatesDiffer => Some(window.duplicates_differ as f64),
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
        let in_each =
            |judge: &dyn Fn(Phase) -> CheckResult| phases(expectation).into_iter().map(judge).collect();
        match &expectation.on {
            On::Edge { edge, checks } => out.extend(checks.iter().flat_map(|check| -> Vec<_> {
                let mut all: Vec<_> =
                    in_each(&|phase| judge(experiment, expectation, *edge, check, phase, fold));
                // without a fault nothing is sent twice
                if check.metric == Metric::DuplicatesDiffer {
                    all.retain(|result: &CheckResult| result.phase != Phase::Baseline.as_str());
                }
                all
            })),
            On::Service { service, checks } => out.extend(checks.iter().flat_map(|check| -> Vec<_> {
                in_each(&|phase| {
                    judge_services::service(experiment, expectation, *service, check, phase, fold)
                })
            })),
            On::Probe(probe) => {
                let checks: Vec<_> =
                    in_each(&|phase| judge_services::probe(experiment, expectation, probe, phase, fold));
                out.extend(checks);
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
    fold: &Fold,
) -> CheckResult {
    let none = Window::default();
    let window = u16::try_from(edge).ok().and_then(|edge| fold.judged(edge, phase));
    let window = window.unwrap_or(&none);
    let observed = measure(check.metric, window, fold.length(phase), expectation.include_injected);
    CheckResult {
        name: expectation.name.to_string(),
        key: check.metric.key(),
        edge: Some(experiment.edges.get(edge).map_or_else(String::new, |edge| edge.name.to_string())),
        service: None,
        probe: None,
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
