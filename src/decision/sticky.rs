//! What keys tell exchanges apart.

/// What keys make one victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// The logical request.
    Identity,
    /// The caller.
    Caller,
    /// The peer address.
    Peer,
    /// The connection.
    Connection,
    /// The path.
    Path,
    /// This header's value.
    Header(String),
    /// This segment of a `/{id}/` path pattern.
    PathSegment(String),
}
