//! The truth, read from the edges: who fell ill first, how far it was amplified, whether it came back, what the callers are made of.
//!
//! Pure functions from [`Traffic`] (what crossed the edges of one run) to [`Findings`]. No I/O, no clock, no chance: the same
//! traffic gives the same findings. Null over guess: what was not seen is `None`, and every claim has its evidence in words.
//! Times are real seconds from the start of the run. Knows nothing of experiments, journals and pages.

mod amplification;
mod attempts;
mod found;
mod series;
#[cfg(test)]
pub(crate) mod testing;
mod traffic;
mod within;

use crate::telemetry::Passed;
use attempts::Attempts;

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
    Findings { amplification: amplification::of_all(traffic, &attempts), ..Findings::default() }
}
