//! What Brownout promises about the wire, proved over real sockets.

mod bodies;
mod bytes;
mod callers;
mod combine;
mod combine_tcp;
mod compose;
mod content;
mod counting;
mod decisions;
mod drain;
mod faults;
mod gates;
mod limits;
mod passed;
mod promises;
mod requests;
mod reroute;
mod responses;
mod tcp;
mod upgrades;
