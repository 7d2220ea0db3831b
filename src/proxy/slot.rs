//! What is in force on an edge: one pointer, read by workers, written by control.

use crate::plan::Plan;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A plan in force. Replacing it wakes everybody who is held by it.
#[derive(Debug, Default)]
pub struct InForce {
    /// The faults.
    pub plan: Plan,
    /// Cancelled when another plan has taken its place.
    pub retired: CancellationToken,
}

/// The slot of an edge. Arming is publishing: one atomic swap.
#[derive(Debug, Default)]
pub struct Slot(ArcSwap<InForce>);

impl Slot {
    /// What is in force now, for a look.
    pub fn load(&self) -> arc_swap::Guard<Arc<InForce>> {
        self.0.load()
    }

    /// What is in force now, to keep.
    #[must_use]
    pub fn get(&self) -> Arc<InForce> {
        self.0.load_full()
    }

    /// Puts a plan in force, and wakes those who are held by the one before.
    pub fn publish(&self, plan: Plan) {
        let before = self.0.swap(Arc::new(InForce { plan, retired: CancellationToken::new() }));
        before.retired.cancel();
    }
}
