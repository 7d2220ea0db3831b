//! Expectations on services and probes, by tables over sequences of events.

use crate::model::{Experiment, On, Phase, ServiceMetric};
use crate::report::testing::{exited, expects, experiment, fold, phase, ready, saw, service, started};
use crate::report::{CheckResult, Fold, judge};
use crate::telemetry::{Did, ExitCause, Saw, StartReason};

/// Ready from 0; in the fault phase from 100 to 200: a crash at 110 (ready at 116, drifted), a kill at 130 (ready at 140),
/// a pause from 150 to 154; in development from 112 to 130.
fn story() -> Fold {
    fold([
        (0.0, started(1, StartReason::First, false)),
        (0.0, ready(1)),
        (0.0, phase(Phase::Baseline)),
        (100.0, phase(Phase::Fault)),
        (110.0, exited(1, ExitCause::Itself)),
        (112.0, started(2, StartReason::Crash, true)),
        (116.0, ready(2)),
        (130.0, exited(2, ExitCause::Fault)),
        (131.0, started(3, StartReason::Fault, false)),
        (140.0, ready(3)),
        (150.0, service(3, Did::Paused)),
        (154.0, service(3, Did::Resumed)),
        (200.0, phase(Phase::Recovery)),
        (300.0, exited(3, ExitCause::End)),
    ])
}

fn env() -> ServiceMetric {
    ServiceMetric::Env { name: "ENVIRONMENT".into(), value: "production".into() }
}

fn check(
    mut experiment: Experiment,
    metric: ServiceMetric,
    limit: &str,
    injected: bool,
    of: &Fold,
) -> CheckResult {
    let mut expectation = expects(metric, limit);
    expectation.include_injected = injected;
    experiment.expects = vec![expectation];
    judge::checks(&experiment, of).into_iter().find(|check| check.phase == "fault").unwrap()
}

#[test]
fn every_metric_without_and_with_what_was_injected() {
    let running = 10.0 + 18.0 + 69.0;
    for (metric, limit, without, with) in [
        (ServiceMetric::Up, ">= 99%", 80.0 / 86.0, 0.8),
        (ServiceMetric::Restarts, "<= 1", 1.0, 2.0),
        (ServiceMetric::Downtime, "<= 10s", 6.0, 20.0),
        (ServiceMetric::CrashRate, "< 1/m", 0.01, 0.02),
        (env(), ">= 100%", 79.0 / running, 79.0 / running),
    ] {
        for (injected, seconds) in [(false, without), (true, with)] {
            let seen = check(experiment(1.0), metric.clone(), limit, injected, &story());
            let observed = seen.observed.unwrap();
            assert!((observed - seconds).abs() < 1e-9, "{metric:?} {injected}: {observed}");
            assert_eq!((seen.service.as_deref(), seen.edge, seen.probe), (Some("api"), None, None));
            assert_eq!(seen.met, Some(limit.parse::<crate::units::Comparison>().unwrap().holds(observed)));
        }
    }
}

#[test]
fn the_files_time_is_what_counts() {
    for (metric, limit, observed) in [
        (ServiceMetric::Downtime, "<= 10s", 600.0),
        (ServiceMetric::CrashRate, "< 1/h", 0.0001),
        (ServiceMetric::Restarts, "<= 1", 1.0),
    ] {
        let seen = check(experiment(0.01), metric, limit, false, &story());
        assert!((seen.observed.unwrap() - observed).abs() < 1e-9, "{seen:?}");
    }
    let rate = check(experiment(1.0), ServiceMetric::CrashRate, "<= 10/h", false, &story());
    assert_eq!((rate.shown(rate.observed.unwrap()), rate.expected()), ("36/h".into(), "<= 10/h".into()));
}

#[test]
fn the_baseline_is_judged_while_it_lasts() {
    let mut experiment = experiment(1.0);
    experiment.expects = vec![expects(ServiceMetric::Restarts, "<= 0")];
    let mut events = vec![
        (0.0, started(1, StartReason::First, false)),
        (0.0, ready(1)),
        (1.0, phase(Phase::Baseline)),
        (5.0, saw(Saw::Right)),
    ];
    assert_eq!(judge::baseline(&experiment, &fold(events.clone())), judge::Steadiness::Steady);
    events.extend([(6.0, exited(1, ExitCause::Itself)), (7.0, started(2, StartReason::Crash, false))]);
    assert_eq!(judge::baseline(&experiment, &fold(events)), judge::Steadiness::Unsteady);
}

#[test]
fn what_was_never_seen_is_inconclusive() {
    let nothing =
        fold([(0.0, phase(Phase::Baseline)), (1.0, phase(Phase::Fault)), (9.0, phase(Phase::Idle))]);
    for metric in [ServiceMetric::Up, ServiceMetric::Restarts, ServiceMetric::CrashRate, env()] {
        let limit = if matches!(metric, ServiceMetric::CrashRate) { "< 1/h" } else { "<= 1" };
        let seen = check(experiment(1.0), metric.clone(), limit, false, &nothing);
        assert_eq!((seen.met, seen.reason.as_deref()), (None, Some("the service was never started")));
        let mut external = experiment(1.0);
        external.services[0].command.clear();
        assert!(check(external, metric.clone(), limit, false, &story()).reason.unwrap().contains("external"));
        let mut skipped = experiment(1.0);
        skipped.services[0].skipped = Some("`--upstream` is given".into());
        let seen = check(skipped, metric.clone(), limit, false, &story());
        assert_eq!(seen.reason.as_deref(), Some("the service was not started: `--upstream` is given"));
        let early = fold([(0.0, started(1, StartReason::First, false)), (0.0, phase(Phase::Baseline))]);
        assert_eq!(check(experiment(1.0), metric, limit, false, &early).met, None);
    }
    let down = fold([
        (0.0, started(1, StartReason::First, false)),
        (1.0, ready(1)),
        (2.0, exited(1, ExitCause::Fault)),
        (3.0, phase(Phase::Fault)),
        (9.0, phase(Phase::Idle)),
    ]);
    assert_eq!(check(experiment(1.0), ServiceMetric::Up, ">= 99%", false, &down).met, None);
    assert_eq!(check(experiment(1.0), ServiceMetric::Up, ">= 99%", true, &down).observed, Some(0.0));
    assert_eq!(check(experiment(1.0), env(), ">= 99%", false, &down).met, None);
}

#[test]
fn an_exposure_is_as_long_as_its_longest_stretch_in_the_phase() {
    use Saw::{Right, Unreachable, Wrong};
    for (answers, limit, observed, met) in [
        (&[(1.0, Right), (5.0, Right)][..], 0, Some(0.0), Some(true)),
        (&[(1.0, Right), (2.0, Wrong), (5.0, Right)], 3, Some(3.0), Some(true)),
        (&[(1.0, Right), (2.0, Wrong), (5.0, Right), (6.0, Wrong)], 3, Some(4.0), Some(false)),
        (&[(1.0, Unreachable), (2.0, Unreachable)], 3, None, None),
        (&[(9.0, Right), (10.0, Wrong)], 0, Some(0.0), Some(false)),
        (&[], 3, None, None),
    ] {
        let mut experiment = experiment(1.0);
        if let On::Probe(probe) = &mut experiment.expects[0].on {
            probe.max_exposure = std::time::Duration::from_secs(limit);
        }
        experiment.expects[0].baseline = false;
        let told = answers.iter().map(|(t, answer)| (*t, saw(*answer)));
        let fold =
            fold([(0.0, phase(Phase::Fault))].into_iter().chain(told).chain([(10.0, phase(Phase::Fault))]));
        let checks = judge::checks(&experiment, &fold);
        assert_eq!(checks.len(), 1);
        let key = (checks[0].key.as_str(), checks[0].probe.is_some(), &checks[0].edge, &checks[0].service);
        assert_eq!(key, ("exposure", true, &None, &None));
        assert_eq!((checks[0].observed, checks[0].met), (observed, met), "{answers:?}");
        assert_eq!(checks[0].reason.is_some(), met.is_none());
    }
}
