//! What is kept of every single exchange, for the analysis: all of it, or one logical request in so many if there are too many.
//!
//! Invariants: at most `RATE` exchanges a second are kept in the long run; attempts of one logical request are kept together
//! or not at all, on every edge; what is kept at a coarser step is kept at every finer one. Pure: it is told the time.

use super::{Exchange, Identity, Passed};
use std::collections::BTreeMap;

/// So many exchanges a second are kept, on all edges together.
pub(crate) const RATE: f64 = 4_000.0;
/// So many more may come at once: what a heal frees all at once is no reason to keep less.
const BURST: f64 = 3.0 * RATE;
/// A finer step is tried when less than this share of the rate was kept throughout [`CALM`].
const LOW: f64 = 0.45;
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
    /// Of the next one that nothing tells apart.
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
        of.ordinal += u64::from(matches!(passed.identity, Identity::None | Identity::Fingerprint(_)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Ending, Origin};
    use proptest::prelude::*;

    fn one(identity: Identity) -> Passed {
        Passed {
            began: 0.0,
            took: 0.0,
            zombie: None,
            upstream: None,
            held: 0.0,
            status: 200,
            origin: Origin::Upstream,
            ending: Ending::Complete,
            failed: false,
            timed: true,
            hit: false,
            identity,
            target: 0,
            retry_after: None,
        }
    }

    fn hash(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11
    }

    /// So many exchanges a second for so many seconds, in windows of a quarter; how many are kept in the last second, and the
    /// last step.
    fn at_rate(keep: &mut Keep, from: f64, rate: u64, seconds: u64) -> (usize, u32) {
        let mut last = Vec::new();
        for quarter in 0..seconds * 4 {
            for n in 0..rate / 4 {
                let identity = if n % 2 == 0 {
                    Identity::Given(hash(quarter * rate + n))
                } else {
                    Identity::Fingerprint(5)
                };
                keep.add(0, one(identity));
            }
            keep.refill(0.25);
            let (one_in, taken) = keep.take(from + (quarter + 1) as f64 / 4.0);
            last.push((taken.iter().map(|(_, passed)| passed.len()).sum::<usize>(), one_in));
        }
        let kept = last.iter().rev().take(4).map(|(kept, _)| kept).sum();
        (kept, last.last().map_or(1, |(_, one_in)| *one_in))
    }

    #[test]
    fn it_becomes_coarser_at_once_and_finer_when_it_has_been_calm() {
        let mut keep = Keep::new();
        assert_eq!(at_rate(&mut keep, 0.0, 3_000, 10), (3_000, 1), "all of them while they fit");
        let (kept, step) = at_rate(&mut keep, 10.0, 20_000, 30);
        assert!(step == 8 && kept <= 4_000, "{kept} {step}");
        let (kept, step) = at_rate(&mut keep, 40.0, 6_000, 30);
        assert!(step == 2 && (2_000..=4_000).contains(&kept), "{kept} {step}");
        assert_eq!(at_rate(&mut keep, 70.0, 1_000, 30), (1_000, 1));
    }

    #[test]
    fn what_comes_at_once_after_a_quiet_time_is_kept() {
        let mut keep = Keep::new();
        for n in 0..10_000 {
            keep.add(0, one(Identity::Given(hash(n))));
        }
        let (one_in, taken) = keep.take(1.0);
        assert_eq!((one_in, taken[0].1.len()), (1, 10_000));
    }

    proptest! {
        #[test]
        fn attempts_are_kept_together_on_every_edge_and_coarser_is_part_of_finer(
            id in any::<u64>(), ordinals: [u64; 2], step in 0u32..20,
        ) {
            let (fine, coarse) = (1 << step, 2 << step);
            for identity in [Identity::Given(id), Identity::Trace(id)] {
                prop_assert_eq!(is_kept(identity, ordinals[0], fine), is_kept(identity, ordinals[1], fine));
            }
            for identity in [Identity::Given(id), Identity::Fingerprint(id), Identity::None] {
                prop_assert!(!is_kept(identity, ordinals[0], coarse) || is_kept(identity, ordinals[0], fine));
                prop_assert!(is_kept(identity, ordinals[0], 1));
            }
        }

        #[test]
        fn never_more_than_the_rate_and_what_came_at_once(counts in prop::collection::vec(0u64..30_000, 1..8)) {
            let mut keep = Keep::new();
            let (mut kept, mut id) = (0, 0);
            for (at, count) in counts.iter().enumerate() {
                for _ in 0..*count {
                    id += 1;
                    keep.add((id % 3) as u16, one(Identity::Given(hash(id))));
                }
                keep.refill(0.25);
                let (_, taken) = keep.take(at as f64 / 4.0);
                kept += taken.iter().map(|(_, passed)| passed.len()).sum::<usize>();
            }
            prop_assert!(kept as f64 <= BURST + RATE * 0.25 * counts.len() as f64 + 1.0, "{}", kept);
        }
    }
}
