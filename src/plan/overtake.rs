//! Freezes that overtake exchanges which were under way when they were armed.
//!
//! Such an exchange was asked about before, and its head is gone: only a freeze of everything can overtake it.

use super::{Compiled, Plan};
use crate::decision::{Decision, FaultRef};
use crate::fault::Fault;
use crate::model::FaultRule;
use std::time::Duration;

/// Whether a rule freezes everything on its edges.
pub(super) fn freezes_all(rule: &FaultRule) -> bool {
    let who = &rule.who;
    let chooses = who.matches.is_some()
        || who.except.is_some()
        || who.sticky.is_some()
        || who.first.is_some()
        || who.max.is_some()
        || who.after > 0
        || who.every > 1
        || who.percent.get() < 100.0;
    let ramps = rule.when.schedule.as_ref().is_some_and(|schedule| schedule.ramp.is_some());
    !chooses && !ramps && rule.actions.iter().any(|action| matches!(action, Fault::Freeze(_)))
}

impl Plan {
    /// Whether anything that is under way may be overtaken.
    #[must_use]
    pub fn overtakes(&self) -> bool {
        self.faults.iter().any(|fault| fault.rule.freezes_all)
    }

    /// What overtakes an exchange that began at this time; each is one match.
    #[must_use]
    pub fn overtake(&self, began: Duration, health: bool) -> Decision {
        let mut decision = Decision::default();
        let spares = |rule: &Compiled| !rule.freezes_all || (health && !rule.matcher.takes_health());
        for (place, fault) in self.faults.iter().enumerate() {
            if spares(&fault.rule) || fault.since <= began {
                continue;
            }
            fault.rule.totals.matched();
            fault.rule.totals.selected();
            fault.tally.number();
            let by = FaultRef(place as u16);
            decision.applied.push(by);
            for action in &fault.rule.actions {
                if let Fault::Freeze(freeze) = action {
                    decision.freezes.push((by, freeze.freeze));
                }
            }
        }
        decision
    }
}
