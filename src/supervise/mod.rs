//! Services under supervision: started, watched, ended and started again as their orchestrator would, and made to fail.
//!
//! [`Supervisor`] is the handle that control and runs hold; whoever holds the other end of its orders is `actor`, on a thread
//! of its own. What must be undone is in the ledger, on disk, before it is done. Knows nothing of experiments, phases or edges, and
//! never changes the environment of its own process.

mod actor;
mod child;
mod duty;
mod entries;
mod env;
pub(crate) mod group;
pub mod hook;
mod hooks;
pub mod keeper;
pub mod ledger;
mod life;
mod machine;
mod marker;
mod note;
mod order;
mod output;
mod ready;
pub mod restore;
mod strike;
#[cfg(test)]
mod testing;
mod turn;
mod unit;
mod veil;

pub use actor::start;
pub use entries::Debt;
pub use ledger::Ledger;
pub use life::State as ServiceState;
pub use order::{Failure, Hit, Order, Pace, Plan, Supervisor, Watch};
pub use restore::{Restored, Unpayable, restore};
pub use unit::ServiceStatus;
