//! The faults: one file each, and the enum that names them.
//!
//! A fault never touches a socket. It writes into a [`Decision`] what is to be done. Whom it
//! strikes, how often and when is not its business; neither are metrics.

mod drop;
mod duplicate;
mod hang;
mod latency;
mod reroute;
mod respond;
mod rewrite;
mod stale;

pub use drop::{Drop, DropAt, How};
pub use duplicate::Duplicate;
pub use hang::{Hang, HangWhere};
pub use latency::Latency;
pub use reroute::Reroute;
pub use respond::Respond;
pub use rewrite::Rewrite;
pub use stale::Stale;

use crate::decision::{Decision, Dice, FaultRef, Protocol};
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
