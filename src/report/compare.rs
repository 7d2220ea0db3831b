//! Two runs held against each other: before a change of the system, and after it.
//!
//! Pure. Whatever makes the two different beside the system is said first: a comparison of other things proves nothing.

mod show;

use super::{CheckResult, EdgePhase, Report, Verdict, told};
use crate::analysis::Recovered;
use crate::units::Unit;
use serde::Serialize;

/// The version of this format.
const SCHEMA: u32 = 1;
/// The phases, in order.
const PHASES: [&str; 3] = ["baseline", "fault", "recovery"];
/// Rates that differ by more than this share are another load.
const OTHER_LOAD: f64 = 0.1;

/// Two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The version of this format.
    pub schema: u32,
    /// The first.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// What differs beside the system, so that figures cannot simply be compared; none: they can.
    pub differences: Vec<String>,
    /// Each key of each expectation in each of its phases, in either run.
    pub expectations: Vec<Expected>,
    /// What each edge did in each phase.
    pub edges: Vec<Figures>,
    /// How each edge came back, in either run.
    pub recovery: Vec<CameBack>,
}

/// One of the two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Its own name.
    pub run: String,
    /// The experiment's name.
    pub name: String,
    /// RFC 3339.
    pub started: String,
    /// The seed in force.
    pub seed: u64,
    /// What came of it.
    pub verdict: Verdict,
    /// Its exit code.
    pub exit: u8,
    /// Who fell ill, in order.
    pub cascade: Vec<Ill>,
}

/// An edge that fell ill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ill {
    /// The edge.
    pub edge: String,
    /// When, in seconds from the start of the fault phase.
    pub at: f64,
    /// By itself.
    pub source: bool,
}

/// A check in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// The expectation.
    pub name: String,
    /// The key.
    pub key: String,
    /// What it is on.
    pub on: String,
    /// The phase.
    pub phase: &'static str,
    /// What became of it.
    pub change: Change,
    /// In the first run, in words; `null`: it is not there.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
    /// What is expected, in the words of the second run if it has it.
    pub limit: String,
}

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It held, and does not any more.
    Broken,
    /// It did not hold, and does now.
    Fixed,
    /// Nobody could judge it in one of them, or it is in one alone.
    Unclear,
    /// It did not hold in either.
    StillUnmet,
    /// It held in both.
    StillMet,
}

/// What an edge did in a phase, in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The edge.
    pub edge: String,
    /// The phase.
    pub phase: &'static str,
    /// Its figures.
    pub figures: Vec<Figure>,
}

/// A figure in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The key, as expectations write it.
    pub key: &'static str,
    /// The unit of both.
    pub unit: Unit,
    /// In the first run.
    pub before: Option<f64>,
    /// In the second.
    pub after: Option<f64>,
}

/// How an edge came back in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameBack {
    /// The edge.
    pub edge: String,
    /// In the first run, in words; `null`: it was not ill.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
}

/// Holds two runs against each other.
#[must_use]
pub fn compare(before: &Report, after: &Report) -> Compared {
    Compared {
        schema: SCHEMA,
        before: side(before),
        after: side(after),
        differences: differences(before, after),
        expectations: expectations(before, after),
        edges: figures(before, after),
        recovery: recovery(before, after),
    }
}

fn side(report: &Report) -> Side {
    let ill = report.findings.cascade.iter();
    Side {
        run: report.run.clone(),
        name: report.name.clone(),
        started: report.started.clone(),
        seed: report.seed,
        verdict: report.verdict,
        exit: report.exit,
        cascade: ill
            .map(|onset| Ill { edge: onset.edge.clone(), at: onset.at, source: onset.source })
            .collect(),
    }
}

fn differences(before: &Report, after: &Report) -> Vec<String> {
    let mut found = Vec::new();
    if before.name != after.name {
        found.push(format!("they are other experiments: `{}` and `{}`", before.name, after.name));
    } else if before.sha256 != after.sha256 {
        found.push(format!("the file of `{}` was changed between them", before.name));
    }
    if before.seed != after.seed {
        found.push(format!(
            "other requests were struck: the seeds are {} and {} (`--seed {}` repeats the first)",
            before.seed, after.seed, before.seed
        ));
    }
    for phase in PHASES {
        let length = |report: &Report| {
            let span = report.phases.iter().find(|span| span.name == phase)?;
            Some(span.to - span.from)
        };
        match (length(before), length(after)) {
            (Some(a), Some(b)) if (a - b).abs() > (0.1 * a.max(b)).max(1.0) => found.push(format!(
                "the {phase} lasted {} and {}",
                super::figures::clock(a),
                super::figures::clock(b)
            )),
            (Some(_), None) => found.push(format!("the {phase} was not reached in the second run")),
            (None, Some(_)) => found.push(format!("the {phase} was not reached in the first run")),
            _ => {}
        }
    }
    // The load shows where callers come in: on edges that nobody of the system calls.
    let outer = |report: &Report, from: &str| report.edges.iter().all(|edge| edge.to != from);
    for edge in before.edges.iter().filter(|edge| outer(before, &edge.from)) {
        let rate = |report: &Report| {
            report.edges.iter().find(|other| other.name == edge.name)?.phases.get("baseline")?.rate
        };
        if let (Some(a), Some(b)) = (rate(before), rate(after))
            && (a - b).abs() > OTHER_LOAD * a.max(b)
        {
            let show = |rate| super::figures::number(Unit::PerSecond, rate);
            found.push(format!("the load on `{}` was {} and {}", edge.name, show(a), show(b)));
        }
    }
    let hit = |report: &Report| report.faults.iter().any(|fault| fault.hits > 0);
    if hit(before) != hit(after) {
        let which = if hit(before) { "second" } else { "first" };
        found.push(format!("no fault struck anything in the {which} run"));
    }
    found
}

fn expectations(before: &Report, after: &Report) -> Vec<Expected> {
    let same = |a: &CheckResult, b: &CheckResult| {
        (&a.name, &a.key, a.target(), a.phase) == (&b.name, &b.key, b.target(), b.phase)
    };
    let seen = |check: &CheckResult| check.seen().or_else(|| check.reason.clone()).unwrap_or_default();
    let one = |a: Option<&CheckResult>, b: Option<&CheckResult>| {
        let any = b.or(a)?;
        Some(Expected {
            name: any.name.clone(),
            key: any.key.clone(),
            on: any.target().to_owned(),
            phase: any.phase,
            change: match (a.and_then(|a| a.met), b.and_then(|b| b.met)) {
                (Some(true), Some(false)) => Change::Broken,
                (Some(false), Some(true)) => Change::Fixed,
                (Some(false), Some(false)) => Change::StillUnmet,
                (Some(true), Some(true)) => Change::StillMet,
                _ => Change::Unclear,
            },
            before: a.map(seen),
            after: b.map(seen),
            limit: any.expected(),
        })
    };
    let ours = before
        .expectations
        .iter()
        .filter_map(|a| one(Some(a), after.expectations.iter().find(|b| same(a, b))));
    let theirs = after.expectations.iter().filter(|b| !before.expectations.iter().any(|a| same(a, b)));
    let mut all: Vec<Expected> = ours.chain(theirs.filter_map(|b| one(None, Some(b)))).collect();
    all.sort_by_key(|one| one.change);
    all
}

fn figures(before: &Report, after: &Report) -> Vec<Figures> {
    let mut names: Vec<&str> = before.edges.iter().map(|edge| edge.name.as_str()).collect();
    names.extend(
        after
            .edges
            .iter()
            .map(|edge| edge.name.as_str())
            .filter(|name| !names.contains(name))
            .collect::<Vec<_>>(),
    );
    let phase = |report: &Report, edge: &str, phase: &str| {
        report.edges.iter().find(|one| one.name == edge)?.phases.get(phase).cloned()
    };
    let mut out = Vec::new();
    for edge in names {
        for name in PHASES {
            let (a, b) = (phase(before, edge, name), phase(after, edge, name));
            if a.is_none() && b.is_none() {
                continue;
            }
            out.push(Figures { edge: edge.to_owned(), phase: name, figures: pairs(a.as_ref(), b.as_ref()) });
        }
    }
    out
}

/// The figures of an edge that tell how it did.
fn pairs(a: Option<&EdgePhase>, b: Option<&EdgePhase>) -> Vec<Figure> {
    type Get = fn(&EdgePhase) -> Option<f64>;
    let get: [(&'static str, Unit, Get); 7] = [
        ("success_rate", Unit::Ratio, |phase| phase.success_rate),
        ("rate", Unit::PerSecond, |phase| phase.rate),
        ("p50", Unit::Seconds, |phase| phase.p50),
        ("p99", Unit::Seconds, |phase| phase.p99),
        ("in_flight", Unit::Count, |phase| Some(phase.in_flight_max as f64)),
        ("open_connections", Unit::Count, |phase| Some(phase.connections_max as f64)),
        ("amplification", Unit::Times, |phase| phase.amplification),
    ];
    get.into_iter()
        .map(|(key, unit, get)| Figure { key, unit, before: a.and_then(get), after: b.and_then(get) })
        .collect()
}

fn recovery(before: &Report, after: &Report) -> Vec<CameBack> {
    let of = |report: &Report, edge: &str| {
        let mut all = report.findings.recovery.iter();
        let one = all.find(|one| one.edge == edge)?;
        let ill = report.findings.cascade.iter().any(|onset| onset.edge == edge);
        match one.state {
            Recovered::Unmeasured => ill.then(|| "not measured".into()),
            _ => Some(told::came_back(one).unwrap_or_else(|| "well at once".into())),
        }
    };
    let mut names: Vec<&str> = Vec::new();
    for one in before.findings.recovery.iter().chain(&after.findings.recovery) {
        if !names.contains(&one.edge.as_str()) {
            names.push(&one.edge);
        }
    }
    names
        .into_iter()
        .map(|edge| CameBack { edge: edge.to_owned(), before: of(before, edge), after: of(after, edge) })
        .filter(|one| one.before.is_some() || one.after.is_some())
        .collect()
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
