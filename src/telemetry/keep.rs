//! What is kept of every single exchange, for the analysis: all of it, or one logical request in so many if there are too many.
//!
//! Invariants: at most [`RATE`] exchanges a second are kept in the long run; attempts of one logical request are kept together
//! or not at all, on every edge; what is kept at a coarser step is kept at every finer one. Pure: it is told the time.

use super::{Exchange, Identity, Passed};
use std::collections::BTreeMap;

/// So many exchanges a second are kept, on all edges together.
pub(crate) const RATE: f64 = 4_000.0;
/// So many more may come at once: what a heal frees all at once is no reason to keep less.
const BURST: f64 = 3.0 * RATE;
/// A finer step is tried when less than this share of the rate was kept throughout [`CALM`].
const LOW: f64 = 0.35;
/// For so many seconds.
const CALM: f64 = 5.0;
/// One in so many at most.
const MOST: u32 = 1 << 20;

/// Whether an exchange is among those that are kept. `ordinal` is its number, for those that nothing tells apart.
#[must_use]
pub fn is_kept(identity: Identity, ordinal: u64, one_in: u32) -> bool {
    let number = match identity {
        Identity::Given(hash) | Identity::Trace(hash) => hash,
        Identity::Fingerprint(_) | Identity::None => ordinal,
    };
    number & u64::from(one_in.max(1) - 1) == 0
}

/// What will be published with the next windows.
#[derive(Debug)]
pub(crate) struct Keep {
    edges: BTreeMap<u16, EdgeKeep>,
    one_in: u32,
    /// How many more may be kept.
    tokens: f64,
    /// Since when, in seconds, and how many were kept meanwhile.
    since: f64,
    kept: f64,
}

#[derive(Debug, Default)]
struct EdgeKeep {
    ordinal: u64,
    /// Each with its ordinal.
    waiting: Vec<(u64, Passed)>,
}

impl Keep {
    pub(crate) fn new() -> Self {
        Self { edges: BTreeMap::new(), one_in: 1, tokens: BURST, since: 0.0, kept: 0.0 }
    }

    /// Keeps an exchange that has ended, unless it is one of those that are not.
    pub(crate) fn add(&mut self, edge: u16, passed: Passed) {
        let of = self.edges.entry(edge).or_default();
        let ordinal = of.ordinal;
        of.ordinal += 1;
        if !is_kept(passed.identity, ordinal, self.one_in) {
            return;
        }
        of.waiting.push((ordinal, passed));
        self.tokens -= 1.0;
        self.kept += 1.0;
        while self.tokens < 0.0 && self.one_in < MOST {
            self.coarsen();
        }
    }

    /// Only half as many are kept from now on, those that wait included.
    fn coarsen(&mut self) {
        self.one_in *= 2;
        for edge in self.edges.values_mut() {
            let before = edge.waiting.len();
            edge.waiting.retain(|(ordinal, passed)| is_kept(passed.identity, *ordinal, self.one_in));
            self.tokens += (before - edge.waiting.len()) as f64;
        }
        self.kept /= 2.0;
    }

    /// What has come since this was asked last, by edge, and one in how many it is. `now` in seconds.
    pub(crate) fn take(&mut self, now: f64) -> (u32, Vec<(u16, Vec<Passed>)>) {
        let one_in = self.one_in;
        let taken = self
            .edges
            .iter_mut()
            .filter(|(_, edge)| !edge.waiting.is_empty())
            .map(|(place, edge)| (*place, edge.waiting.drain(..).map(|(_, passed)| passed).collect()));
        let taken = taken.collect();
        let passed = (now - self.since).max(0.0);
        if passed >= CALM {
            if self.one_in > 1 && self.kept < LOW * RATE * passed {
                self.one_in /= 2;
            }
            (self.since, self.kept) = (now, 0.0);
        }
        (one_in, taken)
    }

    /// So many seconds have gone by.
    pub(crate) fn refill(&mut self, seconds: f64) {
        self.tokens = (self.tokens + RATE * seconds).min(BURST);
    }

    /// Nobody wants them.
    pub(crate) fn forget(&mut self) {
        self.edges.clear();
    }
}

/// What is kept of an exchange; `began` is when it began, in seconds from the start.
pub(crate) fn passed(exchange: &Exchange, began: f64) -> Passed {
    let seconds = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e6;
    Passed {
        began,
        took: seconds(exchange.took),
        zombie: exchange.zombie.map(seconds),
        upstream: exchange.upstream_took.map(seconds),
        held: seconds(exchange.waited),
        status: exchange.status,
        origin: exchange.origin,
        ending: exchange.ending,
        failed: exchange.failed,
        timed: exchange.timed,
        hit: !exchange.hits.is_empty(),
        identity: exchange.identity,
        target: exchange.target,
        retry_after: exchange.retry_after,
    }
}
