//! `endless`: the body of the answer never ends.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice, End, Protocol};

/// Never ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Endless {
    /// Bytes a second, once the real body is through.
    pub rate: u64,
}

impl Apply for Endless {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        decision.down.bytes().end.get_or_insert((moment.by, End::Endless(self.rate as f64)));
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match protocol {
            Protocol::Http => Ok(()),
            Protocol::Tcp => {
                Err("a tcp edge has no body that could end: use `chunk`, `bandwidth` or `hang`".into())
            }
        }
    }

    fn action(&self) -> &'static str {
        "endless"
    }
}
