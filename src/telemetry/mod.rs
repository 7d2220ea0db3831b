//! What happened, told once and read by many: metrics, journal, live line, guardrails, expectations and report.
//!
//! The data path records one [`Exchange`] when an exchange ends, however it ends. Each worker writes counters of its own
//! ([`EdgeRecorder`]), which a scrape adds up, and hands its exchanges in batches to the collector, which folds them into
//! [`Window`]s and publishes them as [`Event`]s. Knows nothing of sockets or of how faults are carried out.

mod attempts;
mod collector;
pub mod event;
mod feed;
mod fold;
pub mod histogram;
mod hub;
pub mod journal;
pub mod keep;
mod lies;
mod metrics;
mod passed;
mod process;
mod recorder;
mod services;
mod shard;
#[cfg(test)]
mod tests;
mod veil;
mod watched;
pub mod window;

pub use event::{Ending, Event, Exchange, Hit, Method, Origin, Recipe, Stamped};
pub use histogram::Histogram;
pub use hub::{EdgeLabels, Telemetry};
pub use journal::Journal;
pub use lies::Lie;
pub use passed::{Identity, Passed};
pub use recorder::{EdgeRecorder, Recorder};
pub use services::{Did, EnvShown, ExitCause, Saw, StartReason};
pub use shard::ConnectionOutcome;
pub use window::{EdgeId, Window};
