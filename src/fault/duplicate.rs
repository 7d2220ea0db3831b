//! `duplicate`: the same request reaches the upstream more than once.

use super::{Apply, Moment};
use crate::decision::{Copies, Decision, Dice, Protocol};

/// Sends a request again.
#[derive(Clone, Debug, PartialEq)]
pub struct Duplicate {
    /// How often and how.
    pub copies: Copies,
}

impl Apply for Duplicate {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        let content = decision.content.get_or_insert_default();
        content.copies.get_or_insert((moment.by, self.copies));
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match protocol {
            Protocol::Http => Ok(()),
            Protocol::Tcp => {
                Err("a tcp edge knows no requests that could be sent again: make its upstream `http://`"
                    .into())
            }
        }
    }

    fn action(&self) -> &'static str {
        "duplicate"
    }
}
