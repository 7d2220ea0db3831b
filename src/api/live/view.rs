//! What the page shows, put together: how each edge is, and how the failure stands in a sentence. Pure.

use super::state::{RECENT, State};
use crate::analysis::{Findings, Onset, Recovered};
use crate::chart::{self, Band, Frame, Mark};
use crate::control::{EdgeStatus, FaultStatus};
use crate::model::{Experiment, Phase};
use crate::report::CheckResult;
use std::time::Duration;

/// Runs that are planned to last at most so long are shown from begin to end; else the page shows the last so many seconds.
const WHOLE: f64 = super::state::BACK;
/// The shortest time that is shown.
const SHORTEST: f64 = 60.0;
/// An edge without an analysis is ill if more than this share of its last exchanges failed.
const ILL: f64 = 0.05;
/// Of at least so many.
const ENOUGH: u64 = 10;

/// Everything a rendering reads.
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    /// What a run goes by; `None`: it serves.
    pub(super) run: Option<&'a Experiment>,
    pub(super) state: &'a State,
    pub(super) edges: &'a [EdgeStatus],
    pub(super) faults: &'a [FaultStatus],
    pub(super) halted: bool,
    pub(super) ready: bool,
    pub(super) findings: &'a Findings,
    pub(super) checks: &'a [CheckResult],
    /// Real seconds since the start of the clock.
    pub(super) now: f64,
}

/// What an edge does at this moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) rate: f64,
    /// Of what Brownout did not answer itself.
    pub(super) success: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) in_flight: u64,
    pub(super) connections: u64,
}

impl View<'_> {
    /// Real time is the file's time multiplied by this.
    pub(super) fn scale(&self) -> f64 {
        self.run.map(|run| run.run.time_scale).filter(|scale| *scale > 0.0).unwrap_or(1.0)
    }

    /// A real time in the file's.
    pub(super) fn told(&self, t: f64) -> f64 {
        t / self.scale()
    }

    /// How long a phase is to be, in the file's time; `None`: as long as it takes.
    pub(super) fn planned(&self, phase: Phase) -> Option<f64> {
        let run = &self.run?.run;
        let length = match phase {
            Phase::Warmup => run.warmup,
            Phase::Baseline => run.baseline,
            Phase::Fault => run.fault,
            Phase::Recovery => run.recovery,
            Phase::Idle | Phase::Apply | Phase::Restore => return None,
        };
        Some(length.as_secs_f64())
    }

    /// The time that is shown, phases that are still to come included, in the file's time.
    pub(super) fn frame(&self) -> Frame {
        let now = self.told(if self.state.finished { self.state.now } else { self.now });
        let mut phases: Vec<Band> = Vec::new();
        let mut end = 0.0_f64;
        for (phase, from, to) in &self.state.phases {
            let from = self.told(*from);
            let planned = self.planned(*phase).map_or(now, |length| from + length);
            end = to.map_or_else(|| planned.max(now), |to| self.told(to));
            phases.push(Band::new(phase.as_str(), from, end));
        }
        let last = self.state.phases.back().map_or(Phase::Idle, |(phase, ..)| *phase);
        if self.run.is_some() && !self.state.finished {
            for phase in Phase::ALL.into_iter().filter(|phase| *phase as u8 > last as u8) {
                if let Some(length) = self.planned(phase).filter(|length| *length > 0.0) {
                    phases.push(Band::new(phase.as_str(), end, end + length));
                    end += length;
                }
            }
        }
        let (from, to) = if self.run.is_some() && end > 0.0 && end.max(now) <= WHOLE {
            (phases.first().map_or(0.0, |band| band.from), end.max(now))
        } else {
            let to = now.max(SHORTEST);
            ((to - WHOLE).max(0.0), to)
        };
        let faults = self.state.faults.iter().map(|(name, _, from, to)| {
            Band::new(name.clone(), self.told(*from), to.map_or(now, |to| self.told(to)))
        });
        Frame { from, to, phases, faults: faults.collect(), marks: Vec::new() }
    }

    /// The same for the charts of one edge: its own faults, and when it fell ill.
    pub(super) fn frame_of(&self, frame: &Frame, edge: &EdgeStatus) -> Frame {
        let own = self.state.faults.iter().zip(&frame.faults);
        let faults = own.filter(|((_, edges, ..), _)| edges.contains(&edge.id)).map(|(_, band)| band.clone());
        let marks = self.onset(&edge.name).and_then(|(place, onset)| {
            let at = self.onset_at(onset)?;
            let name = format!("{} fell ill: number {}", edge.name, place + 1);
            Some(Mark { at, sign: (place + 1).to_string(), name })
        });
        Frame { faults: faults.collect(), marks: marks.into_iter().collect(), ..frame.clone() }
    }

    /// When an edge fell ill, in the file's time from the start.
    pub(super) fn onset_at(&self, onset: &Onset) -> Option<f64> {
        let (_, from, _) = self.state.phases.iter().find(|(phase, ..)| *phase == Phase::Fault)?;
        Some(self.told(from + onset.at))
    }

    /// The place of an edge in the order of those that fell ill, and how it did.
    pub(super) fn onset(&self, edge: &str) -> Option<(usize, &Onset)> {
        self.findings.cascade.iter().enumerate().find(|(_, onset)| onset.edge == edge)
    }

    /// Whether an edge that was ill came back.
    pub(super) fn is_back(&self, edge: &str) -> bool {
        let came = |one: &&crate::analysis::Recovery| one.edge == edge && one.state == Recovered::Recovered;
        self.findings.recovery.iter().any(|one| came(&one))
    }

    /// How an edge is.
    pub(super) fn state_of(&self, edge: &EdgeStatus) -> chart::State {
        if let Some((_, onset)) = self.onset(&edge.name) {
            return match (self.is_back(&edge.name), onset.source) {
                (true, _) => chart::State::Recovered,
                (false, true) => chart::State::Source,
                (false, false) => chart::State::Symptom,
            };
        }
        // Only a run has a baseline; of the rest it can be said that they fail.
        let lately = self.state.edges.get(&edge.id).and_then(|own| own.lately(self.now));
        let fails = lately.is_some_and(|window| {
            window.requests >= ENOUGH && window.failed as f64 > ILL * window.requests as f64
        });
        match fails && !self.state.finished {
            true => chart::State::Ill,
            false if self.findings.unjudged.contains_key(&edge.name) => chart::State::Unjudged,
            false => chart::State::Calm,
        }
    }

    /// What an edge does at this moment; `None`: nothing.
    pub(super) fn figures(&self, edge: &EdgeStatus) -> Option<Figures> {
        let window = self.state.edges.get(&edge.id)?.lately(self.now)?;
        let well = window.requests.saturating_sub(window.failed);
        Some(Figures {
            rate: (window.requests + window.injected) as f64 / RECENT,
            success: (window.requests > 0).then(|| well as f64 / window.requests as f64),
            p95: window.durations.quantile(0.95),
            in_flight: window.in_flight,
            connections: window.connections,
        })
    }

    /// The faults that strike on an edge now.
    pub(super) fn active_on(&self, edge: &EdgeStatus) -> usize {
        self.faults.iter().filter(|fault| fault.active && fault.edges.contains(&edge.name)).count()
    }

    /// How it stands, in a sentence or two.
    pub(super) fn story(&self) -> String {
        let armed = self.faults.iter().filter(|fault| fault.armed).count();
        let faults = match armed {
            0 => "no fault is armed".to_owned(),
            1 => "one fault is armed".to_owned(),
            n => format!("{n} faults are armed"),
        };
        let phase = self.state.phase().map_or(Phase::Idle, |(phase, _)| phase);
        let reached = self.state.phases.iter().any(|(phase, ..)| *phase == Phase::Fault);
        let text = match (self.run.is_some(), reached, phase) {
            (false, ..) => {
                return sentence(&match self.failing() {
                    0 => faults,
                    1 => format!("{faults}. One edge fails"),
                    n => format!("{faults}. {n} edges fail"),
                });
            }
            // It begins with the name of an edge, which stays as it is.
            (true, true, _) => return self.spread(phase),
            (true, false, Phase::Baseline) => "this is what it is like when all is well",
            (true, false, Phase::Warmup) => "traffic begins; nothing is measured yet",
            (true, false, Phase::Apply) => "services are being changed",
            (true, false, _) if self.state.finished => "it ended before any fault",
            (true, false, _) => "it is about to begin",
        };
        sentence(text)
    }

    /// How many edges fail, as far as that can be said without a baseline.
    fn failing(&self) -> usize {
        self.edges.iter().filter(|edge| self.state_of(edge) == chart::State::Ill).count()
    }

    /// How the failure spread.
    fn spread(&self, phase: Phase) -> String {
        let all = self.edges.len();
        let ill = &self.findings.cascade;
        let back = ill.iter().filter(|onset| self.is_back(&onset.edge)).count();
        let Some(first) = ill.first() else {
            return sentence(&match (phase, self.failing()) {
                (Phase::Fault, 0) => "the fault is on, and every edge is as it was".into(),
                (Phase::Fault, 1) => format!("the fault is on, and one of {all} edges fails"),
                (Phase::Fault, n) => format!("the fault is on, and {n} of {all} edges fail"),
                _ => "no edge left its baseline".into(),
            });
        };
        let source = ill.iter().find(|onset| onset.source).unwrap_or(first);
        let name = short(&source.edge, 60);
        let at = seconds(self.told(source.at));
        let count = match (ill.len(), all) {
            (n, all) if n == all && all > 1 => format!("all {all} edges fell ill"),
            (1, all) => format!("1 of {all} edges fell ill"),
            (n, all) => format!("{n} of {all} edges fell ill"),
        };
        let word = if source.source { "is the source" } else { "was the first" };
        let began = format!("{name} {word}, {at} into the fault; {count}");
        match (phase, back) {
            (Phase::Fault, _) | (_, 0) => format!("{began}."),
            (_, n) if n == ill.len() => format!("{began}, and came back."),
            (_, n) => format!("{began}, {n} came back so far."),
        }
    }
}

/// A text of at most so many characters, without those that cannot be seen or turn its direction.
pub(super) fn short(text: &str, most: usize) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let clean: String = text.chars().map(|c| if hidden(c) { ' ' } else { c }).take(most + 1).collect();
    match clean.char_indices().nth(most) {
        Some(_) => clean.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => clean,
    }
}

/// A duration with its unit.
pub(super) fn seconds(value: f64) -> String {
    chart::seconds(value)
}

/// How much of a time is left, to the second.
pub(super) fn left(seconds: f64) -> String {
    chart::clock(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs_f64().ceil())
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => String::new(),
    }
}
