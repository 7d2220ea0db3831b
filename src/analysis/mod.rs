//! The truth, read from the edges: who fell ill first, how far it was amplified, whether it came back, what the callers are made of.
//!
//! Pure functions from [`Traffic`] (what crossed the edges of one run) to [`Findings`]. No I/O, no clock, no chance: the same
//! traffic gives the same findings. Null over guess: what was not seen is `None`, and every claim has its evidence in words.
//! Times are real seconds from the start of the run. Knows nothing of experiments, journals and pages.

mod amplification;
mod attempts;
mod band;
mod change;
mod found;
mod onset;
#[cfg(test)]
mod random_tests;
mod series;
mod signs;
#[cfg(test)]
pub(crate) mod testing;
mod traffic;
mod within;

use crate::telemetry::Passed;
use attempts::Attempts;
use band::{Band, Marks};
use onset::Signs;
use series::Stalls;
use signs::Sign;

pub use amplification::amplification;
pub use found::{
    Amplified, Breaker, Control, Findings, Fingerprint, Honesty, Onset, Recovered, Recovery, Signal, Surge,
};
pub use traffic::{EdgeTraffic, FaultSpan, Gauge, PhaseSpan, Traffic};
pub use within::{Within, recovers_within};

/// Reads everything there is to be read.
#[must_use]
pub fn analyse(traffic: &Traffic) -> Findings {
    let attempts: Vec<Attempts> = (0..traffic.edges.len()).map(|edge| Attempts::of(traffic, edge)).collect();
    let stalls = Stalls::of(traffic);
    let edges: Vec<Seen> = traffic.edges.iter().map(|edge| Seen::of(traffic, edge, &stalls)).collect();
    let signs = Signs { traffic, of: edges.iter().map(|seen| seen.sign.clone()).collect() };
    let mut findings = Findings {
        cascade: signs.cascade(),
        amplification: amplification::of_all(traffic, &attempts),
        ..Findings::default()
    };
    for (edge, seen) in traffic.edges.iter().zip(&edges) {
        match &seen.band {
            Err(reason) => {
                findings.unjudged.insert(edge.name.clone(), reason.clone());
            }
            Ok(_) if seen.sign.is_none() => findings.unmoved.push(edge.name.clone()),
            Ok(_) => {}
        }
    }
    findings
}

/// What one edge shows by itself.
struct Seen {
    band: Result<Band, String>,
    marks: Marks,
    sign: Option<Sign>,
}

impl Seen {
    fn of(traffic: &Traffic, edge: &EdgeTraffic, stalls: &Stalls) -> Self {
        let band = Band::of(traffic, edge, stalls);
        let Ok(usual) = &band else { return Self { band, marks: Marks::default(), sign: None } };
        let marks = Marks::of(traffic, edge, usual, stalls);
        let sign = signs::illness(traffic, edge, usual, &marks)
            .or_else(|| signs::load(traffic, edge, usual, stalls));
        Self { band, marks, sign }
    }
}
