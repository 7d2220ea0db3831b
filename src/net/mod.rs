//! Sockets and time, as the workers need them. Knows nothing of HTTP or of faults.

pub mod listen;
pub mod socket;
pub mod timer;
