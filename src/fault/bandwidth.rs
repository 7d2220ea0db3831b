//! `bandwidth`: bytes go through no faster than so many a second.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice};

/// A narrow line; at least one of the two is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bandwidth {
    /// Bytes a second towards the upstream.
    pub up: Option<u64>,
    /// Bytes a second towards the caller.
    pub down: Option<u64>,
}

impl Apply for Bandwidth {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        // a ramp of the dose grows the time that each byte takes
        let rate = |rate: u64| rate as f64 / moment.dose.max(1e-3);
        if let Some(up) = self.up {
            decision.up.bytes().rates.push((moment.by, rate(up)));
        }
        if let Some(down) = self.down {
            decision.down.bytes().rates.push((moment.by, rate(down)));
        }
    }

    fn action(&self) -> &'static str {
        "bandwidth"
    }
}
