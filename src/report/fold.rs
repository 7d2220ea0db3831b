//! The fold: from events to what the report is made of. No judging here, and no I/O.

use super::lives::{DeedFold, ProbeFold, ServiceFold};
use super::traffic::Crossed;
use crate::chart::Series;
use crate::model::Phase;
use crate::telemetry::{Event, Recipe, Stamped, Window};
use crate::units::Name;
use std::collections::BTreeMap;

/// Everything the events of a run say, added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fold {
    /// How it began.
    pub start: Option<Start>,
    /// Each phase with its begin and, once it is over, its end.
    pub phases: Vec<(Phase, f64, Option<f64>)>,
    /// Each fault that was armed, in the order of arming.
    pub faults: Vec<FaultFold>,
    /// Each service that was started, in the order of starting.
    pub services: Vec<ServiceFold>,
    /// Each probe that was answered.
    pub probes: Vec<ProbeFold>,
    /// What was done to services, and what could not be.
    pub deeds: Vec<DeedFold>,
    /// What of it was taken back, and what could not be.
    pub undone: Vec<DeedFold>,
    /// Breaches of guardrails.
    pub breaches: Vec<Breach>,
    /// When the kill switch ended the faults of the run.
    pub halted: Option<f64>,
    /// Runs of the user's command.
    pub commands: Vec<CommandFold>,
    /// Arrivals sent, shed and timed out.
    pub load: Option<(u64, u64, u64)>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// What could not be done.
    pub troubles: Vec<Trouble>,
    /// The signal that ended it.
    pub interrupted: Option<String>,
    /// It came to its end.
    pub finished: bool,
    /// The time of the last event.
    pub last: f64,
    /// What the analysis reads.
    pub(super) crossed: Crossed,
    sums: BTreeMap<(u16, Phase), Window>,
    pub(super) series: BTreeMap<u16, Series>,
    steady: Option<BTreeMap<u16, Window>>,
}

/// How a run began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start {
    /// The experiment's name.
    pub name: String,
    /// Of Brownout.
    pub version: String,
    /// The file.
    pub file: String,
    /// Of the file's text.
    pub sha256: String,
    /// How it was called.
    pub argv: Vec<String>,
    /// The seed.
    pub seed: u64,
    /// RFC 3339.
    pub at: String,
    /// Name, from and to of each edge.
    pub edges: Vec<(String, String, String)>,
    /// What its report is made with.
    pub recipe: Option<Recipe>,
}

/// What the events say of a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultFold {
    /// Its name.
    pub name: Name,
    /// The edges it was on.
    pub edges: Vec<u16>,
    /// The services it was about.
    pub services: Vec<Name>,
    /// When it was in force.
    pub intervals: Vec<(f64, Option<f64>)>,
    /// Exchanges that passed its matchers.
    pub matched: u64,
    /// Of these, the chosen.
    pub selected: u64,
    /// Of these, the struck.
    pub hits: u64,
    /// 99 % of its delays were late by at most this many seconds.
    pub delay_error_p99: Option<f64>,
}

/// A breach of a guardrail.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// When.
    pub at: f64,
    /// The guardrail.
    pub name: Name,
    /// Its key.
    pub key: String,
    /// What was seen.
    pub observed: f64,
}

/// One run of the user's command.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandFold {
    /// What was called.
    pub argv: Vec<String>,
    /// The phase in which it began.
    pub phase: Phase,
    /// Its exit code, once it ended.
    pub exit: Option<i32>,
    /// It was stopped at its end of time.
    pub stopped: bool,
}

impl CommandFold {
    /// It ended by itself, and not well.
    #[must_use]
    pub fn failed(&self) -> bool {
        !self.stopped && self.exit.is_some_and(|code| code != 0)
    }
}

/// Something that could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The exit code that says so.
    pub exit: u8,
    /// In words.
    pub text: String,
}

impl Fold {
    /// Nothing happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing happened yet; at most so many single exchanges will be held.
    #[must_use]
    pub fn holding(most: usize) -> Self {
        Self { crossed: Crossed::holding(most), ..Self::default() }
    }

    /// Takes the next event in.
    pub fn take(&mut self, stamped: &Stamped) {
        let t = stamped.t;
        self.last = self.last.max(t);
        match &stamped.event {
            Event::Started { name, version, file, sha256, argv, seed, at, edges, recipe } => {
                self.start = Some(Start {
                    name: name.clone(),
                    version: version.clone(),
                    file: file.clone(),
                    sha256: sha256.clone(),
                    argv: argv.clone(),
                    seed: *seed,
                    at: at.clone(),
                    edges: edges.clone(),
                    recipe: recipe.as_deref().cloned(),
                });
            }
            Event::Phase { phase } => self.enter(*phase, t),
            Event::Armed { fault, edges, services, .. } => {
                let entry = self.fault(fault);
                entry.edges.clone_from(edges);
                entry.services.clone_from(services);
                entry.intervals.push((t, None));
            }
            Event::Healed { fault, why, matched, selected, hits, delay_error_p99 } => {
                if why == "halt" && matches!(self.phase(), Phase::Apply | Phase::Fault) {
                    self.halted.get_or_insert(t);
                }
                let entry = self.fault(fault);
                (entry.matched, entry.selected, entry.hits) = (*matched, *selected, *hits);
                entry.delay_error_p99 = *delay_error_p99;
                if let Some((_, to @ None)) = entry.intervals.last_mut() {
                    *to = Some(t);
                }
            }
            Event::Window(window) => {
                self.crossed.window(t, window);
                let Some(phase) = window.phase else { return };
                // Between phases and after them we stop those who call: that they leave says nothing of the system.
                if self.phase() == Phase::Idle && window.abandoned > 0 {
                    return;
                }
                self.watch(t, window);
                self.sums
                    .entry((window.edge, phase))
                    .or_insert_with(|| Window { edge: window.edge, phase: Some(phase), ..Window::default() })
                    .merge(window);
            }
            Event::Load { sent, shed, timed_out } => self.load = Some((*sent, *shed, *timed_out)),
            Event::Command { argv, exit, stopped } => self.command(argv, *exit, *stopped),
            Event::Guardrail { name, key, observed } => self.breaches.push(Breach {
                at: t,
                name: name.clone(),
                key: key.clone(),
                observed: *observed,
            }),
            Event::Warning { text } => self.warnings.push(text.clone()),
            Event::Trouble { exit, text } => {
                self.troubles.push(Trouble { exit: *exit, text: text.clone() });
            }
            Event::Interrupted { signal } => {
                self.interrupted.get_or_insert_with(|| signal.clone());
            }
            Event::Finished => {
                self.enter(Phase::Idle, t);
                self.finished = true;
            }
            Event::Service { service, incarnation, did } => self.lived(t, service, *incarnation, did),
            Event::Probe { probe, saw, took, text } => self.probed(t, probe, *saw, *took, text.as_ref()),
            Event::Deed { fault, service, action, done, text } => {
                self.deeds.push(deed(t, fault, service, action, *done, text));
            }
            Event::Undone { fault, service, action, done, text } => {
                self.undone.push(deed(t, fault, service, action, *done, text));
            }
            Event::Passed { edge, one_in, exchanges } => self.crossed.passed(*edge, *one_in, exchanges),
            Event::Stalled { seconds } => self.crossed.stalled(t, *seconds),
            Event::Struck { .. } | Event::Unwritten { .. } => {}
        }
    }

    /// Nothing happened since, and it is this late: what is under way lasts until now.
    pub fn look(&mut self, t: f64) {
        self.last = self.last.max(t);
    }

    /// The phase under way.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phases.last().filter(|(_, _, to)| to.is_none()).map_or(Phase::Idle, |(phase, ..)| *phase)
    }

    /// Whether this phase was reached.
    #[must_use]
    pub fn reached(&self, phase: Phase) -> bool {
        self.phases.iter().any(|(other, ..)| *other == phase)
    }

    /// How long a phase was in real seconds, so far.
    #[must_use]
    pub fn length(&self, phase: Phase) -> f64 {
        self.spans(phase).map(|(from, to)| to - from).sum()
    }

    /// The phase that was under way at this time.
    #[must_use]
    pub fn phase_at(&self, t: f64) -> Phase {
        let under_way = |(_, from, to): &&(Phase, f64, Option<f64>)| *from <= t && to.is_none_or(|to| t < to);
        self.phases.iter().rev().find(under_way).map_or(Phase::Idle, |(phase, ..)| *phase)
    }

    /// From when to when a phase was, or has come.
    pub fn spans(&self, phase: Phase) -> impl Iterator<Item = (f64, f64)> {
        let of_it = self.phases.iter().filter(move |(other, ..)| *other == phase);
        of_it.map(|(_, from, to)| (*from, to.unwrap_or(self.last)))
    }

    /// What an edge did in a phase: every exchange whose head came in it, whenever it ended.
    #[must_use]
    pub fn sum(&self, edge: u16, phase: Phase) -> Option<&Window> {
        self.sums.get(&(edge, phase))
    }

    /// What the baseline is judged by: as `sum`, but only what had ended before the first fault could touch it.
    #[must_use]
    pub fn judged(&self, edge: u16, phase: Phase) -> Option<&Window> {
        match &self.steady {
            Some(steady) if phase == Phase::Baseline => steady.get(&edge),
            _ => self.sum(edge, phase),
        }
    }

    fn enter(&mut self, phase: Phase, t: f64) {
        if let Some((ended, _, to @ None)) = self.phases.last_mut() {
            *to = Some(t);
            if *ended == Phase::Baseline {
                self.steady = Some(
                    self.sums
                        .iter()
                        .filter(|((_, phase), _)| *phase == Phase::Baseline)
                        .map(|((edge, _), window)| (*edge, window.clone()))
                        .collect(),
                );
            }
        }
        if phase != Phase::Idle {
            self.phases.push((phase, t, None));
        }
    }

    fn fault(&mut self, name: &Name) -> &mut FaultFold {
        let at = self.faults.iter().position(|fault| fault.name == *name).unwrap_or_else(|| {
            self.faults.push(FaultFold {
                name: name.clone(),
                edges: Vec::new(),
                services: Vec::new(),
                intervals: Vec::new(),
                matched: 0,
                selected: 0,
                hits: 0,
                delay_error_p99: None,
            });
            self.faults.len() - 1
        });
        &mut self.faults[at]
    }

    fn command(&mut self, argv: &[String], exit: Option<i32>, stopped: bool) {
        let phase = self.phase();
        let ends = exit.is_some() || stopped;
        match self.commands.last_mut() {
            Some(open) if ends && open.exit.is_none() && !open.stopped => {
                (open.exit, open.stopped) = (exit, stopped);
            }
            _ => self.commands.push(CommandFold { argv: argv.to_vec(), phase, exit, stopped }),
        }
    }
}

fn deed(at: f64, fault: &Name, service: &Name, action: &str, done: bool, text: &str) -> DeedFold {
    let (fault, service) = (fault.clone(), service.clone());
    DeedFold { at, fault, service, action: action.to_owned(), done, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(events: impl IntoIterator<Item = (f64, Event)>) -> Fold {
        let mut fold = Fold::new();
        events.into_iter().for_each(|(t, event)| fold.take(&Stamped { t, event }));
        fold
    }

    fn window(phase: Phase, requests: u64, abandoned: u64) -> Event {
        Event::Window(Window {
            phase: Some(phase),
            requests,
            abandoned,
            failed: abandoned,
            ..Window::default()
        })
    }

    #[test]
    fn exchanges_belong_to_the_phase_of_their_head_whenever_they_end() {
        let fold = fold([
            (0.0, Event::Phase { phase: Phase::Baseline }),
            (1.0, window(Phase::Baseline, 10, 0)),
            (2.0, Event::Phase { phase: Phase::Fault }),
            (3.0, window(Phase::Baseline, 1, 0)),
            (3.0, window(Phase::Fault, 5, 2)),
            (5.0, Event::Phase { phase: Phase::Idle }),
            (5.5, window(Phase::Fault, 2, 0)),
        ]);
        assert_eq!(fold.sum(0, Phase::Baseline).unwrap().requests, 11);
        assert_eq!(fold.judged(0, Phase::Baseline).unwrap().requests, 10);
        assert_eq!(fold.sum(0, Phase::Fault).unwrap().requests, 7);
        assert_eq!((fold.length(Phase::Fault), fold.length(Phase::Recovery)), (3.0, 0.0));
    }

    #[test]
    fn callers_that_we_stopped_say_nothing() {
        let fold = fold([
            (0.0, Event::Phase { phase: Phase::Recovery }),
            (1.0, window(Phase::Recovery, 10, 1)),
            (2.0, Event::Phase { phase: Phase::Idle }),
            (2.1, window(Phase::Recovery, 3, 0)),
            (2.2, window(Phase::Recovery, 1, 1)),
        ]);
        let sum = fold.sum(0, Phase::Recovery).unwrap();
        assert_eq!((sum.requests, sum.failed), (13, 1));
    }

    #[test]
    fn a_fault_that_comes_and_goes_has_intervals_and_its_last_counts() {
        let name: Name = "f".parse().unwrap();
        let armed =
            || Event::Armed { fault: name.clone(), edges: vec![0], services: vec![], owner: "run".into() };
        let healed = |why: &str, matched| Event::Healed {
            fault: name.clone(),
            why: why.into(),
            matched,
            selected: 1,
            hits: 1,
            delay_error_p99: None,
        };
        let fold = fold([
            (1.0, armed()),
            (2.0, healed("schedule", 5)),
            (3.0, armed()),
            (4.0, healed("end", 9)),
            (5.0, armed()),
        ]);
        assert_eq!(fold.faults.len(), 1);
        assert_eq!(fold.faults[0].intervals, [(1.0, Some(2.0)), (3.0, Some(4.0)), (5.0, None)]);
        assert_eq!(fold.faults[0].matched, 9);
    }

    #[test]
    fn the_runs_of_a_command_are_told_apart() {
        let command = |exit, stopped| Event::Command { argv: vec!["k6".into()], exit, stopped };
        let fold = fold([
            (0.0, Event::Phase { phase: Phase::Baseline }),
            (0.0, command(None, false)),
            (1.0, command(Some(0), false)),
            (2.0, Event::Phase { phase: Phase::Fault }),
            (2.0, command(None, false)),
            (3.0, command(Some(143), true)),
            (4.0, command(None, false)),
        ]);
        let seen: Vec<_> = fold.commands.iter().map(|c| (c.phase, c.exit, c.stopped, c.failed())).collect();
        assert_eq!(
            seen,
            [
                (Phase::Baseline, Some(0), false, false),
                (Phase::Fault, Some(143), true, false),
                (Phase::Fault, None, false, false)
            ]
        );
    }
}
