//! What crossed the edges of one run: the input of every analysis.

use crate::model::Phase;
use crate::telemetry::Passed;

/// All that was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// The edges, in the order of the file.
    pub edges: Vec<EdgeTraffic>,
    /// The phases, as they came.
    pub phases: Vec<PhaseSpan>,
    /// When faults were in force, and on which edges.
    pub faults: Vec<FaultSpan>,
    /// Stretches of a second and more in which Brownout or its machine stood still: what touches them is no sample.
    pub stalls: Vec<(f64, f64)>,
    /// When the run ended, or now.
    pub end: f64,
    /// Only one logical request in so many is kept here (1: all of them), because there were too many.
    pub one_in: u32,
}

/// What crossed one edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EdgeTraffic {
    /// Its name.
    pub name: String,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// It knows connections, and no requests.
    pub tcp: bool,
    /// Every exchange that has ended, in the order in which they began.
    pub exchanges: Vec<Passed>,
    /// Exchanges that were under way when those who call were stopped: they took at least so long, cut off where their phase
    /// ended, and how they ended says nothing. Not among `exchanges`.
    pub cut: Vec<Passed>,
    /// What stood open, four times a second.
    pub gauges: Vec<Gauge>,
}

/// What stood open on an edge within a quarter of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauge {
    /// When the quarter of a second ended.
    pub t: f64,
    /// The most exchanges in flight.
    pub in_flight: u64,
    /// The most connections open.
    pub connections: u64,
}

/// From when to when a phase was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseSpan {
    /// Which.
    pub phase: Phase,
    /// Its begin.
    pub from: f64,
    /// Its end; the end of the run if it was not seen.
    pub to: f64,
}

/// From when to when a fault was in force.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultSpan {
    /// Its name.
    pub name: String,
    /// Places of the edges it was on; none: it was on a service.
    pub edges: Vec<usize>,
    /// Names of the services it was on.
    pub services: Vec<String>,
    /// Its begin.
    pub from: f64,
    /// Its end; the end of the run if it was not seen.
    pub to: f64,
}

impl PhaseSpan {
    /// Whether it holds this moment.
    #[must_use]
    pub fn holds(&self, t: f64) -> bool {
        self.from <= t && t < self.to
    }
}

impl Traffic {
    /// The span of a phase; of several, the first.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Option<PhaseSpan> {
        self.phases.iter().copied().find(|span| span.phase == phase)
    }
}
