//! The truth, read from the edges: who fell ill first, how far it was amplified, whether it came back, what the callers are made of.
//!
//! Pure functions from [`Traffic`] (what crossed the edges of one run) to [`Findings`]. No I/O, no clock, no chance: the same
//! traffic gives the same findings. Null over guess: what was not seen is `None`, and every claim has its evidence in words.
//! Times are real seconds from the start of the run. Knows nothing of experiments, journals and pages.

mod amplification;
mod attempts;
mod band;
mod change;
mod control;
mod fingerprint;
mod found;
mod graph;
mod honesty;
mod onset;
#[cfg(test)]
mod random_tests;
mod recovery;
mod series;
mod signs;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod traffic;
mod within;

use crate::telemetry::Passed;
use attempts::Attempts;
use band::{Band, Marks};
use graph::Graph;
use onset::Signs;
use recovery::Known;
use series::Stalls;
use signs::Sign;

pub use amplification::amplification;
pub use found::{
    Amplified, Breaker, Control, Counted, Findings, Fingerprint, Honesty, Onset, Recovered, Recovery, Signal,
    Surge,
};
pub use traffic::{EdgeTraffic, FaultSpan, Gauge, PhaseSpan, Traffic};
pub use within::{Within, recovers_within};

/// Reads everything there is to be read.
#[must_use]
pub fn analyse(traffic: &Traffic) -> Findings {
    let attempts: Vec<Attempts> = (0..traffic.edges.len()).map(|edge| Attempts::of(traffic, edge)).collect();
    let stalls = Stalls::of(traffic);
    let edges: Vec<Seen> = traffic.edges.iter().map(|edge| Seen::of(traffic, edge, &stalls)).collect();
    let signs = edges.iter().map(|seen| seen.sign.clone()).collect();
    let graph = Graph::of(traffic);
    let unjudged = edges.iter().map(|seen| seen.band.is_err()).collect();
    let mut signs = Signs { traffic, graph: &graph, unjudged, of: signs };
    let mut findings = Findings {
        amplification: amplification::of_all(traffic, &attempts),
        fingerprints: fingerprint::fingerprints(traffic),
        ..Findings::default()
    };
    for edge in signs.unexplained() {
        if let (Some(sign), Some(of)) =
            (signs.of.get_mut(edge).and_then(Option::take), traffic.edges.get(edge))
        {
            let reason =
                format!("its rate changed, and nothing that was seen explains it: {}", sign.evidence);
            findings.unjudged.insert(of.name.clone(), reason);
        }
    }
    findings.cascade = signs.cascade();
    for ((edge, seen), sign) in traffic.edges.iter().zip(&edges).zip(&signs.of) {
        match &seen.band {
            Err(reason) => {
                findings.unjudged.insert(edge.name.clone(), reason.clone());
            }
            Ok(_) if sign.is_none() && !findings.unjudged.contains_key(&edge.name) => {
                findings.unmoved.push(edge.name.clone());
            }
            Ok(_) => {}
        }
    }
    let known: Vec<Known<'_>> = traffic
        .edges
        .iter()
        .zip(&edges)
        .zip(signs.of.iter().zip(&attempts))
        .map(|((edge, seen), (sign, attempts))| Known {
            edge,
            band: seen.band.as_ref().ok(),
            sign: sign.as_ref(),
            attempts,
        })
        .collect();
    findings.recovery = recovery::of_all(traffic, &stalls, &graph, &known);
    findings.control = control::of_all(traffic, &stalls);
    findings.honesty = honesty::of(traffic, &graph, &stalls);
    findings.cautions = honesty::cautions(traffic, &findings);
    findings
}

/// What one edge shows by itself.
struct Seen {
    band: Result<Band, String>,
    sign: Option<Sign>,
}

impl Seen {
    fn of(traffic: &Traffic, edge: &EdgeTraffic, stalls: &Stalls) -> Self {
        let band = Band::of(traffic, edge, stalls);
        let Ok(usual) = &band else { return Self { band, sign: None } };
        let marks = Marks::of(traffic, edge, usual, stalls);
        let sign = signs::illness(traffic, edge, usual, &marks)
            .or_else(|| signs::load(traffic, edge, usual, stalls));
        Self { band, sign }
    }
}
