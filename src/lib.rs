//! Brownout: a chaos proxy that stands on the edges of a system, injects faults as a TOML experiment says, and tells from
//! what it sees on the wire how the failure spread and whether the system came back.
//!
//! # Words
//! **edge**: one listener in front of one upstream. **service**: a process that Brownout supervises. **experiment**: one TOML file. **fault**: a named rule of it: where, who,
//! when and what. **plan**: the compiled faults of one edge. **decision**: what is done to one exchange. **exchange**: one
//! request and its response, or one connection on a TCP edge. **arm / heal**: put a fault in force, take it away.
//! **phase**: baseline, fault, recovery. **expectation**: what must hold. **guardrail**: what stops a run. **run**,
//! **journal**, **report**. **origin**: whose doing an outcome is: client, upstream, injected or internal.
//!
//! # Layers
//! `cli → api · run · demo → report → analysis · chart → control → proxy · supervise → http1 · net · telemetry → plan → model → fault → decision → units ·
//! problem`: left may import right, never the reverse; `tests/layers.rs` keeps it.

pub mod analysis;
pub mod api;
pub mod chart;
pub mod cli;
pub mod control;
pub mod decision;
pub mod demo;
pub mod fault;
pub mod http1;
pub mod model;
pub mod net;
pub mod plan;
pub mod problem;
pub mod proxy;
pub mod report;
pub mod run;
pub mod supervise;
pub mod telemetry;
pub mod units;
