//! The data path: accepts, asks the plan, acts, forwards, and records each exchange in exactly one outcome.
//!
//! N workers, each a thread with a `current_thread` runtime, its own listeners, upstream pools, timers and counters; nothing
//! shared is written on the request path by an exchange that no fault matches. Here faults are carried out, but no code here
//! knows which faults exist: it reads a [`Decision`](crate::decision::Decision).

mod act;
mod answer;
mod asker;
mod away;
mod call;
mod coding;
mod copies;
mod deliver;
pub mod edge;
mod exchange;
mod fields;
mod forward;
mod frost;
mod gate;
mod h1;
mod identity;
mod lie;
mod mangle;
mod meter;
mod pass;
mod permits;
mod postgres;
pub mod probe;
mod reframe;
mod reply;
mod retry_after;
mod room;
mod route;
mod shape;
pub mod slot;
mod splice;
mod store;
mod subject;
mod tcp;
mod tee;
mod tunnel;
mod tunnel_bytes;
mod upload;
mod whole;
pub mod worker;

pub use edge::EdgeShared;
pub use slot::{InForce, Slot};
pub use worker::Workers;
