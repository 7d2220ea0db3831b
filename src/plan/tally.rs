//! The ordinals of matches and the counts of a fault. Exact under any concurrency.

use crate::decision::Key;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What one arming of a fault has counted.
#[derive(Debug, Default)]
pub struct Tally {
    matched: AtomicU64,
    reserved: AtomicU64,
    keys: Mutex<HashMap<Key, PerKey>>,
}

#[derive(Debug, Default)]
struct PerKey {
    matched: u64,
    reserved: u64,
}

impl Tally {
    /// Sticky keys that are remembered; further ones are spared.
    const MAX_KEYS: usize = 65_536;

    /// The number of this match, from 1.
    pub fn number(&self) -> u64 {
        self.matched.fetch_add(1, Relaxed) + 1
    }

    /// Takes one of `max` hits, if there is one left.
    pub fn reserve(&self, max: u64) -> bool {
        max == u64::MAX
            || self
                .reserved
                .fetch_update(Relaxed, Relaxed, |taken| (taken < max).then_some(taken + 1))
                .is_ok()
    }

    /// Gives a reserved hit back.
    pub fn give_back(&self) {
        let _ = self.reserved.fetch_update(Relaxed, Relaxed, |taken| taken.checked_sub(1));
    }

    /// The number of this match among those of its key, if it is chosen and the key has a hit left.
    pub fn number_of(&self, key: Key, max: u64, chosen: impl Fn(u64) -> bool) -> Option<u64> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= Self::MAX_KEYS && !keys.contains_key(&key) {
            return None;
        }
        let mine = keys.entry(key).or_default();
        mine.matched += 1;
        if !chosen(mine.matched) || mine.reserved >= max {
            return None;
        }
        mine.reserved += 1;
        Some(mine.matched)
    }
}

/// What a fault has done in all its armings.
#[derive(Debug, Default)]
pub struct Totals {
    matched: AtomicU64,
    selected: AtomicU64,
    hits: AtomicU64,
    late: Buckets,
}

impl Totals {
    pub(super) fn matched(&self) {
        self.matched.fetch_add(1, Relaxed);
    }

    pub(super) fn selected(&self) {
        self.selected.fetch_add(1, Relaxed);
    }

    /// A deed on a service is to be carried out: it is about this one, whatever comes of it.
    pub fn chosen(&self) {
        self.matched();
        self.selected();
    }

    /// It was seen to have come about.
    pub fn hit(&self) {
        self.hits.fetch_add(1, Relaxed);
    }

    /// A delay came about so much later than asked.
    pub fn late(&self, by: Duration) {
        self.late.record(by);
    }

    /// Matched, selected and hit so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.matched.load(Relaxed), self.selected.load(Relaxed), self.hits.load(Relaxed))
    }

    /// 99 % of the delays were late by at most so many seconds; `None` without delays.
    #[must_use]
    pub fn late_p99(&self) -> Option<f64> {
        self.late.quantile(0.99)
    }
}

/// Times counted by octave, eight buckets to each, from 1 µs: a value read back is the upper edge of its bucket, at most
/// 12.5 % too high.
struct Buckets([AtomicU64; 8 * 32]);

impl Default for Buckets {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; 8 * 32])
    }
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buckets({})", self.0.iter().map(|bucket| bucket.load(Relaxed)).sum::<u64>())
    }
}

impl Buckets {
    fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).clamp(8, (1 << 34) - 1);
        let octave = micros.ilog2();
        let place = (octave - 3) * 8 + ((micros >> (octave - 3)) & 7) as u32;
        if let Some(bucket) = self.0.get(place as usize) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    fn quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.0.iter().map(|bucket| bucket.load(Relaxed)).sum();
        let rank = ((q * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.0.iter().enumerate().find_map(|(place, bucket)| {
            seen += bucket.load(Relaxed);
            (total > 0 && seen >= rank).then(|| {
                let (octave, eighth) = (place / 8, place % 8);
                (1u64 << octave) as f64 * (8.0 + eighth as f64 + 1.0) / 1e6
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_comes_back_within_an_eighth() {
        for micros in [8u64, 100, 999, 12_345, 9_999_999] {
            let totals = Totals::default();
            totals.late(Duration::from_micros(micros));
            let got = totals.late_p99().unwrap() * 1e6;
            assert!(got >= micros as f64 && got <= micros as f64 * 1.126 + 1.0, "{micros}: {got}");
        }
        assert_eq!(Totals::default().late_p99(), None);
    }

    #[test]
    fn max_is_never_exceeded_under_concurrency() {
        let tally = Tally::default();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..1000).filter(|_| tally.reserve(100)).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
        tally.give_back();
        assert!(tally.reserve(100) && !tally.reserve(100));
    }
}
