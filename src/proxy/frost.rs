//! Freezes: what is on its way stops where it is, loses nothing, and goes on at once when it thaws or is healed.
//!
//! Invariants: a caller that resets its connection is seen within a tick or two; an end of its sending waits like its bytes.

use super::act::{self, Released};
use super::deliver::Delivered;
use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::h1::{Caller, Left, Next};
use super::slot::InForce;
use super::upload::Upload;
use crate::decision::{FaultRef, Freeze};
use crate::http1::connection::Conn;
use crate::net::{socket, timer, timer::Deadline};
use crate::plan::Armed;
use crate::telemetry::Origin;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Who has frozen the exchange at this moment, and until when: the one that thaws last.
pub(super) fn now(edge: &EdgeHere, struck: &Struck) -> Option<(FaultRef, Instant)> {
    let freezes = struck.decision.freezes.iter().filter(|(by, _)| !struck.is_healed(*by));
    let thaws = freezes.filter_map(|(by, freeze)| Some((*by, thaws(edge, struck.fault(*by)?, freeze)?)));
    thaws.max_by_key(|(_, at)| *at)
}

fn thaws(edge: &EdgeHere, fault: &Armed, freeze: &Freeze) -> Option<Instant> {
    let epoch = edge.shared.epoch;
    Some(epoch + fault.since() + freeze.thaws(epoch.elapsed().saturating_sub(fault.since()))?)
}

/// When it freezes next.
pub(super) fn next(edge: &EdgeHere, struck: &Struck) -> Option<Instant> {
    let epoch = edge.shared.epoch;
    let begins = |(by, freeze): &(FaultRef, Freeze)| {
        let since = struck.fault(*by).filter(|_| !struck.is_healed(*by))?.since();
        Some(epoch + since + freeze.next(epoch.elapsed().saturating_sub(since))?)
    };
    struck.decision.freezes.iter().filter_map(begins).min()
}

/// A freeze that was armed when an exchange was under way overtakes it, unless another fault has struck it.
pub(super) fn overtake(edge: &EdgeHere, struck: &mut Option<Box<Struck>>, record: &Record) {
    if edge.overtakes.get() && struck.is_none() {
        let in_force = edge.shared.slot.get();
        let began = record.exchange.began.saturating_duration_since(edge.shared.epoch);
        let decision = in_force.plan.overtake(began, record.exchange.health);
        *struck = Struck::new(decision, in_force);
    }
}

/// The head of an answer waits.
pub(super) async fn before_head(
    caller: &mut Caller,
    struck: &mut Struck,
    record: &mut Record,
) -> Option<Next> {
    match stall(caller, None, struck, record).await? {
        Left::Reset => {
            record.exchange.zombie = Some(Duration::ZERO);
            Some(act::left_while_held(caller, record, Left::Reset, Origin::Client))
        }
        Left::Fin => None,
    }
}

/// A piece of an answer waits.
pub(super) async fn before_piece(
    caller: &mut Caller,
    up: &Conn,
    struck: &mut Option<Box<Struck>>,
    record: &mut Record,
) -> Option<Delivered> {
    let struck = struck.as_deref_mut().filter(|struck| !struck.decision.freezes.is_empty())?;
    match stall(caller, Some(up), struck, record).await? {
        Left::Reset => Some(Delivered::CallerGone(io::ErrorKind::ConnectionReset.into())),
        Left::Fin => None,
    }
}

/// An answer stays where it is until nothing is frozen any more. How its caller left meanwhile.
async fn stall(
    caller: &mut Caller,
    up: Option<&Conn>,
    struck: &mut Struck,
    record: &mut Record,
) -> Option<Left> {
    let edge = caller.edge.clone();
    while let Some((by, _)) = now(&edge, struck) {
        struck.hit(by, "freeze", record);
        let begun = Instant::now();
        let in_force = struck.in_force().clone();
        let until = || now(&edge, struck).map(|(_, thaws)| Some(thaws)).ok_or(());
        let mut left = None;
        let mut watched = false;
        if caller.left.is_none() {
            // where as many are held as may be, it waits all the same: it has begun already
            match act::hold(&edge, &mut caller.conn, &in_force, until).await {
                Released::TooMany => {}
                Released::Left(how) => (left, watched) = (Some(how), true),
                Released::Over | Released::Healed => watched = true,
            }
        }
        if !watched && sleep(&edge, caller.conn.stream(), &in_force, until).await.is_err() {
            left = Some(Left::Reset);
        }
        record.exchange.waited += begun.elapsed();
        match left {
            // perhaps it only sends no more: what is written next will tell
            Some(Left::Fin) => {
                caller.left.note(Left::Fin);
                if let Some(up) = up {
                    socket::finish_sending(up.stream());
                }
            }
            Some(Left::Reset) => {
                caller.left.note(Left::Reset);
                return Some(Left::Reset);
            }
            None => {}
        }
    }
    None
}

/// Waits without reading: until the time that `until` tells (`Err`: at once); asks again whenever another plan is in force.
/// `Err` if the connection was reset meanwhile.
async fn sleep(
    edge: &EdgeHere,
    stream: &TcpStream,
    in_force: &Arc<InForce>,
    until: impl Fn() -> Result<Option<Instant>, ()>,
) -> Result<(), ()> {
    let watch = Deadline::new();
    let mut current = in_force.clone();
    while let Ok(Some(at)) = until() {
        let token = current.retired.clone();
        let mut retired = pin!(token.cancelled());
        let mut over = pin!(timer::sleep_until(at));
        let slept = poll_fn(|cx| {
            if is_reset(stream, &watch, cx) {
                return Poll::Ready(Err(()));
            }
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(true));
            }
            retired.as_mut().poll(cx).map(|()| Ok(false))
        })
        .await?;
        if slept {
            return Ok(());
        }
        current = edge.shared.slot.get();
    }
    Ok(())
}

/// Looks now and then whether a connection that is not read was reset.
fn is_reset(stream: &TcpStream, watch: &Deadline, cx: &mut Context<'_>) -> bool {
    watch.set(timer::TICK);
    let _ = watch.poll(cx);
    socket::has_ended(stream) && socket::pending_error(stream).is_some()
}

/// A tunnel stays as it is until nothing is frozen any more, or another plan is in force. `Err` if its caller reset it.
pub(super) async fn freeze_tunnel<'s>(
    edge: &EdgeHere,
    ends: [&Conn; 2],
    current: &Arc<InForce>,
    struck: impl Iterator<Item = &'s mut Struck>,
    record: &mut Record,
) -> Result<bool, ()> {
    let mut frozen: Vec<(&mut Struck, FaultRef, Instant)> = struck
        .filter_map(|struck| {
            let (by, thaws) = now(edge, struck)?;
            Some((struck, by, thaws))
        })
        .collect();
    let Some(thaws) = frozen.iter().map(|(.., thaws)| *thaws).max() else { return Ok(false) };
    let begun = Instant::now();
    let watch = Deadline::new();
    let mut retired = pin!(current.retired.cancelled());
    let mut over = pin!(timer::sleep_until(thaws));
    let reset = poll_fn(|cx| {
        if is_reset(ends[0].stream(), &watch, cx) {
            return Poll::Ready(true);
        }
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        retired.as_mut().poll(cx).map(|()| false)
    })
    .await;
    // somebody could see it if anything wanted to move
    if reset || ends.iter().any(|end| !end.bytes().is_empty() || socket::has_more(end.stream())) {
        record.exchange.waited += begun.elapsed();
        frozen.iter_mut().for_each(|(struck, by, _)| struck.hit(*by, "freeze", record));
    }
    if reset { Err(()) } else { Ok(true) }
}

/// What freezes the body of a request.
pub(super) struct Frost {
    edge: Rc<EdgeHere>,
    freezes: Vec<(FaultRef, Arc<Armed>, u64, Freeze)>,
    in_force: Arc<InForce>,
    wait: Option<Pin<Box<dyn Future<Output = ()>>>>,
    watch: Deadline,
    /// The fault that has stopped it.
    stopped: Option<FaultRef>,
}

impl Frost {
    /// Of an exchange that may freeze.
    pub(super) fn of(edge: &Rc<EdgeHere>, struck: Option<&Struck>) -> Option<Box<Self>> {
        let struck = struck.filter(|struck| !struck.decision.freezes.is_empty())?;
        let freezes = struck.decision.freezes.iter().filter_map(|(by, freeze)| {
            let (fault, switched) = struck.as_decided(*by)?;
            Some((*by, fault, switched, *freeze))
        });
        Some(Box::new(Self {
            edge: edge.clone(),
            freezes: freezes.collect(),
            in_force: edge.shared.slot.get(),
            wait: None,
            watch: Deadline::new(),
            stopped: None,
        }))
    }

    /// Pending while it is frozen; an error if the caller has reset its connection meanwhile.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, caller: &Conn) -> Poll<Result<(), ()>> {
        loop {
            self.freezes.retain(|(_, fault, switched, _)| fault.switched() == *switched);
            let frozen = self
                .freezes
                .iter()
                .filter_map(|(by, fault, _, freeze)| Some((*by, thaws(&self.edge, fault, freeze)?)));
            let Some((by, thaws)) = frozen.max_by_key(|(_, at)| *at) else {
                self.wait = None;
                return Poll::Ready(Ok(()));
            };
            // without a byte of it, nothing is stopped
            if !caller.bytes().is_empty() || socket::has_more(caller.stream()) {
                self.stopped = Some(by);
            }
            if is_reset(caller.stream(), &self.watch, cx) {
                return Poll::Ready(Err(()));
            }
            let wait = self.wait.get_or_insert_with(|| {
                let retired = self.in_force.retired.clone().cancelled_owned();
                Box::pin(async move {
                    tokio::select! {
                        () = retired => {}
                        () = timer::sleep_until(thaws) => {}
                    }
                })
            });
            if wait.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.wait = None;
            self.in_force = self.edge.shared.slot.get();
        }
    }

    /// The fault that has stopped it, if one has: told once.
    fn stopped(&mut self) -> Option<FaultRef> {
        self.stopped.take()
    }
}

/// A request whose body was stopped is one that the fault has hit.
pub(super) fn stopped(upload: &mut Upload, struck: &mut Option<Box<Struck>>, record: &mut Record) {
    if let Some(by) = upload.frost.as_deref_mut().and_then(Frost::stopped)
        && let Some(struck) = struck
    {
        struck.hit(by, "freeze", record);
    }
}

impl std::fmt::Debug for Frost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frost({} freezes)", self.freezes.len())
    }
}
