//! Ways that lead back: an edge that forwards to itself, over others or at once, would call itself for ever.

use super::{FaultRule, Upstream};
use crate::fault::Fault;
use std::net::SocketAddr;

impl FaultRule {
    /// Where it leads exchanges instead of the upstreams of their edge.
    pub fn elsewhere(&self) -> impl Iterator<Item = &Upstream> {
        self.actions.iter().flat_map(|action| match action {
            Fault::Reroute(reroute) => &*reroute.upstreams,
            _ => &[],
        })
    }
}

/// Where an edge listens, and where it goes.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it forwards to, and where faults lead instead.
    pub to: Vec<&'a Upstream>,
}

/// The edges on a way that leaves the edge `start` to one of `first` and leads back to it, `start` before all.
#[must_use]
pub fn way_back<'a>(
    start: usize,
    first: impl IntoIterator<Item = &'a Upstream>,
    edges: &[Way<'_>],
) -> Option<Vec<usize>> {
    let mut seen = Vec::new();
    let mut ways: Vec<Vec<usize>> = Vec::new();
    for next in reached(first, edges) {
        ways.push(vec![start, next]);
    }
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        if last == start {
            return Some(way[..way.len() - 1].to_vec());
        }
        if seen.contains(&last) {
            continue;
        }
        seen.push(last);
        let to = edges.get(last).map_or(&[][..], |edge| &edge.to);
        ways.extend(reached(to.iter().copied(), edges).into_iter().map(|next| [&way[..], &[next]].concat()));
    }
    None
}

/// The edges that listen where these upstreams are.
fn reached<'a>(upstreams: impl IntoIterator<Item = &'a Upstream>, edges: &[Way<'_>]) -> Vec<usize> {
    let listens = |upstream: &Upstream| edges.iter().position(|edge| reaches(upstream, edge.listen));
    upstreams.into_iter().filter_map(listens).collect()
}

fn reaches(upstream: &Upstream, listen: SocketAddr) -> bool {
    // port 0 is a free one, which nobody can name
    if upstream.port != listen.port() {
        return false;
    }
    match upstream.host.parse::<std::net::IpAddr>() {
        Ok(ip) => {
            ip == listen.ip() || (listen.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified()))
        }
        Err(_) => upstream.host == "localhost" && (listen.ip().is_loopback() || listen.ip().is_unspecified()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(host: &str, port: u16) -> Upstream {
        Upstream { host: host.into(), port, base: String::new() }
    }

    #[test]
    fn ways_that_lead_back() {
        let (one, two, out) = (upstream("127.0.0.1", 1), upstream("localhost", 2), upstream("::1", 9));
        let any: SocketAddr = "0.0.0.0:3".parse().unwrap();
        let way = |port, to| Way { listen: SocketAddr::new("127.0.0.1".parse().unwrap(), port), to };
        let edges = [way(1, vec![&out, &two]), way(2, vec![&out]), Way { listen: any, to: vec![&one] }];
        for (start, first, back) in [
            (0, vec![&out], None),
            (0, vec![&two], None),
            (0, vec![&one], Some(vec![0])),
            (1, vec![&one], Some(vec![1, 0])),
            (1, vec![&out, &upstream("127.0.0.1", 3)], Some(vec![1, 2, 0])),
            (2, vec![&one], None),
            (2, vec![&upstream("0.0.0.0", 3)], Some(vec![2])),
            (2, vec![&upstream("other", 3)], None),
        ] {
            assert_eq!(way_back(start, first.iter().copied(), &edges), back, "{start} {first:?}");
        }
    }
}
