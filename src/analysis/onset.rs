//! The cascade: who left its band first, and which of the ill edges is the source and which a symptom of which.
//!
//! Illness goes up: a caller fails because what it calls fails. Load goes down and sideways: a caller calls more, or less, because
//! something else fails. So an ill edge is a source if none below it fell ill before, and none above it earlier still; an edge of
//! which only the load changed is a source only if a fault on it explains that, or if there is nothing else that could.
//! Onsets lie milliseconds apart: within [`TIE`] the graph decides.

use super::graph::Graph;
use super::signs::Sign;
use super::{FaultSpan, Onset, Traffic};
use crate::model::Phase;

/// Onsets this near to each other are told apart by the graph, in seconds.
const TIE: f64 = 0.5;
/// A fault explains an onset up to so many seconds after it came in force, beside the tie.
const PROMPT: f64 = 1.5;
/// Connections that pile up explain callers only if they did so before them, but for this.
const PILE_TIE: f64 = 0.1;

/// What became of each edge.
pub(super) struct Signs<'a> {
    pub(super) traffic: &'a Traffic,
    pub(super) graph: &'a Graph,
    /// Of which edges nothing can be said.
    pub(super) unjudged: Vec<bool>,
    /// Of each edge, in the order of the file.
    pub(super) of: Vec<Option<Sign>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Source,
    After(usize),
}

impl Signs<'_> {
    /// The edges that left their band, the earliest first.
    pub(super) fn cascade(&self) -> Vec<Onset> {
        let start = super::signs::looked(self.traffic).map_or(0.0, |looked| looked.from);
        let roles = self.roles();
        let at = self.dated(&roles);
        let mut order: Vec<(usize, Role, &Sign)> = Vec::new();
        for (edge, (role, sign)) in roles.iter().zip(&self.of).enumerate() {
            if let (Some(role), Some(sign)) = (role, sign) {
                order.push((edge, *role, sign));
            }
        }
        let steps = |edge: usize| steps(&roles, edge);
        let moment = |edge: usize| at.get(edge).copied().unwrap_or(f64::INFINITY);
        order.sort_by(|a, b| moment(a.0).total_cmp(&moment(b.0)).then(steps(a.0).cmp(&steps(b.0))));
        let name = |edge: usize| self.traffic.edges.get(edge).map(|edge| edge.name.clone());
        order
            .into_iter()
            .filter_map(|(edge, role, sign)| {
                let struck = self.struck(edge, sign.at);
                let hidden = self.hidden(edge, sign.at + TIE).filter(|_| role == Role::Source && !struck);
                let mut evidence = sign.evidence.clone();
                if let Some(hidden) = hidden.and_then(name) {
                    evidence = format!("{evidence}; whether `{hidden}` was ill before cannot be judged");
                }
                Some(Onset {
                    edge: name(edge)?,
                    at: (moment(edge) - start).max(0.0),
                    signal: sign.signal,
                    baseline: sign.baseline,
                    observed: sign.observed,
                    source: role == Role::Source && hidden.is_none(),
                    after: match role {
                        Role::Source => None,
                        Role::After(other) => name(other),
                    },
                    faults: self.faults(edge, sign.at).map(|fault| fault.name.clone()).collect(),
                    evidence,
                })
            })
            .collect()
    }

    /// Something below an edge that was called and cannot be judged: it may be what is ill.
    fn hidden(&self, edge: usize, until: f64) -> Option<usize> {
        let from = super::signs::looked(self.traffic)?.from;
        let called = |other: &usize| {
            let edge = self.traffic.edges.get(*other);
            edge.is_some_and(|edge| edge.exchanges.iter().any(|it| it.ended() >= from && it.began <= until))
        };
        // After heal anything may be the wake of what is not seen.
        let healed = self.traffic.phase(Phase::Fault).is_some_and(|fault| until >= fault.to);
        let near = if healed { (0..self.of.len()).collect() } else { self.graph.below(edge).concat() };
        near.into_iter().filter(|other| self.unjudged.get(*other).is_some_and(|it| *it)).find(called)
    }

    /// Edges of which only the rate changed, and nothing that was seen explains it: the load itself may have.
    pub(super) fn unexplained(&self) -> Vec<usize> {
        let roles = self.roles();
        let ill = self.of.iter().flatten().any(Sign::ill);
        let lonely = |edge: &usize| {
            self.sign(*edge).is_some_and(|sign| {
                sign.signal == super::Signal::Rate
                    && !self.struck(*edge, sign.at)
                    && (!ill || roles.get(*edge).is_some_and(|role| *role == Some(Role::Source)))
            })
        };
        (0..self.of.len()).filter(lonely).collect()
    }

    fn sign(&self, edge: usize) -> Option<&Sign> {
        self.of.get(edge).and_then(Option::as_ref)
    }

    /// The faults in force on an edge, or on the service behind it, when it fell ill.
    fn faults(&self, edge: usize, at: f64) -> impl Iterator<Item = &FaultSpan> {
        let to = self.traffic.edges.get(edge).map_or("", |edge| edge.to.as_str());
        self.traffic.faults.iter().filter(move |fault| {
            let here = fault.edges.contains(&edge) || fault.services.iter().any(|service| service == to);
            here && fault.from <= at + TIE && fault.to >= at
        })
    }

    /// Whether a fault on this edge came in force just before it left its band.
    fn struck(&self, edge: usize, at: f64) -> bool {
        self.faults(edge, at).any(|fault| at - fault.from <= PROMPT)
    }

    /// Edges that left their band, of these.
    fn signed(&self, edges: &[usize]) -> impl Iterator<Item = (usize, &Sign)> {
        edges.iter().filter_map(|edge| Some((*edge, self.sign(*edge)?)))
    }

    fn roles(&self) -> Vec<Option<Role>> {
        let mut roles: Vec<Option<Role>> = vec![None; self.of.len()];
        // Loads first: one that is a source explains those above it as an illness would.
        for edge in 0..self.of.len() {
            let Some(sign) = self.sign(edge).filter(|sign| !sign.ill()) else { continue };
            let role = self.role_of_load(edge, sign);
            if let Some(role_of) = roles.get_mut(edge) {
                *role_of = Some(role);
            }
        }
        let loads = roles.clone();
        let explains = |edge: usize, sign: &Sign| {
            sign.ill() || loads.get(edge).is_some_and(|role| *role == Some(Role::Source))
        };
        for edge in 0..self.of.len() {
            let Some(sign) = self.sign(edge).filter(|sign| sign.ill()) else { continue };
            // The nearest below that was ill before: what lies between may be seen late, or not at all.
            let struck = self.struck(edge, sign.at);
            let below = self.graph.below(edge).into_iter().enumerate().find_map(|(depth, level)| {
                let before = self
                    .signed(&level)
                    .filter(|(other, below)| explains(*other, below) && below.at <= sign.at + TIE);
                earliest(before).filter(|_| depth == 0 || !struck)
            });
            let above = self.graph.above(edge).concat();
            let above = self.signed(&above).filter(|(_, above)| above.ill() && above.at < sign.at - TIE);
            // What falls ill after heal does so in the wake of what was ill before.
            let healed = self.traffic.phase(Phase::Fault).is_some_and(|fault| sign.at >= fault.to - TIE);
            let cause = below
                .or_else(|| earliest(above).filter(|_| !struck))
                .or_else(|| self.first_of_all(edge, sign.at - 2.0 * TIE).filter(|_| healed && !struck));
            if let Some(role) = roles.get_mut(edge) {
                *role = Some(cause.map_or(Role::Source, Role::After));
            }
        }
        self.break_rings(&mut roles);
        roles
    }

    fn role_of_load(&self, edge: usize, sign: &Sign) -> Role {
        if self.struck(edge, sign.at) {
            return Role::Source;
        }
        let before = |(_, other): &(usize, &Sign)| other.ill() && other.at <= sign.at + TIE;
        let above = self.graph.above(edge).into_iter().next().unwrap_or_default();
        let callers =
            |tie: f64| self.signed(&above).any(|(_, above)| above.ill() && above.at < sign.at - tie);
        let own_first = sign.signal == super::Signal::Connections && !callers(PILE_TIE);
        let besides = earliest(self.signed(&self.graph.beside(edge)).filter(before));
        let found = if own_first {
            // More come over its caller's own edges, or something was ill well before.
            let more = self.signed(&above).filter(|(_, above)| !above.ill() && above.at <= sign.at + TIE);
            besides.or_else(|| earliest(more)).or_else(|| self.first_of_all(edge, sign.at - 2.0 * TIE))
        } else {
            besides
                .or_else(|| earliest(self.signed(&above).filter(before)))
                .or_else(|| self.first_of_all(edge, sign.at))
        };
        found.map_or(Role::Source, Role::After)
    }

    /// The edge that left its band before all others, if that was before this one did.
    fn first_of_all(&self, edge: usize, at: f64) -> Option<usize> {
        let others = self.of.iter().enumerate().filter_map(|(other, sign)| Some((other, sign.as_ref()?)));
        let key = |sign: &Sign| (!sign.ill(), sign.at);
        let first = others
            .filter(|(other, sign)| *other != edge && sign.at <= at + if sign.ill() { TIE } else { -TIE })
            .min_by(|a, b| key(a.1).0.cmp(&key(b.1).0).then(a.1.at.total_cmp(&b.1.at)));
        first.map(|(other, _)| other)
    }

    /// Edges that follow each other in a ring: the one that was first is the source.
    fn break_rings(&self, roles: &mut [Option<Role>]) {
        for edge in 0..roles.len() {
            let mut ring = vec![edge];
            let mut at = edge;
            while let Some(Some(Role::After(next))) = roles.get(at).copied() {
                if let Some(start) = ring.iter().position(|seen| *seen == next) {
                    let members = ring.split_off(start);
                    let first = earliest(members.iter().filter_map(|it| Some((*it, self.sign(*it)?))));
                    if let Some(role) = first.and_then(|first| roles.get_mut(first)) {
                        *role = Some(Role::Source);
                    }
                    break;
                }
                ring.push(next);
                at = next;
            }
        }
    }

    /// When each fell ill: none later than those that follow from it.
    fn dated(&self, roles: &[Option<Role>]) -> Vec<f64> {
        let mut at: Vec<f64> =
            self.of.iter().map(|sign| sign.as_ref().map_or(f64::INFINITY, |sign| sign.at)).collect();
        for _ in 0..at.len() {
            let mut moved = false;
            for (edge, role) in roles.iter().enumerate() {
                let (Some(Role::After(cause)), Some(own)) = (role, at.get(edge).copied()) else { continue };
                if let Some(cause) = at.get_mut(*cause).filter(|cause| **cause > own) {
                    *cause = own;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        at
    }
}

fn earliest<'a>(all: impl Iterator<Item = (usize, &'a Sign)>) -> Option<usize> {
    all.min_by(|a, b| a.1.at.total_cmp(&b.1.at)).map(|(edge, _)| edge)
}

/// How many edges lie between this one and its source.
fn steps(roles: &[Option<Role>], edge: usize) -> usize {
    let mut at = edge;
    for steps in 0..roles.len() {
        match roles.get(at) {
            Some(Some(Role::After(next))) => at = *next,
            _ => return steps,
        }
    }
    roles.len()
}
