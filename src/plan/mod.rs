//! The compiled faults of one edge, and the decision.
//!
//! [`Plan::decide`] is pure but for the ordinals it counts: no I/O, no clock, no global chance. The same seed, faults and order
//! of requests give the same decisions, whatever the number of threads. Knows nothing of tokio, hyper or TOML.

mod asked;
pub mod gates;
mod index;
mod matcher;
mod overtake;
mod tally;
pub mod timeline;

pub use asked::ENVOY;
pub use tally::{Tally, Totals};

use crate::decision::{Decision, Dice, FaultRef, Key, Protocol, Sticky, Subject};
use crate::fault::{Fault, Moment};
use crate::model::{FaultRule, Ramp};
use crate::units::Name;
use index::Index;
use matcher::Matcher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The faults in force on one edge, in file order. Immutable; arming publishes another.
#[derive(Debug, Default)]
pub struct Plan {
    faults: Vec<Arc<Armed>>,
    /// Finds those that a request can be struck by: the others cost nothing, however many there are.
    index: Index,
    at_accept: bool,
    on_exchange: bool,
    counts_connections: bool,
    keeps_answers: bool,
    refuses: Option<FaultRef>,
    /// What requests may ask for themselves.
    asked: Option<Box<asked::Asked>>,
}

/// One fault in force: its compiled rule, and what it has done since it was armed.
#[derive(Debug)]
pub struct Armed {
    rule: Arc<Compiled>,
    /// When it was armed, on the clock that `decide` is asked by.
    since: Duration,
    tally: Tally,
    gates: gates::Gates,
    /// How often it was switched off and on again: odd while it is off.
    switched: AtomicU64,
}

/// A rule, ready to be asked.
#[derive(Debug)]
pub struct Compiled {
    /// Its name.
    pub name: Name,
    key: Key,
    matcher: Matcher,
    percent: f64,
    sticky: Option<Sticky>,
    first: u64,
    after: u64,
    every: u64,
    max: u64,
    ramp: Option<Ramp>,
    actions: Vec<Fault>,
    at_accept: bool,
    counts_connections: bool,
    freezes_all: bool,
    seed: u64,
    /// What it has done in all its armings.
    pub totals: Arc<Totals>,
}

impl Compiled {
    /// Compiles a rule. `scale` stretches its ramp (`time_scale`).
    ///
    /// # Errors
    /// A sentence for the user: a pattern that is none, or a fault that does not fit an edge of this protocol.
    pub fn new(
        rule: &FaultRule,
        seed: u64,
        protocols: &[Protocol],
        scale: f64,
        totals: Arc<Totals>,
    ) -> Result<Self, String> {
        for action in &rule.actions {
            for protocol in protocols {
                action.as_apply().fits(*protocol)?;
            }
        }
        let at_accept = rule.actions.iter().any(|action| action.as_apply().at_accept());
        let counts_connections = rule.actions.iter().any(|action| action.as_apply().counts_connections());
        if counts_connections && rule.actions.len() > 1 {
            return Err(
                "`connections` is about connections, and the other actions about what is in them: give it a \
                        fault of its own"
                    .into(),
            );
        }
        if at_accept && rule.actions.len() > 1 {
            return Err(
                "`at = \"accept\"` is over before anything else could happen: give it a fault of its own"
                    .into(),
            );
        }
        let matcher = Matcher::new(&rule.who)?;
        if let Some(Sticky::PathSegment(name)) = &rule.who.sticky
            && !matcher.names_segment(name)
        {
            return Err(format!(
                "`sticky = \"path:{name}\"` needs a `match.path` with a segment `{{{name}}}`"
            ));
        }
        for action in &rule.actions {
            if let Some(Sticky::PathSegment(name)) = action.as_apply().apart(None)
                && !matcher.names_segment(name)
            {
                return Err(format!(
                    "`key = \"path:{name}\"` needs a `match.path` with a segment `{{{name}}}`"
                ));
            }
        }
        let ramp = rule.when.schedule.as_ref().and_then(|schedule| schedule.ramp).map(|ramp| match ramp {
            Ramp::Percent(time) => Ramp::Percent(time.mul_f64(scale)),
            Ramp::Dose(time) => Ramp::Dose(time.mul_f64(scale)),
        });
        Ok(Self {
            name: rule.name.clone(),
            key: Key::of(rule.name.as_str().as_bytes()),
            matcher,
            percent: rule.who.percent.ratio(),
            sticky: rule.who.sticky.clone(),
            first: rule.who.first.unwrap_or(u64::MAX),
            after: rule.who.after,
            every: rule.who.every.max(1),
            max: rule.who.max.unwrap_or(u64::MAX),
            ramp,
            actions: rule.actions.clone(),
            at_accept,
            counts_connections,
            freezes_all: overtake::freezes_all(rule),
            seed,
            totals,
        })
    }

    /// Writes what it does to this one into the decision.
    fn apply(&self, moment: Moment, subject: &dyn Subject, dice: &mut Dice, decision: &mut Decision) {
        decision.applied.push(moment.by);
        for action in self.actions.iter().map(Fault::as_apply) {
            let apart = action.apart(self.sticky.as_ref());
            let key = apart.and_then(|apart| self.matcher.key(apart, subject));
            action.apply(&Moment { key, ..moment }, dice, decision);
        }
    }

    /// What metrics call its effect: the first of its actions.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.actions.first().map_or("none", |fault| fault.as_apply().action())
    }
}

impl Armed {
    /// Puts a compiled rule in force.
    #[must_use]
    pub fn new(rule: Arc<Compiled>, since: Duration) -> Self {
        Self {
            rule,
            since,
            tally: Tally::default(),
            gates: gates::Gates::default(),
            switched: AtomicU64::new(0),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.rule.name
    }

    /// When it was armed, on the clock that `decide` is asked by.
    #[must_use]
    pub fn since(&self) -> Duration {
        self.since
    }

    /// What is behind its gates.
    #[must_use]
    pub fn gates(&self) -> &gates::Gates {
        &self.gates
    }

    /// Connections that have closed and still count.
    #[must_use]
    pub fn leaked(&self) -> u32 {
        self.gates.leaked(self.switched())
    }

    /// Its rule.
    #[must_use]
    pub fn rule(&self) -> &Arc<Compiled> {
        &self.rule
    }

    /// It is not in force any more: who is held by it is let go.
    pub fn heal(&self) {
        self.switched.fetch_or(1, Ordering::AcqRel);
    }

    /// It is in force again, where it left off: its ordinals go on.
    pub fn resume(&self) {
        let next = |count: u64| (!count.is_multiple_of(2)).then_some(count + 1);
        let _ = self.switched.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// Whether it is not in force any more.
    #[must_use]
    pub fn is_healed(&self) -> bool {
        !self.switched().is_multiple_of(2)
    }

    /// How often it was switched: what was decided before the last time is over.
    #[must_use]
    pub fn switched(&self) -> u64 {
        self.switched.load(Ordering::Acquire)
    }

    /// Someone could see it. Counted by the data path, at most once an exchange.
    pub fn hit(&self) {
        self.rule.totals.hit();
    }

    /// The listener was closed by it, and nobody can connect: matched, selected and hit once for each arming.
    pub fn refused(&self) {
        if self.tally.number() == 1 {
            self.rule.totals.matched();
            self.rule.totals.selected();
            self.rule.totals.hit();
        }
    }

    /// It was selected, but nobody could see it: its place under `max` is free again.
    pub fn missed(&self) {
        self.tally.give_back();
    }

    /// Whether it strikes this one, and the dice for its actions if it does. One draw for each match.
    fn select(&self, subject: &dyn Subject, elapsed: Duration) -> Option<Dice> {
        let rule = &*self.rule;
        rule.totals.matched();
        let percent = match rule.ramp {
            Some(Ramp::Percent(time)) => rule.percent * grown(elapsed, time),
            _ => rule.percent,
        };
        let chosen = |n: u64| {
            let m = n.checked_sub(rule.after).filter(|m| *m >= 1)?;
            (m <= rule.first && (m - 1).is_multiple_of(rule.every)).then_some(())
        };
        let dice = match &rule.sticky {
            None => {
                let n = self.tally.number();
                chosen(n)?;
                let mut dice = Dice::new(rule.seed, rule.key, Key(n));
                (dice.unit() < percent && self.tally.reserve(rule.max)).then_some(dice)?
            }
            Some(sticky) => {
                let key = rule.matcher.key(sticky, subject)?;
                let mut victim = Dice::new(rule.seed, rule.key, key);
                if victim.unit() >= percent {
                    return None;
                }
                let n = self.tally.number_of(key, rule.max, |n| chosen(n).is_some())?;
                Dice::new(victim.bits(), rule.key, Key(n))
            }
        };
        rule.totals.selected();
        Some(dice)
    }
}

/// How far a ramp has come.
fn grown(elapsed: Duration, over: Duration) -> f64 {
    if over.is_zero() { 1.0 } else { (elapsed.as_secs_f64() / over.as_secs_f64()).min(1.0) }
}

/// What a decision is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A connection was accepted; on TCP edges, only what bounds connections is asked.
    Accept,
    /// A request head came; on TCP edges, a connection was accepted.
    Exchange,
}

impl Plan {
    /// A plan of these faults, in this order.
    #[must_use]
    pub fn new(faults: Vec<Arc<Armed>>) -> Self {
        let refuses = faults
            .iter()
            .position(|fault| fault.rule.actions.iter().any(Fault::refuses))
            .map(|place| FaultRef(place as u16));
        let at_accept = faults.iter().any(|fault| fault.rule.at_accept);
        let on_exchange = faults
            .iter()
            .any(|fault| !fault.rule.at_accept && fault.rule.actions.iter().any(|action| !action.refuses()));
        let counts_connections = faults.iter().any(|fault| fault.rule.counts_connections);
        let keeps =
            |fault: &Arc<Armed>| fault.rule.actions.iter().any(|action| matches!(action, Fault::Stale(_)));
        let keeps_answers = faults.iter().any(keeps);
        let index = Index::new(faults.iter().map(|fault| &fault.rule.matcher));
        Self {
            faults,
            index,
            at_accept,
            on_exchange,
            counts_connections,
            keeps_answers,
            refuses,
            asked: None,
        }
    }

    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[Arc<Armed>] {
        &self.faults
    }

    /// The fault that a decision names.
    #[must_use]
    pub fn fault(&self, by: FaultRef) -> Option<&Arc<Armed>> {
        let place = usize::from(by.0);
        let asked = || self.asked.as_ref()?.ready.get(place.checked_sub(self.faults.len())?);
        self.faults.get(place).or_else(asked)
    }

    /// The fault that closes the listener, if there is one.
    #[must_use]
    pub fn refuses(&self) -> Option<FaultRef> {
        self.refuses
    }

    /// Whether answers must be kept, so that a fault has some to give.
    #[must_use]
    pub fn keeps_answers(&self) -> bool {
        self.keeps_answers
    }

    /// Whether anything can come of asking at this stage.
    #[must_use]
    pub fn asks(&self, stage: Stage) -> bool {
        match stage {
            Stage::Accept => self.at_accept,
            Stage::Exchange => self.on_exchange || self.at_accept || self.asked.is_some(),
        }
    }

    /// Whether a fault bounds the connections of the edge.
    #[must_use]
    pub fn counts_connections(&self) -> bool {
        self.counts_connections
    }

    /// A connection of the edge has closed: it stays counted where a fault says so.
    pub fn connection_closed(&self) {
        let leaks = |action: &Fault| matches!(action, Fault::Connections(bound) if bound.leak);
        for fault in &self.faults {
            if fault.rule.counts_connections && fault.rule.actions.iter().any(leaks) {
                fault.gates.leak(fault.switched());
            }
        }
    }

    /// As [`decide`](Self::decide), asking only some of the faults: those that an open connection has not been asked about before.
    #[must_use]
    pub fn decide_for(
        &self,
        subject: &dyn Subject,
        now: Duration,
        stage: Stage,
        ask: impl Fn(&Arc<Armed>) -> bool,
    ) -> Decision {
        let mut decision = Decision::default();
        let protocol = subject.protocol();
        // a connection that was only accepted has no path yet
        let found = match (protocol, stage) {
            (Protocol::Http, Stage::Exchange) => self.index.find(subject.path().as_bytes(), subject),
            _ => self.index.all(),
        };
        for place in found {
            let Some(fault) = self.faults.get(place) else { break };
            let rule = &*fault.rule;
            let here = match protocol {
                Protocol::Http => rule.at_accept == (stage == Stage::Accept),
                Protocol::Tcp => rule.counts_connections == (stage == Stage::Accept),
            };
            if !here || Some(FaultRef(place as u16)) == self.refuses {
                continue;
            }
            if !rule.matcher.matches(subject) || !ask(fault) {
                continue;
            }
            let elapsed = now.saturating_sub(fault.since);
            let Some(mut dice) = fault.select(subject, elapsed) else { continue };
            let by = FaultRef(place as u16);
            let dose = match rule.ramp {
                Some(Ramp::Dose(time)) => grown(elapsed, time),
                _ => 1.0,
            };
            rule.apply(Moment { by, elapsed, dose, protocol, key: None }, subject, &mut dice, &mut decision);
        }
        decision
    }
}

#[cfg(test)]
mod tests;
