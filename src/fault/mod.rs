//! The faults: one file each, and the enum that names them.
//!
//! A fault never touches a socket. It writes into a [`Decision`] what is to be done. Whom it
//! strikes, how often and when is not its business; neither are metrics.

mod bandwidth;
mod capacity;
mod chunk;
mod connections;
mod corrupt;
mod drop;
mod duplicate;
mod endless;
mod freeze;
mod hang;
mod latency;
mod limit;
mod reroute;
mod respond;
mod rewrite;
mod serialize;
mod stale;
mod truncate;

pub use bandwidth::Bandwidth;
pub use capacity::Capacity;
pub use chunk::Chunk;
pub use connections::Connections;
pub use corrupt::{BadFrame, Corrupt};
pub use drop::{Drop, DropAt, How};
pub use duplicate::Duplicate;
pub use endless::Endless;
pub use freeze::Freeze;
pub use hang::{Hang, HangWhere};
pub use latency::Latency;
pub use limit::Limit;
pub use reroute::Reroute;
pub use respond::Respond;
pub use rewrite::Rewrite;
pub use serialize::Serialize;
pub use stale::Stale;
pub use truncate::Truncate;

use crate::decision::{Decision, Dice, FaultRef, Key, Protocol, Sticky};
use std::time::Duration;

/// What a fault knows about its moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The fault's own place in the plan.
    pub by: FaultRef,
    /// Since the fault was armed.
    pub elapsed: Duration,
    /// How much of the full delay a dose ramp has reached, 0 to 1.
    pub dose: f64,
    /// What the edge speaks.
    pub protocol: Protocol,
    /// Those of one key are one to it, if it tells any apart.
    pub key: Option<Key>,
}

/// What every fault can do.
pub trait Apply {
    /// Writes its effect into the decision.
    fn apply(&self, moment: &Moment, dice: &mut Dice, decision: &mut Decision);

    /// Refuses edges on which it has no meaning, when the plan is compiled.
    ///
    /// # Errors
    /// A sentence for the user.
    fn fits(&self, _protocol: Protocol) -> Result<(), String> {
        Ok(())
    }

    /// Whether it is decided when a connection is accepted, before anything of a request is known.
    fn at_accept(&self) -> bool {
        false
    }

    /// Whether it bounds the connections of an edge: then it is asked when one is accepted.
    fn counts_connections(&self) -> bool {
        false
    }

    /// What it tells exchanges apart by, when the fault sticks to `sticky`.
    fn apart<'s>(&'s self, _sticky: Option<&'s Sticky>) -> Option<&'s Sticky> {
        None
    }

    /// What metrics and the journal call its effect.
    fn action(&self) -> &'static str;
}

/// Any fault.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Waits.
    Latency(Latency),
    /// Never answers.
    Hang(Hang),
    /// Cuts.
    Drop(Drop),
    /// Answers wrongly.
    Respond(Respond),
    /// Goes elsewhere.
    Reroute(Reroute),
    /// Bounds the rate.
    Bandwidth(Bandwidth),
    /// Comes in pieces.
    Chunk(Chunk),
    /// Ends too early.
    Truncate(Truncate),
    /// Never ends.
    Endless(Endless),
    /// Comes wrong.
    Corrupt(Corrupt),
    /// Lets so many through in a time.
    Limit(Limit),
    /// Lets nothing move for a while.
    Freeze(Freeze),
    /// Lets so many through at a time.
    Capacity(Capacity),
    /// Lets one through at a time.
    Serialize(Serialize),
    /// Bounds connections.
    Connections(Connections),
    /// Changes content.
    Rewrite(Rewrite),
    /// Answers with the past.
    Stale(Stale),
    /// Sends a request again.
    Duplicate(Duplicate),
}

impl Fault {
    /// The fault as what it can do.
    #[must_use]
    pub fn as_apply(&self) -> &dyn Apply {
        match self {
            Self::Latency(fault) => fault,
            Self::Hang(fault) => fault,
            Self::Drop(fault) => fault,
            Self::Respond(fault) => fault,
            Self::Reroute(fault) => fault,
            Self::Bandwidth(fault) => fault,
            Self::Chunk(fault) => fault,
            Self::Truncate(fault) => fault,
            Self::Endless(fault) => fault,
            Self::Corrupt(fault) => fault,
            Self::Limit(fault) => fault,
            Self::Freeze(fault) => fault,
            Self::Capacity(fault) => fault,
            Self::Serialize(fault) => fault,
            Self::Connections(fault) => fault,
            Self::Rewrite(fault) => fault,
            Self::Stale(fault) => fault,
            Self::Duplicate(fault) => fault,
        }
    }

    /// Whether it closes the listener itself while it is on.
    #[must_use]
    pub fn refuses(&self) -> bool {
        matches!(self, Self::Drop(Drop { how: How::Refuse, .. }))
    }
}
