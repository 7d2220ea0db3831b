//! What single exchanges say of a run: the traffic of a fold and what is found in it, each worked out once, when it is asked for.
//!
//! Pure. Knows nothing of expectations; times are in the file's time only in [`Truth::told`].

use super::Fold;
use crate::analysis::{self, Findings, Traffic, Within};
use crate::model::Phase;
use std::cell::OnceCell;

/// What single exchanges say.
#[derive(Debug)]
pub struct Truth<'f> {
    fold: &'f Fold,
    traffic: OnceCell<Traffic>,
    findings: OnceCell<Findings>,
}

impl<'f> Truth<'f> {
    /// Of what was folded so far.
    #[must_use]
    pub fn of(fold: &'f Fold) -> Self {
        Self { fold, traffic: OnceCell::new(), findings: OnceCell::new() }
    }

    /// With traffic and findings of a test's own.
    #[cfg(test)]
    pub(super) fn with(fold: &'f Fold, traffic: Traffic, findings: Findings) -> Self {
        Self { fold, traffic: OnceCell::from(traffic), findings: OnceCell::from(findings) }
    }

    /// The fold itself.
    #[must_use]
    pub fn fold(&self) -> &'f Fold {
        self.fold
    }

    /// All exchanges.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        self.traffic.get_or_init(|| self.fold.traffic())
    }

    /// What is found in them, in real seconds.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        self.findings.get_or_init(|| analysis::analyse(self.traffic()))
    }

    /// What is found in them, with the moments of the run in the file's time. What a caller is made of stays in real time:
    /// timeouts are not scaled.
    #[must_use]
    pub fn told(&self, scale: f64) -> Findings {
        let mut findings = self.findings().clone();
        for onset in &mut findings.cascade {
            onset.at /= scale;
        }
        for recovery in &mut findings.recovery {
            recovery.within = recovery.within.map(|within| within / scale);
            if let Some(surge) = &mut recovery.surge {
                surge.width /= scale;
            }
        }
        findings
    }

    /// Attempts per logical request on an edge in a phase, or per logical request of another edge.
    #[must_use]
    pub fn amplification(&self, edge: usize, phase: Phase, per: Option<usize>) -> Option<f64> {
        analysis::amplification(self.traffic(), edge, phase, per)
    }

    /// How soon after heal an edge was as on its baseline, in real seconds.
    #[must_use]
    pub fn recovers_within(&self, edge: usize) -> Within {
        analysis::recovers_within(self.traffic(), edge)
    }
}
