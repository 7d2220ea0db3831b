//! A simulator of systems whose truth is known: what the analyses are tried on.
//!
//! [`invent`] makes a random [`System`] of a seed, [`simulate`] runs it as a sequence of events, without clock or sockets, and gives
//! the [`Traffic`] that a proxy on every edge would see, and the [`Truth`]. The same system gives the same run. A minute of
//! a few services takes some milliseconds.

mod callers;
mod chance;
mod engine;
mod invent;
mod servers;
mod system;
mod truth;
mod wire;

pub(crate) use chance::Chance;
pub(crate) use invent::invent;
pub(crate) use system::{
    Edge, Fault, Harm, Ids, Jitter, Load, Policy, Pool, Retries, Service, Switch, System,
};
pub(crate) use truth::Truth;

use super::{EdgeTraffic, FaultSpan, Gauge, PhaseSpan, Traffic};
use crate::model::Phase;
use crate::telemetry::Passed;
use engine::Sim;

/// A run that was simulated.
#[derive(Clone, Debug)]
pub(crate) struct Simulated {
    pub(crate) system: System,
    pub(crate) traffic: Traffic,
    pub(crate) truth: Truth,
}

/// Runs a system.
pub(crate) fn simulate(system: &System) -> Simulated {
    let mut sim = Sim::new(system.clone());
    sim.run();
    let [baseline, fault, _] = system.phases;
    let (healed, end) = (baseline + fault, system.end());
    let mut truth = sim.truth;
    truth.ill = system.illness.map_or((baseline, healed), |ill| (ill.from, ill.to));
    truth.sources = match system.illness {
        Some(ill) => (0..system.edges.len()).filter(|edge| system.edges[*edge].to == ill.service).collect(),
        None => system.faults.iter().map(|fault| fault.edge).collect(),
    };
    let mut edges = Vec::new();
    for (place, (edge, state)) in system.edges.iter().zip(sim.edges).enumerate() {
        let mut exchanges = state.rows;
        exchanges.sort_by(|a, b| a.began.total_cmp(&b.began));
        let mut all = [exchanges.as_slice(), &state.cut].concat();
        all.sort_by(|a, b| a.began.total_cmp(&b.began));
        let (onset, half, well) = sickness(&all, truth.ill, end);
        truth.edges[place].onset = onset;
        truth.edges[place].half_since = half;
        truth.edges[place].well_since = well;
        edges.push(EdgeTraffic {
            name: edge.name.clone(),
            from: edge.from.map_or_else(|| "client".to_owned(), |from| system.services[from].name.clone()),
            to: system.services[edge.to].name.clone(),
            tcp: edge.tcp,
            gauges: gauges(&exchanges, end),
            exchanges,
            cut: state.cut,
        });
    }
    let faults = system
        .faults
        .iter()
        .enumerate()
        .map(|(place, fault)| FaultSpan {
            name: format!("fault-{place}"),
            edges: vec![fault.edge],
            services: Vec::new(),
            from: baseline,
            to: healed,
        })
        .collect();
    let traffic = Traffic {
        edges,
        phases: vec![
            PhaseSpan { phase: Phase::Baseline, from: 0.0, to: baseline },
            PhaseSpan { phase: Phase::Fault, from: baseline, to: healed },
            PhaseSpan { phase: Phase::Recovery, from: healed, to: end },
        ],
        faults,
        stalls: system.stall.into_iter().collect(),
        end,
        one_in: 1,
    };
    Simulated { system: system.clone(), traffic, truth }
}

/// When an edge fell ill, and since when it was half and wholly well again, with full knowledge of how every exchange ended.
fn sickness(exchanges: &[Passed], ill: (f64, f64), end: f64) -> (Option<f64>, Option<f64>, Option<f64>) {
    let mut calm: Vec<f64> = exchanges.iter().filter(|e| e.ended() < ill.0).map(|e| e.took).collect();
    calm.sort_by(f64::total_cmp);
    let Some(usual) = calm.get(calm.len() * 95 / 100) else { return (None, None, None) };
    let limit = usual * 1.5 + 0.02;
    let bad: Vec<(f64, bool)> = exchanges
        .iter()
        // What was cut has no ending, but may have been slow by then.
        .filter(|e| e.ended() < end - 0.01 || e.took > limit)
        .map(|e| (e.began, e.failed || e.took > limit))
        .collect();
    let mut sums = vec![0usize];
    for (_, bad) in &bad {
        sums.push(sums[sums.len() - 1] + usize::from(*bad));
    }
    let share = |from: f64, long: f64| {
        let start = bad.partition_point(|(began, _)| *began < from);
        let stop = bad.partition_point(|(began, _)| *began < from + long);
        let count = sums[stop] - sums[start];
        (stop - start >= 5).then(|| count as f64 / (stop - start) as f64)
    };
    let onset = bad
        .iter()
        .map(|(began, _)| *began)
        .filter(|began| *began >= ill.0 - 1.0)
        .find(|began| share(*began, 1.0).is_some_and(|share| share >= 0.6));
    let since = |limit: f64| {
        let mut at = end - 2.5;
        let mut since = None;
        while at >= ill.0 {
            if share(at, 1.0).is_some_and(|share| share >= limit) {
                return since;
            }
            since = Some(at);
            at -= 0.1;
        }
        since
    };
    (onset, onset.and_then(|_| since(0.5)), onset.and_then(|_| since(0.1)))
}

fn gauges(exchanges: &[Passed], end: f64) -> Vec<Gauge> {
    let mut steps: Vec<(f64, i64)> = exchanges.iter().flat_map(|e| [(e.began, 1), (e.ended(), -1)]).collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut gauges = Vec::new();
    let (mut open, mut most, mut next) = (0i64, 0i64, 0.25);
    for (at, step) in steps {
        while at >= next && next < end {
            gauges.push(Gauge { t: next, in_flight: most as u64, connections: most as u64 });
            most = open;
            next += 0.25;
        }
        open += step;
        most = most.max(open);
    }
    gauges
}

#[cfg(test)]
mod tests;
