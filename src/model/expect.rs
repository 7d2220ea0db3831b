//! `[[expect]]` and `[[guardrail]]`: limits on what is measured on an edge or a service, and what a probe must see.

use super::around::Surroundings;
use super::conform::missing;
use super::keys::{quantile, status_set};
use super::limit::{Judge, Measure, SHARE, limit};
use super::reader::Reader;
use super::tree::Node;
use super::{
    Check, Expectation, Guardrail, Metric, On, Phase, Phases, ServiceCheck, ServiceMetric, Versus, probe,
    spread,
};
use crate::decision::Protocol;
use crate::problem::{Place, Problem, Problems};
use crate::units::{Comparison, Name, Op, Span, Unit};

/// Reads one expectation.
pub(crate) fn expectation(
    table: &Reader<'_>,
    around: &Surroundings,
    phases: &Phases,
    problems: &mut Problems,
) -> Option<Expectation> {
    let judged = judged_phases(table, phases, problems);
    let ground = ground(table, problems)?;
    let versus = match ground {
        Ground::Edge => spread::versus(table, &judged, phases, problems),
        _ => Versus::Itself,
    };
    let (name, on) = match ground {
        Ground::Edge => {
            let (edge, checks) = measured(table, around, Judge::Expectation(versus), problems);
            let (edge, checks) =
                (edge, [checks, spread::whole(table, edge, (around, versus), phases, problems)].concat());
            (default_name(table, &checks), On::Edge { edge: edge?.0, checks })
        }
        Ground::Spread => {
            let checks = spread::spread(table, around, phases, problems);
            let keys: Vec<_> = checks.iter().map(|check| check.what.key()).collect();
            (Some(keys.join(", ")), On::Spread(checks))
        }
        Ground::Service => {
            let (service, checks) = supervised(table, around, problems);
            let keys: Vec<String> = checks.iter().map(|check| check.metric.key()).collect();
            let name = format!("{}: {}", table.text("service")?, keys.join(", "));
            (Some(name), On::Service { service: service?, checks })
        }
        Ground::Probe => {
            let probe = probe::read(table, around, problems)?;
            (Some(probe::name(table, &probe)), On::Probe(probe))
        }
    };
    Some(Expectation {
        name: named(table, name)?,
        on,
        phases: judged,
        versus,
        include_injected: table.flag_or_default("include_injected"),
        baseline: table.flag_or_default("baseline"),
        line: problems.line_column(table.place).0,
    })
}

/// On what an expectation stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    Edge,
    Service,
    Probe,
    Spread,
}

/// What is counted on an edge.
const OF_EDGES: [&str; 7] = [
    "success_rate",
    "error_rate",
    "status_rate",
    "rate",
    "in_flight",
    "open_connections",
    "duplicates_differ",
];

/// What is measured on a service.
const OF_SERVICES: [&str; 5] = ["up", "restarts", "downtime", "crash_rate", "env"];

/// On what an expectation stands; nothing if it stands on several things, or on none.
fn ground(table: &Reader<'_>, problems: &mut Problems) -> Option<Ground> {
    let of_edge =
        |key: &str| OF_EDGES.contains(&key) || spread::OF_RUNS.contains(&key) || quantile(key).is_some();
    let kinds = table.entries().iter().filter_map(|entry| match entry.key.as_str() {
        key if of_edge(key) => Some((Ground::Edge, key, entry.key_place)),
        key if OF_SERVICES.contains(&key) => Some((Ground::Service, key, entry.key_place)),
        key if probe::ASKS.contains(&key) => Some((Ground::Probe, key, entry.key_place)),
        key if spread::OF_SPREAD.contains(&key) => Some((Ground::Spread, key, entry.key_place)),
        _ => None,
    });
    let kinds: Vec<_> = kinds.collect();
    let ground = match (kinds.first(), table.has("service"), table.has("edge")) {
        (Some((ground, ..)), ..) => *ground,
        (None, true, false) => Ground::Service,
        _ => Ground::Edge,
    };
    if let Some((first, key, place)) = kinds.first()
        && let Some((_, other, at)) = kinds.iter().find(|(ground, ..)| ground != first)
    {
        problems.push(
            Problem::error("an expectation judges one thing")
                .at(*at)
                .label(format!("`{other}` and `{key}` are judged on different things"))
                .related(*place, "the first")
                .help("make two `[[expect]]` of it"),
        );
        return None;
    }
    let (needs, misplaced) = match ground {
        Ground::Edge => ("edge", &["service"][..]),
        Ground::Service => ("service", &["edge", "vs"][..]),
        Ground::Probe => ("", &["service", "include_injected", "vs"][..]),
        Ground::Spread => ("", &[][..]),
    };
    let key = kinds.first().map_or(needs, |(_, key, _)| key);
    for wrong in misplaced.iter().filter(|wrong| table.has(wrong)) {
        let problem = match (*wrong, needs) {
            ("edge" | "service", "edge") => misplaced_metric(key, "an edge", "a service", needs),
            ("edge" | "service", "service") => misplaced_metric(key, "a service", "an edge", needs),
            _ => Problem::error(format!("`{wrong}` has no meaning beside `{key}`"))
                .label("says nothing here")
                .help("take it out"),
        };
        problems.push(problem.at(table.key_place(wrong)));
        if !matches!(*wrong, "include_injected" | "vs") {
            return None;
        }
    }
    for manner in probe::MANNERS.into_iter().filter(|manner| ground != Ground::Probe && table.has(manner)) {
        problems.push(
            Problem::error(format!("`{manner}` says how to probe, and nothing is probed"))
                .at(table.key_place(manner))
                .label("only for `http`, `tcp` and `command`")
                .help("take it out, or add what the probe asks"),
        );
    }
    if !needs.is_empty() && !table.has(needs) {
        if !table.misspelt(match ground {
            Ground::Service => "service",
            _ => "edge",
        }) {
            let example = if needs == "edge" { "checkout" } else { "payments" };
            problems.push(
                missing("[[expect]]", needs, table.place).help(format!("add `{needs} = \"{example}\"`")),
            );
        }
        return None;
    }
    Some(ground)
}

fn misplaced_metric(key: &str, here: &str, there: &str, needs: &str) -> Problem {
    Problem::error(format!("`{key}` is measured on {here}"))
        .label(format!("not on {there}"))
        .help(format!("write `{needs} = \"NAME\"`"))
}

/// The service and the checks on it.
fn supervised(
    table: &Reader<'_>,
    around: &Surroundings,
    problems: &mut Problems,
) -> (Option<usize>, Vec<ServiceCheck>) {
    let found = around.services(table, problems).first().map(|(n, service, place)| (*n, *service, *place));
    if let Some((_, service, place)) = found.filter(|(_, service, _)| service.command.is_empty()) {
        problems.push(
            Problem::error(format!("service `{}` is external", service.name))
                .at(place)
                .label("Brownout does not watch it")
                .help("give it a `command`, or look at it with a probe: `http`, `tcp` or `command`"),
        );
    }
    let mut checks = Vec::new();
    for entry in table.entries().iter().filter(|entry| OF_SERVICES.contains(&entry.key.as_str())) {
        let place = entry.node.place;
        let metric = match entry.key.as_str() {
            "up" => (ServiceMetric::Up, SHARE),
            "restarts" => {
                (ServiceMetric::Restarts, Measure { unit: Unit::Count, what: "a count", example: "<= 1" })
            }
            "downtime" => (
                ServiceMetric::Downtime,
                Measure { unit: Unit::Seconds, what: "a duration", example: "< 30s" },
            ),
            "crash_rate" => {
                let what = "a number per hour, or per second";
                (ServiceMetric::CrashRate, Measure { unit: Unit::PerSecond, what, example: "< 0.01/h" })
            }
            _ => {
                let line = problems.line_column(place).0;
                checks.extend(table.pairs("env").into_iter().map(|(name, value)| ServiceCheck {
                    metric: ServiceMetric::Env { name, value },
                    limit: Comparison { op: Op::AtLeast, limit: 1.0, unit: Unit::Ratio },
                    line,
                }));
                continue;
            }
        };
        let (metric, measure) = metric;
        if let Some(limit) = limit(&entry.key, measure, &entry.node, Judge::OfService, problems) {
            checks.push(ServiceCheck { metric, limit, line: problems.line_column(place).0 });
        }
    }
    let said = |key: &'static str| table.has(key) && (key != "env" || !table.pairs("env").is_empty());
    if !OF_SERVICES.into_iter().any(said) && !table.entries().iter().any(|entry| entry.node.broken) {
        problems.push(
            Problem::error("nothing is measured here")
                .at(table.place)
                .label("has no limit")
                .help("add one, such as `up = \">= 99%\"`, `restarts = \"<= 1\"` or `env.NAME = \"value\"`"),
        );
    }
    (found.map(|(n, ..)| n), checks)
}

/// Refuses probes of one name: metrics and reports could not tell them apart.
pub(crate) fn distinct(tables: &[Reader<'_>], all: &[Option<Expectation>], problems: &mut Problems) {
    let mut seen: Vec<(&Name, &Reader<'_>)> = Vec::new();
    for (table, expectation) in tables.iter().zip(all) {
        let Some(Expectation { name, on: On::Probe(_), .. }) = expectation else { continue };
        match seen.iter().find(|(other, _)| *other == name) {
            // Names that are both written are compared elsewhere.
            Some((_, first)) if !(table.has("name") && first.has("name")) => problems.push(
                Problem::error(format!("two probes are called `{name}`"))
                    .at(table.place)
                    .label("reports could not tell them apart")
                    .related(first.place, "the first")
                    .help("give each its own `name`"),
            ),
            _ => seen.push((name, table)),
        }
    }
}

/// Reads one guardrail.
pub(crate) fn guardrail(
    table: &Reader<'_>,
    around: &Surroundings,
    phases: &Phases,
    problems: &mut Problems,
) -> Option<Guardrail> {
    let (edge, checks) = measured(table, around, Judge::Guardrail, problems);
    let edge = edge.map(|(edge, _)| edge);
    let lasts = table.duration_or_default("for");
    if lasts > phases.fault && !phases.fault.is_zero() {
        problems.push(
            Problem::warning("this guardrail cannot act")
                .at(table.place_of("for"))
                .label(format!("needs {}, and the fault phase lasts {}", Span(lasts), Span(phases.fault)))
                .help("set a `for` that is well shorter than `run.fault`"),
        );
    }
    Some(Guardrail {
        name: named(table, default_name(table, &checks))?,
        edge: edge?,
        checks,
        lasts,
        window: table.duration_or_default("window"),
        include_injected: table.flag_or_default("include_injected"),
        line: problems.line_column(table.place).0,
    })
}

/// The name that is written, or this one, cut to the length of a name.
fn named(table: &Reader<'_>, default: Option<String>) -> Option<Name> {
    if table.has("name") {
        return table.parsed("name");
    }
    let plain: String =
        default?.chars().map(|c| if c.is_control() || c == '"' { ' ' } else { c }).take(64).collect();
    plain.trim().parse().ok()
}

/// A name made of the edge and what is measured.
fn default_name(table: &Reader<'_>, checks: &[Check]) -> Option<String> {
    let keys: Vec<String> = checks.iter().map(|check| check.metric.key()).collect();
    Some(format!("{}: {}", table.text("edge")?, keys.join(", ")))
}

/// The edge and the checks on it.
fn measured(
    table: &Reader<'_>,
    around: &Surroundings,
    judge: Judge,
    problems: &mut Problems,
) -> (Option<(usize, Protocol)>, Vec<Check>) {
    let edge = around.find(table, problems).first().copied();
    let mut checks = Vec::new();
    let mut anything = false;
    for entry in table.entries() {
        let metrics: Vec<(Metric, Place, &Node)> = match (entry.key.as_str(), entry.node.as_tree()) {
            ("success_rate", _) => vec![(Metric::SuccessRate, entry.key_place, &entry.node)],
            ("error_rate", _) => vec![(Metric::ErrorRate, entry.key_place, &entry.node)],
            ("rate", _) => vec![(Metric::Rate, entry.key_place, &entry.node)],
            ("duplicates_differ", _) => {
                vec![(Metric::DuplicatesDiffer, entry.key_place, &entry.node)]
            }
            ("in_flight", _) => vec![(Metric::InFlight, entry.key_place, &entry.node)],
            ("open_connections", _) => vec![(Metric::OpenConnections, entry.key_place, &entry.node)],
            ("status_rate", Some(tree)) => {
                let sets = tree.entries.iter().filter_map(|status| {
                    Some((Metric::StatusRate(status_set(&status.key)?), status.key_place, &status.node))
                });
                sets.collect()
            }
            (key, _) => match quantile(key) {
                Some(q) => vec![(Metric::Quantile(q), entry.key_place, &entry.node)],
                None => Vec::new(),
            },
        };
        anything |= !metrics.is_empty() || spread::OF_RUNS.contains(&entry.key.as_str()) || entry.node.broken;
        for (metric, key_place, node) in metrics {
            if let Some((_, Protocol::Tcp)) = edge
                && matches!(metric, Metric::Quantile(_) | Metric::StatusRate(_) | Metric::DuplicatesDiffer)
            {
                problems.push(
                    Problem::error(format!("`{}` is not measured on a tcp edge", metric.key()))
                        .at(key_place)
                        .label("connections have no status and no response time")
                        .help("use `success_rate`, `error_rate`, `rate`, `in_flight` or `open_connections`"),
                );
            }
            checks.extend(check(metric, node, judge, problems));
        }
    }
    if !anything {
        problems.push(
            Problem::error("nothing is measured here")
                .at(table.place)
                .label("has no limit")
                .help("add one, such as `success_rate = \">= 99%\"` or `p99 = \"< 800ms\"`"),
        );
    }
    (edge, checks)
}

fn check(metric: Metric, node: &Node, judge: Judge, problems: &mut Problems) -> Option<Check> {
    let measure = match metric {
        Metric::SuccessRate => SHARE,
        Metric::ErrorRate | Metric::StatusRate(_) => Measure { example: "< 1%", ..SHARE },
        Metric::Quantile(_) => Measure { unit: Unit::Seconds, what: "a duration", example: "< 800ms" },
        Metric::Rate => Measure { unit: Unit::PerSecond, what: "a number per second", example: "> 40/s" },
        Metric::DuplicatesDiffer => Measure { unit: Unit::Count, what: "a count", example: "<= 0" },
        Metric::InFlight | Metric::OpenConnections => {
            Measure { unit: Unit::Count, what: "a count", example: "<= 200" }
        }
        Metric::Amplification(_) | Metric::RecoversWithin => return None,
    };
    let limit = limit(&metric.key(), measure, node, judge, problems)?;
    Some(Check { metric, limit, line: problems.line_column(node.place).0 })
}

fn judged_phases(table: &Reader<'_>, phases: &Phases, problems: &mut Problems) -> Vec<Phase> {
    let mut all = Vec::new();
    let others = |entry: &super::tree::Entry| {
        OF_EDGES.contains(&entry.key.as_str())
            || entry.key == "amplification"
            || quantile(&entry.key).is_some()
    };
    let recovers = table.has("recovers_within");
    if !table.has("phase") && (!recovers || table.entries().iter().any(others)) {
        all.push(Phase::Fault);
        if phases.fault.is_zero() {
            problems.push(empty_phase(table.place, Phase::Fault));
        }
    }
    if recovers && !table.has("phase") && phases.recovery.is_zero() {
        problems.push(empty_phase(table.key_place("recovers_within"), Phase::Recovery));
    }
    if all.is_empty() && recovers && !table.has("phase") {
        all.push(Phase::Recovery);
    }
    for node in table.many("phase") {
        let (phase, length) = match node.as_text() {
            Some("baseline") => (Phase::Baseline, phases.baseline),
            Some("fault") => (Phase::Fault, phases.fault),
            Some("recovery") => (Phase::Recovery, phases.recovery),
            _ => continue,
        };
        if all.contains(&phase) {
            problems.push(
                Problem::error(format!("phase `{}` is there twice", phase.as_str()))
                    .at(node.place)
                    .label("again")
                    .help("take one out"),
            );
            continue;
        }
        if length.is_zero() {
            problems.push(empty_phase(node.place, phase));
        }
        all.push(phase);
    }
    all
}

fn empty_phase(place: Place, phase: Phase) -> Problem {
    let word = phase.as_str();
    Problem::error(format!("the {word} phase has no length"))
        .at(place)
        .label("judged here, but nothing can be measured in it")
        .help(format!("set `{word} = \"30s\"` under `[run]`, or judge another phase"))
}
