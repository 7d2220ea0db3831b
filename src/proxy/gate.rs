//! Gates: an exchange waits before them until it may pass, or is turned away.
//!
//! Invariants: whoever waits is let go at once when the fault heals or the caller leaves; a place behind a gate is kept in
//! what struck the exchange, and given back with it, however that ends.

use super::act::{self, Released};
use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::frost;
use super::h1::{Caller, Intake, Left, Next};
use crate::decision::{Answer, FaultRef, Gate, Hang, Lets, Then};
use crate::http1::connection::Conn;
use crate::plan::gates::{Entered, Lanes, Place, Width};
use crate::telemetry::Origin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// Why an exchange does not get past its gates.
pub(super) enum Stopped {
    /// Too many in this time; there is room again after so long.
    Limited(Duration),
    /// It waited for too long, or too many wait already.
    Full(Then),
    /// Its caller left.
    Left(Left),
    /// The edge holds as many as it may.
    TooMany,
}

/// Passes all gates, in their order. The places behind them are kept in `struck`.
pub(super) async fn pass(
    edge: &Rc<EdgeHere>,
    conn: &mut Conn,
    struck: &mut Struck,
    record: &mut Record,
) -> Result<(), Stopped> {
    for gate in std::mem::take(&mut struck.decision.gates) {
        if struck.is_healed(gate.by) {
            continue;
        }
        let Some(fault) = struck.fault(gate.by).cloned() else { continue };
        let gates = fault.gates();
        match gate.lets {
            Lets::Rate(rate) => {
                if let Err(wait) = gates.buckets.take(gate.key, rate, edge.shared.epoch.elapsed()) {
                    struck.hit(gate.by, "limit", record);
                    return Err(Stopped::Limited(wait));
                }
            }
            Lets::Thawed(_) => frozen(edge, conn, struck, record).await?,
            Lets::Some(capacity) => {
                let width = Width { max: capacity.max, queue: capacity.queue, hold: Duration::ZERO };
                let end = Some((capacity.wait, capacity.then));
                let row = Row { gate, lanes: &gates.places, width, end, action: "capacity" };
                enter(edge, conn, struck, record, row).await?;
            }
            Lets::One(hold) => {
                let width = Width { max: 1, queue: u32::MAX, hold };
                let row = Row { gate, lanes: &gates.rows, width, end: None, action: "serialize" };
                enter(edge, conn, struck, record, row).await?;
            }
        }
    }
    // perhaps it has frozen while it waited at another gate
    frozen(edge, conn, struck, record).await
}

/// A row before a gate.
struct Row<'g> {
    gate: Gate,
    lanes: &'g Arc<Lanes>,
    width: Width,
    /// How long each waits, and what comes then.
    end: Option<(Duration, Then)>,
    action: &'static str,
}

async fn enter(
    edge: &Rc<EdgeHere>,
    conn: &mut Conn,
    struck: &mut Struck,
    record: &mut Record,
    row: Row<'_>,
) -> Result<(), Stopped> {
    let (by, epoch) = (row.gate.by, edge.shared.epoch);
    let full = || Err(row.end.map_or(Stopped::TooMany, |(_, then)| Stopped::Full(then)));
    let mut place = match row.lanes.enter(row.gate.key, row.width, epoch.elapsed()) {
        Entered::Spared => return Ok(()),
        Entered::Full => {
            struck.hit(by, row.action, record);
            return full();
        }
        Entered::Place(place) => place,
    };
    let mut turn = now(&mut place, epoch);
    if turn.is_none_or(|turn| turn > Instant::now()) {
        struck.hit(by, row.action, record);
        let begun = Instant::now();
        let last = row.end.map(|(wait, _)| begun + wait);
        let in_force = struck.in_force().clone();
        let healed = |struck: &Struck, at| if struck.is_healed(by) { Err(()) } else { Ok(at) };
        let mut released = Released::Over;
        if turn.is_none() {
            let ask =
                |cx: &mut Context<'_>| place.poll(cx, epoch.elapsed()).map(|from| turn = Some(epoch + from));
            released = act::hold_or(edge, conn, &in_force, || healed(struck, last), ask).await;
        }
        if released == Released::Over && turn.is_some() {
            released = act::hold(edge, conn, &in_force, || healed(struck, turn)).await;
        }
        record.exchange.waited += begun.elapsed();
        match released {
            Released::Over if turn.is_none() => return full(),
            Released::Over => {}
            Released::Healed => return Ok(()),
            Released::Left(left) => return Err(Stopped::Left(left)),
            Released::TooMany => return Err(Stopped::TooMany),
        }
    }
    place.go_in();
    struck.places.push(place);
    Ok(())
}

/// Whether it is its turn, for a look.
fn now(place: &mut Place, epoch: Instant) -> Option<Instant> {
    match place.poll(&mut Context::from_waker(Waker::noop()), epoch.elapsed()) {
        Poll::Ready(from) => Some(epoch + from),
        Poll::Pending => None,
    }
}

/// Waits for as long as anything has frozen it.
async fn frozen(
    edge: &Rc<EdgeHere>,
    conn: &mut Conn,
    struck: &mut Struck,
    record: &mut Record,
) -> Result<(), Stopped> {
    while let Some((by, _)) = frost::now(edge, struck) {
        struck.hit(by, "freeze", record);
        let begun = Instant::now();
        let in_force = struck.in_force().clone();
        let until = || frost::now(edge, struck).map(|(_, thaws)| Some(thaws)).ok_or(());
        let released = act::hold(edge, conn, &in_force, until).await;
        record.exchange.waited += begun.elapsed();
        match released {
            Released::Over | Released::Healed => {}
            Released::Left(left) => return Err(Stopped::Left(left)),
            Released::TooMany => return Err(Stopped::TooMany),
        }
    }
    Ok(())
}

/// A request passes its gates; else what becomes of it.
pub(super) async fn before(
    caller: &mut Caller,
    intake: &mut Intake,
    struck: &mut Struck,
    record: &mut Record,
) -> Option<Next> {
    let edge = caller.edge.clone();
    let stopped = pass(&edge, &mut caller.conn, struck, record).await.err()?;
    Some(turn_away(caller, intake, struck, record, stopped).await)
}

/// A request waits until nothing is frozen any more.
pub(super) async fn thaw(
    caller: &mut Caller,
    intake: &mut Intake,
    struck: &mut Struck,
    record: &mut Record,
) -> Option<Next> {
    let edge = caller.edge.clone();
    let stopped = frozen(&edge, &mut caller.conn, struck, record).await.err()?;
    Some(turn_away(caller, intake, struck, record, stopped).await)
}

async fn turn_away(
    caller: &mut Caller,
    intake: &mut Intake,
    struck: &mut Struck,
    record: &mut Record,
    stopped: Stopped,
) -> Next {
    match stopped {
        Stopped::Limited(wait) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let headers = vec![("retry-after".to_owned(), seconds.max(1).to_string())];
            let answer = Answer { status: 429, headers, body: Vec::new() };
            act::respond(caller, intake, struck, record, &answer).await
        }
        Stopped::Full(then) => {
            act::end_hang(caller, intake, struck, record, Hang { time: None, then }, None).await
        }
        Stopped::Left(left) => act::left_while_held(caller, record, left, Origin::Client),
        Stopped::TooMany => act::too_many(caller, intake, record, None).await,
    }
}

/// A tunnel that was open before counts as one that is inside. Whether any gate counts it.
pub(super) fn count_in(edge: &EdgeHere, struck: &mut Struck) -> bool {
    let gates = std::mem::take(&mut struck.decision.gates);
    let place = |struck: &Struck, by: FaultRef, max: u32, gate: &Gate| {
        let width = Width { max, queue: u32::MAX, hold: Duration::ZERO };
        struck.fault(by)?.gates().places.count_in(gate.key, width, edge.shared.epoch.elapsed())
    };
    for gate in gates {
        if let Lets::Some(capacity) = gate.lets {
            let place = place(struck, gate.by, capacity.max, &gate);
            struck.places.extend(place);
        }
    }
    !struck.places.is_empty()
}
