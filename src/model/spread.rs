//! What is expected of how a failure spreads and ends: `onset_source`, `onset_order`, `amplification`, `recovers_within`, `vs`.

use super::around::{Surroundings, places, unknown};
use super::limit::{Judge, Measure, limit};
use super::reader::Reader;
use super::tree::{Entry, Node, Value};
use super::{Check, Metric, Phase, Phases};
use crate::decision::Protocol;
use crate::problem::{Problem, Problems};
use crate::units::{Comparison, Op, Span, Unit};
use std::time::Duration;

/// For so long, at least, an edge must be well again before it counts as back.
pub const WELL_FOR: Duration = Duration::from_secs(5);
/// The word for no edge at all.
const NONE: &str = "none";

/// What is expected of how a failure spreads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadCheck {
    /// What.
    pub what: Spread,
    /// Its line.
    pub line: usize,
}

/// What is expected of how a failure spreads; edges by their places in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spread {
    /// No edge falls ill.
    Nowhere,
    /// Each of these edges falls ill by itself.
    Source(Vec<usize>),
    /// These fall ill in this order.
    Order(Vec<usize>),
}

impl Spread {
    /// The key as the file writes it.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Nowhere | Self::Source(_) => "onset_source",
            Self::Order(_) => "onset_order",
        }
    }
}

/// What a limit is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versus {
    /// What was measured.
    #[default]
    Itself,
    /// What was measured, as a multiple of what it was on the baseline.
    Baseline,
}

/// The keys of an expectation on the whole system.
pub(crate) const OF_SPREAD: [&str; 2] = ["onset_source", "onset_order"];

/// Reads the expectations on the whole system.
pub(crate) fn spread(
    table: &Reader<'_>,
    around: &Surroundings,
    run: &Phases,
    problems: &mut Problems,
) -> Vec<SpreadCheck> {
    for (key, why) in [
        ("edge", "it names its edges itself"),
        ("service", "it is read from edges"),
        ("phase", "it is always judged in the fault phase"),
        ("vs", "there is nothing to multiply"),
        ("include_injected", "there is nothing to count"),
    ] {
        if table.has(key) {
            problems.push(
                Problem::error(format!("`{key}` has no meaning beside `{}`", first(table)))
                    .at(table.key_place(key))
                    .label(why)
                    .help("take it out, or make another `[[expect]]` of it"),
            );
        }
    }
    if run.baseline.is_zero() {
        problems.push(
            Problem::error(format!("`{}` needs a baseline", first(table)))
                .at(table.key_place(first(table)))
                .label("that an edge fell ill is seen against its own baseline")
                .help("set `baseline = \"20s\"` under `[run]`"),
        );
    }
    let names: Vec<&str> = around.edges.iter().map(|(edge, _)| edge.as_str()).collect();
    let mut checks = Vec::new();
    for entry in table.entries().iter().filter(|entry| !entry.node.broken) {
        let nodes = entry.node.elements();
        let nobody = |node: &Node| node.as_text() == Some(NONE) && !names.contains(&NONE);
        let what = match entry.key.as_str() {
            "onset_source" if nodes.iter().any(nobody) => {
                if nodes.len() > 1 {
                    problems.push(
                        Problem::error("`\"none\"` stands alone")
                            .at(entry.node.place)
                            .label("no edge, and some edges")
                            .help("write `onset_source = \"none\"`, or only the edges"),
                    );
                    continue;
                }
                Spread::Nowhere
            }
            "onset_source" => Spread::Source(known(entry, &names, problems)),
            "onset_order" => {
                if nodes.len() == 1 {
                    problems.push(
                        Problem::error("one edge has no order")
                            .at(entry.node.place)
                            .label("expected two edges at least")
                            .help(
                                "write `onset_source` if it must be the first, or name the edges that follow",
                            ),
                    );
                    continue;
                }
                Spread::Order(known(entry, &names, problems))
            }
            _ => continue,
        };
        if nodes.is_empty() {
            problems.push(
                Problem::error(format!("`{}` names no edge", entry.key))
                    .at(entry.node.place)
                    .label("an empty list")
                    .help("name the edges, or write `onset_source = \"none\"` if none may fall ill"),
            );
        }
        checks.push(SpreadCheck { what, line: problems.line_column(entry.node.place).0 });
    }
    checks
}

fn first(table: &Reader<'_>) -> &'static str {
    OF_SPREAD.into_iter().find(|key| table.has(key)).unwrap_or(OF_SPREAD[0])
}

fn known(entry: &Entry, names: &[&str], problems: &mut Problems) -> Vec<usize> {
    places("edge", entry.node.elements(), names, problems).into_iter().map(|(place, _)| place).collect()
}

/// What is read of an edge from single exchanges, once they are all there.
pub(crate) const OF_RUNS: [&str; 2] = ["amplification", "recovers_within"];

/// What is read from single exchanges.
pub(crate) fn whole(
    table: &Reader<'_>,
    edge: Option<(usize, Protocol)>,
    (around, versus): (&Surroundings, Versus),
    run: &Phases,
    problems: &mut Problems,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for entry in table.entries().iter().filter(|entry| !entry.node.broken) {
        match entry.key.as_str() {
            "amplification" if matches!(edge, Some((_, Protocol::Tcp))) => problems.push(
                Problem::error("`amplification` is not measured on a tcp edge")
                    .at(entry.key_place)
                    .label("connections are no logical requests")
                    .help("use `rate` or `open_connections`"),
            ),
            "amplification" => checks.extend(amplification(edge, entry, around, versus, problems)),
            "recovers_within" => checks.extend(recovers_within(table, entry, run, problems)),
            _ => {}
        }
    }
    checks
}

/// Attempts per logical request: of the edge itself, or of another one.
const TIMES: Measure =
    Measure { unit: Unit::Times, what: "a number of attempts per logical request", example: "<= 1.5x" };

/// Reads `amplification`.
fn amplification(
    edge: Option<(usize, Protocol)>,
    entry: &Entry,
    around: &Surroundings,
    versus: Versus,
    problems: &mut Problems,
) -> Option<Check> {
    let (per, node) = match &entry.node.value {
        Value::Table(tree) => {
            let per = tree.get("per").filter(|per| !per.node.broken)?;
            (Some(other(edge, &per.node, around, problems)?), &tree.get("is")?.node)
        }
        _ => (None, &entry.node),
    };
    let limit = limit("amplification", TIMES, node, Judge::Expectation(versus), problems)?;
    if per.is_none()
        && versus == Versus::Itself
        && (limit.limit < 1.0 || (limit.limit <= 1.0 && limit.op == Op::Less))
    {
        let always = matches!(limit.op, Op::More | Op::AtLeast);
        let (problem, label) = if always {
            (Problem::warning("this limit of `amplification` always holds"), "says nothing about the system")
        } else {
            (
                Problem::error("this limit of `amplification` cannot hold"),
                "every request is attempted once at least",
            )
        };
        problems.push(
            problem.at(node.place).label(label).help("write a limit above `1x`, such as `\"<= 1.5x\"`"),
        );
    }
    Some(Check { metric: Metric::Amplification(per), limit, line: problems.line_column(node.place).0 })
}

/// The place of the edge whose logical requests are counted.
fn other(
    edge: Option<(usize, Protocol)>,
    node: &Node,
    around: &Surroundings,
    problems: &mut Problems,
) -> Option<usize> {
    let name = node.as_text()?;
    let names: Vec<&str> = around.edges.iter().map(|(edge, _)| edge.as_str()).collect();
    let Some(found) = names.iter().position(|known| *known == name) else {
        problems.push(unknown("edge", name, &names, node.place));
        return None;
    };
    if edge.is_some_and(|(edge, _)| edge == found) {
        problems.push(
            Problem::error("an edge is not counted per itself")
                .at(node.place)
                .label("the edge that is judged")
                .help("write `amplification = \"<= 1.5x\"`, or name the edge above it"),
        );
        return None;
    }
    if around.edges.get(found).is_some_and(|(_, protocol)| *protocol == Some(Protocol::Tcp)) {
        problems.push(
            Problem::error(format!("edge `{name}` is a tcp edge"))
                .at(node.place)
                .label("connections are no logical requests")
                .help("name an http edge"),
        );
        return None;
    }
    Some(found)
}

/// Reads `recovers_within`.
fn recovers_within(
    table: &Reader<'_>,
    entry: &Entry,
    run: &Phases,
    problems: &mut Problems,
) -> Option<Check> {
    let within = table.duration("recovers_within")?;
    let place = entry.key_place;
    let said =
        table.many("phase").iter().filter_map(Node::as_text).any(|phase| phase == Phase::Recovery.as_str());
    if table.has("phase") && !said {
        problems.push(
            Problem::error("`recovers_within` is judged in the recovery")
                .at(table.place_of("phase"))
                .label("names other phases")
                .help("add `\"recovery\"`, or take `phase` out"),
        );
    }
    if run.baseline.is_zero() {
        problems.push(
            Problem::error("`recovers_within` needs a baseline")
                .at(place)
                .label("an edge is back when it is as it was before")
                .help("set `baseline = \"20s\"` under `[run]`"),
        );
    }
    let well = WELL_FOR.div_f64(if run.time_scale > 0.0 { run.time_scale } else { 1.0 });
    if !run.recovery.is_zero() && within.saturating_add(well) > run.recovery {
        problems.push(
            Problem::warning("the recovery is too short to tell")
                .at(entry.node.place)
                .label(format!(
                    "an edge must be well for {} to be back, and the recovery lasts {}",
                    Span(well),
                    Span(run.recovery)
                ))
                .help(format!(
                    "set `recovery = \"{}\"` under `[run]`",
                    Span(within.saturating_add(well * 2))
                )),
        );
    }
    let limit = Comparison { op: Op::AtMost, limit: within.as_secs_f64(), unit: Unit::Seconds };
    Some(Check { metric: Metric::RecoversWithin, limit, line: problems.line_column(entry.node.place).0 })
}

/// Reads `vs`; a limit that is a multiple needs a baseline, and another phase than that.
pub(crate) fn versus(table: &Reader<'_>, phases: &[Phase], run: &Phases, problems: &mut Problems) -> Versus {
    if table.text("vs").is_none() {
        return Versus::Itself;
    }
    if run.baseline.is_zero() {
        problems.push(
            Problem::error("there is no baseline to compare with")
                .at(table.place_of("vs"))
                .label("the baseline has no length")
                .help("set `baseline = \"20s\"` under `[run]`"),
        );
    }
    if phases.contains(&Phase::Baseline) {
        problems.push(
            Problem::error("the baseline is not compared with itself")
                .at(table.place_of("phase"))
                .label("names the baseline")
                .help("take `\"baseline\"` out of `phase`"),
        );
    }
    Versus::Baseline
}
