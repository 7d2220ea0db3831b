//! The cascade: who left its band first, and which of the ill edges is the source and which a symptom of which.
//!
//! Illness goes up: a caller fails because what it calls fails. Load goes down and sideways: a caller calls more, or less, because
//! something else fails. So an ill edge is a source if none below it fell ill before, and none above it earlier still; an edge of
//! which only the load changed is a source only if a fault on it explains that, or if there is nothing else that could.
//! Onsets lie milliseconds apart: within [`TIE`] the graph decides.

use super::signs::Sign;
use super::{FaultSpan, Onset, Traffic};

/// Onsets this near to each other are told apart by the graph, in seconds.
const TIE: f64 = 0.5;
/// A fault explains an onset up to so many seconds after it came in force, beside the tie.
const PROMPT: f64 = 1.5;
/// Connections that pile up explain callers only if they did so before them, but for this.
const PILE_TIE: f64 = 0.1;

/// What became of each edge.
pub(super) struct Signs<'a> {
    pub(super) traffic: &'a Traffic,
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
                Some(Onset {
                    edge: name(edge)?,
                    at: (moment(edge) - start).max(0.0),
                    signal: sign.signal,
                    baseline: sign.baseline,
                    observed: sign.observed,
                    source: role == Role::Source,
                    after: match role {
                        Role::Source => None,
                        Role::After(other) => name(other),
                    },
                    faults: self.faults(edge, sign.at).map(|fault| fault.name.clone()).collect(),
                    evidence: sign.evidence.clone(),
                })
            })
            .collect()
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

    /// Edges that left their band and that `pick` picks by (edge, other edge).
    fn beside(
        &self,
        edge: usize,
        pick: fn(Ends<'_>, Ends<'_>) -> bool,
    ) -> impl Iterator<Item = (usize, &Sign)> {
        let ends =
            |edge: usize| self.traffic.edges.get(edge).map(|edge| Ends { from: &edge.from, to: &edge.to });
        let own = ends(edge);
        self.of.iter().enumerate().filter_map(move |(other, sign)| {
            let sign = sign.as_ref()?;
            (other != edge && pick(own?, ends(other)?)).then_some((other, sign))
        })
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
            let below = self
                .beside(edge, below)
                .filter(|(other, below)| explains(*other, below) && below.at <= sign.at + TIE);
            let above = self.beside(edge, above).filter(|(_, above)| above.ill() && above.at < sign.at - TIE);
            let cause = earliest(below).or_else(|| earliest(above).filter(|_| !self.struck(edge, sign.at)));
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
        let before =
            |(other, beside): &(usize, &Sign)| *other != edge && beside.ill() && beside.at <= sign.at + TIE;
        let callers = |tie: f64| {
            earliest(self.beside(edge, above).filter(|(_, above)| above.ill() && above.at < sign.at - tie))
        };
        let own_first = sign.signal == super::Signal::Connections && callers(PILE_TIE).is_none();
        earliest(self.beside(edge, same_caller).filter(before))
            .or_else(|| if own_first { None } else { earliest(self.beside(edge, above).filter(before)) })
            .or_else(|| if own_first { None } else { self.first_of_all(edge, sign.at) })
            .map_or(Role::Source, Role::After)
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

#[derive(Clone, Copy)]
struct Ends<'a> {
    from: &'a str,
    to: &'a str,
}

fn below(own: Ends<'_>, other: Ends<'_>) -> bool {
    other.from == own.to
}

fn above(own: Ends<'_>, other: Ends<'_>) -> bool {
    other.to == own.from
}

fn same_caller(own: Ends<'_>, other: Ends<'_>) -> bool {
    other.from == own.from
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
