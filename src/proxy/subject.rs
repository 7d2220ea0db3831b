//! What a decision is asked about: a request head or a connection, borrowed.

use super::edge::EdgeHere;
use crate::decision::{Protocol, Subject};
use crate::http1::{Framing, RequestHead};
use std::net::IpAddr;

/// A request.
pub(super) struct Request<'s, 'h, 'b> {
    pub edge: &'s EdgeHere,
    pub head: &'s RequestHead<'h, 'b>,
    /// The head's path: every fault asks for it.
    pub path: &'s str,
    pub peer: IpAddr,
    pub connection: u64,
    pub health: bool,
}

impl Subject for Request<'_, '_, '_> {
    fn protocol(&self) -> Protocol {
        Protocol::Http
    }
    fn method(&self) -> &str {
        self.head.method
    }
    fn path(&self) -> &str {
        self.path
    }
    fn query(&self) -> Option<&str> {
        self.head.query()
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.header(name)
    }
    fn host(&self) -> Option<&str> {
        let host = match self.head.authority {
            Some(authority) => authority,
            None => std::str::from_utf8(self.head.host?).ok()?,
        };
        let port = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
        Some(&host[..port.unwrap_or(host.len())])
    }
    fn peer(&self) -> IpAddr {
        self.peer
    }
    fn connection(&self) -> u64 {
        self.connection
    }
    fn body_size(&self) -> Option<u64> {
        match self.head.framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::Close => None,
        }
    }
    fn upgrade(&self) -> Option<&[u8]> {
        self.head.upgrade
    }
    fn is_health(&self) -> bool {
        self.health
    }
    fn caller(&self) -> Option<&[u8]> {
        self.edge.shared.config.caller.as_ref().and_then(|name| self.head.header(name))
    }
    fn identity(&self) -> Option<&[u8]> {
        self.edge.shared.config.identity.as_ref().and_then(|name| self.head.header(name))
    }
    fn asked_in_vain(&self) {
        self.edge.recorder.unknown_fault();
    }
}

/// A connection, of which only the peer is known.
pub(super) struct Connection {
    pub protocol: Protocol,
    pub peer: IpAddr,
    pub connection: u64,
}

impl Subject for Connection {
    fn protocol(&self) -> Protocol {
        self.protocol
    }
    fn method(&self) -> &str {
        ""
    }
    fn path(&self) -> &str {
        ""
    }
    fn query(&self) -> Option<&str> {
        None
    }
    fn header(&self, _name: &str) -> Option<&[u8]> {
        None
    }
    fn host(&self) -> Option<&str> {
        None
    }
    fn peer(&self) -> IpAddr {
        self.peer
    }
    fn connection(&self) -> u64 {
        self.connection
    }
    fn body_size(&self) -> Option<u64> {
        None
    }
    fn upgrade(&self) -> Option<&[u8]> {
        None
    }
    fn is_health(&self) -> bool {
        false
    }
    fn caller(&self) -> Option<&[u8]> {
        None
    }
    fn identity(&self) -> Option<&[u8]> {
        None
    }
}
