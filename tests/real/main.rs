//! With real parts: the binary against nginx, a Python service, curl, wrk and Prometheus; and the README, word for word.
//!
//! They are ignored by a plain `cargo test`, which needs nothing but the toolchain: `./check real` runs them.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod browser;
mod content;
mod dashboards;
mod faults;
mod gates;
mod incidents;
mod live;
mod page;
mod parts;
mod readme;
mod report_page;
mod runs;
mod systems;
mod terminal;
