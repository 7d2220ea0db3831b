//! Edge by edge: small charts that share one time axis, and the figures of each phase.

use super::Section;
use super::parts::{frame, or_dash, table};
use crate::chart;
use crate::report::figures::{number, seconds, share};
use crate::report::{EdgePhase, EdgeResult, Report};
use crate::units::Unit;
use maud::{Markup, html};

const ORDER: [&str; 3] = ["baseline", "fault", "recovery"];

pub(super) fn section(report: &Report) -> Option<Section> {
    if report.edges.iter().all(|edge| edge.phases.is_empty()) {
        return None;
    }
    let body = html! {
        @for (n, edge) in report.edges.iter().enumerate() { (one(report, n, edge)) }
    };
    let lead = "All charts share one time axis. The bar along the foot of a chart is when a fault was in force on that edge; \
                a number marks when the edge fell ill.";
    Some(Section { id: "edges", title: "Edge by edge", lead, body })
}

fn one(report: &Report, place: usize, edge: &EdgeResult) -> Markup {
    let series = report.series.get(place).filter(|series| !series.is_empty());
    let traffic = edge.phases.values().any(|phase| phase.requests + phase.injected > 0);
    html! {
        article class="edge-block" {
            h3 { (edge.name) span class="soft" { (edge.from) " → " (edge.to) } }
            @if let Some(series) = series {
                @let frame = frame(report, Some(&edge.name));
                @let timed = series.slices().iter().any(|slice| slice.durations.count() > 0);
                div class="charts" {
                    figure { (chart::rate(&frame, series, &edge.name)) }
                    @if timed { figure { (chart::latency(&frame, series, &edge.name)) } }
                    @else { p class="none" { "No duration was measured on this edge." } }
                    figure { (chart::in_flight(&frame, series, &edge.name)) }
                }
            }
            @if traffic { (figures(edge)) } @else { p class="soft" { "Nothing came over this edge." } }
        }
    }
}

fn figures(edge: &EdgeResult) -> Markup {
    let any = |of: fn(&EdgePhase) -> u64| edge.phases.values().any(|phase| of(phase) > 0);
    let (injected, left, zombie) =
        (any(|phase| phase.injected), any(|phase| phase.abandoned), any(|phase| phase.zombie));
    let timed = edge.phases.values().any(|phase| phase.p50.is_some());
    let mut columns = vec!["phase", "#requests", "#rate", "#success"];
    columns.extend(timed.then_some(["#p50", "#p95", "#p99"]).into_iter().flatten());
    columns.extend(["#in flight", "#connections"]);
    columns.extend(left.then_some("#callers left"));
    columns.extend(zombie.then_some("#zombies"));
    columns.extend(injected.then_some("#by a fault"));
    let rows = html! {
        @for (name, phase) in ORDER.into_iter().filter_map(|name| Some((name, edge.phases.get(name)?))) {
            tr {
                th scope="row" { (name) }
                td class="n" { (phase.requests) }
                td class="n" { (or_dash(phase.rate.map(|rate| number(Unit::PerSecond, rate)))) }
                @let failed = phase.success_rate.is_some_and(|rate| rate < 1.0);
                td class=(if failed { "n bad" } else { "n" }) { (or_dash(phase.success_rate.map(share))) }
                @if timed {
                    @for quantile in [phase.p50, phase.p95, phase.p99] { td class="n" { (or_dash(quantile.map(seconds))) } }
                }
                td class="n" { (phase.in_flight_max) }
                td class="n" { (phase.connections_max) }
                @if left { td class="n" { (phase.abandoned) } }
                @if zombie { td class="n" { (phase.zombie) } }
                @if injected { td class="n" { (phase.injected) } }
            }
        }
    };
    table(&columns, &rows)
}
