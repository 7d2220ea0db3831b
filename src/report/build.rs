//! The report of a run: its fold, held against its experiment.

use super::verdict::{During, Terms, Verdict, expected, rule};
use super::{
    CheckResult, CommandResult, EdgePhase, EdgeResult, FaultFold, FaultResult, Fold, GuardrailResult,
    Interval, LoadResult, OneOrMany, PhaseSpan, Report, Truth, judge, services,
};
use crate::analysis::Findings;
use crate::chart::Series;
use crate::model::{Deed, Experiment, FaultRule, Metric, Phase, masked, masks};
use crate::telemetry::{Origin, Window};
use crate::units::Name;
use std::collections::BTreeMap;
use std::time::Duration;

/// The version of `report.json`.
const SCHEMA: u32 = 1;
/// The phases that are measured.
pub(super) const MEASURED: [Phase; 3] = [Phase::Baseline, Phase::Fault, Phase::Recovery];

/// Makes the report.
#[must_use]
pub fn build(fold: &Fold, experiment: &Experiment, terms: &Terms) -> Report {
    let start = fold.start.clone().unwrap_or_default();
    let scale = judge::scale(experiment);
    let time = |t: f64| t / scale;
    let truth = Truth::of(fold);
    let findings = truth.told(scale);
    let checks: Vec<CheckResult> = judge::checks_of(experiment, &truth)
        .into_iter()
        .filter(|check| {
            let skipped = terms.during == During::Fault && check.phase == Phase::Baseline.as_str();
            !(skipped && check.met.is_none())
        })
        .collect();
    let faults = faults(fold, experiment, time);
    let ruling = rule(experiment, fold, terms, &checks, &faults);
    let mut warnings = fold.warnings.clone();
    warnings.extend(ruling.warnings);
    if let Some((sent, shed, _)) = fold.load.filter(|(_, shed, _)| *shed > 0) {
        warnings.push(format!(
            "the load could not send {shed} of {} requests: too many were out (`max_in_flight`)",
            sent + shed
        ));
    }
    Report {
        schema: SCHEMA,
        version: start.version,
        name: experiment.name.to_string(),
        title: experiment.title.clone(),
        run: terms.run.clone(),
        file: start.file,
        sha256: start.sha256,
        argv: start.argv,
        seed: start.seed,
        verdict: Verdict::of(ruling.exit),
        exit: expected(ruling.exit, terms.expect_exit),
        reasons: ruling.reasons,
        ended: later(&start.at, fold.last),
        started: start.at,
        command: command(fold),
        load: fold.load.map(|(sent, shed, timed_out)| LoadResult { sent, shed, timed_out }),
        phases: fold
            .phases
            .iter()
            .map(|(phase, from, to)| PhaseSpan {
                name: phase.as_str(),
                from: time(*from),
                to: time(to.unwrap_or(fold.last)),
            })
            .collect(),
        edges: edges(fold, experiment, &findings),
        faults,
        expectations: checks,
        guardrails: guardrails(fold, experiment, time),
        services: services::services(fold, experiment),
        exposures: services::exposures(fold, experiment),
        deeds: services::deeds(&fold.deeds, experiment),
        undo: services::deeds(&fold.undone, experiment),
        findings,
        warnings,
        series: series(fold, experiment, scale),
        source: masked(&experiment.source.text, &masks(experiment)),
        interrupted: fold.interrupted.is_some(),
    }
}

/// An RFC 3339 time, this many seconds later.
fn later(at: &str, seconds: f64) -> String {
    humantime::parse_rfc3339(at)
        .ok()
        .and_then(|time| time.checked_add(Duration::try_from_secs_f64(seconds).ok()?))
        .map_or_else(String::new, |time| humantime::format_rfc3339_millis(time).to_string())
}

fn command(fold: &Fold) -> Option<CommandResult> {
    let told = fold.commands.iter().find(|command| command.failed()).or(fold.commands.last())?;
    Some(CommandResult { argv: told.argv.clone(), exit: told.exit, stopped: told.stopped })
}

fn edges(fold: &Fold, experiment: &Experiment, findings: &Findings) -> Vec<EdgeResult> {
    let amplification = |edge: &str, phase: Phase| {
        let mut all = findings.amplification.iter();
        all.find(|one| one.edge == edge && one.phase == phase.as_str())?.amplification
    };
    let phases = |edge: usize, name: &str| {
        let edge = u16::try_from(edge).unwrap_or(u16::MAX);
        MEASURED
            .into_iter()
            .filter(|phase| fold.reached(*phase))
            .map(|phase| {
                let none = Window::default();
                let window = fold.sum(edge, phase).unwrap_or(&none);
                let sums = edge_phase(window, fold.length(phase));
                (phase.as_str(), EdgePhase { amplification: amplification(name, phase), ..sums })
            })
            .collect()
    };
    experiment
        .edges
        .iter()
        .enumerate()
        .map(|(place, edge)| EdgeResult {
            name: edge.name.to_string(),
            from: edge.from.clone(),
            to: edge.to.clone(),
            phases: phases(place, edge.name.as_str()),
        })
        .collect()
}

/// What each edge did over time, on the file's clock.
fn series(fold: &Fold, experiment: &Experiment, scale: f64) -> Vec<Series> {
    let of = |edge: usize| {
        let series = u16::try_from(edge).ok().and_then(|edge| fold.series(edge));
        series.map_or_else(Series::default, |series| series.scaled(scale))
    };
    (0..experiment.edges.len()).map(of).collect()
}

fn edge_phase(window: &Window, seconds: f64) -> EdgePhase {
    let value = |metric| judge::measure(metric, window, seconds, false);
    let quantile = |q| window.durations.quantile(q);
    let mut by_status: BTreeMap<u16, u64> = window.by_status.clone();
    for (status, count) in &window.injected_by_status {
        *by_status.entry(*status).or_default() += count;
    }
    EdgePhase {
        requests: window.requests,
        injected: window.injected,
        rate: value(Metric::Rate),
        success_rate: value(Metric::SuccessRate),
        error_rate: value(Metric::ErrorRate),
        by_origin: Origin::ALL
            .into_iter()
            .map(|origin| (origin.as_str(), window.by_origin.get(&origin).copied().unwrap_or(0)))
            .collect(),
        by_status,
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        p999: quantile(0.999),
        in_flight_max: window.in_flight,
        connections_max: window.connections,
        amplification: None,
        abandoned: window.abandoned,
        zombie: window.zombie,
    }
}

/// The faults of the file, then those that a hand armed.
fn faults(fold: &Fold, experiment: &Experiment, time: impl Fn(f64) -> f64 + Copy) -> Vec<FaultResult> {
    let seen = |rule: &FaultRule| fold.faults.iter().find(|fault| fault.name == rule.name);
    let of_file = experiment.faults.iter().map(|rule| {
        let edges = names(experiment, rule.edges.iter().copied());
        let on_edges = rule.actions.iter().map(|fault| fault.as_apply().action());
        let none = seen(rule).is_none_or(|fault| fault.hits == 0);
        let skipped = experiment.skips(rule).is_some();
        FaultResult {
            actions: on_edges.chain(rule.deeds.iter().map(Deed::action)).collect(),
            line: rule.line,
            vacuous: fold.reached(Phase::Fault) && !rule.optional && !skipped && none,
            ..fault(rule.name.to_string(), edges, &rule.services, seen(rule), time)
        }
    });
    let by_hand =
        fold.faults.iter().filter(|fault| experiment.faults.iter().all(|rule| rule.name != fault.name)).map(
            |seen| {
                let names = names(experiment, seen.edges.iter().map(|edge| usize::from(*edge)));
                fault(seen.name.to_string(), names, &seen.services, Some(seen), time)
            },
        );
    of_file.chain(by_hand).collect()
}

fn fault(
    name: String,
    edges: Vec<String>,
    services: &[Name],
    seen: Option<&FaultFold>,
    time: impl Fn(f64) -> f64,
) -> FaultResult {
    FaultResult {
        name,
        edge: services.is_empty().then(|| OneOrMany::of(edges)),
        service: (!services.is_empty())
            .then(|| OneOrMany::of(services.iter().map(Name::to_string).collect())),
        actions: Vec::new(),
        matched: seen.map_or(0, |fault| fault.matched),
        selected: seen.map_or(0, |fault| fault.selected),
        hits: seen.map_or(0, |fault| fault.hits),
        vacuous: false,
        intervals: seen.map_or_else(Vec::new, |fault| {
            fault
                .intervals
                .iter()
                .map(|(from, to)| Interval { from: time(*from), to: to.map(&time) })
                .collect()
        }),
        delay_error_p99: seen.and_then(|fault| fault.delay_error_p99),
        line: 0,
    }
}

fn names(experiment: &Experiment, edges: impl Iterator<Item = usize>) -> Vec<String> {
    edges.filter_map(|edge| experiment.edges.get(edge)).map(|edge| edge.name.to_string()).collect()
}

fn guardrails(fold: &Fold, experiment: &Experiment, time: impl Fn(f64) -> f64) -> Vec<GuardrailResult> {
    let mut out = Vec::new();
    for rail in &experiment.guardrails {
        for check in &rail.checks {
            let key = check.metric.key();
            let breach = fold.breaches.iter().find(|breach| breach.name == rail.name && breach.key == key);
            out.push(GuardrailResult {
                name: rail.name.to_string(),
                edge: experiment.edges.get(rail.edge).map_or_else(String::new, |edge| edge.name.to_string()),
                key,
                op: check.limit.op,
                limit: check.limit.limit,
                unit: check.limit.unit,
                lasts: rail.lasts.as_secs_f64(),
                breached: breach.is_some(),
                at: breach.map(|breach| time(breach.at)),
                observed: breach.map(|breach| breach.observed),
                line: check.line,
            });
        }
    }
    out
}
