//! When a share of bad marks rose above what is usual, for good: a sum of log-likelihood ratios that never falls under zero
//! (Page, *Continuous inspection schemes*, 1954), held against the same sum over the baseline.
//!
//! What rises must stay for [`LASTS`], and for longer than anything alike on the baseline. Its begin is the first bad mark of the
//! stretch that explains the rise best, not the moment at which it was certain.

use super::band::Mark;
use super::series::at_most;

/// A sign lasts at least so many seconds.
const LASTS: f64 = 1.0;
/// So improbable that a usual edge would show it: e to the minus this, at each mark.
const SURE: f64 = 9.0;
/// And than so many times what the baseline itself showed.
const BEYOND: f64 = 2.0;
/// At least so many bad marks, and so many if less than half of them are looked for: a few by themselves are soon bad by chance.
const LEAST_BAD: usize = 4;
const LEAST_BAD_OF_FEW: usize = 8;
const SURER_OF_FEW: f64 = 3.0;
const LASTS_OF_FEW: f64 = 2.0;
/// So many marks before it was certain are searched for the begin.
const LOOKED: usize = 4_000;
/// A share that is above this on the baseline says nothing.
const HOPELESS: f64 = 0.4;

/// What is looked for: a share of bad marks on top of the usual one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    well: f64,
    ill: f64,
    sure: f64,
    lasts: f64,
    least: usize,
}

impl Watch {
    /// Watches for a share of `ill`, where `usual` of `samples` marks on the baseline were bad; `None`: the usual share is too high.
    pub(super) fn new(ill: f64, usual: f64, samples: usize, calm: &[Mark], after: usize) -> Option<Self> {
        let well = at_most(usual, samples, 1.0).max(0.004);
        if well > HOPELESS {
            return None;
        }
        let few = if ill < 0.5 { SURER_OF_FEW } else { 0.0 };
        let sure = SURE + few + (after.max(1) as f64).ln() / 2.0;
        let lasts = if ill < 0.5 { LASTS_OF_FEW } else { LASTS };
        let least = if ill < 0.5 { LEAST_BAD_OF_FEW } else { LEAST_BAD };
        let ill = ill.max(3.0 * well).min(0.95);
        let mut watch = Self { well, ill, sure, lasts, least };
        let (height, longest) = watch.worst(calm);
        watch.sure = watch.sure.max(1.5 * height.min(3.0 * watch.sure));
        watch.lasts = watch.lasts.max(BEYOND * longest);
        Some(watch)
    }

    /// What lasts so long counts.
    pub(super) fn for_at_least(self, lasts: f64) -> Self {
        Self { lasts, ..self }
    }

    fn step(&self, bad: bool) -> f64 {
        if bad { (self.ill / self.well).ln() } else { ((1.0 - self.ill) / (1.0 - self.well)).ln() }
    }

    /// The highest sum on the baseline, and for how long it was so high that it would be certain.
    fn worst(&self, calm: &[Mark]) -> (f64, f64) {
        let (mut sum, mut start, mut height, mut longest) = (0.0f64, 0.0, 0.0f64, 0.0f64);
        for mark in calm {
            if sum <= 0.0 {
                start = mark.at;
            }
            sum = self.next(sum, mark);
            height = height.max(sum);
            if sum >= self.sure {
                longest = longest.max(mark.at - start);
            }
        }
        // Once it was certain its height says no more than how long it was so.
        if longest > 0.0 { (self.sure, longest) } else { (height, 0.0) }
    }

    /// The sum after one more mark: bounded, so that it also forgets.
    fn next(&self, sum: f64, mark: &Mark) -> f64 {
        (sum + self.step(mark.bad)).clamp(0.0, 2.0 * self.sure)
    }

    /// The first rise that lasts: the place of its first bad mark.
    pub(super) fn rise(&self, marks: &[Mark]) -> Option<usize> {
        let (mut sum, mut from, mut bads, mut reach) = (0.0f64, 0, 0usize, f64::NEG_INFINITY);
        let mut certain: Option<usize> = None;
        let mut latest = f64::NEG_INFINITY;
        for (place, mark) in marks.iter().enumerate() {
            if sum <= 0.0 {
                (from, bads, reach) = (place, 0, f64::NEG_INFINITY);
            }
            sum = self.next(sum, mark);
            if mark.bad {
                bads += 1;
                reach = reach.max(mark.until);
                latest = mark.at;
            }
            if sum < self.sure || bads < self.least {
                certain = None;
                continue;
            }
            let first = match certain {
                Some(first) => first,
                None => {
                    let looked = from.max(place.saturating_sub(LOOKED));
                    looked + self.begin(marks.get(looked..=place)?)
                }
            };
            certain = Some(first);
            // What is still bad until the next mark comes lasts until then.
            let next = marks.get(place + 1).map_or(f64::INFINITY, |next| next.at);
            let lasted = latest.max(reach.min(next)) - marks.get(first)?.at;
            if lasted >= self.lasts {
                return Some(first);
            }
        }
        None
    }

    /// Where in a stretch that ends certain the rise began: with the share that it really has.
    fn begin(&self, stretch: &[Mark]) -> usize {
        let mut first = 0;
        for _ in 0..2 {
            let rest = stretch.get(first..).unwrap_or_default();
            let bads = rest.iter().filter(|mark| mark.bad).count() as f64;
            let share = bads / rest.len().max(1) as f64;
            let truly = Self { ill: share.clamp(1.5 * self.well, 0.97), ..*self };
            let (mut sum, mut best) = (0.0, f64::NEG_INFINITY);
            for (place, mark) in stretch.iter().enumerate().rev() {
                sum += truly.step(mark.bad);
                if mark.bad && sum >= best {
                    (best, first) = (sum, place);
                }
            }
        }
        first
    }
}
