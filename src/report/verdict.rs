//! What came of a run, and the exit code that says so. Pure.

use super::{CheckResult, CommandFold, FaultResult, Fold, judge};
use crate::model::{Experiment, Phase};
use serde::Serialize;

/// The exit codes of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every expectation held.
    Passed,
    /// An expectation failed, or the command did.
    Failed,
    /// Wrong usage, or a broken or unsafe file.
    Usage,
    /// The steady state did not hold before any fault.
    Unsteady,
    /// A guardrail (or the kill switch) ended the fault phase.
    Aborted,
    /// The environment failed.
    Environment,
    /// Nothing can be learned from it.
    Vacuous,
    /// Something could not be put back.
    NotRestored,
    /// A bug of ours.
    Bug,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// Of several, the first of these is the one that is told.
    pub const ORDER: [Self; 11] = [
        Self::Bug,
        Self::NotRestored,
        Self::Interrupted,
        Self::Terminated,
        Self::Usage,
        Self::Environment,
        Self::Aborted,
        Self::Unsteady,
        Self::Failed,
        Self::Vacuous,
        Self::Passed,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unsteady => 3,
            Self::Aborted => 4,
            Self::Environment => 5,
            Self::Vacuous => 6,
            Self::NotRestored => 7,
            Self::Bug => 70,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The one of this number; an unknown one is a bug.
    #[must_use]
    pub fn of(code: u8) -> Self {
        Self::ORDER.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Bug)
    }

    /// Of several, the one that is told; of none, `Passed`.
    #[must_use]
    pub fn weightiest(exits: impl IntoIterator<Item = Self>) -> Self {
        exits.into_iter().min_by_key(|exit| exit.rank()).unwrap_or(Self::Passed)
    }

    fn rank(self) -> usize {
        Self::ORDER.iter().position(|other| *other == self).unwrap_or(0)
    }
}

/// The exit code when another one than 0 is expected: 0 if it came, 1 if the run passed instead, else what came.
#[must_use]
pub fn expected(exit: Exit, expect: Option<u8>) -> u8 {
    match expect {
        Some(code) if exit.code() == code => 0,
        Some(_) if exit == Exit::Passed => Exit::Failed.code(),
        _ => exit.code(),
    }
}

/// What came of a run, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every expectation held.
    Passed,
    /// One did not, or the command failed.
    Failed,
    /// Nothing can be learned from it.
    Inconclusive,
    /// The steady state did not hold before any fault.
    Unsteady,
    /// A guardrail or the kill switch stopped it.
    Aborted,
    /// The user stopped it.
    Interrupted,
    /// It could not be carried out.
    Error,
}

impl Verdict {
    /// As reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Unsteady => "unsteady",
            Self::Aborted => "aborted",
            Self::Interrupted => "interrupted",
            Self::Error => "error",
        }
    }

    /// The verdict of an exit code.
    #[must_use]
    pub fn of(exit: Exit) -> Self {
        match exit {
            Exit::Passed => Self::Passed,
            Exit::Failed => Self::Failed,
            Exit::Vacuous => Self::Inconclusive,
            Exit::Unsteady => Self::Unsteady,
            Exit::Aborted => Self::Aborted,
            Exit::Interrupted | Exit::Terminated => Self::Interrupted,
            Exit::Usage | Exit::Environment | Exit::NotRestored | Exit::Bug => Self::Error,
        }
    }
}

/// What the user said about judging, beside the file.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The run's own name.
    pub run: String,
    /// A vacuous run passes.
    pub allow_vacuous: bool,
    /// The exit code that is wanted.
    pub expect_exit: Option<u8>,
    /// When the user's command runs.
    pub during: During,
}

/// In which phases the user's command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum During {
    /// Through all phases.
    #[default]
    All,
    /// It is the fault phase: a baseline without samples is not judged.
    Fault,
    /// Once per phase: what fails in the baseline shows that the steady state does not hold.
    Each,
}

/// The verdict with its reasons.
pub(super) struct Ruling {
    pub(super) exit: Exit,
    pub(super) reasons: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Rules over what was found. `checks` are those that count.
pub(super) fn rule(
    experiment: &Experiment,
    fold: &Fold,
    terms: &Terms,
    checks: &[CheckResult],
    faults: &[FaultResult],
) -> Ruling {
    let mut found = cut_short(fold);
    let faulted = fold.reached(Phase::Fault);
    let is_baseline = |check: &&CheckResult| check.phase == Phase::Baseline.as_str();
    if !faulted && found.is_empty() {
        for check in checks.iter().filter(is_baseline).filter(|check| check.met == Some(false)) {
            let what = describe(check);
            found.push((Exit::Unsteady, format!("before any fault, {what}: nothing was learned")));
        }
        if terms.during == During::Each && fold.commands.iter().any(CommandFold::failed) {
            let what = "the command failed in the baseline, before any fault: nothing was learned";
            found.push((Exit::Unsteady, what.into()));
        }
    }
    let early = !found.is_empty();
    for undone in fold.not_undone() {
        found.push((Exit::NotRestored, undone.text.clone()));
    }
    for command in fold.commands.iter().filter(|command| command.failed()) {
        let exit = command.exit.unwrap_or_default();
        let name = command.argv.first().map_or("", String::as_str);
        found.push((Exit::Failed, format!("the command `{name}` failed with exit code {exit}")));
    }
    // A check of the baseline that failed only after faults had begun says nothing: the run had been let in.
    for check in checks.iter().filter(|check| !is_baseline(check) && check.met == Some(false)) {
        found.push((Exit::Failed, describe(check)));
    }
    let mut warnings = Vec::new();
    // A run that a failing command ended before any fault has said what is wrong.
    let early = early || (!faulted && found.iter().any(|(exit, _)| *exit == Exit::Failed));
    if !early {
        let mut vacuous = vacuities(experiment, fold, checks, faults);
        // Whatever ended it: a run without its fault phase has shown nothing.
        if !faulted && vacuous.is_empty() && !experiment.run.fault.is_zero() && found.is_empty() {
            vacuous.push("the run ended before its fault phase: nothing was learned".into());
        }
        if terms.allow_vacuous {
            warnings = vacuous;
        } else {
            found.extend(vacuous.into_iter().map(|reason| (Exit::Vacuous, reason)));
        }
    }
    found.sort_by_key(|(exit, _)| exit.rank());
    // What could not be put back may have been told twice.
    let mut told = Vec::new();
    found.retain(|one| {
        let new = !told.contains(one);
        told.extend(new.then(|| one.clone()));
        new
    });
    let exit = Exit::weightiest(found.iter().map(|(exit, _)| *exit));
    Ruling { exit, reasons: found.into_iter().map(|(_, reason)| reason).collect(), warnings }
}

/// What ended a run before its time.
fn cut_short(fold: &Fold) -> Vec<(Exit, String)> {
    let mut found: Vec<_> =
        fold.troubles.iter().map(|trouble| (Exit::of(trouble.exit), trouble.text.clone())).collect();
    if let Some(signal) = &fold.interrupted {
        let exit = if signal == "SIGTERM" { Exit::Terminated } else { Exit::Interrupted };
        found.push((exit, format!("stopped by {signal}")));
    }
    for breach in &fold.breaches {
        found.push((
            Exit::Aborted,
            format!("guardrail `{}` was breached by `{}`: all faults were healed", breach.name, breach.key),
        ));
    }
    if fold.halted.is_some() {
        found.push((Exit::Aborted, "the kill switch healed all faults".into()));
    }
    if found.is_empty() && !fold.finished {
        found.push((Exit::Environment, "the run did not come to its end: its journal stops".into()));
    }
    found
}

/// Everything because of which a green run would say nothing.
fn vacuities(
    experiment: &Experiment,
    fold: &Fold,
    checks: &[CheckResult],
    faults: &[FaultResult],
) -> Vec<String> {
    let faulted = fold.reached(Phase::Fault);
    let mut reasons: Vec<String> = Vec::new();
    for check in checks.iter().filter(|check| check.met.is_none()) {
        if !faulted && check.phase != Phase::Baseline.as_str() {
            continue;
        }
        let why = check.reason.as_deref().unwrap_or("no sample");
        let cure = if faulted || check.phase != Phase::Baseline.as_str() {
            ""
        } else {
            "; no fault was armed (`baseline = false` skips this check)"
        };
        reasons.push(format!(
            "`{}`: no sample for {} in the {}: {why}{cure}",
            check.name,
            check.subject(),
            called(check.phase)
        ));
    }
    if !faulted {
        return reasons;
    }
    for fault in faults.iter().filter(|fault| fault.vacuous) {
        let why = match (fault.matched, fault.selected) {
            _ if fault.intervals.is_empty() => "it was never armed".to_owned(),
            _ if fault.service.is_some() => not_done(fold, fault),
            (0, _) => "no exchange matched it".to_owned(),
            (matched, 0) => format!("of {matched} exchanges that matched, none was selected"),
            (_, selected) => format!("of {selected} exchanges that were selected, none could show it"),
        };
        reasons.push(format!("fault `{}` struck nothing: {why}", fault.name));
    }
    let skipped = |rule| experiment.skips(rule).is_some();
    if !experiment.faults.is_empty() && experiment.faults.iter().all(skipped) {
        reasons.push("every fault is on a service that was not started: nothing was injected".into());
    }
    let judges = !experiment.expects.is_empty() || !fold.commands.is_empty();
    let traffic = (0..experiment.edges.len()).any(|edge| {
        u16::try_from(edge)
            .ok()
            .and_then(|edge| fold.sum(edge, Phase::Fault))
            .is_some_and(|window| judge::samples(window, true) > 0)
    });
    if !judges && experiment.faults.is_empty() {
        reasons.push("there is neither a fault nor an expectation: nothing was tried".into());
    } else if !traffic && experiment.expects.is_empty() {
        reasons.push("no traffic came in the fault phase".into());
    }
    reasons
}

/// Why a fault on services never took hold.
fn not_done(fold: &Fold, fault: &FaultResult) -> String {
    let failed = fold.deeds.iter().rev().find(|deed| deed.fault.as_str() == fault.name && !deed.done);
    failed.map_or_else(|| "it was never carried out".into(), |deed| deed.text.clone())
}

/// A check that failed, in words.
fn describe(check: &CheckResult) -> String {
    let (name, phase) = (&check.name, called(check.phase));
    let seen = check.seen().unwrap_or_default();
    if check.key == "recovers_within" {
        let (on, within) = (check.target(), check.shown(check.limit));
        return match check.observed {
            Some(_) => format!("`{name}`: `{on}` was back {seen} after heal, expected within {within}"),
            None => format!("`{name}`: `{on}` did not recover: {seen}, expected within {within}"),
        };
    }
    let limit = check.expected();
    let compared = check.vs.map_or_else(String::new, |vs| {
        let show = |value| super::figures::number(vs.unit, value);
        format!(" the baseline ({}, before {})", show(vs.value), show(vs.baseline))
    });
    format!("`{name}`: {} was {seen}{compared} in the {phase}, expected {limit}", check.subject())
}

/// A phase in a sentence.
fn called(phase: &str) -> &str {
    if phase == "fault" { "fault phase" } else { phase }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Event, Stamped};

    #[test]
    fn the_weightiest_exit_is_told() {
        use Exit::*;
        for (exits, told) in [
            (vec![], 0),
            (vec![Passed, Vacuous], 6),
            (vec![Failed, Vacuous], 1),
            (vec![Failed, Unsteady], 3),
            (vec![Unsteady, Aborted], 4),
            (vec![Aborted, Environment], 5),
            (vec![Environment, Usage], 2),
            (vec![Usage, Terminated], 143),
            (vec![Interrupted, Environment], 130),
            (vec![Interrupted, NotRestored], 7),
            (vec![NotRestored, Bug], 70),
        ] {
            assert_eq!(Exit::weightiest(exits).code(), told);
        }
        for exit in Exit::ORDER {
            assert_eq!(Exit::of(exit.code()), exit);
        }
        assert_eq!(Exit::of(99), Bug);
    }

    #[test]
    fn an_expected_exit_turns_a_run_around() {
        assert_eq!(expected(Exit::Vacuous, Some(6)), 0);
        assert_eq!(expected(Exit::Passed, Some(6)), 1);
        assert_eq!(expected(Exit::Environment, Some(6)), 5);
        assert_eq!(expected(Exit::Failed, None), 1);
        assert_eq!(expected(Exit::Passed, Some(0)), 0);
    }

    #[test]
    fn a_run_without_its_fault_phase_is_never_green() {
        let text = "name = \"t\"\n[[edge]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:9\"\n";
        let loaded = crate::model::parse(text, "t.toml".as_ref(), &crate::model::Overrides::default());
        let experiment = loaded.map_err(|problems| problems.render(false)).unwrap().experiment;
        let mut fold = Fold::new();
        for (t, event) in [
            (0.0, Event::Phase { phase: Phase::Baseline }),
            (10.0, Event::Phase { phase: Phase::Idle }),
            (10.0, Event::Finished),
        ] {
            fold.take(&Stamped { t, event });
        }
        let ruling = rule(&experiment, &fold, &Terms::default(), &[], &[]);
        assert_eq!(ruling.exit, Exit::Vacuous, "{:?}", ruling.reasons);
        // the kill switch ended it while services were being changed
        let mut halted = Fold::new();
        let fault: crate::units::Name = "f".parse().unwrap();
        let healed = Event::Healed {
            fault,
            why: "halt".into(),
            matched: 1,
            selected: 1,
            hits: 0,
            delay_error_p99: None,
        };
        for (t, event) in [(0.0, Event::Phase { phase: Phase::Apply }), (1.0, healed), (2.0, Event::Finished)]
        {
            halted.take(&Stamped { t, event });
        }
        assert_eq!(rule(&experiment, &halted, &Terms::default(), &[], &[]).exit, Exit::Aborted);
    }
}
