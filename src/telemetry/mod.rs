//! What happened, told once and read by many: metrics, journal, live line, guardrails, expectations and report.
//!
//! The data path records one [`Exchange`] when an exchange ends, however it ends. Each worker writes counters of its own
//! ([`EdgeRecorder`]), which a scrape adds up, and hands its exchanges in batches to the collector, which folds them into
//! [`Window`]s and publishes them as [`Event`]s. Knows nothing of sockets or of how faults are carried out.

pub mod event;
pub mod histogram;
pub mod window;

pub use event::{Ending, Event, Exchange, Hit, Method, Origin, Stamped};
pub use histogram::Histogram;
pub use window::{EdgeId, Window};
