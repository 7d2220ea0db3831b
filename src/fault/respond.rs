//! `respond`: an answer that the upstream never gave, with or without calling it.

use super::{Apply, Moment};
use crate::decision::{Action, Answer, Decision, Dice, Protocol};
use std::sync::Arc;

/// Answers in the upstream's place.
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    /// The answer.
    pub answer: Arc<Answer>,
    /// The upstream executes the request first, and its answer is thrown away.
    pub after_upstream: bool,
}

impl Apply for Respond {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        if self.after_upstream {
            if decision.after.is_free() {
                decision.after.respond = Some((moment.by, self.answer.clone()));
            }
        } else if decision.action.is_forward() {
            decision.action = Action::Respond(moment.by, self.answer.clone());
        }
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match protocol {
            Protocol::Http => Ok(()),
            Protocol::Tcp => Err("a tcp edge has no status to answer with: use `drop` or `hang`".into()),
        }
    }

    fn action(&self) -> &'static str {
        "respond"
    }
}
