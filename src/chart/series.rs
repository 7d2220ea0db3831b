//! What an edge did over time, in few enough pieces: windows as they come, neighbours merged when there are too many.
//!
//! A merged piece keeps what counts: sums, all durations, the highest gauges, and the lowest and the highest rate.

use crate::telemetry::{Histogram, Origin, Window};

/// The longest time between two windows of an edge that is busy all the while, in seconds.
const NEXT: f64 = 0.4;
/// How long a window is, in seconds.
const WINDOW: f64 = 0.25;
/// Windows of two phases that were published together are no further apart than this, in seconds.
const TOGETHER: f64 = 0.02;

/// What an edge did, from its first window to its last.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    slices: Vec<Slice>,
    most: usize,
}

/// What an edge did in one stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// Its begin.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// How long it was in real seconds, whatever clock `from` and `to` are of.
    pub seconds: f64,
    /// Exchanges that ended well.
    pub well: u64,
    /// That the upstream failed.
    pub upstream: u64,
    /// Whose caller left first, or broke off.
    pub client: u64,
    /// That Brownout itself could not serve.
    pub internal: u64,
    /// Whose answer a fault made.
    pub injected: u64,
    /// Durations, without injected answers.
    pub durations: Histogram,
    /// The most exchanges in flight.
    pub in_flight: u64,
    /// The most connections open.
    pub connections: u64,
    /// The lowest rate within it, per second.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl Slice {
    fn of(from: f64, to: f64, window: &Window) -> Self {
        let failed = window.failed.min(window.requests);
        let internal = window.by_origin.get(&Origin::Internal).copied().unwrap_or(0).min(failed);
        let client = window.abandoned.min(failed - internal);
        let mut slice = Self {
            from,
            to,
            seconds: to - from,
            well: window.requests - failed,
            upstream: failed - internal - client,
            client,
            internal,
            injected: window.injected,
            durations: window.durations.clone(),
            in_flight: window.in_flight,
            connections: window.connections,
            ..Self::default()
        };
        (slice.lowest, slice.highest) = (slice.rate(), slice.rate());
        slice
    }

    /// All exchanges.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.well + self.failed() + self.injected
    }

    /// Those that failed by themselves: not by a fault's answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.upstream + self.client + self.internal
    }

    /// All exchanges per real second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.all() as f64 / self.seconds.max(TOGETHER)
    }

    /// Takes the next one in. Nothing happened between them.
    fn extend(&mut self, next: &Self) {
        let gap = (next.from - self.to).max(0.0);
        let real = self.seconds / (self.to - self.from).max(1e-9);
        self.add(next);
        self.seconds += next.seconds + gap * real;
        self.to = self.to.max(next.to);
        self.lowest = if gap > TOGETHER { 0.0 } else { self.lowest.min(next.lowest) };
        self.highest = self.highest.max(next.highest);
    }

    /// Takes in what was counted in the same time.
    fn add(&mut self, other: &Self) {
        self.well += other.well;
        self.upstream += other.upstream;
        self.client += other.client;
        self.internal += other.internal;
        self.injected += other.injected;
        self.durations.merge(&other.durations);
        self.in_flight = self.in_flight.max(other.in_flight);
        self.connections = self.connections.max(other.connections);
    }
}

impl Default for Series {
    fn default() -> Self {
        Self::new(Self::MOST)
    }
}

impl Series {
    /// So many pieces are kept of an edge.
    pub const MOST: usize = 2_000;

    /// Nothing yet; at most this many pieces (two at least).
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { slices: Vec::new(), most: most.max(2) }
    }

    /// Takes a window in that ended at this time: later ones come later.
    pub fn take(&mut self, t: f64, window: &Window) {
        let ended = self.slices.last().map(|last| last.to);
        match self.slices.last_mut() {
            Some(last) if t - last.to < TOGETHER => {
                // Of the same moment, in another phase.
                let single = last.highest - last.lowest < 1e-9;
                last.add(&Slice::of(last.from, last.to, window));
                last.highest = last.highest.max(last.rate());
                last.lowest = if single { last.highest } else { last.lowest };
            }
            _ => {
                let from = ended.filter(|ended| t - ended <= NEXT).unwrap_or((t - WINDOW).max(0.0));
                self.slices.push(Slice::of(from.min(t), t, window));
            }
        }
        if self.slices.len() > self.most {
            self.slices = merged(&self.slices, 2);
        }
    }

    /// Lets go of what had ended before this time.
    pub fn forget(&mut self, before: f64) {
        let gone = self.slices.partition_point(|slice| slice.to < before);
        self.slices.drain(..gone);
    }

    /// Its pieces, the earliest first; they do not overlap.
    #[must_use]
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// The same on another clock, which goes `scale` times as slowly: 0.1 makes ten seconds of one.
    #[must_use]
    pub fn scaled(&self, scale: f64) -> Self {
        let scale = if scale > 0.0 && scale.is_finite() { scale } else { 1.0 };
        let mut other = self.clone();
        for slice in &mut other.slices {
            slice.from /= scale;
            slice.to /= scale;
        }
        other
    }

    /// Only what lies within these times, in at most `most` pieces of about the same length.
    #[must_use]
    pub(super) fn within(&self, from: f64, to: f64, most: usize) -> Vec<Slice> {
        let step = (to - from) / most.max(1) as f64;
        let mut out: Vec<(i64, Slice)> = Vec::new();
        for slice in self.slices.iter().filter(|slice| slice.to > from && slice.from < to) {
            let middle = f64::midpoint(slice.from, slice.to);
            let cell = (((middle - from) / step.max(1e-9)).floor() as i64).clamp(0, most as i64 - 1);
            match out.last_mut() {
                Some((same, last)) if *same == cell => last.extend(slice),
                _ => out.push((cell, slice.clone())),
            }
        }
        out.into_iter().map(|(_, slice)| slice).collect()
    }
}

/// Every `n` neighbours as one.
fn merged(slices: &[Slice], n: usize) -> Vec<Slice> {
    let together = |some: &[Slice]| {
        let (first, rest) = some.split_first()?;
        let mut sum = first.clone();
        rest.iter().for_each(|next| sum.extend(next));
        Some(sum)
    };
    slices.chunks(n).filter_map(together).collect()
}
