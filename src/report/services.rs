//! What a report says of services and probes: each process of each service, what was exposed and how soon it was seen, and
//! what was done and undone. In the file's time. Values of variables are only those that the file says may be shown.

use super::judge_services::lived;
use super::lives::{DeedFold, Exposure, Incarnation, ServiceFold};
use super::{Fold, judge};
use crate::model::{Ask, Experiment, On, Phase, Probe};
use crate::telemetry::{ExitCause, StartReason};
use crate::units::Name;
use serde::Serialize;
use std::collections::BTreeMap;

/// What became of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceResult {
    /// Its name.
    pub name: String,
    /// Why it was not started although it has a command.
    pub skipped: Option<String>,
    /// By phase, if it was there.
    pub phases: BTreeMap<&'static str, ServicePhase>,
    /// Its processes.
    pub incarnations: Vec<IncarnationResult>,
    /// What probes of it saw that must not be.
    pub exposures: Vec<ExposureResult>,
}

/// What a service did in one phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServicePhase {
    /// The share of the time in which it was ready; what Brownout did itself is left out.
    pub up: Option<f64>,
    /// How long it was not ready, by itself.
    pub downtime: f64,
    /// How long it was not ready, by Brownout's doing.
    pub downtime_injected: f64,
    /// How often it ended by itself.
    pub crashes: u64,
    /// The same per second.
    pub crash_rate: Option<f64>,
    /// How often Brownout ended it.
    pub kills: u64,
    /// How often it was started again after a crash.
    pub restarts: u64,
    /// How often it was started again after Brownout had ended it.
    pub restarts_injected: u64,
}

/// One process of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncarnationResult {
    /// Its how manyth this is, from 1.
    pub number: u32,
    /// Why it was started.
    pub reason: StartReason,
    /// When.
    pub started: f64,
    /// When it ended.
    pub ended: Option<f64>,
    /// Its exit code, or the signal that ended it.
    pub exit: Option<ExitResult>,
    /// Why it ended.
    pub cause: Option<ExitCause>,
    /// The variables in which it differed from the file.
    pub env_changed: Vec<String>,
    /// The values that may be shown.
    pub env_shown: BTreeMap<String, String>,
    /// From its start until it was ready.
    pub ready_after: Option<f64>,
    /// From its end until the service was ready again.
    pub down_for: Option<f64>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ExitResult {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(String),
}

/// A stretch in which a probe saw what must not be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposureResult {
    /// The expectation of the probe.
    pub probe: String,
    /// The first wrong answer.
    pub from: f64,
    /// The first right one after it; `null`: none came.
    pub to: Option<f64>,
    /// How long after it could first have been seen it was seen: from when the process was ready that came since the last
    /// right answer, else from that answer.
    pub detected_after: f64,
    /// That process.
    pub incarnation: Option<u32>,
    /// What was wrong at first.
    pub saw: Option<String>,
}

/// Something that was done to a service, or taken back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeedResult {
    /// When.
    pub at: f64,
    /// The fault.
    pub fault: String,
    /// The service.
    pub service: String,
    /// `env`, `process` or `hook`.
    pub action: String,
    /// Whether it was verified.
    pub done: bool,
    /// What was done, or why it could not be.
    pub text: String,
}

/// Every service of the file, in its order.
pub(super) fn services(fold: &Fold, experiment: &Experiment) -> Vec<ServiceResult> {
    let of = |place: usize| -> Vec<ExposureResult> {
        let probes = probes(experiment).filter(|(_, probe)| service_of(experiment, probe) == Some(place));
        probes.flat_map(|(name, probe)| exposed(fold, experiment, name, probe)).collect()
    };
    experiment
        .services
        .iter()
        .enumerate()
        .map(|(place, service)| {
            let seen = fold.service(&service.name);
            ServiceResult {
                name: service.name.to_string(),
                skipped: service.skipped.clone(),
                phases: seen.map(|seen| phases(fold, experiment, seen)).unwrap_or_default(),
                incarnations: seen.map_or_else(Vec::new, |seen| incarnations(experiment, seen)),
                exposures: of(place),
            }
        })
        .collect()
}

/// Every exposure, by its probe, in the order of the file.
pub(super) fn exposures(fold: &Fold, experiment: &Experiment) -> Vec<ExposureResult> {
    probes(experiment).flat_map(|(name, probe)| exposed(fold, experiment, name, probe)).collect()
}

/// Deeds as the report tells them.
pub(super) fn deeds(folded: &[DeedFold], experiment: &Experiment) -> Vec<DeedResult> {
    let scale = judge::scale(experiment);
    let told = |deed: &DeedFold| DeedResult {
        at: deed.at / scale,
        fault: deed.fault.to_string(),
        service: deed.service.to_string(),
        action: deed.action.clone(),
        done: deed.done,
        text: deed.text.clone(),
    };
    folded.iter().map(told).collect()
}

fn probes(experiment: &Experiment) -> impl Iterator<Item = (&Name, &Probe)> {
    experiment.expects.iter().filter_map(|expectation| match &expectation.on {
        On::Probe(probe) => Some((&expectation.name, probe)),
        On::Edge { .. } | On::Service { .. } | On::Spread(_) => None,
    })
}

/// The service that a probe looks at: the one its edge leads to. An absolute URL is through an edge too if it names one, or
/// calls its upstream.
pub(super) fn service_of(experiment: &Experiment, probe: &Probe) -> Option<usize> {
    let called = |text: &str, edge: &crate::model::Edge| {
        text.contains(&format!("${{edge.{}}}", edge.name))
            || edge.upstreams.iter().any(|upstream| {
                let rest = text.strip_prefix("http://").unwrap_or(text);
                rest.split(['/', '?']).next() == Some(upstream.authority().as_str())
            })
    };
    let through = |text: &str| experiment.edges.iter().find(|edge| called(text, edge));
    let edge = match &probe.ask {
        Ask::Http(ask) => match ask.edge {
            Some(place) => experiment.edges.get(place),
            None => through(&ask.url),
        },
        Ask::Tcp(address) => through(address),
        Ask::Command(_) => None,
    }?;
    experiment.services.iter().position(|service| service.name.as_str() == edge.to)
}

fn exposed(fold: &Fold, experiment: &Experiment, name: &Name, probe: &Probe) -> Vec<ExposureResult> {
    let scale = judge::scale(experiment);
    let service = service_of(experiment, probe)
        .and_then(|place| experiment.services.get(place))
        .and_then(|service| fold.service(&service.name));
    let told = |one: Exposure| {
        let began = service.and_then(|service| begun_between(service, one.since, one.from));
        ExposureResult {
            probe: name.to_string(),
            from: one.from / scale,
            to: one.to.map(|to| to / scale),
            detected_after: (one.from - began.map_or(one.since, |(at, _)| at)) / scale,
            incarnation: began.map(|(_, number)| number),
            saw: one.text,
        }
    };
    fold.probe(name).map_or_else(Vec::new, |probe| probe.exposures().into_iter().map(told).collect())
}

/// The last process that was ready (or, if it never was, started) between two times.
fn begun_between(service: &ServiceFold, since: f64, until: f64) -> Option<(f64, u32)> {
    let began = |one: &Incarnation| one.ready.filter(|ready| *ready <= until).unwrap_or(one.started);
    service
        .incarnations
        .iter()
        .map(|one| (began(one), one.number))
        .rev()
        .find(|(at, _)| *at >= since && *at <= until)
}

fn phases(fold: &Fold, experiment: &Experiment, seen: &ServiceFold) -> BTreeMap<&'static str, ServicePhase> {
    let scale = judge::scale(experiment);
    let told = |phase: Phase| {
        let lived = lived(seen, fold, phase)?;
        let own = lived.up + lived.down;
        let phase_result = ServicePhase {
            up: (own > 0.0).then(|| lived.up / own),
            downtime: lived.down / scale,
            downtime_injected: lived.down_injected / scale,
            crashes: lived.crashes,
            crash_rate: (lived.seconds > 0.0).then(|| lived.crashes as f64 * scale / lived.seconds),
            kills: lived.kills,
            restarts: lived.restarts,
            restarts_injected: lived.restarts_injected,
        };
        Some((phase.as_str(), phase_result))
    };
    super::build::MEASURED.into_iter().filter(|phase| fold.reached(*phase)).filter_map(told).collect()
}

fn incarnations(experiment: &Experiment, seen: &ServiceFold) -> Vec<IncarnationResult> {
    let scale = judge::scale(experiment);
    let told = |one: &Incarnation| {
        let ended = one.ended.as_ref();
        IncarnationResult {
            number: one.number,
            reason: one.reason,
            started: one.started / scale,
            ended: ended.map(|ended| ended.at / scale),
            exit: ended.and_then(|ended| {
                let code = ended.code.map(ExitResult::Code);
                code.or_else(|| ended.signal.clone().map(ExitResult::Signal))
            }),
            cause: ended.map(|ended| ended.cause),
            env_changed: one.env.iter().filter(|var| var.changed).map(|var| var.name.clone()).collect(),
            env_shown: one
                .env
                .iter()
                .filter_map(|var| Some((var.name.clone(), var.value.clone()?)))
                .collect(),
            ready_after: one.ready.map(|ready| (ready - one.started) / scale),
            down_for: seen.down_after(one).map(|down| down / scale),
        }
    };
    seen.incarnations.iter().map(told).collect()
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;
