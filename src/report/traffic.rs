//! What crossed the edges of a run, gathered for the analysis: single exchanges, gauges, stalls. No judging here, and no I/O.
//!
//! Invariants: at most [`MOST`] exchanges are held; of all of them one logical request in the same number is kept; an exchange
//! whose caller was stopped at the end of a phase is never taken for one whose caller gave up.

use super::Fold;
use crate::analysis::{EdgeTraffic, FaultSpan, Gauge, PhaseSpan, Traffic};
use crate::model::Phase;
use crate::telemetry::keep::is_kept;
use crate::telemetry::{Identity, Passed, Window};
use std::collections::BTreeMap;

/// The most exchanges that are held.
const MOST: usize = 1_000_000;
/// The most gauges of one edge; beyond, two become one.
const GAUGES: usize = 100_000;
/// One in so many at most; what is too much even then is left out.
const COARSEST: u32 = 1 << 30;
/// How often gauges come while anything is open.
const QUARTER: f64 = 0.25;

/// What crossed the edges so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Crossed {
    edges: BTreeMap<u16, Edge>,
    stalls: Vec<(f64, f64)>,
    one_in: u32,
    count: usize,
    most: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Edge {
    exchanges: Vec<Passed>,
    /// How many came that nothing tells apart.
    unnamed: u64,
    gauges: Vec<Gauge>,
}

impl Default for Crossed {
    fn default() -> Self {
        Self { edges: BTreeMap::new(), stalls: Vec::new(), one_in: 1, count: 0, most: MOST }
    }
}

impl Crossed {
    /// Nothing; at most so many exchanges will be held.
    pub(super) fn holding(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Exchanges of an edge, of which one logical request in so many was kept.
    pub(super) fn passed(&mut self, edge: u16, one_in: u32, exchanges: &[Passed]) {
        let one_in = one_in.max(1);
        self.thin(one_in);
        let every = u64::from(self.one_in / one_in).max(1);
        let of = self.edges.entry(edge).or_default();
        let before = of.exchanges.len();
        for passed in exchanges {
            if is_unnamed(passed) {
                of.unnamed += 1;
                if !(of.unnamed - 1).is_multiple_of(every) {
                    continue;
                }
            } else if !is_kept(passed.identity, 0, self.one_in) {
                continue;
            }
            of.exchanges.push(*passed);
        }
        self.count += of.exchanges.len() - before;
        while self.count > self.most && self.one_in < COARSEST {
            self.thin(self.one_in * 2);
        }
        if self.count > self.most
            && let Some(of) = self.edges.get_mut(&edge)
        {
            let over = (self.count - self.most).min(of.exchanges.len());
            of.exchanges.truncate(of.exchanges.len() - over);
            self.count -= over;
        }
    }

    /// One logical request in so many is kept, from here on and of all before.
    fn thin(&mut self, one_in: u32) {
        if one_in <= self.one_in {
            return;
        }
        let every = u64::from(one_in / self.one_in);
        self.one_in = one_in;
        self.count = 0;
        for edge in self.edges.values_mut() {
            let mut unnamed = 0;
            edge.exchanges.retain(|passed| {
                if !is_unnamed(passed) {
                    return is_kept(passed.identity, 0, one_in);
                }
                unnamed += 1;
                u64::is_multiple_of(unnamed - 1, every)
            });
            self.count += edge.exchanges.len();
        }
    }

    /// What stood open when a window ended.
    pub(super) fn window(&mut self, t: f64, window: &Window) {
        let gauges = &mut self.edges.entry(window.edge).or_default().gauges;
        let gauge = Gauge { t, in_flight: window.in_flight, connections: window.connections };
        match gauges.last_mut() {
            // the same moment, of another phase
            Some(last) if t - last.t < QUARTER / 2.0 => *last = larger(*last, gauge),
            _ => gauges.push(gauge),
        }
        if gauges.len() >= GAUGES {
            *gauges = gauges.chunks(2).filter_map(|pair| pair.iter().copied().reduce(larger)).collect();
        }
    }

    /// Everything stood still until now.
    pub(super) fn stalled(&mut self, t: f64, seconds: f64) {
        let from = (t - seconds).max(0.0);
        match self.stalls.last_mut() {
            // several threads tell of the same one
            Some(last) if from <= last.1 => *last = (last.0.min(from), last.1.max(t)),
            _ => self.stalls.push((from, t)),
        }
    }
}

impl Fold {
    /// What crossed the edges so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let end = self.phases.last().filter(|_| self.finished).and_then(|(.., to)| *to).unwrap_or(self.last);
        let names = self.start.as_ref().map(|start| start.edges.as_slice()).unwrap_or_default();
        let edge = |(place, (name, from, to)): (usize, &(String, String, String))| {
            let mut edge = EdgeTraffic {
                name: name.clone(),
                from: from.clone(),
                to: to.clone(),
                ..EdgeTraffic::default()
            };
            if let Some(of) = u16::try_from(place).ok().and_then(|place| self.crossed.edges.get(&place)) {
                self.sort_out(of, end, &mut edge);
            }
            edge
        };
        Traffic {
            edges: names.iter().enumerate().map(edge).collect(),
            phases: self
                .phases
                .iter()
                .map(|(phase, from, to)| PhaseSpan { phase: *phase, from: *from, to: to.unwrap_or(end) })
                .collect(),
            faults: self.fault_spans(end),
            stalls: self.crossed.stalls.clone(),
            end,
            one_in: self.crossed.one_in,
        }
    }

    fn sort_out(&self, of: &Edge, end: f64, edge: &mut EdgeTraffic) {
        let all = &of.exchanges;
        edge.tcp =
            !all.is_empty() && all.iter().all(|passed| passed.identity == Identity::None && !passed.timed);
        for passed in all {
            match self.stopped(passed, end) {
                None => edge.exchanges.push(*passed),
                Some(took) => edge.cut.push(Passed { took, ..*passed }),
            }
        }
        for list in [&mut edge.exchanges, &mut edge.cut] {
            list.sort_by(|a, b| a.began.total_cmp(&b.began));
        }
        edge.gauges = with_zeros(&of.gauges);
    }

    /// Whether its end says nothing, because by then those who call had been stopped: how long it had lasted when they were.
    fn stopped(&self, passed: &Passed, end: f64) -> Option<f64> {
        let ended = passed.ended();
        let over = self.finished && ended >= end;
        let ours = (passed.left() || (over && passed.failed)) && self.phase_at(ended) == Phase::Idle;
        let stop = self.phases.iter().rev().find_map(|(_, _, to)| to.filter(|to| *to <= ended));
        // before the first phase there is nobody to be stopped
        stop.filter(|_| ours).map(|stop| (stop - passed.began).max(0.0))
    }

    fn fault_spans(&self, end: f64) -> Vec<FaultSpan> {
        let spans = self.faults.iter().flat_map(|fault| {
            fault.intervals.iter().map(|(from, to)| FaultSpan {
                name: fault.name.to_string(),
                edges: fault.edges.iter().map(|edge| usize::from(*edge)).collect(),
                services: fault.services.iter().map(ToString::to_string).collect(),
                from: *from,
                to: to.unwrap_or(end),
            })
        });
        let mut spans: Vec<_> = spans.collect();
        spans.sort_by(|a, b| a.from.total_cmp(&b.from));
        spans
    }
}

/// Whether there is nothing by which all its attempts could be kept together.
fn is_unnamed(passed: &Passed) -> bool {
    matches!(passed.identity, Identity::None | Identity::Fingerprint(_))
}

fn larger(a: Gauge, b: Gauge) -> Gauge {
    Gauge {
        t: a.t.max(b.t),
        in_flight: a.in_flight.max(b.in_flight),
        connections: a.connections.max(b.connections),
    }
}

/// Where nothing stood open nothing was told: there stand zeros.
fn with_zeros(gauges: &[Gauge]) -> Vec<Gauge> {
    let mut all: Vec<Gauge> = Vec::with_capacity(gauges.len());
    for gauge in gauges {
        if let Some(last) = all.last().copied() {
            let missing = (((gauge.t - last.t) / QUARTER).round() as usize).saturating_sub(1).min(GAUGES);
            let zero = |n: usize| Gauge { t: last.t + QUARTER * n as f64, ..Gauge::default() };
            all.extend((1..=missing).map(zero));
        }
        all.push(*gauge);
    }
    all
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
