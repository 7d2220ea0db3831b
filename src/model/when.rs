//! When a fault is on: `schedule` and `at`, within the fault phase.

use super::around::{Surroundings, unknown};
use super::reader::Reader;
use super::tree::Node;
use super::{At, Ramp, Schedule, Since, SinceMoment, When};
use crate::problem::{Place, Problem, Problems};
use crate::units::Span;
use std::time::Duration;

/// What a fault is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// On edges.
    Edges,
    /// On services: each time it is on, something is done to them.
    Services,
}

/// Reads when a fault is on, within the fault phase.
pub(crate) fn read(
    table: &Reader<'_>,
    ground: Ground,
    around: &Surroundings,
    problems: &mut Problems,
) -> When {
    if table.has("schedule") && table.has("at") {
        problems.push(
            Problem::error("`schedule` and `at` both say when")
                .at(table.key_place("at"))
                .label("which of them?")
                .related(table.key_place("schedule"), "the first")
                .help("keep one"),
        );
        return When::default();
    }
    let schedule = table.inner("schedule").and_then(|t| schedule(&t, ground, around, problems));
    When { schedule, at: timeline(table, around.phase, problems) }
}

fn beyond(place: Place, what: &str, phase: Duration) -> Problem {
    Problem::error(format!("{what} after the end of the fault phase"))
        .at(place)
        .label(format!("the fault phase lasts {}", Span(phase)))
        .help("make it earlier or shorter, or `run.fault` longer")
}

fn schedule(
    table: &Reader<'_>,
    ground: Ground,
    around: &Surroundings,
    problems: &mut Problems,
) -> Option<Schedule> {
    let since = match table.has("since") {
        true => Some(since(table, around, problems)?),
        false => None,
    };
    // From a moment in the life of a service, nobody knows how much of the phase is left.
    let phase = around.phase.filter(|_| since.is_none());
    if ground == Ground::Services && table.has("ramp") {
        problems.push(
            Problem::error("`ramp` has no meaning on a service")
                .at(table.key_place("ramp"))
                .label("there is no percent and no delay that could rise")
                .help("take it out"),
        );
    }
    let wrong = |key: &str| table.entries().iter().any(|entry| entry.key == key && entry.node.broken);
    if ["from", "for", "every"].into_iter().any(wrong) {
        return None;
    }
    let from = table.duration("from").unwrap_or_default();
    let (lasts, every) = (table.duration("for"), table.duration("every"));
    if let (None, Some(_), Ground::Edges) = (lasts, every, ground) {
        problems.push(
            Problem::error("`every` needs `for`")
                .at(table.key_place("every"))
                .label("on again, but never off before")
                .help("say how long it is on each time: `for = \"5s\"`"),
        );
    }
    if let (Some(lasts), Some(every)) = (lasts, every)
        && lasts > every
    {
        problems.push(
            Problem::error("`for` is longer than `every`")
                .at(table.place_of("for"))
                .label(format!("on for {}, and on again every {}", Span(lasts), Span(every)))
                .related(table.place_of("every"), "counted from start to start")
                .help("make `for` shorter, or take `every` out to leave it on"),
        );
    }
    let ramp = match (table.duration("ramp"), table.inner("ramp")) {
        (Some(time), _) => Some((Ramp::Percent(time), time)),
        (None, Some(inner)) => inner.duration("dose").map(|time| (Ramp::Dose(time), time)),
        _ => None,
    };
    if let Some(phase) = phase {
        let longest = lasts.unwrap_or(phase.saturating_sub(from));
        if from >= phase {
            problems.push(beyond(table.place_of("from"), "this fault would begin", phase));
        } else if from + lasts.unwrap_or_default() > phase {
            problems.push(beyond(table.place_of("for"), "this fault would end", phase));
        } else if let Some((_, time)) = ramp
            && time > longest
        {
            problems.push(
                Problem::error("the ramp never reaches its top")
                    .at(table.place_of("ramp"))
                    .label(format!("the fault is on for {}", Span(longest)))
                    .help("make the ramp shorter than the time the fault is on"),
            );
        } else if let Some(every) = every
            && from + every >= phase
        {
            problems.push(
                Problem::error("`every` never comes")
                    .at(table.place_of("every"))
                    .label(format!("the fault phase lasts {}", Span(phase)))
                    .help("make it shorter, or take it out"),
            );
        }
    }
    Some(Schedule { from, lasts, every, ramp: ramp.map(|(ramp, _)| ramp), since })
}

fn since(table: &Reader<'_>, around: &Surroundings, problems: &mut Problems) -> Option<Since> {
    let (moment, name) = table.text("since")?.split_once(':')?;
    let name = name.trim();
    let place = table.place_of("since");
    let Some((_, service)) = around.services.iter().find(|(known, _)| known == name) else {
        problems.push(unknown("service", name, &around.service_names(), place));
        return None;
    };
    let service = service.as_ref()?;
    if service.command.is_empty() {
        problems.push(
            Problem::error(format!("service `{name}` is external"))
                .at(place)
                .label("Brownout does not see when it starts or is ready")
                .help("give it a `command`, or take `since` out"),
        );
        return None;
    }
    if let Some(reason) = &service.skipped {
        problems.push(
            Problem::warning("this fault is never on")
                .at(place)
                .label(format!("`{name}` is not started: {reason}"))
                .help("take `since` out, or leave the upstream as the file has it"),
        );
    }
    let moment = if moment == "ready" { SinceMoment::Ready } else { SinceMoment::Start };
    Some(Since { service: service.name.clone(), moment })
}

fn timeline(table: &Reader<'_>, phase: Option<Duration>, problems: &mut Problems) -> Vec<At> {
    let mut all: Vec<(At, &Node)> = Vec::new();
    for node in table.many("at") {
        let at = match (node.as_text(), table.element("at", node)) {
            (Some(text), _) => text.parse::<Span>().ok().map(|span| At { from: span.0, lasts: None }),
            (None, Some(t)) => t.duration("from").map(|from| At { from, lasts: t.duration("for") }),
            _ => None,
        };
        let Some(at) = at else { continue };
        if let Some((before, earlier)) = all.last() {
            let problem = if at.from <= before.from {
                Some(("not later than the one before it", "write the times in their order"))
            } else if before.lasts.is_some_and(|lasts| before.from + lasts > at.from) {
                Some((
                    "begins before the one before it has ended",
                    "make that one shorter, or this one later",
                ))
            } else {
                None
            };
            if let Some((label, help)) = problem {
                problems.push(
                    Problem::error("times that overlap")
                        .at(node.place)
                        .label(label)
                        .related(earlier.place, "the one before")
                        .help(help),
                );
            }
        }
        if let Some(phase) = phase {
            if at.from >= phase {
                problems.push(beyond(node.place, "this fault would begin", phase));
            } else if at.from + at.lasts.unwrap_or_default() > phase {
                problems.push(beyond(node.place, "this fault would end", phase));
            }
        }
        all.push((at, node));
    }
    all.into_iter().map(|(at, _)| at).collect()
}
