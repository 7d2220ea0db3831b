//! `freeze`: nothing moves for a while, nothing is lost, and then all goes on at once.

use super::{Apply, Moment};
use crate::decision::{self, Decision, Dice, Gate, Key, Lets};

/// Stops everything for a while, as a long pause of a garbage collector does.
#[derive(Clone, Debug, PartialEq)]
pub struct Freeze {
    /// When, counted from the arming.
    pub freeze: decision::Freeze,
}

impl Apply for Freeze {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        decision.gates.push(Gate { by: moment.by, key: Key(0), lets: Lets::Thawed(self.freeze) });
        decision.freezes.push((moment.by, self.freeze));
    }

    fn action(&self) -> &'static str {
        "freeze"
    }
}
