//! What a decision is made about: one request head, or one connection. Borrowed, so that asking costs nothing.

use std::net::IpAddr;

/// What an edge speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP: exchanges are requests.
    Http,
    /// Bytes: exchanges are connections.
    Tcp,
}

/// One exchange, as far as it is known when it is decided upon.
///
/// On a TCP edge, and at `accept` of an HTTP edge, only `peer` and `connection` are known.
pub trait Subject {
    /// The protocol of the edge.
    fn protocol(&self) -> Protocol;
    /// The request method; empty on TCP.
    fn method(&self) -> &str;
    /// The path of the target, without the query; empty on TCP.
    fn path(&self) -> &str;
    /// The query, without `?`.
    fn query(&self) -> Option<&str>;
    /// The value of the first field of this name (compared without case).
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// The host the caller asked for, without the port.
    fn host(&self) -> Option<&str>;
    /// Who connected.
    fn peer(&self) -> IpAddr;
    /// The number of the connection, unique in the process.
    fn connection(&self) -> u64;
    /// The declared length of the request body, where there is one.
    fn body_size(&self) -> Option<u64>;
    /// What the request wants to upgrade to.
    fn upgrade(&self) -> Option<&[u8]>;
    /// A health request, which faults without a path spare.
    fn is_health(&self) -> bool;
    /// The value of the edge's `caller` header.
    fn caller(&self) -> Option<&[u8]>;
    /// The value of the edge's `identity` header.
    fn identity(&self) -> Option<&[u8]>;
    /// It asked for a fault that is not known.
    fn asked_in_vain(&self) {}
}
