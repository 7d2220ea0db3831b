//! Holding exchanges, and what is done before the upstream is called.
//!
//! Invariants: whoever is held is let go at once when the fault heals or the caller leaves; a held exchange keeps its own
//! bytes only; as many as the edge allows are held, and not one more.

use super::answer;
use super::call::Watch;
use super::deliver::cut_to_next;
use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::gate;
use super::h1::{Caller, Intake, Left, Next};
use super::reply::{self, Trouble};
use super::slot::InForce;
use crate::decision::{Action, Answer, Delay, FaultRef, Hang, Then};
use crate::http1::connection::{Conn, Lent};
use crate::net::timer;
use crate::telemetry::{ConnectionOutcome, Ending, Origin};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Why an exchange is held no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// Its time is over.
    Over,
    /// What held it was healed.
    Healed,
    /// Its caller left.
    Left(Left),
    /// The edge holds as many as it may.
    TooMany,
}

/// One of the exchanges that an edge holds.
struct Held(Rc<EdgeHere>);

impl Held {
    fn take(edge: &Rc<EdgeHere>) -> Option<Self> {
        let limit = edge.shared.config.max_held;
        edge.shared.held.fetch_update(Relaxed, Relaxed, |held| (held < limit).then_some(held + 1)).ok()?;
        edge.recorder.holding(1);
        Some(Self(edge.clone()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.shared.held.fetch_sub(1, Relaxed);
        self.0.recorder.holding(-1);
    }
}

/// Holds an exchange until the moment that `until` tells (`None`: for ever); asks again whenever another plan is in force.
/// `until` answers `Err` once everything that held it is healed.
pub(super) async fn hold(
    edge: &Rc<EdgeHere>,
    conn: &mut Conn,
    in_force: &Arc<InForce>,
    until: impl Fn() -> Result<Option<Instant>, ()>,
) -> Released {
    hold_or(edge, conn, in_force, until, |_| Poll::Pending).await
}

/// The same, until it is its turn: then it is over too.
pub(super) async fn hold_or(
    edge: &Rc<EdgeHere>,
    conn: &mut Conn,
    in_force: &Arc<InForce>,
    until: impl Fn() -> Result<Option<Instant>, ()>,
    mut turn: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Released {
    if until().is_err() {
        return Released::Healed;
    }
    let Some(_held) = Held::take(edge) else { return Released::TooMany };
    conn.shrink();
    let mut current = in_force.clone();
    let mut watch = Watch::default();
    loop {
        let Ok(at) = until() else { return Released::Healed };
        let mut over = pin!(async {
            match at {
                Some(at) => timer::sleep_until(at).await,
                None => pending().await,
            }
        });
        let token = current.retired.clone();
        let mut retired = pin!(token.cancelled());
        let event = poll_fn(|cx| {
            if turn(cx).is_ready() || over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(Released::Over));
            }
            if retired.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            watch.poll(cx, conn).map(|left| Some(Released::Left(left)))
        })
        .await;
        match event {
            Some(released) => return released,
            None => current = edge.shared.slot.get(),
        }
    }
}

/// Holds an exchange for its delays: their sum, less those that were healed meanwhile.
pub(super) async fn delay(
    edge: &Rc<EdgeHere>,
    conn: &mut Conn,
    struck: &mut Struck,
    delays: &[Delay],
    record: &mut Record,
) -> Released {
    let begun = Instant::now();
    for delay in delays.iter().filter(|delay| !delay.time.is_zero()) {
        struck.hit(delay.by, "latency", record);
    }
    let wanted = |struck: &Struck| -> Option<Duration> {
        let armed = delays.iter().filter(|delay| !struck.is_healed(delay.by));
        let mut any = false;
        let sum = armed.inspect(|_| any = true).map(|delay| delay.time).sum();
        any.then_some(sum)
    };
    let in_force = struck.in_force().clone();
    let released =
        hold(edge, conn, &in_force, || wanted(struck).map(|time| Some(begun + time)).ok_or(())).await;
    let waited = begun.elapsed();
    record.exchange.waited += waited;
    if let (Released::Over, Some(asked)) = (released, wanted(struck)) {
        record.exchange.asked += asked;
        let late = waited.saturating_sub(asked);
        edge.recorder.delay_error(late);
        for delay in delays {
            if let Some(fault) = struck.fault(delay.by) {
                fault.rule().totals.late(late);
            }
        }
    }
    released
}

/// Holds an exchange for a hang.
pub(super) async fn hang(
    edge: &Rc<EdgeHere>,
    conn: &mut Conn,
    struck: &Struck,
    by: FaultRef,
    time: Option<Duration>,
    record: &mut Record,
) -> Released {
    let begun = Instant::now();
    let at = time.map(|time| begun + time);
    let in_force = struck.in_force().clone();
    let released = hold(edge, conn, &in_force, || if struck.is_healed(by) { Err(()) } else { Ok(at) }).await;
    record.exchange.waited += begun.elapsed();
    released
}

/// What is done before the upstream is called; `None`: go on to it.
pub(super) async fn before(
    caller: &mut Caller,
    intake: &mut Intake,
    struck: &mut Struck,
    record: &mut Record,
) -> Option<Next> {
    let edge = caller.edge.clone();
    let compact = intake.out.0.to_vec();
    intake.out = Lent(compact);
    let waited = struck.decision.waits();
    if !struck.decision.gates.is_empty()
        && let Some(next) = Box::pin(gate::before(caller, intake, struck, record)).await
    {
        return Some(next);
    }
    let mut delays = std::mem::take(&mut struck.decision.delays);
    delays.shrink_to_fit();
    if !delays.is_empty() {
        match delay(&edge, &mut caller.conn, struck, &delays, record).await {
            Released::Over | Released::Healed => {}
            Released::Left(left) => return Some(left_while_held(caller, record, left, Origin::Client)),
            Released::TooMany => return Some(Box::pin(too_many(caller, intake, record, None)).await),
        }
        // perhaps it has frozen meanwhile
        if !struck.decision.freezes.is_empty()
            && let Some(next) = Box::pin(gate::thaw(caller, intake, struck, record)).await
        {
            return Some(next);
        }
    }
    match std::mem::take(&mut struck.decision.action) {
        Action::Forward => None,
        // what was decided is done, unless it was healed during a wait
        action if waited && action_is_healed(&action, struck) => {
            caller.call_back(intake);
            None
        }
        Action::Reroute(by, _) => {
            struck.hit(by, "reroute", record);
            None
        }
        Action::Respond(by, answer) => {
            struck.hit(by, "respond", record);
            Some(Box::pin(respond(caller, intake, struck, record, &answer)).await)
        }
        Action::Cut(by, cut) => {
            let next = cut_to_next(cut);
            struck.hit(
                by,
                if next == Next::Reset(ConnectionOutcome::Injected) { "reset" } else { "close" },
                record,
            );
            record.outcome(Origin::Injected, Ending::Unanswered);
            Some(next)
        }
        Action::Hang(by, wish) => {
            struck.hit(by, "hang", record);
            match hang(&edge, &mut caller.conn, struck, by, wish.time, record).await {
                Released::Over => Some(Box::pin(end_hang(caller, intake, struck, record, wish, None)).await),
                Released::Healed => None,
                Released::Left(left) => Some(left_while_held(caller, record, left, Origin::Injected)),
                Released::TooMany => Some(Box::pin(too_many(caller, intake, record, None)).await),
            }
        }
        Action::Blackhole(by) => {
            struck.hit(by, "blackhole", record);
            record.outcome(Origin::Injected, Ending::Unanswered);
            match hang(&edge, &mut caller.conn, struck, by, None, record).await {
                Released::Left(left) => Some(left_while_held(caller, record, left, Origin::Injected)),
                _ => Some(Next::Close(ConnectionOutcome::Injected)),
            }
        }
    }
}

fn action_is_healed(action: &Action, struck: &Struck) -> bool {
    match action {
        Action::Forward => false,
        Action::Respond(by, _)
        | Action::Reroute(by, _)
        | Action::Hang(by, _)
        | Action::Cut(by, _)
        | Action::Blackhole(by) => struck.is_healed(*by),
    }
}

/// The answer of a fault, in the upstream's place.
pub(super) async fn respond(
    caller: &mut Caller,
    intake: &Intake,
    struck: &Struck,
    record: &mut Record,
    answer: &Answer,
) -> Next {
    let read = answer::swallow(caller, intake, record).await;
    respond_read(caller, intake, struck, record, answer, read).await
}

/// The same, when it is known whether the request was read whole.
pub(super) async fn respond_read(
    caller: &mut Caller,
    intake: &Intake,
    struck: &Struck,
    record: &mut Record,
    answer: &Answer,
    read: bool,
) -> Next {
    let marked = struck.mark(record).filter(|_| !caller.edge.shared.config.stealth);
    // the mark borrows the record, which is written to below
    let fields: Vec<(String, String)> = marked
        .map(|mark| mark.fields().map(|(name, value)| (name.to_owned(), value)).collect())
        .unwrap_or_default();
    let answer = Answer { headers: [answer.headers.clone(), fields].concat(), ..answer.clone() };
    let write = |how, out: &mut Vec<u8>| reply::injected(&answer, how, out);
    let next = answer::respond(caller, intake, record, answer.status, read, write).await;
    record.exchange.origin = Origin::Injected;
    next
}

/// What comes when the time of a hang is over. `read` tells whether the request was read whole; `None`: nothing of it was.
pub(super) async fn end_hang(
    caller: &mut Caller,
    intake: &Intake,
    struck: &Struck,
    record: &mut Record,
    wish: Hang,
    read: Option<bool>,
) -> Next {
    match wish.then {
        Then::Status(status) => {
            let answer = Answer { status, headers: Vec::new(), body: Vec::new() };
            let read = is_read(caller, intake, record, read).await;
            respond_read(caller, intake, struck, record, &answer, read).await
        }
        Then::Cut(cut) => {
            record.outcome(Origin::Injected, Ending::Unanswered);
            cut_to_next(cut)
        }
    }
}

/// A caller that left while it was held is let go at once; nobody is called for it.
pub(super) fn left_while_held(caller: &mut Caller, record: &mut Record, left: Left, origin: Origin) -> Next {
    caller.left.note(left);
    record.outcome(origin, Ending::CallerLeft);
    record.ended = caller.left.at();
    match left {
        Left::Fin => Next::Close(ConnectionOutcome::Ok),
        Left::Reset => Next::Reset(ConnectionOutcome::Reset),
    }
}

/// The edge holds as many as it may: answered at once, so that a fault cannot take the proxy down.
pub(super) async fn too_many(
    caller: &mut Caller,
    intake: &Intake,
    record: &mut Record,
    read: Option<bool>,
) -> Next {
    let config = &caller.edge.shared.config;
    let why = Trouble::new(
        503,
        "held",
        format!("faults hold {} requests on edge `{}` already", config.max_held, config.name),
    );
    let read = is_read(caller, intake, record, read).await;
    answer::answer(caller, intake, record, Origin::Internal, &why, read).await
}

/// Whether the request was read whole; if nothing of it was, it is read now.
async fn is_read(caller: &mut Caller, intake: &Intake, record: &mut Record, read: Option<bool>) -> bool {
    match read {
        Some(read) => read,
        None => answer::swallow(caller, intake, record).await,
    }
}
