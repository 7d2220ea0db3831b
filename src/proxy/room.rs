//! How many connections an edge has, and what becomes of one for which there is no room.
//!
//! Invariants: the count is exact over all workers, and never rises above a bound by more than those that were open before it;
//! a connection that is turned away is not counted.

use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::{h1, postgres};
use crate::decision::{FaultRef, Full, Protocol, Room};
use crate::http1::connection::Conn;
use crate::net::{socket, timer::Deadline};
use crate::plan::Stage;
use crate::proxy::subject;
use crate::telemetry::{ConnectionOutcome, Ending, Method, Origin};
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::net::TcpStream;

/// One of the connections of an edge, from the moment in which there is room for it.
#[derive(Debug)]
pub(super) struct Counted {
    edge: Rc<EdgeHere>,
    is: Cell<bool>,
}

impl Counted {
    /// A connection that has come. It counts at once, unless it is to be asked first whether there is room.
    pub(super) fn new(edge: Rc<EdgeHere>) -> Self {
        let is = !edge.shared.slot.load().plan.counts_connections();
        if is {
            edge.shared.open.fetch_add(1, Relaxed);
        }
        Self { edge, is: Cell::new(is) }
    }

    /// It counts from now on, if it did not before.
    pub(super) fn add(&self) {
        if !self.is.replace(true) {
            self.edge.shared.open.fetch_add(1, Relaxed);
        }
    }

    /// Whether there is room under all of these; if not, the first under which there is none.
    fn fit(&self, struck: &Struck) -> Result<(), (FaultRef, Full)> {
        if self.is.get() {
            return Ok(()); // it was here before the fault
        }
        let _one = self.edge.shared.counting.lock();
        let most = |room: &Room| {
            let leaked = struck.fault(room.by).map_or(0, |fault| fault.leaked());
            room.max.saturating_sub(leaked)
        };
        let rooms = struck.decision.rooms.iter().map(|room| (most(room), room));
        let Some((most, tightest)) = rooms.min_by_key(|(most, _)| *most) else {
            self.add();
            return Ok(());
        };
        let taken =
            self.edge.shared.open.fetch_update(Relaxed, Relaxed, |open| (open < most).then(|| open + 1));
        self.is.set(taken.is_ok());
        taken.map(drop).map_err(|_| (tightest.by, tightest.then))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.is.get() {
            let in_force = self.edge.shared.slot.load();
            let _one = in_force.plan.counts_connections().then(|| self.edge.shared.counting.lock());
            in_force.plan.connection_closed();
            self.edge.shared.open.fetch_sub(1, Relaxed);
        }
    }
}

/// A connection comes in: asks the faults that see nothing but its peer. What is left to do with it, if it is taken.
pub(super) async fn arrive(
    edge: &Rc<EdgeHere>,
    counted: &Counted,
    stream: TcpStream,
    peer: IpAddr,
    number: u64,
) -> Result<(TcpStream, Option<Box<Struck>>), ConnectionOutcome> {
    let protocol = edge.shared.config.protocol;
    let in_force = edge.shared.slot.get();
    let subject = subject::Connection { protocol, peer, connection: number };
    let decision = in_force.plan.decide(&subject, edge.shared.epoch.elapsed(), Stage::Accept);
    let Some(mut struck) = Struck::new(decision, in_force) else {
        counted.add();
        return Ok((stream, None));
    };
    match counted.fit(&struck) {
        Ok(()) => Ok((stream, Some(struck).filter(|struck| !struck.decision.action.is_forward()))),
        Err((by, then)) => Err(Box::pin(turn_away(edge, stream, &mut struck, by, then)).await),
    }
}

/// There is no room for it. It has no exchange on an HTTP edge: it is an injected connection.
async fn turn_away(
    edge: &Rc<EdgeHere>,
    stream: TcpStream,
    struck: &mut Struck,
    by: FaultRef,
    then: Full,
) -> ConnectionOutcome {
    let method = match edge.shared.config.protocol {
        Protocol::Http => Method::Other,
        Protocol::Tcp => Method::Tcp,
    };
    let mut record = Record::begin(edge, method, false);
    record.exchange.timed = false;
    record.outcome(Origin::Injected, Ending::Unanswered);
    struck.hit(by, "connections", &mut record);
    let mut conn = Conn::new(stream);
    match then {
        Full::Refuse | Full::Reset => {
            drop(record);
            socket::reset(conn.into_parts().0);
        }
        Full::Close => {
            drop(record);
            h1::close(&mut conn, &Deadline::new()).await;
        }
        Full::Postgres(code) => {
            let fault = struck.fault(by).filter(|_| !edge.shared.config.stealth);
            let from = fault.map_or("", |fault| fault.name().as_str());
            let limit = edge.shared.config.timeout.header;
            postgres::turn_away(&mut conn, code, from, limit).await;
        }
    }
    ConnectionOutcome::Injected
}
