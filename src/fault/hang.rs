//! `hang`: the exchange is not answered, for a time or until it is healed.

use super::{Apply, Moment};
use crate::decision::{self, Action, Decision, Dice, HangAt, Protocol};

/// Never answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Hang {
    /// Where the exchange stops.
    pub at: HangWhere,
    /// For how long and what then.
    pub hang: decision::Hang,
}

/// Where an exchange stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangWhere {
    /// Before the upstream is called.
    Request,
    /// Once the upstream has answered, before its head is passed on.
    Headers,
    /// After the head of the answer, before its body.
    Body,
}

impl Apply for Hang {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        match self.at {
            HangWhere::Request if decision.action.is_forward() => {
                decision.action = Action::Hang(moment.by, self.hang);
            }
            HangWhere::Request => {}
            HangWhere::Headers if decision.after.is_free() => {
                decision.after.hang = Some((moment.by, HangAt::Headers, self.hang));
            }
            HangWhere::Body if decision.after.is_free() => {
                decision.after.hang = Some((moment.by, HangAt::Body, self.hang));
            }
            HangWhere::Headers | HangWhere::Body => {}
        }
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        if protocol == Protocol::Tcp {
            if self.at != HangWhere::Request {
                return Err("a tcp edge has no headers or body: leave out `at`".into());
            }
            if matches!(self.hang.then, decision::Then::Status(_)) && self.hang.time.is_some() {
                return Err(
                    "a tcp edge cannot answer with a status: use `then = \"close\"` or `\"reset\"`".into()
                );
            }
        }
        Ok(())
    }

    fn action(&self) -> &'static str {
        "hang"
    }
}
