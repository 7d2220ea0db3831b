//! Brownout.

pub mod http1;
