//! `truncate`: the answer ends too early, and says so or does not.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice, End, Length, Protocol};

/// Ends too early.
#[derive(Clone, Debug, PartialEq)]
pub struct Truncate {
    /// After how much.
    pub after: Length,
    /// It looks whole.
    pub clean: bool,
}

impl Apply for Truncate {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        decision.down.bytes().end.get_or_insert((moment.by, End::Truncate(self.after, self.clean)));
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        if protocol == Protocol::Tcp && matches!(self.after, Length::Fraction(_)) {
            return Err("a tcp edge announces no length to take a `fraction` of: use `bytes`".into());
        }
        Ok(())
    }

    fn action(&self) -> &'static str {
        "truncate"
    }
}
