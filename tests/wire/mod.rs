//! What Brownout promises about the wire, proved over real sockets.

mod bodies;
mod callers;
mod content;
mod counting;
mod drain;
mod faults;
mod limits;
mod requests;
mod reroute;
mod responses;
mod tcp;
mod upgrades;
