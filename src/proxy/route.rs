//! The upstreams of one edge as one worker calls them: their addresses, and idle connections to each.
//!
//! Each upstream has a pool of its own, those of faults too: no connection to the one is ever taken for the other. Only a
//! connection whose request was sent whole, whose answer ended and from which no byte is left over is kept. At checkout
//! whatever is not idle is discarded, never waited for.

use super::reply::Trouble;
use crate::decision::Upstream;
use crate::http1::connection::Conn;
use crate::http1::{self, Forwarded, HostRule, Outgoing, RequestHead};
use crate::model::{Edge, HostPolicy};
use crate::net::{socket, timer::Deadline};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Idle connections kept for each upstream.
const KEPT: usize = 256;
/// How long one may idle.
const IDLE: Duration = Duration::from_secs(60);
/// How often [`Routes::tick`] is called.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// One upstream.
#[derive(Debug)]
pub(super) struct Route {
    upstream: Upstream,
    /// The address, where the host is one and needs no name service.
    address: Option<IpAddr>,
    /// `host:port`.
    pub authority: String,
    /// The idle connections, and since which tick each idles.
    idle: RefCell<Vec<(TcpStream, u32)>>,
    now: Cell<u32>,
}

impl Route {
    fn new(upstream: &Upstream) -> Rc<Self> {
        Rc::new(Self {
            address: upstream.host.parse().ok(),
            authority: upstream.authority(),
            upstream: upstream.clone(),
            idle: RefCell::default(),
            now: Cell::new(0),
        })
    }

    /// The path below which it lives; empty for most.
    pub(super) fn base(&self) -> &str {
        &self.upstream.base
    }

    /// The connection that was used last, if one is alive.
    pub(super) fn take(&self) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        while let Some((stream, _)) = idle.pop() {
            if is_idle(&stream) {
                return Some(Conn::new(stream));
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, conn: Conn) {
        let mut idle = self.idle.borrow_mut();
        if conn.bytes().is_empty() && idle.len() < KEPT {
            idle.push((conn.into_parts().0, self.now.get()));
        }
    }

    /// Lets go of those that idle for too long or were closed by the upstream.
    fn tick(&self) {
        self.now.set(self.now.get() + 1);
        let oldest = self.now.get().saturating_sub((IDLE.as_secs() / TICK.as_secs()) as u32);
        self.idle.borrow_mut().retain(|(stream, since)| *since >= oldest && is_idle(stream));
    }

    /// Connects, within the edge's time.
    pub(super) async fn connect(&self, edge: &Edge, deadline: &Deadline) -> Result<Conn, Trouble> {
        let limit = edge.timeout.connect;
        let port = self.upstream.port;
        let attempt = async {
            if let Some(address) = self.address {
                return socket::connect(SocketAddr::new(address, port)).await;
            }
            let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in tokio::net::lookup_host((self.upstream.host.as_str(), port)).await? {
                match socket::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => failed = error,
                }
            }
            Err(failed)
        };
        let place = || format!("edge `{}`: upstream {}", edge.name, self.authority);
        match deadline.limit(limit, attempt).await {
            Some(Ok(stream)) => Ok(Conn::new(stream)),
            Some(Err(error)) => {
                Err(Trouble::new(502, "connect", format!("{} cannot be reached: {error}", place())))
            }
            None => {
                let limit = crate::units::Span(limit);
                let text = format!("{} did not accept within {limit}", place());
                Err(Trouble::new(504, "connect-timeout", text))
            }
        }
    }

    /// Writes a request head as this upstream gets it; `probe` tells that it is one of our own.
    pub(super) fn address(
        &self,
        edge: &Edge,
        head: &RequestHead<'_, '_>,
        peer: &str,
        probe: bool,
        out: &mut Vec<u8>,
    ) {
        let how = Outgoing {
            host: match edge.host {
                HostPolicy::Keep => HostRule::Keep { fallback: &self.authority },
                HostPolicy::Upstream => HostRule::Replace(&self.authority),
            },
            forwarded: edge.forwarded.then_some(Forwarded { peer_ip: peer, proto: "http" }),
            upgrade: head.upgrade.is_some(),
            expect: head.expect_continue,
            without: probe.then_some(super::probe::HEADER),
        };
        http1::write_request(head, &how, out);
        if edge.header_control {
            super::fields::strip_control(out);
        }
        let base = &self.upstream.base;
        if !base.is_empty() && head.target != "*" {
            let place = head.method.len() + 1;
            out.splice(place..place, base.bytes());
        }
    }
}

/// Neither closed nor with a byte that nobody asked for. Costs no system call unless something happened: without readiness
/// `try_read` does not ask the system.
fn is_idle(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Upstreams that take turns; at least one.
#[derive(Debug)]
pub(super) struct Routes {
    all: Box<[Rc<Route>]>,
    next: Cell<usize>,
}

impl Routes {
    /// The first turn is that of `start`.
    pub(super) fn new(upstreams: &[Upstream], start: usize) -> Self {
        Self { all: upstreams.iter().map(Route::new).collect(), next: Cell::new(start) }
    }

    /// Whose turn it is.
    pub(super) fn next(&self) -> Rc<Route> {
        if let [only] = &*self.all {
            return only.clone();
        }
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        self.all[turn % self.all.len()].clone()
    }

    /// Whether it is to these upstreams.
    pub(super) fn lead_to(&self, upstreams: &[Upstream]) -> bool {
        self.all.iter().map(|route| &route.upstream).eq(upstreams)
    }

    /// Tends the idle connections.
    pub(super) fn tick(&self) {
        self.all.iter().for_each(|route| route.tick());
    }

    /// Whether a connection to any of them is open or about to be.
    pub(super) fn are_used(&self) -> bool {
        self.all.iter().any(|route| Rc::strong_count(route) > 1 || !route.idle.borrow().is_empty())
    }
}
