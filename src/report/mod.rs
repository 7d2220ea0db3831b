//! What a run found: a fold over its events, judged, and written for people and for machines.
//!
//! [`Fold`] reads the same [`Stamped`](crate::telemetry::Stamped) events live and from a journal, so an old run is reported
//! by the code that reported it when it was new. [`Report`] is that fold held against the experiment; every renderer reads
//! only the [`Report`]. Knows nothing of how a run is carried out.

mod build;
pub mod compare;
pub mod figures;
mod fold;
pub mod github;
pub mod html;
pub mod json;
pub mod judge;
mod judge_services;
mod judge_spread;
pub mod junit;
mod lives;
pub mod markdown;
mod recipe;
mod replay;
mod scorecard;
mod series;
mod services;
#[cfg(test)]
mod testing;
pub mod text;
pub mod told;
mod traffic;
mod truth;
mod verdict;

pub use build::build;
pub use fold::{Breach, CommandFold, FaultFold, Fold, Start, Trouble};
pub use judge_services::{Lived, lived};
pub use lives::{DeedFold, Ended, Exposure, Incarnation, ProbeFold, ServiceFold, Sight, State};
pub use recipe::{again, recipe};
pub use replay::{quote, replay};
pub use scorecard::{Score, Scorecard, scorecard};
pub use services::{DeedResult, ExitResult, ExposureResult, IncarnationResult, ServicePhase, ServiceResult};
pub use truth::Truth;
pub use verdict::{During, Exit, Terms, Verdict, expected};

use crate::analysis::Findings;
use crate::chart::Series;
use crate::units::{Comparison, Op, Unit};
use serde::Serialize;
use std::collections::BTreeMap;

/// The key that is told per hour, as files write it.
const CRASH_RATE: &str = "crash_rate";

/// What a run found. It is `report.json` as it stands: ratios 0 to 1, durations in seconds, `null` for no sample, times in
/// seconds of the file's clock from the start of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The version of this format.
    pub schema: u32,
    /// Of Brownout.
    pub version: String,
    /// The experiment's name.
    pub name: String,
    /// What the experiment asks.
    pub title: Option<String>,
    /// The run's own name: its folder's.
    pub run: String,
    /// The file.
    pub file: String,
    /// Of the file's text.
    pub sha256: String,
    /// How Brownout was called.
    pub argv: Vec<String>,
    /// The seed in force.
    pub seed: u64,
    /// What came of it.
    pub verdict: Verdict,
    /// The exit code.
    pub exit: u8,
    /// Why, the weightiest first.
    pub reasons: Vec<String>,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub ended: String,
    /// The user's command.
    pub command: Option<CommandResult>,
    /// The built-in load.
    pub load: Option<LoadResult>,
    /// The phases, as they came.
    pub phases: Vec<PhaseSpan>,
    /// The edges, in the order of the file.
    pub edges: Vec<EdgeResult>,
    /// The faults, in the order of the file.
    pub faults: Vec<FaultResult>,
    /// Each check of each expectation in each of its phases.
    pub expectations: Vec<CheckResult>,
    /// Each check of each guardrail.
    pub guardrails: Vec<GuardrailResult>,
    /// How the failure spread, and what it showed of the system. The moments of the run are in the file's time, `cascade.at`
    /// from the start of the fault phase; what callers are made of is in real time.
    #[serde(flatten)]
    pub findings: Findings,
    /// The services, in the order of the file.
    pub services: Vec<ServiceResult>,
    /// All stretches in which a probe saw what must not be.
    pub exposures: Vec<ExposureResult>,
    /// What was done to services, and what could not be.
    pub deeds: Vec<DeedResult>,
    /// What of it was taken back, and what could not be.
    pub undo: Vec<DeedResult>,
    /// What a reader should know beside.
    pub warnings: Vec<String>,
    /// What each edge did over time, for charts, in the order of `edges`.
    #[serde(skip)]
    pub series: Vec<Series>,
    /// The text of the file without values that must not be told; a few lines of it are quoted.
    #[serde(skip)]
    pub source: String,
    /// The user stopped it, whatever else went wrong.
    #[serde(skip)]
    pub interrupted: bool,
}

impl Report {
    /// What a reader should know beside; of the analysis only if there was something to analyse.
    pub fn notes(&self) -> impl Iterator<Item = &String> {
        let faulted = self.phases.iter().any(|phase| phase.name == "fault");
        self.warnings.iter().chain(self.findings.cautions.iter().filter(move |_| faulted))
    }
}

/// How the user's command ended; with several, the first that failed, else the last.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandResult {
    /// What was called.
    pub argv: Vec<String>,
    /// Its exit code; 128 and more: that signal.
    pub exit: Option<i32>,
    /// It was stopped at its end of time, which is no failure.
    pub stopped: bool,
}

/// What the built-in load did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LoadResult {
    /// Arrivals that were sent.
    pub sent: u64,
    /// Arrivals that were not, because too many were out.
    pub shed: u64,
    /// Requests given up after their timeout.
    pub timed_out: u64,
}

/// When a phase was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseSpan {
    /// Its name.
    pub name: &'static str,
    /// When it began.
    pub from: f64,
    /// When it ended.
    pub to: f64,
}

/// What an edge did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EdgeResult {
    /// Its name.
    pub name: String,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// By phase: warmup is not measured.
    pub phases: BTreeMap<&'static str, EdgePhase>,
}

/// What an edge did in one phase: exchanges belong to the phase of their head.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EdgePhase {
    /// Judged exchanges: without injected outcomes and health requests.
    pub requests: u64,
    /// Exchanges whose outcome Brownout made itself.
    pub injected: u64,
    /// Judged exchanges per second (of real time).
    pub rate: Option<f64>,
    /// Judged exchanges that did not fail.
    pub success_rate: Option<f64>,
    /// Judged exchanges that failed.
    pub error_rate: Option<f64>,
    /// All exchanges but health, by whose doing the outcome is.
    pub by_origin: BTreeMap<&'static str, u64>,
    /// The same by the status that the caller saw; 0: none.
    pub by_status: BTreeMap<u16, u64>,
    /// Durations of judged exchanges, head to last byte.
    pub p50: Option<f64>,
    /// As `p50`.
    pub p90: Option<f64>,
    /// As `p50`.
    pub p95: Option<f64>,
    /// As `p50`.
    pub p99: Option<f64>,
    /// As `p50`.
    pub p999: Option<f64>,
    /// The most exchanges at once.
    pub in_flight_max: u64,
    /// The most connections at once.
    pub connections_max: u64,
    /// Attempts per logical request; TCP has none.
    pub amplification: Option<f64>,
    /// Callers that left before they were answered.
    pub abandoned: u64,
    /// Answers that came when the caller had left.
    pub zombie: u64,
}

/// What a fault did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultResult {
    /// Its name.
    pub name: String,
    /// The edge, or the edges, of a fault on edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<OneOrMany>,
    /// The service, or the services, of a fault on services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<OneOrMany>,
    /// What it does.
    pub actions: Vec<&'static str>,
    /// Exchanges that passed its matchers.
    pub matched: u64,
    /// Of these, the chosen.
    pub selected: u64,
    /// Of these, the ones in which someone could see it.
    pub hits: u64,
    /// It struck nothing, and was meant to.
    pub vacuous: bool,
    /// When it was in force.
    pub intervals: Vec<Interval>,
    /// 99 % of its delays were late by at most this much.
    pub delay_error_p99: Option<f64>,
    /// Its line in the file; 0: not from the file.
    pub line: usize,
}

/// One name, or several.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several, or none.
    Many(Vec<String>),
}

impl OneOrMany {
    /// One name by itself, others as a list.
    #[must_use]
    pub fn of(mut names: Vec<String>) -> Self {
        if names.len() == 1 { Self::One(names.remove(0)) } else { Self::Many(names) }
    }
}

impl std::fmt::Display for OneOrMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(name) => f.write_str(name),
            Self::Many(names) => f.write_str(&names.join(", ")),
        }
    }
}

/// From when to when; `to` is `null` if its end was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Begin.
    pub from: f64,
    /// End.
    pub to: Option<f64>,
}

/// One check of an expectation in one phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckResult {
    /// The expectation.
    pub name: String,
    /// The key, such as `p99`.
    pub key: String,
    /// The edge, if it is on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// The service, if it is on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The probe, if it is one's: the name of the expectation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// The phase.
    pub phase: &'static str,
    /// What was seen. Of what is true or not it is 1 or 0, and `limit` is 1.
    pub observed: Option<f64>,
    /// What was seen, in words, where a number does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_text: Option<String>,
    /// How it is compared.
    pub op: Op,
    /// Against what.
    pub limit: f64,
    /// In which unit both are.
    pub unit: Unit,
    /// What is expected, in words, where a number does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_text: Option<String>,
    /// Of a comparison with the baseline: both values. `observed` is the one as a multiple of the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vs: Option<Compared>,
    /// Whether it held; `null`: there was nothing to judge by.
    pub met: Option<bool>,
    /// Why it is inconclusive.
    pub reason: Option<String>,
    /// The line in the file.
    pub line: usize,
}

/// A value and what it was on the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// What was seen.
    pub value: f64,
    /// What it was.
    pub baseline: f64,
    /// In which unit both are.
    pub unit: Unit,
}

impl CheckResult {
    /// What it is on.
    #[must_use]
    pub fn target(&self) -> &str {
        self.edge.as_deref().or(self.service.as_deref()).or(self.probe.as_deref()).unwrap_or_default()
    }

    /// The key and what it is on, in a sentence. A probe goes by the name of its expectation, which is said anyway.
    #[must_use]
    pub fn subject(&self) -> String {
        match self.probe {
            Some(_) => self.key.clone(),
            None if self.target().is_empty() => self.key.clone(),
            None => format!("{} on `{}`", self.key, self.target()),
        }
    }

    /// What was seen, with as many digits as it takes to see on which side of the limit it lies; nothing if nothing was.
    #[must_use]
    pub fn seen(&self) -> Option<String> {
        self.observed_text.clone().or_else(|| self.observed.map(|value| text::value(self, value)))
    }

    /// A value of its unit, short. Crashes are counted by the hour.
    #[must_use]
    pub fn shown(&self, value: f64) -> String {
        if self.key == CRASH_RATE { figures::per_hour(value) } else { figures::number(self.unit, value) }
    }

    /// What is expected.
    #[must_use]
    pub fn expected(&self) -> String {
        if let Some(text) = &self.expected_text {
            return text.clone();
        }
        if self.key == CRASH_RATE {
            format!("{} {}", self.op, figures::per_hour(self.limit))
        } else {
            Comparison { op: self.op, limit: self.limit, unit: self.unit }.to_string()
        }
    }
}

/// One check of a guardrail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardrailResult {
    /// The guardrail.
    pub name: String,
    /// The key.
    pub key: String,
    /// The edge.
    pub edge: String,
    /// How it is compared.
    pub op: Op,
    /// Against what.
    pub limit: f64,
    /// In which unit.
    pub unit: Unit,
    /// For how long it had to be true.
    #[serde(rename = "for")]
    pub lasts: f64,
    /// Whether it stopped the run.
    pub breached: bool,
    /// When.
    pub at: Option<f64>,
    /// At which value.
    pub observed: Option<f64>,
    /// The line in the file.
    pub line: usize,
}
