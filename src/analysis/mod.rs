//! The truth, read from the edges: who fell ill first, how far it was amplified, whether it came back, what the callers are made of.
//!
//! Pure functions from [`Traffic`] (what crossed the edges of one run) to [`Findings`]. No I/O, no clock, no chance: the same
//! traffic gives the same findings. Null over guess: what was not seen is `None`, and every claim has its evidence in words.
//! Times are real seconds from the start of the run. Knows nothing of experiments, journals and pages.

mod fingerprint;
mod found;
#[cfg(test)]
pub(crate) mod testing;
mod traffic;

pub use found::{
    Amplified, Breaker, Control, Counted, Findings, Fingerprint, Honesty, Onset, Recovered, Recovery, Signal,
    Surge,
};
pub use traffic::{EdgeTraffic, FaultSpan, Gauge, PhaseSpan, Traffic};

/// Reads everything there is to be read.
#[must_use]
pub fn analyse(traffic: &Traffic) -> Findings {
    Findings { fingerprints: fingerprint::fingerprints(traffic), ..Findings::default() }
}
