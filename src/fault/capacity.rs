//! `capacity`: so many at a time, the next ones wait, and who waits for too long gets nothing: the exhausted pool.

use super::{Apply, Moment};
use crate::decision::{self, Decision, Dice, Gate, Key, Lets, Protocol, Then};

/// Lets so many through at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity {
    /// How many, and what those get who wait.
    pub capacity: decision::Capacity,
}

impl Apply for Capacity {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        decision.gates.push(Gate { by: moment.by, key: Key(0), lets: Lets::Some(self.capacity) });
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match (protocol, self.capacity.then) {
            (Protocol::Tcp, Then::Status(_)) => {
                Err("a tcp edge cannot answer with a status: use `then = \"close\"` or `\"reset\"`".into())
            }
            _ => Ok(()),
        }
    }

    fn action(&self) -> &'static str {
        "capacity"
    }
}
