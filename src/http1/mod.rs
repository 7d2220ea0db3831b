//! The HTTP/1.1 codec, pure side: heads in and out, framing, bodies.
//!
//! `httparse` splits a head into slices; everything a message means is decided here, strictly and on the
//! raw bytes: what two readers could understand differently is refused, never repaired by guess.
//!
//! Invariants (of all but `connection`, the socket side): no I/O, no clock, no allocation but into the caller's buffer; bytes that arrive in pieces
//! give the same result as bytes that arrive at once; whatever is written parses again as the same
//! message. Must not know: sockets, edges, faults, telemetry, any other module of this crate.

mod body;
pub mod connection;
mod framing;
mod from_map;
mod head;
mod host;
#[cfg(any(test, feature = "fuzzing"))]
pub mod invariants;
mod names;
mod refused;
mod request;
mod response;
mod survey;
#[cfg(test)]
mod tests;

pub use body::{Body, MAX_CHUNK_EXTENSION, MAX_TRAILERS, Scan, Step, trailer_fields};
pub use framing::{CHUNK_END, Framing, MAX_LENGTH, write_chunk, write_chunk_header, write_last_chunk};
pub use from_map::write_request_from;
pub use head::{Limits, MAX_FIELDS, Slots, Version, is_worth_parsing, slots};
pub use refused::Refused;
pub use request::{Forwarded, HostRule, Outgoing, RequestHead, parse_request, write_request};
pub use response::{ResponseHead, Returning, parse_response, write_response};
