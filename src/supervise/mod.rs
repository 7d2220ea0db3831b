//! Services under supervision: started, watched, ended and started again as their orchestrator would, and made to fail.
//!
//! [`Supervisor`] is the handle that control and runs hold; whoever holds the other end of its orders is `actor`, on a thread
//! of its own. What must be undone is in the ledger, on disk, before it is done. Knows nothing of experiments, phases or edges, and
//! never changes the environment of its own process.

mod entries;
pub(crate) mod group;
pub mod hook;
pub mod keeper;
pub mod ledger;
mod marker;
mod order;
pub mod restore;

pub use entries::Debt;
pub use ledger::Ledger;
pub use order::{Failure, Hit, Order, Pace, Plan, Supervisor, Watch};
pub use restore::{Restored, Unpayable, restore};
