//! One exchange from its head to its end: what it is recorded as, and what struck it.
//!
//! A [`Record`] is written when it is dropped, so that an exchange whose task vanishes is counted too, and each exactly once.

use super::edge::EdgeHere;
use super::identity::{Known, Print};
use super::reply::Mark;
use super::slot::InForce;
use super::tee::Tee;
use crate::decision::{Decision, FaultRef};
use crate::plan::Armed;
use crate::plan::gates::Place;
use crate::telemetry::{Ending, Exchange, Hit, Identity, Method, Origin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Record {
    edge: Rc<EdgeHere>,
    /// What it is recorded as; filled in as it goes.
    pub exchange: Exchange,
    /// When its last byte had passed; `None`: when it is dropped.
    pub ended: Option<Instant>,
    /// What looks at the answer as it passes.
    pub tee: Option<Box<Tee>>,
    /// What is looked at of its body, if that says which logical request it is.
    pub print: Option<Box<Print>>,
    /// For how long faults had held it when the upstream was called.
    pub held_before: Duration,
    /// Of one whose own part is measured: when its request had been sent, and when its answer had come whole.
    pub measured: Option<(Instant, Instant)>,
    permit: bool,
}

impl Record {
    pub(super) fn begin(edge: &Rc<EdgeHere>, method: Method, health: bool) -> Self {
        edge.recorder.began();
        Self {
            exchange: Exchange {
                edge: edge.shared.id,
                phase: edge.recorder.phase(),
                began: Instant::now(),
                took: Duration::ZERO,
                upstream_took: None,
                timed: true,
                method,
                status: 0,
                origin: Origin::Internal,
                ending: Ending::Unanswered,
                failed: false,
                health,
                zombie: None,
                identity: Identity::None,
                target: 0,
                retry_after: None,
                bytes_up: 0,
                bytes_down: 0,
                asked: Duration::ZERO,
                waited: Duration::ZERO,
                hits: Vec::new(),
                lies: Vec::new(),
            },
            tee: None,
            print: None,
            held_before: Duration::ZERO,
            measured: None,
            permit: false,
            ended: None,
            edge: edge.clone(),
        }
    }

    /// Which logical request it is an attempt of.
    pub(super) fn is_of(&mut self, known: Known) {
        (self.exchange.identity, self.exchange.target) = (known.identity, known.target);
        self.print = known.print;
    }

    /// Takes a place among the requests in flight.
    pub(super) fn take_permit(&mut self) -> bool {
        self.permit = self.edge.in_flight.take();
        self.permit
    }

    /// The outcome.
    pub(super) fn outcome(&mut self, origin: Origin, ending: Ending) {
        self.exchange.origin = origin;
        self.exchange.ending = ending;
    }

    /// For how long the upstream has been at it, without what faults held back meanwhile.
    pub(super) fn upstream_took(&self, sent: Instant, now: Instant) -> Duration {
        let (sent, now) = self.measured.unwrap_or((sent, now));
        let held = self.exchange.waited.saturating_sub(self.held_before);
        now.saturating_duration_since(sent).saturating_sub(held)
    }

    /// The caller left before it was answered; whose doing it is stays as it is if a fault kept it waiting for ever.
    pub(super) fn caller_left(&mut self) {
        self.exchange.ending = Ending::CallerLeft;
        self.exchange.origin = Origin::Client;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.permit {
            self.edge.in_flight.give_back();
        }
        let exchange = &mut self.exchange;
        if let Some(print) = &self.print {
            exchange.identity = print.identity();
        }
        let ended = self.ended.unwrap_or_else(Instant::now);
        exchange.took = ended.saturating_duration_since(exchange.began);
        exchange.failed = match (exchange.method, exchange.ending) {
            (_, Ending::Incomplete | Ending::Unanswered | Ending::CallerLeft) => true,
            (Method::Tcp, Ending::Complete) => false,
            (_, Ending::Complete) => exchange.status != 101 && self.edge.shared.fails(exchange.status),
        };
        self.edge.recorder.bytes(exchange.bytes_up, exchange.bytes_down);
        let hits = std::mem::take(&mut exchange.hits);
        let lies = std::mem::take(&mut exchange.lies);
        self.edge.recorder.ended(Exchange { hits, lies, ..exchange.clone() });
    }
}

/// A decision that does something, with the plan that made it.
#[derive(Debug)]
pub(super) struct Struck {
    /// What is to be done.
    pub decision: Decision,
    /// Its places behind gates, given back with it.
    pub places: Vec<Place>,
    /// What the caller is told is not what the upstream said: the outcome is injected.
    pub outcome_is_ours: bool,
    in_force: Arc<InForce>,
    hit: Vec<bool>,
    /// How often each fault was switched when this was decided.
    switched: Vec<u64>,
}

impl Struck {
    /// `None` if nothing is to be done.
    pub(super) fn new(decision: Decision, in_force: Arc<InForce>) -> Option<Box<Self>> {
        let count = decision.applied.len();
        (count > 0).then(|| {
            let at = |by: &FaultRef| in_force.plan.fault(*by).map_or(0, |fault| fault.switched());
            let switched = decision.applied.iter().map(at).collect();
            Box::new(Self {
                decision,
                places: Vec::new(),
                outcome_is_ours: false,
                in_force,
                hit: vec![false; count],
                switched,
            })
        })
    }

    /// What is in force since it was last looked at; for those who wait.
    pub(super) fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    /// The fault of the plan that decided.
    pub(super) fn fault(&self, by: FaultRef) -> Option<&Arc<Armed>> {
        self.in_force.plan.fault(by)
    }

    /// Whether the fault was healed since.
    pub(super) fn is_healed(&self, by: FaultRef) -> bool {
        let place = self.decision.applied.iter().position(|applied| *applied == by);
        let Some((place, fault)) = place.zip(self.fault(by)) else { return true };
        fault.is_healed() || self.switched.get(place) != Some(&fault.switched())
    }

    /// The fault, to be asked by others whether it is still on; `None` if it is not.
    pub(super) fn lease(&self, by: FaultRef) -> Option<Lease> {
        let place = self.decision.applied.iter().position(|applied| *applied == by)?;
        let lease = Lease { by, fault: self.fault(by)?.clone(), switched: *self.switched.get(place)? };
        lease.is_on().then_some(lease)
    }

    /// A fault that decided, and how often it was switched then.
    pub(super) fn as_decided(&self, by: FaultRef) -> Option<(Arc<Armed>, u64)> {
        let place = self.decision.applied.iter().position(|applied| *applied == by)?;
        Some((self.fault(by)?.clone(), *self.switched.get(place)?))
    }

    /// Somebody can see this fault: counted once an exchange, and written into its record.
    pub(super) fn hit(&mut self, by: FaultRef, action: &'static str, record: &mut Record) {
        let Some(place) = self.decision.applied.iter().position(|applied| *applied == by) else { return };
        let Some(fault) = self.in_force.plan.fault(by) else { return };
        if !std::mem::replace(&mut self.hit[place], true) {
            fault.hit();
            record.exchange.hits.reserve_exact(1); // a held request keeps it
            record.exchange.hits.push(Hit { fault: fault.name().clone(), action: action.into() });
        }
    }

    /// Whether every fault that struck was healed since.
    pub(super) fn is_over(&self) -> bool {
        self.decision.applied.iter().all(|by| self.is_healed(*by))
    }

    /// What marks an answer as touched; `None` if nothing touched it so far.
    pub(super) fn mark<'r>(&'r self, record: &'r Record) -> Option<Mark<'r>> {
        self.mark_with(record, &[])
    }

    /// The same, with faults of which it is not known yet whether they will touch it.
    pub(super) fn mark_with<'r>(&'r self, record: &'r Record, acting: &[FaultRef]) -> Option<Mark<'r>> {
        let mut faults: Vec<&str> = record.exchange.hits.iter().map(|hit| hit.fault.as_str()).collect();
        for fault in acting.iter().filter_map(|by| self.fault(*by)) {
            if !faults.contains(&fault.name().as_str()) {
                faults.push(fault.name().as_str());
            }
        }
        (!faults.is_empty()).then_some(Mark { faults, delay: record.exchange.waited })
    }
}

/// A fault that struck, for those who cannot ask the whole decision.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// Its place in the plan.
    pub by: FaultRef,
    fault: Arc<Armed>,
    switched: u64,
}

impl Lease {
    /// Whether it was not healed since.
    pub(super) fn is_on(&self) -> bool {
        !self.fault.is_healed() && self.fault.switched() == self.switched
    }
}

impl Drop for Struck {
    fn drop(&mut self) {
        for (by, hit) in self.decision.applied.iter().zip(&self.hit) {
            if !hit && let Some(fault) = self.in_force.plan.fault(*by) {
                fault.missed();
            }
        }
    }
}
