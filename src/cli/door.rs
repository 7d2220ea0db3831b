//! The data path must not lead to the admin address.

use crate::model::Edge;
use std::net::SocketAddr;

/// What is wrong if callers of an edge would reach the admin address.
pub(super) fn opens_the_door(edges: &[Edge], admin: SocketAddr) -> Option<String> {
    let edge = edges.iter().find(|edge| leads_to(edge, admin))?;
    Some(format!(
        "edge `{}` leads to the admin address: callers of the edge could arm and heal; take another upstream or `--admin`",
        edge.name
    ))
}

/// Whether callers of an edge would reach this address.
fn leads_to(edge: &Edge, address: SocketAddr) -> bool {
    let host = |host: &str| match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip == address.ip() || (ip.is_loopback() && address.ip().is_unspecified()),
        Err(_) => host == "localhost" && (address.ip().is_loopback() || address.ip().is_unspecified()),
    };
    address.port() != 0 && edge.upstreams.iter().any(|to| to.port == address.port() && host(&to.host))
}
