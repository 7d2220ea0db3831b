//! The same request sent more than once, and whether its answers were the same.
//!
//! Invariants: as many at once as the fault and the edge's `max_in_flight` allow, and not one more; when the fault heals, what
//! was not sent is not sent any more and what is under way is dropped; no copy is recorded as an exchange, because no caller
//! made it.

use super::act;
use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::h1::{self, Caller, Intake, Left, Next, PIPELINED};
use super::route::Route;
use super::slot::InForce;
use super::tee::{Sum, Summed, Tee};
use crate::decision::{Copies, FaultRef};
use crate::http1::connection::LARGE;
use crate::http1::{self, Body, Limits};
use crate::net::timer::{self, Deadline};
use crate::telemetry::Origin;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What is to be sent, and how.
struct Job {
    edge: Rc<EdgeHere>,
    route: Rc<Route>,
    request: Rc<[u8]>,
    is_head: bool,
    wish: Copies,
    in_force: Arc<InForce>,
    by: FaultRef,
    switched: u64,
    /// The answers so far.
    sums: RefCell<Vec<Sum>>,
}

/// Begins to send copies of the request in `intake.out`; `Some`: the exchange is over.
pub(super) async fn send(
    caller: &mut Caller,
    intake: &Intake,
    struck: &mut Struck,
    record: &mut Record,
    by: FaultRef,
    wish: Copies,
) -> Option<Next> {
    struck.hit(by, "duplicate", record);
    let in_force = struck.in_force().clone();
    let job = Job {
        edge: caller.edge.clone(),
        route: intake.route.clone(),
        request: intake.out.0.as_slice().into(),
        is_head: intake.is_head,
        wish,
        switched: struck.fault(by)?.switched(),
        in_force,
        by,
        sums: RefCell::default(),
    };
    let (own, reference) = oneshot::channel();
    let (done, all_sent) = oneshot::channel();
    record.tee = Some(Box::new(Tee::for_copies(own)));
    tokio::task::spawn_local(drive(job, reference, done));
    if !wish.last {
        return None;
    }
    let mut all_sent = pin!(all_sent);
    let left = poll_fn(|cx| {
        if all_sent.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while caller.conn.bytes().len() < PIPELINED {
            match caller.conn.poll_fill(cx, PIPELINED) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Left::Fin)),
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Left::Reset)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        Poll::Pending
    })
    .await?;
    Some(act::left_while_held(caller, record, left, Origin::Client))
}

/// Sends all copies, or as many as there are until the fault heals, and counts those whose answer was another one.
async fn drive(job: Job, reference: oneshot::Receiver<Sum>, done: oneshot::Sender<()>) {
    let mut reference = pin!(reference);
    // `None`: not known yet; a caller whose exchange ended without an answer has none
    let mut own: Option<Option<Sum>> = None;
    {
        let mut healed = pin!(job.healed());
        if !job.wish.last && job.wish.concurrency == 1 {
            // one after the other: the caller's own is the first
            let mut wait = pin!(async { own = Some(reference.as_mut().await.ok()) });
            race(wait.as_mut(), healed.as_mut()).await;
        }
        let mut work = pin!(job.send_all());
        race(work.as_mut(), healed.as_mut()).await;
    }
    drop(done);
    let own = match own {
        Some(own) => own,
        None => reference.await.ok(),
    };
    let sums = job.sums.borrow();
    let Some(own) = own.or_else(|| sums.first().copied()) else { return };
    let differ = sums.iter().filter(|sum| **sum != own).count();
    job.edge.recorder.duplicates_differ(differ as u64);
}

/// Waits for the one or the other; the first counts if both are ready.
async fn race(mut one: std::pin::Pin<&mut impl Future>, mut other: std::pin::Pin<&mut impl Future>) {
    poll_fn(|cx| {
        let over = other.as_mut().poll(cx).is_ready() || one.as_mut().poll(cx).is_ready();
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// A place among the requests in flight.
struct Place(Rc<EdgeHere>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.give_back();
    }
}

impl Job {
    fn is_over(&self) -> bool {
        let fault = self.in_force.plan.fault(self.by);
        self.edge.here.draining.get()
            || fault.is_none_or(|fault| fault.is_healed() || fault.switched() != self.switched)
    }

    /// Waits until the fault is healed.
    async fn healed(&self) {
        let mut current = self.in_force.clone();
        while !self.is_over() {
            current.retired.cancelled().await;
            current = self.edge.shared.slot.get();
        }
        std::future::ready(()).await;
    }

    async fn send_all(&self) {
        let begun = Instant::now();
        let mut under_way: JoinSet<Option<Sum>> = JoinSet::new();
        let take = |answer: Result<Option<Sum>, _>| {
            if let Ok(Some(sum)) = answer {
                self.sums.borrow_mut().push(sum);
            }
        };
        for n in 0..self.wish.times {
            while under_way.len() >= self.wish.concurrency as usize {
                match under_way.join_next().await {
                    Some(answer) => take(answer),
                    None => break,
                }
            }
            if !self.wish.over.is_zero() {
                let share = f64::from(n + 1) / f64::from(self.wish.times);
                timer::sleep_until(begun + self.wish.over.mul_f64(share)).await;
            }
            let mut placed = self.edge.in_flight.take();
            // a caller that waits for its copies has a place itself: if there is no other, there will be none
            while !(placed || self.wish.last && under_way.is_empty()) {
                if under_way.is_empty() {
                    timer::sleep_until(Instant::now() + timer::TICK).await;
                } else if let Some(answer) = under_way.join_next().await {
                    take(answer);
                }
                placed = self.edge.in_flight.take();
            }
            if !placed {
                continue;
            }
            let place = Place(self.edge.clone());
            let (route, request, is_head) = (self.route.clone(), self.request.clone(), self.is_head);
            under_way.spawn_local(async move {
                let answer = one(&place.0, &route, &request, is_head).await;
                answer.ok()
            });
        }
        while let Some(answer) = under_way.join_next().await {
            take(answer);
        }
    }
}

/// Sends one copy, and reads its answer to the end.
async fn one(edge: &EdgeHere, route: &Route, request: &[u8], is_head: bool) -> io::Result<Sum> {
    let times = edge.shared.config.timeout;
    let deadline = Deadline::new();
    let mut up = match route.take() {
        Some(up) => up,
        None => {
            route.connect(&edge.shared.config, &deadline).await.map_err(|_| io::ErrorKind::NotConnected)?
        }
    };
    // its answer may come before it is sent whole
    let sent = h1::write_all(&mut up, &deadline, times.idle, request).await.is_ok();
    let mut answer: Option<(Body, Summed, bool)> = None;
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    loop {
        if answer.is_none() {
            let mut slots = http1::slots();
            let method = if is_head { "HEAD" } else { "GET" };
            let head = http1::parse_response(up.bytes(), &mut slots, &Limits::default(), method);
            if let Some(head) = head.map_err(|_| broken())? {
                let length = head.len;
                if !head.is_interim() {
                    if head.status == 101 {
                        return Err(broken());
                    }
                    answer = Some((Body::new(head.framing), Summed::new(head.status), head.keep_alive));
                }
                up.consume(length);
                continue;
            }
        }
        let mut over = false;
        if let Some((body, sum, keeps)) = &mut answer {
            while !up.bytes().is_empty() && !body.is_done() {
                let step = body.next(up.bytes()).map_err(|_| broken())?;
                sum.add(&up.bytes()[step.data]);
                up.consume(step.consumed);
            }
            if body.is_done() {
                over = true;
                // one that has not got all of the request would take the next one for the rest of it
                if sent && *keeps && up.bytes().is_empty() {
                    route.keep(up);
                    return Ok(sum.sum());
                }
            }
        }
        if over && let Some((_, sum, _)) = &answer {
            return Ok(sum.sum());
        }
        deadline.set(times.upstream.max(times.idle));
        let read = poll_fn(|cx| match up.poll_fill(cx, LARGE) {
            Poll::Pending => deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            read => read,
        })
        .await?;
        if read == 0 {
            return match &answer {
                Some((body, sum, _)) if body.eof().is_ok() => Ok(sum.sum()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}
