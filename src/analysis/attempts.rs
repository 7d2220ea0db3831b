//! Which exchanges of an edge are attempts of one logical request.
//!
//! A repetition of identity and target within [`RETRY_WITHIN`] is an attempt of the same request. A trace id goes through all
//! hops, a request id often, and a service may be called twice under one, or once by each attempt of its caller: both are split
//! by the exchange of the service's own caller in which the attempt began, if one has the same id. For trace ids and fingerprints a repetition counts only after the attempt before it failed or was abandoned.
//! An exchange without identity is of no logical request. Knows nothing of phases.

use super::{Passed, Traffic};
use crate::telemetry::Identity;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A repetition later than this is a new request, in seconds.
pub(super) const RETRY_WITHIN: f64 = 60.0;

/// The attempts of an edge.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Of each exchange with an identity: its logical request and its place in it, from 0.
    pub(super) of: Vec<Option<Attempt>>,
    /// Of each logical request: its first exchange, and how many attempts it had.
    pub(super) logical: Vec<Logical>,
}

/// The place of an exchange in its logical request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Attempt {
    /// Which logical request.
    pub(super) logical: usize,
    /// The how manyth attempt, from 0.
    pub(super) nth: u32,
    /// The exchange that was the attempt before.
    pub(super) before: Option<usize>,
}

/// A logical request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Logical {
    /// Its first attempt.
    pub(super) first: usize,
    /// Its last attempt so far.
    pub(super) last: usize,
    /// How many it had.
    pub(super) attempts: u32,
}

impl Attempts {
    /// Reads the attempts of one edge.
    pub(super) fn of(traffic: &Traffic, edge: usize) -> Self {
        let Some(of_edge) = traffic.edges.get(edge) else { return Self::default() };
        let exchanges = &of_edge.exchanges;
        let handed = |passed: &Passed| id(passed.identity).is_some();
        let parents = if exchanges.iter().any(handed) {
            Parents::of(traffic, &of_edge.from)
        } else {
            Parents::default()
        };
        let mut open: HashMap<(Identity, u32, Option<usize>), usize> =
            HashMap::with_capacity(exchanges.len());
        let mut all = Self { of: Vec::with_capacity(exchanges.len()), logical: Vec::new() };
        for (place, passed) in exchanges.iter().enumerate() {
            if passed.identity == Identity::None {
                all.of.push(None);
                continue;
            }
            let parent = id(passed.identity).and_then(|id| parents.of_start(id, passed.began));
            let fresh = all.logical.len();
            let logical = match open.entry((passed.identity, passed.target, parent)) {
                Entry::Occupied(mut known) => {
                    let before = all.logical.get(*known.get()).and_then(|it| exchanges.get(it.last));
                    if before.is_some_and(|before| repeats(before, passed)) {
                        *known.get()
                    } else {
                        known.insert(fresh);
                        fresh
                    }
                }
                Entry::Vacant(free) => *free.insert(fresh),
            };
            let attempt = match all.logical.get_mut(logical) {
                Some(known) => {
                    let attempt = Attempt { logical, nth: known.attempts, before: Some(known.last) };
                    known.attempts = known.attempts.saturating_add(1);
                    known.last = place;
                    attempt
                }
                None => {
                    all.logical.push(Logical { first: place, last: place, attempts: 1 });
                    Attempt { logical, nth: 0, before: None }
                }
            };
            all.of.push(Some(attempt));
        }
        all
    }
}

/// Whether `next`, of the same identity and target, is one more attempt after `before`.
fn repeats(before: &Passed, next: &Passed) -> bool {
    next.began - before.began <= RETRY_WITHIN
        && (matches!(next.identity, Identity::Given(_))
            || ((before.failed || before.left()) && next.began >= before.ended()))
}

/// An id that may be handed on over hops; requests that look alike have none.
fn id(identity: Identity) -> Option<(bool, u64)> {
    match identity {
        Identity::Given(id) => Some((false, id)),
        Identity::Trace(id) => Some((true, id)),
        Identity::Fingerprint(_) | Identity::None => None,
    }
}

/// The exchanges into a service by id, to find the one in which a call of the service began.
#[derive(Debug, Default)]
struct Parents {
    /// In the order of their ids, and of their begins.
    spans: Vec<Span>,
}

/// An id, the begin of its exchange, its end for its caller, the end of the work, and a number of its own.
type Span = ((bool, u64), f64, f64, f64, usize);

impl Parents {
    fn of(traffic: &Traffic, service: &str) -> Self {
        let into = traffic.edges.iter().filter(|edge| edge.to == service && !edge.tcp);
        let mut spans: Vec<_> = into
            .flat_map(|edge| &edge.exchanges)
            .filter_map(|passed| Some((id(passed.identity)?, passed.began, passed.ended(), passed)))
            .enumerate()
            .map(|(nth, (id, began, ended, passed))| {
                (id, began, ended, ended + passed.zombie.unwrap_or(0.0), nth)
            })
            .collect();
        spans.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Self { spans }
    }

    /// The latest exchange of this id whose caller still waited at `start`; else the latest whose service still
    /// worked; else the latest of all: a service may go on after its answer.
    fn of_start(&self, id: (bool, u64), start: f64) -> Option<usize> {
        let from = self.spans.partition_point(|span| span.0 < id);
        let begun = self.spans.partition_point(|span| span.0 < id || (span.0 == id && span.1 <= start));
        // An id with more exchanges than this into one service is not looked through.
        let looked = self.spans.get(from.max(begun.saturating_sub(64))..begun)?;
        let within =
            |end: fn(&Span) -> f64| looked.iter().rev().find(|span| end(span) >= start).map(|span| span.4);
        within(|span| span.2).or_else(|| within(|span| span.3)).or_else(|| looked.last().map(|span| span.4))
    }
}
