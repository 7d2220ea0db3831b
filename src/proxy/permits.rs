//! A limit shared by workers without a write to shared memory per request: each worker takes permits in handfuls.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The permits of an edge.
#[derive(Debug)]
pub(super) struct Permits {
    free: AtomicU32,
    /// How many a worker takes at once; 1 where the limit is small, so that none lies idle.
    handful: u32,
}

impl Permits {
    /// So many permits, for so many workers. Never are more out; up to a sixteenth may lie idle with other workers.
    #[must_use]
    pub(super) fn new(limit: u32, workers: usize) -> Arc<Self> {
        let share = limit / (16 * workers.max(1) as u32);
        Arc::new(Self { free: AtomicU32::new(limit), handful: share.clamp(1, 64) })
    }

    fn take(&self, wanted: u32) -> u32 {
        self.free
            .fetch_update(Relaxed, Relaxed, |free| (free > 0).then(|| free - free.min(wanted)))
            .map_or(0, |before| before.min(wanted))
    }
}

/// One worker's handful.
#[derive(Debug)]
pub(super) struct Handful {
    permits: Arc<Permits>,
    spare: Cell<u32>,
}

impl Handful {
    pub(super) fn new(permits: Arc<Permits>) -> Self {
        Self { permits, spare: Cell::new(0) }
    }

    /// Takes one; `false` when the limit is reached.
    pub(super) fn take(&self) -> bool {
        if self.spare.get() == 0 {
            self.spare.set(self.permits.take(self.permits.handful));
        }
        let one = self.spare.get() > 0;
        self.spare.set(self.spare.get() - u32::from(one));
        one
    }

    /// Gives one back.
    pub(super) fn give_back(&self) {
        self.spare.set(self.spare.get() + 1);
        let keep = if self.permits.handful == 1 { 0 } else { self.permits.handful };
        if self.spare.get() > 2 * keep {
            self.permits.free.fetch_add(self.spare.get() - keep, Relaxed);
            self.spare.set(keep);
        }
    }
}

impl Drop for Handful {
    fn drop(&mut self) {
        self.permits.free.fetch_add(self.spare.get(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_limit_and_small_limits_exactly() {
        for limit in [1, 5, 50, 10_000] {
            let permits = Permits::new(limit, 2);
            let (one, two) = (Handful::new(permits.clone()), Handful::new(permits.clone()));
            let mut out = 0;
            while one.take() {
                out += 1;
                if !two.take() {
                    break;
                }
                out += 1;
            }
            out += std::iter::from_fn(|| two.take().then_some(())).count() as u32;
            out += std::iter::from_fn(|| one.take().then_some(())).count() as u32;
            assert_eq!(out, limit);
            for n in 0..limit {
                if n % 2 == 0 { one.give_back() } else { two.give_back() }
            }
            drop((one, two));
            assert_eq!(permits.free.load(Relaxed), limit);
        }
    }
}
