//! A run: the phases of one experiment, from its start to its verdict.
//!
//! [`machine`] decides, purely, what happens next; [`driver`] carries it out against a [`Stage`], with the
//! built-in [`load`] and the user's [`command`], asks the [`probes`], watches the guardrails ([`guard`]) and shows [`progress`], on
//! a terminal as a [`view`]. Knows nothing of
//! the proxy's sockets, of plans, or of how faults are carried out.

mod ask;
mod carry;
mod client;
pub mod command;
pub mod driver;
pub mod guard;
pub mod load;
pub mod machine;
pub mod output;
pub mod probes;
pub mod progress;
pub mod services;
pub mod stage;
#[cfg(test)]
pub(crate) mod testing;
pub mod view;
mod words;

pub use driver::Options;
pub use stage::{Stage, Stop};
