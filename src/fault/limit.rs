//! `limit`: a token bucket; who comes when it is empty is told to come back later.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice, Gate, Key, Lets, Protocol, Rate, Sticky};

/// Lets so many through in a time, of each key that the fault sticks to.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The bucket.
    pub rate: Rate,
}

impl Apply for Limit {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        let key = moment.key.unwrap_or(Key(0));
        decision.gates.push(Gate { by: moment.by, key, lets: Lets::Rate(self.rate) });
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match protocol {
            Protocol::Http => Ok(()),
            Protocol::Tcp => {
                Err("a tcp edge has no status 429 to answer with: use `capacity` or `connections`".into())
            }
        }
    }

    fn apart<'s>(&'s self, sticky: Option<&'s Sticky>) -> Option<&'s Sticky> {
        sticky
    }

    fn action(&self) -> &'static str {
        "limit"
    }
}
