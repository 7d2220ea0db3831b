//! What the API may do to the rest, as a trait, so that its rules are tested without a proxy behind them.

use crate::control::{Control, EdgeStatus, FaultStatus, Owner, Refusal};
use crate::model::FaultRule;
use std::time::Duration;

/// What can be asked and told; see the methods of [`Control`] of the same names.
pub trait Levers: Send + Sync {
    /// All faults.
    fn faults(&self) -> Vec<FaultStatus>;
    /// All edges.
    fn edges(&self) -> Vec<EdgeStatus>;
    /// Arms a fault by hand.
    ///
    /// # Errors
    /// When it cannot be armed.
    fn arm(&self, rule: FaultRule, life: Option<Duration>) -> Result<(), Refusal>;
    /// Arms a fault of the file.
    ///
    /// # Errors
    /// When it cannot be armed.
    fn arm_named(&self, name: &str, life: Option<Duration>) -> Result<(), Refusal>;
    /// Heals one fault.
    ///
    /// # Errors
    /// When no such fault is armed.
    fn heal(&self, name: &str) -> Result<(), Refusal>;
    /// Heals all.
    fn heal_all(&self);
    /// Turns the kill switch on.
    fn halt(&self);
    /// Turns it off.
    fn lift(&self);
    /// Whether it is on.
    fn is_halted(&self) -> bool;
    /// Whether traffic is served.
    fn is_ready(&self) -> bool;
}

impl Levers for Control {
    fn faults(&self) -> Vec<FaultStatus> {
        Self::faults(self)
    }

    fn edges(&self) -> Vec<EdgeStatus> {
        Self::edges(self)
    }

    fn arm(&self, rule: FaultRule, life: Option<Duration>) -> Result<(), Refusal> {
        Self::arm(self, rule, Owner::Hand, life, 1.0)
    }

    fn arm_named(&self, name: &str, life: Option<Duration>) -> Result<(), Refusal> {
        Self::arm_named(self, name, life)
    }

    fn heal(&self, name: &str) -> Result<(), Refusal> {
        Self::heal(self, name, "hand")
    }

    fn heal_all(&self) {
        Self::heal_all(self, None, "hand");
    }

    fn halt(&self) {
        Self::halt(self);
    }

    fn lift(&self) {
        Self::lift(self);
    }

    fn is_halted(&self) -> bool {
        Self::is_halted(self)
    }

    fn is_ready(&self) -> bool {
        Self::is_ready(self)
    }
}
