//! `connections`: an edge has so many connections and no more, as a database whose slots are taken.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice, Full, Protocol, Room};

/// Bounds the connections of an edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Connections {
    /// At most so many at a time.
    pub max: u32,
    /// What the next one gets.
    pub then: Full,
    /// One that has closed stays counted.
    pub leak: bool,
}

impl Apply for Connections {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        decision.rooms.push(Room { by: moment.by, max: self.max, then: self.then });
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match (protocol, self.then) {
            (Protocol::Http, Full::Postgres(_)) => Err(
                "an http edge does not speak PostgreSQL: use `then = \"refuse\"`, `\"reset\"` or `\"close\"`"
                    .into(),
            ),
            _ => Ok(()),
        }
    }

    fn at_accept(&self) -> bool {
        true
    }

    fn counts_connections(&self) -> bool {
        true
    }

    fn action(&self) -> &'static str {
        "connections"
    }
}
