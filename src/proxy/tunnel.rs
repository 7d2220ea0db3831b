//! Bytes both ways: connections of TCP edges, and connections that were upgraded.
//!
//! Invariants: a half that ends is passed on as an end, an error of one side resets both; what both sides had sent already
//! goes first; an open tunnel is asked about anew when a fault is armed, once for each.

use super::act::{self, Released};
use super::asker::{Asker, acts_on_tunnels};
use super::deliver::{add_mark, cut_to_next};
use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::frost;
use super::gate;
use super::h1::{self, Caller, Intake, Left, Next};
use super::shape::{Shaper, cut_action};
use super::slot::InForce;
use super::tunnel_bytes::{self, Mangle, Piece};
use crate::decision::{Action, Cut, FaultRef};
use crate::http1::connection::{Conn, LARGE, SMALL};
use crate::net::socket;
use crate::net::timer::{self, Deadline};
use crate::plan::Armed;
use crate::telemetry::{ConnectionOutcome, Ending, Origin};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// A tunnel may be silent for this long at least: pools of database connections are.
const SILENCE: Duration = Duration::from_secs(3600);

/// An upgraded connection, from its 101 on.
pub(super) async fn upgraded(
    caller: &mut Caller,
    intake: &mut Intake,
    record: &mut Record,
    up: Conn,
    struck: Option<Box<Struck>>,
) -> Next {
    record.exchange.status = 101;
    record.exchange.timed = false;
    let mut out = std::mem::take(&mut intake.out.0);
    if let Some(struck) = &struck {
        add_mark(&caller.edge, struck, record, &mut out);
    }
    if caller.write_all(&out).await.is_err() {
        record.caller_left();
        return Next::Reset(ConnectionOutcome::Reset);
    }
    let (head, asked) = match intake.upgrade.take() {
        Some(upgrade) => (Some(upgrade.head), upgrade.in_force),
        None => (None, caller.edge.shared.slot.get()),
    };
    let asker = Asker { peer: caller.peer, connection: caller.number, head, health: intake.health };
    let edge = caller.edge.clone();
    let (next, _) = relay(&edge, &mut caller.conn, up, &asker, asked, struck, record).await;
    next
}

/// What one decision does to an open tunnel.
pub(super) struct Grip {
    struck: Box<Struck>,
    up: (Shaper, Option<Box<Mangle>>),
    down: (Shaper, Option<Box<Mangle>>),
}

impl Grip {
    fn new(mut struck: Box<Struck>) -> Self {
        let (mut up, mut down) =
            (std::mem::take(&mut struck.decision.up), std::mem::take(&mut struck.decision.down));
        let mangles = (Mangle::take(&mut up, &struck), Mangle::take(&mut down, &struck));
        Self { up: (Shaper::new(Some(up)), mangles.0), down: (Shaper::new(Some(down)), mangles.1), struck }
    }

    /// What it does to one direction.
    pub(super) fn way(&mut self, upward: bool) -> (&mut Shaper, Option<&mut Mangle>, &mut Struck) {
        let (shaper, mangle) = if upward { &mut self.up } else { &mut self.down };
        (shaper, mangle.as_deref_mut(), &mut self.struck)
    }
}

/// One direction.
#[derive(Default)]
pub(super) struct Way {
    ended: bool,
    /// The wait before the piece in the buffer.
    wait: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// That wait is over.
    pub free: bool,
    pub bytes: u64,
    /// What is on its way slowly or changed.
    pub piece: Piece,
}

pub(super) enum Moved {
    Bytes,
    End,
    /// The sender's side broke.
    FromBroke,
    /// The receiver's side broke.
    ToBroke,
    Cut(Cut),
}

/// Passes bytes both ways until both sides have ended. The second value tells whether the connection ended in order.
pub(super) async fn relay(
    edge: &Rc<EdgeHere>,
    caller: &mut Conn,
    mut up: Conn,
    asker: &Asker,
    asked: Arc<InForce>,
    struck: Option<Box<Struck>>,
    record: &mut Record,
) -> (Next, bool) {
    let silence = SILENCE.max(edge.shared.config.timeout.idle);
    let deadline = Deadline::new();
    // what was armed since the plan was asked is asked below
    let mut current = asked;
    let mut known: Vec<Arc<Armed>> = current.plan.faults().to_vec();
    let mut grips: Vec<Grip> = struck.into_iter().map(Grip::new).collect();
    let (mut upward, mut downward, mut turn) = (Way::default(), Way::default(), false);
    let mut broken = false;
    let (next, in_order) = loop {
        if let Some(next) = seize(edge, caller, &mut grips, record).await {
            break (next, false);
        }
        let struck = grips.iter_mut().map(|grip| &mut *grip.struck);
        let frozen = match frost::freeze_tunnel(edge, [caller, &up], &current, struck, record).await {
            Ok(frozen) => frozen,
            Err(()) => {
                record.caller_left();
                socket::reset(up.into_parts().0);
                record.exchange.bytes_up = upward.bytes;
                record.exchange.bytes_down = downward.bytes;
                return (Next::Reset(ConnectionOutcome::Reset), false);
            }
        };
        deadline.set(silence);
        let cut_at = grips.iter().flat_map(|grip| {
            [grip.down.0.cut_at(&grip.struck), frost::next(edge, &grip.struck)].into_iter().flatten()
        });
        let cut_at = cut_at.min();
        let mut cut_now = pin!(async {
            match cut_at {
                Some(at) => timer::sleep_until(at).await,
                None => pending().await,
            }
        });
        let token = current.retired.clone();
        let mut retired = pin!(token.cancelled());
        let draining = &edge.here.draining;
        let event = poll_fn(|cx| {
            if cut_now.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::CutTime);
            }
            if retired.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Retired);
            }
            if frozen {
                return Poll::Ready(Event::Thawed);
            }
            // in turn, so that a busy direction does not starve the other
            for _ in 0..2 {
                turn = !turn;
                let moved = if turn {
                    poll_way(cx, &mut upward, caller, &mut up, &mut grips, true, record).map(Event::Up)
                } else {
                    poll_way(cx, &mut downward, &mut up, caller, &mut grips, false, record).map(Event::Down)
                };
                if moved.is_ready() {
                    return moved;
                }
            }
            if draining.get() {
                return Poll::Ready(Event::Silent);
            }
            deadline.poll(cx).map(|()| Event::Silent)
        })
        .await;
        match event {
            Event::Up(Moved::Bytes) | Event::Down(Moved::Bytes) => {}
            Event::Up(Moved::End) | Event::Down(Moved::End) => {
                if broken && downward.ended {
                    record.outcome(Origin::Upstream, Ending::Incomplete);
                    break (Next::Reset(ConnectionOutcome::Error), false);
                }
                if upward.ended && downward.ended {
                    record.outcome(Origin::Upstream, Ending::Complete);
                    break (Next::Close(ConnectionOutcome::Ok), true);
                }
            }
            // it takes no more, and what it said before is passed on first
            Event::Up(Moved::ToBroke) if !downward.ended => {
                upward.ended = true;
                broken = true;
            }
            Event::Up(Moved::FromBroke) | Event::Down(Moved::ToBroke) => {
                record.caller_left();
                socket::reset(up.into_parts().0);
                record.exchange.bytes_up = upward.bytes;
                record.exchange.bytes_down = downward.bytes;
                return (Next::Reset(ConnectionOutcome::Reset), false);
            }
            Event::Up(Moved::ToBroke) | Event::Down(Moved::FromBroke) => {
                record.outcome(Origin::Upstream, Ending::Incomplete);
                break (Next::Reset(ConnectionOutcome::Error), false);
            }
            Event::Up(Moved::Cut(cut)) | Event::Down(Moved::Cut(cut)) => {
                record.outcome(Origin::Injected, Ending::Incomplete);
                break (cut_to_next(cut), false);
            }
            Event::Thawed => {}
            Event::CutTime => {
                let cut = grips.iter_mut().find_map(|grip| grip.down.0.cut_in_time(&mut grip.struck, record));
                if let Some(cut) = cut {
                    record.outcome(Origin::Injected, Ending::Incomplete);
                    break (cut_to_next(cut), false);
                }
            }
            Event::Retired => {
                current = edge.shared.slot.get();
                grips.retain(|grip| !grip.struck.is_over());
                let mut struck = asker.ask(edge, &current, &known);
                let counts = struck.as_mut().is_some_and(|struck| gate::count_in(edge, struck));
                let acting = struck.filter(|struck| counts || acts_on_tunnels(&struck.decision));
                grips.extend(acting.map(Grip::new));
                known = current.plan.faults().to_vec();
            }
            Event::Silent => {
                record.outcome(Origin::Internal, Ending::Complete);
                break (Next::Close(ConnectionOutcome::Timeout), true);
            }
        }
    };
    record.exchange.bytes_up = upward.bytes;
    record.exchange.bytes_down = downward.bytes;
    if downward.piece.touched {
        record.exchange.origin = Origin::Injected;
    }
    if matches!(next, Next::Reset(_)) {
        socket::reset(up.into_parts().0);
    }
    if matches!(next, Next::Reset(ConnectionOutcome::Injected | ConnectionOutcome::Error)) {
        h1::settle(caller, &deadline).await;
    }
    (next, in_order)
}

enum Event {
    Up(Moved),
    Down(Moved),
    CutTime,
    /// It was frozen: it is looked again whether it still is.
    Thawed,
    Retired,
    Silent,
}

/// What newly armed faults do to the tunnel as a whole: cut it, or hold it.
async fn seize(
    edge: &Rc<EdgeHere>,
    caller: &mut Conn,
    grips: &mut [Grip],
    record: &mut Record,
) -> Option<Next> {
    for grip in grips {
        let struck = &mut *grip.struck;
        let (by, time, end, name) = match std::mem::take(&mut struck.decision.action) {
            Action::Cut(by, cut) if !struck.is_healed(by) => {
                struck.hit(by, cut_action(cut), record);
                record.outcome(Origin::Injected, Ending::Incomplete);
                return Some(cut_to_next(cut));
            }
            Action::Hang(by, wish) => match wish.then {
                crate::decision::Then::Cut(cut) => (by, wish.time, cut_to_next(cut), "hang"),
                crate::decision::Then::Status(_) => (by, wish.time, cut_to_next(Cut::Close), "hang"),
            },
            Action::Blackhole(by) => (by, None, Next::Close(ConnectionOutcome::Injected), "blackhole"),
            _ => continue,
        };
        if struck.is_healed(by) {
            continue;
        }
        struck.hit(by, name, record);
        let released = act::hang(edge, caller, struck, by, time, record).await;
        match released {
            Released::Healed if name == "blackhole" => {
                record.outcome(Origin::Injected, Ending::Incomplete);
                return Some(end);
            }
            Released::Healed => {}
            Released::Over | Released::TooMany => {
                record.outcome(Origin::Injected, Ending::Incomplete);
                return Some(end);
            }
            Released::Left(left) => {
                record.outcome(Origin::Injected, Ending::CallerLeft);
                return Some(match left {
                    Left::Fin => Next::Close(ConnectionOutcome::Ok),
                    Left::Reset => Next::Reset(ConnectionOutcome::Reset),
                });
            }
        }
    }
    None
}

/// Moves bytes one way: waits before a piece, cuts after so many bytes, passes an end on.
fn poll_way(
    cx: &mut Context<'_>,
    way: &mut Way,
    from: &mut Conn,
    to: &mut Conn,
    grips: &mut [Grip],
    upward: bool,
    record: &mut Record,
) -> Poll<Moved> {
    if way.ended {
        return Poll::Pending;
    }
    if from.bytes().is_empty() {
        // no more is read than can be sent
        let slow = grips.iter_mut().any(|grip| grip.way(upward).1.is_some());
        return match ready!(from.poll_fill(cx, if slow { SMALL } else { LARGE })) {
            Ok(0) => {
                way.ended = true;
                socket::finish_sending(to.stream());
                Poll::Ready(Moved::End)
            }
            Ok(_) => Poll::Ready(Moved::Bytes),
            Err(_) => Poll::Ready(Moved::FromBroke),
        };
    }
    if !way.free && way.wait.is_none() {
        let mut wait = Duration::ZERO;
        for grip in &mut *grips {
            let (shaper, _, struck) = grip.way(upward);
            if let Some((by, time)) = shaper.draw(struck) {
                struck.hit(by, "latency", record);
                wait += time;
            }
        }
        if wait.is_zero() {
            way.free = true;
        } else {
            way.wait = Some(Box::pin(timer::sleep_until(Instant::now() + wait)));
        }
    }
    if let Some(wait) = &mut way.wait {
        let healed = grips.iter().all(|grip| {
            let applied = &grip.struck.decision.applied;
            applied.iter().all(|by: &FaultRef| grip.struck.is_healed(*by))
        });
        if !healed {
            ready!(wait.as_mut().poll(cx));
        }
        way.wait = None;
        way.free = true;
    }
    if let Some(moved) = tunnel_bytes::poll_piece(cx, way, (from, to), grips, upward, record) {
        return moved;
    }
    let mut length = from.bytes().len();
    let mut cut = None;
    for grip in &mut *grips {
        let (shaper, _, struck) = grip.way(upward);
        if let Some((left, how)) = shaper.cut_in_bytes(struck, length as u64, record) {
            length = left;
            cut = Some(how);
        }
    }
    if length == 0
        && let Some(cut) = cut
    {
        return Poll::Ready(Moved::Cut(cut));
    }
    match ready!(to.poll_write(cx, &from.bytes()[..length])) {
        Ok(count) => {
            from.consume(count);
            way.bytes += count as u64;
            for grip in grips {
                grip.way(upward).0.passed += count as u64;
            }
            if from.bytes().is_empty() {
                way.free = false;
            }
            Poll::Ready(Moved::Bytes)
        }
        Err(_) => Poll::Ready(Moved::ToBroke),
    }
}
