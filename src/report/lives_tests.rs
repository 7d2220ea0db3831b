//! The lives of services and what probes saw, from sequences of events.

use super::*;
use crate::report::testing::{PROBE, exited, fold, name, phase, ready, saw, service, started};
use crate::telemetry::Event;
use proptest::prelude::*;

fn api(events: impl IntoIterator<Item = (f64, Event)>) -> ServiceFold {
    fold(events).service(&name("api")).unwrap().clone()
}

#[test]
fn each_moment_belongs_to_what_ended_the_service_last() {
    let api = api([
        (1.0, started(1, StartReason::First, false)),
        (3.0, ready(1)),
        (10.0, exited(1, ExitCause::Itself)),
        (12.0, started(2, StartReason::Crash, true)),
        (14.0, exited(2, ExitCause::Fault)),
        (15.0, started(3, StartReason::Fault, true)),
        (18.0, ready(3)),
        (20.0, service(3, Did::Paused)),
        (21.0, service(3, Did::Resumed)),
        (25.0, exited(3, ExitCause::End)),
    ]);
    for (like, seconds) in [
        (State::Starting, 2.0),
        (State::Up, 7.0 + 2.0 + 4.0),
        (State::Down(ExitCause::Itself), 4.0),
        (State::Down(ExitCause::Fault), 4.0),
        (State::Paused, 1.0),
        (State::Down(ExitCause::End), 5.0),
    ] {
        assert_eq!(api.time(0.0, 30.0, |state| state == like), seconds, "{like:?}");
    }
    assert_eq!(api.time(11.0, 16.0, |state| state == State::Down(ExitCause::Itself)), 3.0);
    assert_eq!(api.ran(0.0, 30.0, |_| true), 9.0 + 2.0 + 10.0);
    assert_eq!(api.ran(5.0, 13.0, |one| one.number == 2), 1.0);
    let down: Vec<_> = api.incarnations.iter().map(|one| api.down_after(one)).collect();
    assert_eq!(down, [Some(8.0), Some(4.0), None]);
}

#[test]
fn a_pause_that_meets_a_dead_service_changes_nothing() {
    let api = api([
        (0.0, started(1, StartReason::First, false)),
        (1.0, ready(1)),
        (2.0, service(1, Did::Paused)),
        (3.0, exited(1, ExitCause::Itself)),
        (4.0, service(1, Did::Resumed)),
    ]);
    assert_eq!(api.time(0.0, 10.0, |state| state == State::Down(ExitCause::Itself)), 7.0);
    assert_eq!(api.time(0.0, 10.0, |state| state == State::Up), 1.0);
}

#[test]
fn silence_neither_begins_nor_ends_an_exposure() {
    use Saw::{Right, Unreachable, Wrong};
    for (answers, exposures, longest) in [
        (&[Right, Right][..], &[][..], 0.0),
        (&[Right, Wrong, Right], &[(1.0, Some(2.0), 0.0)], 1.0),
        (&[Wrong, Right, Wrong], &[(0.0, Some(1.0), 0.0), (2.0, None, 1.0)], 8.0),
        (&[Right, Wrong, Unreachable, Wrong, Right], &[(1.0, Some(4.0), 0.0)], 3.0),
        (&[Right, Unreachable, Wrong, Unreachable], &[(2.0, None, 0.0)], 8.0),
        (&[Unreachable, Wrong, Right], &[(1.0, Some(2.0), 0.0)], 1.0),
        (&[Unreachable, Unreachable], &[], 0.0),
    ] {
        let told = answers.iter().zip(0..).map(|(answer, t)| (f64::from(t), saw(*answer)));
        let fold = fold([(0.0, phase(Phase::Fault))].into_iter().chain(told));
        let probe = fold.probe(&name(PROBE)).unwrap();
        let seen: Vec<_> = probe.exposures().iter().map(|one| (one.from, one.to, one.since)).collect();
        assert_eq!(seen, exposures, "{answers:?}");
        let sight = probe.sight(Phase::Fault, 10.0);
        assert_eq!(sight.longest, longest, "{answers:?}");
        assert_eq!((sight.right + sight.wrong + sight.silent) as usize, answers.len());
    }
}

#[test]
fn an_answer_belongs_to_the_phase_in_which_it_was_asked() {
    let late = Event::Probe { probe: name(PROBE), saw: Saw::Wrong, took: 0.5, text: None };
    let fold = fold([
        (0.0, phase(Phase::Fault)),
        (1.0, saw(Saw::Right)),
        (10.0, phase(Phase::Recovery)),
        (10.2, late),
        (11.0, saw(Saw::Right)),
    ]);
    let probe = fold.probe(&name(PROBE)).unwrap();
    assert_eq!(probe.sight(Phase::Fault, 10.0).wrong, 1);
    let recovery = probe.sight(Phase::Recovery, 20.0);
    assert_eq!((recovery.right, recovery.wrong, recovery.longest), (1, 0, 0.0));
}

#[test]
fn what_was_put_back_at_last_is_put_back() {
    let undone = |action: &str, done| Event::Undone {
        fault: name("f"),
        service: name("api"),
        action: action.into(),
        done,
        text: format!("{action} {done}"),
    };
    let fold = fold([
        (0.0, undone("env", false)),
        (1.0, undone("hook", true)),
        (2.0, undone("env", true)),
        (3.0, undone("hook", false)),
    ]);
    let open: Vec<_> = fold.not_undone().map(|deed| deed.text.as_str()).collect();
    assert_eq!(open, ["hook false"]);
}

proptest! {
    /// However a service lives: it is in exactly one state at a time, and runs no longer than time passes.
    #[test]
    fn states_fill_the_time(steps in prop::collection::vec((0u8..6, 1u32..100), 0..60), from in 0u32..500, length in 0u32..500) {
        let mut t = 0.0;
        let mut events = vec![(0.0, started(1, StartReason::First, false))];
        let mut number = 1;
        for (kind, step) in steps {
            t += f64::from(step);
            events.push((t, match kind {
                0 => { number += 1; started(number, StartReason::Crash, false) }
                1 => ready(number),
                2 => exited(number, ExitCause::Itself),
                3 => exited(number, ExitCause::Fault),
                4 => service(number, Did::Paused),
                _ => service(number, Did::Resumed),
            }));
        }
        let api = api(events);
        let (from, to) = (f64::from(from), f64::from(from + length));
        let all = api.time(from, to, |_| true);
        let up = api.time(from, to, |state| state == State::Up);
        let injected = api.time(from, to, State::is_injected);
        let own = api.time(from, to, |state| state != State::Up && !state.is_injected());
        prop_assert!((all - (to - from)).abs() < 1e-6);
        prop_assert!((up + injected + own - all).abs() < 1e-6);
        prop_assert!(api.incarnations.iter().all(|one| api.down_after(one).is_none_or(|down| down >= 0.0)));
    }

    /// Exposures come one after another, and the longest of a phase is no longer than what is left of it.
    #[test]
    fn exposures_follow_each_other(answers in prop::collection::vec(0u8..3, 0..80)) {
        let answer = |n: u8| [Saw::Right, Saw::Wrong, Saw::Unreachable][usize::from(n)];
        let told = answers.iter().zip(0..).map(|(n, t)| (f64::from(t), saw(answer(*n))));
        let fold = fold([(0.0, phase(Phase::Fault))].into_iter().chain(told));
        let end = answers.len() as f64;
        let Some(probe) = fold.probe(&name(PROBE)) else { return Ok(()) };
        let exposures = probe.exposures();
        for pair in exposures.windows(2) {
            prop_assert!(pair[0].to.is_some_and(|to| pair[0].from < to && to < pair[1].from));
        }
        prop_assert!(exposures.iter().all(|one| one.since <= one.from));
        let wrong = answers.iter().filter(|n| **n == 1).count() as u64;
        let sight = probe.sight(Phase::Fault, end);
        prop_assert_eq!(sight.wrong, wrong);
        prop_assert_eq!(wrong > 0, !exposures.is_empty());
        prop_assert!(sight.longest <= end);
    }
}
