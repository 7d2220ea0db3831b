//! Single exchanges of a run, for its analysis: all of them, or one logical request in so many once there are too many.
//!
//! Invariants: never more than [`MOST`] exchanges; attempts of one logical request are kept together or not at all; what was
//! told at a finer step is thinned to the coarsest, so that counts can be compared over the whole run. Pure.

use crate::analysis::{EdgeTraffic, Gauge, Traffic};
use crate::telemetry::{Identity, Passed, Window};
use std::collections::BTreeMap;

/// So many exchanges at most.
pub(super) const MOST: usize = 300_000;
/// So many gauges of an edge at most: an hour.
const GAUGES: usize = 14_400;
/// So many stalls.
const STALLS: usize = 256;

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    edges: BTreeMap<u16, Edge>,
    stalls: Vec<(f64, f64)>,
    one_in: u32,
    count: usize,
}

#[derive(Debug, Default)]
struct Edge {
    ordinal: u64,
    /// Each with its number among those that nothing tells apart.
    exchanges: Vec<(u64, Passed)>,
    gauges: Vec<Gauge>,
}

/// Whether an exchange is among the one in so many that are kept.
fn stays(ordinal: u64, passed: &Passed, one_in: u32) -> bool {
    let number = match passed.identity {
        Identity::Given(hash) | Identity::Trace(hash) => hash,
        Identity::Fingerprint(_) | Identity::None => ordinal,
    };
    number & u64::from(one_in.max(1) - 1) == 0
}

impl Kept {
    /// Takes exchanges in that were told at this step.
    pub(super) fn take(&mut self, edge: u16, one_in: u32, exchanges: &[Passed]) {
        // Steps are powers of two: whatever stands at a finer one can be thinned.
        let told = one_in.max(1).next_power_of_two();
        self.one_in = self.one_in.max(1);
        while self.one_in < told {
            self.coarsen();
        }
        let own = self.edges.entry(edge).or_default();
        for passed in exchanges {
            let ordinal = own.ordinal;
            own.ordinal += u64::from(told);
            if stays(ordinal, passed, self.one_in) {
                own.exchanges.push((ordinal, *passed));
                self.count += 1;
            }
        }
        while self.count > MOST && self.one_in < 1 << 30 {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.one_in *= 2;
        let one_in = self.one_in;
        self.count = 0;
        for edge in self.edges.values_mut() {
            edge.exchanges.retain(|(ordinal, passed)| stays(*ordinal, passed, one_in));
            self.count += edge.exchanges.len();
        }
    }

    /// What stood open on an edge.
    pub(super) fn gauge(&mut self, t: f64, window: &Window) {
        let gauges = &mut self.edges.entry(window.edge).or_default().gauges;
        let (in_flight, connections) = (window.in_flight, window.connections);
        let room = gauges.len() < GAUGES;
        match gauges.last_mut() {
            // Of the same moment, in another phase.
            Some(last) if t - last.t < 0.02 => {
                last.in_flight = last.in_flight.max(in_flight);
                last.connections = last.connections.max(connections);
            }
            _ if room => gauges.push(Gauge { t, in_flight, connections }),
            _ => {}
        }
    }

    /// Nothing that touches this time is a sample.
    pub(super) fn stalled(&mut self, from: f64, to: f64) {
        if self.stalls.len() < STALLS {
            self.stalls.push((from.max(0.0), to));
        }
    }

    /// Fills in what was kept: `names` are number, name, from, to, and whether it is TCP, in the order of the file.
    pub(super) fn traffic(&self, names: &[(u16, String, String, String, bool)]) -> Traffic {
        let edges = names.iter().map(|(id, name, from, to, tcp)| {
            let own = self.edges.get(id);
            let mut exchanges: Vec<Passed> =
                own.map_or_else(Vec::new, |own| own.exchanges.iter().map(|(_, passed)| *passed).collect());
            exchanges.sort_by(|a, b| a.began.total_cmp(&b.began));
            EdgeTraffic {
                name: name.clone(),
                from: from.clone(),
                to: to.clone(),
                tcp: *tcp,
                exchanges,
                gauges: own.map_or_else(Vec::new, |own| own.gauges.clone()),
                ..EdgeTraffic::default()
            }
        });
        Traffic {
            edges: edges.collect(),
            stalls: self.stalls.clone(),
            one_in: self.one_in.max(1),
            ..Traffic::default()
        }
    }

    /// How many exchanges there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count
    }
}
