//! Services under supervision: started, watched, ended and started again as their orchestrator would, and made to fail.
//!
//! [`Supervisor`] is the handle that control and runs hold; whoever holds the other end of its orders is `actor`, on a thread
//! of its own. What must be undone is in the ledger, on disk, before it is done. Knows nothing of experiments, phases or edges, and
//! never changes the environment of its own process.

pub(crate) mod group;
mod order;

pub use order::{Failure, Hit, Order, Pace, Plan, Supervisor, Watch};
