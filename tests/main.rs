//! What Brownout promises, proved over real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]

mod again;
mod check;
mod http1_differential;
mod layers;
mod report;
mod restore;
mod services;
mod support;
mod wire;
