//! `serialize`: one at a time for each key, as behind a lock or on a row that everybody writes to.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice, Gate, Key, Lets, Protocol, Sticky};
use std::time::Duration;

/// Lets one through at a time, of each key.
#[derive(Clone, Debug, PartialEq)]
pub struct Serialize {
    /// What those share that wait for each other; `None`: everything.
    pub key: Option<Sticky>,
    /// Each keeps the others out for at least this long.
    pub hold: Duration,
}

impl Apply for Serialize {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        // who has no key (it lacks the header) waits for nobody
        let key = if self.key.is_some() { moment.key } else { Some(Key(0)) };
        decision.gates.extend(key.map(|key| Gate { by: moment.by, key, lets: Lets::One(self.hold) }));
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match protocol {
            Protocol::Http => Ok(()),
            Protocol::Tcp => {
                Err("a tcp edge knows no requests to put in a row: use `capacity = { max = 1 }`".into())
            }
        }
    }

    fn apart<'s>(&'s self, _sticky: Option<&'s Sticky>) -> Option<&'s Sticky> {
        self.key.as_ref()
    }

    fn action(&self) -> &'static str {
        "serialize"
    }
}
