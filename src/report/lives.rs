//! The fold of services and probes: the life of each service, process by process, and what each probe saw.
//!
//! Times are real seconds from the start, as events have them. It grows with the starts of services and with the changes of
//! what probes see, both of which the journal bounds. No judging here.

use super::Fold;
use crate::model::Phase;
use crate::telemetry::{Did, EnvShown, ExitCause, Saw, StartReason};
use crate::units::Name;

/// What the events say of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceFold {
    /// Its name.
    pub name: Name,
    /// Its processes, in their order.
    pub incarnations: Vec<Incarnation>,
    /// From when on it was in which state.
    states: Vec<(f64, State)>,
    /// It was ready when it was stopped with SIGSTOP.
    paused_while_up: bool,
}

/// One process of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Incarnation {
    /// Its how manyth this is, from 1.
    pub number: u32,
    /// When it was started.
    pub started: f64,
    /// Why.
    pub reason: StartReason,
    /// What differed from the environment of the file, and what may be shown.
    pub env: Vec<EnvShown>,
    /// Which of the expected values held: places in [`Experiment::expected_env`](crate::model::Experiment::expected_env).
    pub holds: Vec<usize>,
    /// When it was ready first.
    pub ready: Option<f64>,
    /// How it ended.
    pub ended: Option<Ended>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// When.
    pub at: f64,
    /// Its exit code, if it has one.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// Why.
    pub cause: ExitCause,
}

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Ready.
    Up,
    /// Not ready, since its first start.
    Starting,
    /// Not ready, since it ended for this reason.
    Down(ExitCause),
    /// Stopped with SIGSTOP.
    Paused,
}

impl State {
    /// Not ready, and Brownout's own doing.
    #[must_use]
    pub fn is_injected(self) -> bool {
        matches!(self, Self::Paused | Self::Down(ExitCause::Fault | ExitCause::Swap | ExitCause::End))
    }
}

impl ServiceFold {
    fn new(name: &Name) -> Self {
        Self { name: name.clone(), incarnations: Vec::new(), states: Vec::new(), paused_while_up: false }
    }

    fn take(&mut self, t: f64, number: u32, did: &Did) {
        match did {
            Did::Started { reason, env, holds, .. } => {
                self.incarnations.push(Incarnation {
                    number,
                    started: t,
                    reason: *reason,
                    env: env.clone(),
                    holds: holds.clone(),
                    ready: None,
                    ended: None,
                });
                if self.states.is_empty() {
                    self.states.push((t, State::Starting));
                }
            }
            Did::Ready { .. } => {
                if let Some(incarnation) = self.incarnation(number) {
                    incarnation.ready.get_or_insert(t);
                }
                self.enter(t, State::Up);
            }
            Did::Exited { code, signal, cause } => {
                if let Some(incarnation) = self.incarnation(number) {
                    let (code, signal) = (*code, signal.clone());
                    incarnation.ended.get_or_insert(Ended { at: t, code, signal, cause: *cause });
                }
                self.enter(t, State::Down(*cause));
            }
            Did::Paused => {
                if self.state() == Some(State::Up) {
                    self.paused_while_up = true;
                    self.enter(t, State::Paused);
                }
            }
            Did::Resumed => {
                if std::mem::take(&mut self.paused_while_up) && self.state() == Some(State::Paused) {
                    self.enter(t, State::Up);
                }
            }
            Did::NotReady { .. } | Did::NotStarted { .. } | Did::Log { .. } | Did::Unwritten { .. } => {}
        }
    }

    fn incarnation(&mut self, number: u32) -> Option<&mut Incarnation> {
        self.incarnations.iter_mut().rev().find(|incarnation| incarnation.number == number)
    }

    fn state(&self) -> Option<State> {
        self.states.last().map(|(_, state)| *state)
    }

    fn enter(&mut self, t: f64, state: State) {
        if self.state() != Some(state) {
            self.states.push((t, state));
        }
    }

    /// How long it was in states like this between two times.
    #[must_use]
    pub fn time(&self, from: f64, to: f64, like: impl Fn(State) -> bool) -> f64 {
        let ends = self.states.iter().skip(1).map(|(t, _)| *t).chain([f64::INFINITY]);
        self.states
            .iter()
            .zip(ends)
            .filter(|((_, state), _)| like(*state))
            .map(|((begin, _), end)| (end.min(to) - begin.max(from)).max(0.0))
            .sum()
    }

    /// How long it ran between two times, in processes like this.
    #[must_use]
    pub fn ran(&self, from: f64, to: f64, like: impl Fn(&Incarnation) -> bool) -> f64 {
        self.incarnations
            .iter()
            .filter(|incarnation| like(incarnation))
            .map(|one| {
                let end = one.ended.as_ref().map_or(f64::INFINITY, |ended| ended.at);
                (end.min(to) - one.started.max(from)).max(0.0)
            })
            .sum()
    }

    /// How long it took from the end of a process until the service was ready again.
    #[must_use]
    pub fn down_after(&self, incarnation: &Incarnation) -> Option<f64> {
        let ended = incarnation.ended.as_ref()?.at;
        let ready = self.incarnations.iter().filter_map(|one| one.ready).find(|ready| *ready >= ended)?;
        Some(ready - ended)
    }
}

/// What the events say of a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeFold {
    /// The name of its expectation.
    pub name: Name,
    runs: Vec<Answers>,
}

/// Like answers in a row, all asked in one phase.
#[derive(Clone, Debug, PartialEq)]
struct Answers {
    phase: Phase,
    saw: Saw,
    first: f64,
    last: f64,
    count: u64,
    /// What was wrong at first.
    text: Option<String>,
}

/// From the first wrong answer to the first right one. Silence neither begins nor ends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// The first wrong answer.
    pub from: f64,
    /// The first right one after it.
    pub to: Option<f64>,
    /// The last right answer before it, or else the first answer of all.
    pub since: f64,
    /// What was wrong at first.
    pub text: Option<String>,
}

/// What a probe saw in a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sight {
    /// Right answers to what was asked in it.
    pub right: u64,
    /// Wrong ones.
    pub wrong: u64,
    /// Nobody answered.
    pub silent: u64,
    /// The longest stretch from a wrong answer to the next right one, or to the end of the phase.
    pub longest: f64,
}

impl ProbeFold {
    fn take(&mut self, t: f64, phase: Phase, saw: Saw, text: Option<&String>) {
        match self.runs.last_mut() {
            Some(run) if run.phase == phase && run.saw == saw => {
                run.last = t;
                run.count += 1;
            }
            _ => self.runs.push(Answers { phase, saw, first: t, last: t, count: 1, text: text.cloned() }),
        }
    }

    /// All exposures, whatever the phase.
    #[must_use]
    pub fn exposures(&self) -> Vec<Exposure> {
        exposures(self.runs.iter())
    }

    /// What it saw of what it asked in this phase, which ends (or has come) to `end`.
    #[must_use]
    pub fn sight(&self, phase: Phase, end: f64) -> Sight {
        let runs = || self.runs.iter().filter(|run| run.phase == phase);
        let count = |saw| runs().filter(|run| run.saw == saw).map(|run| run.count).sum();
        let lengths = exposures(runs()).into_iter().map(|one| (one.to.unwrap_or(end) - one.from).max(0.0));
        Sight {
            right: count(Saw::Right),
            wrong: count(Saw::Wrong),
            silent: count(Saw::Unreachable),
            longest: lengths.fold(0.0, f64::max),
        }
    }
}

fn exposures<'a>(runs: impl Iterator<Item = &'a Answers>) -> Vec<Exposure> {
    let mut found: Vec<Exposure> = Vec::new();
    let mut since = None;
    for run in runs {
        let before = *since.get_or_insert(run.first);
        let open = found.last_mut().filter(|exposure| exposure.to.is_none());
        match (run.saw, open) {
            (Saw::Right, open) => {
                if let Some(open) = open {
                    open.to = Some(run.first);
                }
                since = Some(run.last);
            }
            (Saw::Wrong, None) => {
                let text = run.text.clone();
                found.push(Exposure { from: run.first, to: None, since: before, text });
            }
            (Saw::Wrong, Some(_)) | (Saw::Unreachable, _) => {}
        }
    }
    found
}

/// A deed, or its undoing.
#[derive(Clone, Debug, PartialEq)]
pub struct DeedFold {
    /// When.
    pub at: f64,
    /// The fault.
    pub fault: Name,
    /// The service.
    pub service: Name,
    /// `env`, `process` or `hook`.
    pub action: String,
    /// Whether it was verified.
    pub done: bool,
    /// What was done, or why not.
    pub text: String,
}

impl Fold {
    /// What happened to a service.
    #[must_use]
    pub fn service(&self, name: &Name) -> Option<&ServiceFold> {
        self.services.iter().find(|service| service.name == *name)
    }

    /// What a probe saw.
    #[must_use]
    pub fn probe(&self, name: &Name) -> Option<&ProbeFold> {
        self.probes.iter().find(|probe| probe.name == *name)
    }

    /// What could not be put back: of each deed its last undoing, if that failed.
    pub fn not_undone(&self) -> impl Iterator<Item = &DeedFold> {
        let same =
            |a: &DeedFold, b: &DeedFold| a.fault == b.fault && a.service == b.service && a.action == b.action;
        self.undone.iter().enumerate().filter_map(move |(place, undone)| {
            let last = !self.undone[place + 1..].iter().any(|later| same(undone, later));
            (last && !undone.done).then_some(undone)
        })
    }

    pub(super) fn lived(&mut self, t: f64, name: &Name, number: u32, did: &Did) {
        let place = self.services.iter().position(|service| service.name == *name).unwrap_or_else(|| {
            self.services.push(ServiceFold::new(name));
            self.services.len() - 1
        });
        self.services[place].take(t, number, did);
    }

    pub(super) fn probed(&mut self, t: f64, name: &Name, saw: Saw, took: f64, text: Option<&String>) {
        // It belongs to the phase in which it was asked, as an exchange does to that of its head.
        let phase = self.phase_at(t - took);
        let place = self.probes.iter().position(|probe| probe.name == *name).unwrap_or_else(|| {
            self.probes.push(ProbeFold { name: name.clone(), runs: Vec::new() });
            self.probes.len() - 1
        });
        self.probes[place].take(t, phase, saw, text);
    }
}

#[cfg(test)]
#[path = "lives_tests.rs"]
mod tests;
