//! What Brownout has to say of itself: what it cost, whether the load hid something, and what a reader should beware of.

use super::graph::Graph;
use super::series::{Stalls, cut, quantile};
use super::signs::seconds;
use super::{EdgeTraffic, Findings, Honesty, Passed, Recovered, Traffic};
use crate::model::Phase;
use crate::telemetry::{Ending, Origin};

/// Fewer exchanges say nothing of what Brownout costs, or of how the load behaves.
const LEAST: usize = 50;
/// A load waits for answers if in so many of its starts all of its others were under way.
const FULL: f64 = 0.9;
/// A load that goes on at this share of its rate while answers take this much longer does not wait for them.
const UNDAUNTED: f64 = 0.8;
const LONGER: f64 = 4.0;
/// One that falls under this share then does.
const DAUNTED: f64 = 0.5;
/// Shorter phases tell little, in seconds.
const SHORT_BASELINE: f64 = 5.0;
const SHORT_RECOVERY: f64 = 10.0;

/// What it cost, and how the load behaves.
pub(super) fn of(traffic: &Traffic, graph: &Graph, stalls: &Stalls) -> Honesty {
    let mut own: Vec<f64> = traffic
        .edges
        .iter()
        .flat_map(|edge| &edge.exchanges)
        .filter(|it| !it.hit && it.timed && it.ending == Ending::Complete && it.origin == Origin::Upstream)
        .filter(|it| !stalls.touch(it.began, it.ended()))
        // Of those that were not measured, request and answer have the same ends on both sides.
        .filter_map(|it| Some(it.took - it.upstream? - it.held).filter(|own| *own > 1e-9))
        .collect();
    let enough = own.len() >= LEAST;
    let mut overhead = |share| if enough { quantile(&mut own, share) } else { None };
    let (overhead_p50, overhead_p99) = (overhead(0.5), overhead(0.99));
    let entries = (0..traffic.edges.len()).filter(|edge| graph.above(*edge).is_empty());
    let loops: Vec<Option<bool>> =
        entries.filter_map(|edge| traffic.edges.get(edge)).map(|edge| closed(traffic, edge)).collect();
    let closed_loop = if loops.contains(&Some(true)) {
        Some(true)
    } else {
        (!loops.is_empty() && loops.iter().all(|it| *it == Some(false))).then_some(false)
    };
    Honesty { overhead_p50, overhead_p99, closed_loop, one_in: traffic.one_in.max(1) }
}

/// Whether whoever calls over this edge waits for answers before it calls again.
fn closed(traffic: &Traffic, edge: &EdgeTraffic) -> Option<bool> {
    if edge.tcp {
        return None;
    }
    under_illness(traffic, edge).or_else(|| by_pattern(traffic, edge))
}

/// By what became of the rate when answers took long.
fn under_illness(traffic: &Traffic, edge: &EdgeTraffic) -> Option<bool> {
    let (baseline, fault) = (traffic.phase(Phase::Baseline)?, traffic.phase(Phase::Fault)?);
    let end = fault.to.min(cut(traffic));
    let stretch = |from: f64, to: f64| {
        let first = edge.exchanges.partition_point(|it| it.began < from);
        let last = edge.exchanges.partition_point(|it| it.began < to);
        let within = edge.exchanges.get(first..last.max(first)).unwrap_or_default();
        let mut took: Vec<f64> = within.iter().map(|it| it.took).collect();
        Some((within.len() as f64 / (to - from).max(1e-3), quantile(&mut took, 0.5)?, within.len()))
    };
    let (usual, half, n) = stretch(baseline.from, baseline.to)?;
    // The first second is of those that were under way.
    let (rate, took, _) = stretch(fault.from + 1.0, end)?;
    if n < LEAST || end - fault.from < 4.0 || took < LONGER * half || took < 0.1 {
        return None;
    }
    // Answers that took long by so little that users who think in between hardly notice say nothing.
    if rate >= UNDAUNTED * usual && usual * took >= 2.0 * (usual * half).max(1.0) + 2.0 {
        Some(false)
    } else if rate <= DAUNTED * usual && rate * took <= 2.0 * (usual * half).max(1.0) + 2.0 {
        Some(true)
    } else {
        None
    }
}

/// By how many were under way at each start of the baseline.
fn by_pattern(traffic: &Traffic, edge: &EdgeTraffic) -> Option<bool> {
    let baseline = traffic.phase(Phase::Baseline)?;
    let calm: Vec<&Passed> = edge.exchanges.iter().filter(|it| baseline.holds(it.began)).collect();
    if calm.len() < LEAST {
        return None;
    }
    let mut ends: Vec<f64> = calm.iter().map(|it| it.ended()).collect();
    ends.sort_unstable_by(f64::total_cmp);
    let mut ended = 0;
    let mut under_way: Vec<f64> = Vec::with_capacity(calm.len());
    let mut busy = 0.0;
    for (place, it) in calm.iter().enumerate() {
        while ends.get(ended).is_some_and(|end| *end <= it.began) {
            ended += 1;
        }
        under_way.push((place - ended.min(place)) as f64);
        busy += it.took;
    }
    let long = calm.last()?.began - calm.first()?.began;
    let most = quantile(&mut under_way, 0.98)?;
    let full = under_way.iter().filter(|n| **n >= most).count() as f64 / under_way.len() as f64;
    // All users but the one that starts are under way, and none pauses in between.
    if full >= FULL && busy / long.max(1e-3) >= FULL * (most + 1.0) {
        return Some(true);
    }
    // That it varies says nothing: users who think between two requests look the same.
    None
}

/// What a reader should know beside.
pub(super) fn cautions(traffic: &Traffic, findings: &Findings) -> Vec<String> {
    let mut says = Vec::new();
    for stall in traffic.stalls.iter().take(5) {
        says.push(format!(
            "Brownout or its machine stood still for {} from {:.1} s on: what that touches is no sample",
            seconds(stall.1 - stall.0),
            stall.0
        ));
    }
    if traffic.stalls.len() > 5 {
        says.push(format!("it stood still {} times in all: give it more of a machine", traffic.stalls.len()));
    }
    if traffic.one_in > 1 {
        says.push(format!(
            "one logical request in {} was analysed, because there were too many: rates and counts are of those",
            traffic.one_in
        ));
    }
    if findings.honesty.closed_loop == Some(true) {
        says.push(
            "whoever makes the traffic waits for answers before it sends more, and so hides a cascade: \
             real users do not; use `[load]`, or a load of a constant rate"
                .into(),
        );
    }
    match traffic.phase(Phase::Baseline) {
        None if traffic.phase(Phase::Fault).is_some() => {
            says.push("there was no baseline: nothing tells what is usual".into());
        }
        Some(span) if span.to - span.from < SHORT_BASELINE => says.push(format!(
            "the baseline lasted {}: make it 10 s or longer, or what is usual stays unknown",
            seconds(span.to - span.from)
        )),
        _ => {}
    }
    if !findings.cascade.is_empty()
        && let Some(span) = traffic.phase(Phase::Recovery)
        && span.to - span.from < SHORT_RECOVERY
        && findings.recovery.iter().any(|it| it.state != Recovered::Recovered)
    {
        says.push(format!(
            "the recovery phase lasted {}: too short to tell whether what is not back would have come back",
            seconds(span.to - span.from)
        ));
    }
    says
}
