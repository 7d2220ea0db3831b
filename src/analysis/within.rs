//! `recovers_within` as an expectation means it: how long after heal and restore an edge is, for good, as well as on its baseline.
//!
//! From that moment on, for [`HOLDS`] seconds and to the end, failures are at most the baseline's plus a point, and 95 % of the
//! exchanges take at most 1.5 times the baseline's and 20 ms. Stricter, and other, than the bands of `recovery`.

use super::series::{Stalls, cut, quantile};
use super::{Passed, Traffic};
use crate::model::Phase;

/// It must hold for so many seconds.
const HOLDS: f64 = 5.0;
/// Fewer exchanges on the baseline say nothing of what it was like.
const BASELINE: usize = 10;
/// Fewer exchanges after heal say nothing of whether it came back.
const AFTER: usize = 3;
/// So much of an answer's failing at the very end of a run is the run's own doing, in seconds.
const CUT: f64 = 0.25;

/// How long an edge took to come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Within {
    /// So many seconds after heal and restore.
    After(f64),
    /// Not within the recovery phase.
    Never,
    /// Nobody can tell, and why.
    Unmeasured(&'static str),
}

/// How long after heal and restore (the begin of the recovery phase) the edge is as on its baseline, for 5 s and to the end.
#[must_use]
pub fn recovers_within(traffic: &Traffic, edge: usize) -> Within {
    let Some(edge) = traffic.edges.get(edge) else { return Within::Unmeasured("there is no such edge") };
    let Some(baseline) = traffic.phase(Phase::Baseline) else {
        return Within::Unmeasured("there was no baseline");
    };
    let Some(recovery) = traffic.phase(Phase::Recovery) else {
        return Within::Unmeasured("there was no recovery phase");
    };
    let end = cut(traffic).min(recovery.to);
    if end - recovery.from < HOLDS {
        return Within::Unmeasured("the recovery phase is shorter than the 5 s for which it must hold");
    }
    let stalls = Stalls::of(traffic);
    let sample = |passed: &&Passed| {
        let cut_off = passed.failed && passed.ended() >= end - CUT;
        !cut_off && !stalls.touch(passed.began, passed.ended())
    };
    let before: Vec<&Passed> =
        edge.exchanges.iter().filter(|it| baseline.holds(it.began)).filter(sample).collect();
    if before.len() < BASELINE {
        return Within::Unmeasured("too few exchanges on the baseline");
    }
    let after: Vec<&Passed> =
        edge.exchanges.iter().filter(|it| recovery.holds(it.began)).filter(sample).collect();
    if after.len() < AFTER {
        return Within::Unmeasured("no traffic after heal");
    }
    let failing = before.iter().filter(|it| it.failed).count() as f64 / before.len() as f64 + 0.01;
    let mut took: Vec<f64> = before.iter().filter(|it| it.timed).map(|it| it.took).collect();
    let slow = quantile(&mut took, 0.95).map_or(f64::INFINITY, |p95| 1.5 * p95 + 0.02);
    // What failed, was timed and was slow up to each exchange: any stretch is a difference of two.
    let mut sums = Vec::with_capacity(after.len() + 1);
    let mut sum = (0u32, 0u32, 0u32);
    sums.push(sum);
    for it in &after {
        let timed = u32::from(it.timed);
        sum = (sum.0 + u32::from(it.failed), sum.1 + timed, sum.2 + (timed & u32::from(it.took > slow)));
        sums.push(sum);
    }
    let well = |from: usize, to: usize| {
        let (Some(a), Some(b)) = (sums.get(from), sums.get(to)) else { return false };
        let n = (to - from) as f64;
        f64::from(b.0 - a.0) <= failing * n && f64::from(b.2 - a.2) <= 0.05 * f64::from(b.1 - a.1)
    };
    let mut until = 0;
    for (place, it) in after.iter().enumerate() {
        if end - it.began < HOLDS || after.len() - place < AFTER {
            break;
        }
        while after.get(until).is_some_and(|later| later.began < it.began + HOLDS) {
            until += 1;
        }
        if well(place, place + 1) && well(place, until) && well(place, after.len()) {
            let since = it.began - recovery.from;
            // The first exchange of all: it was well from the start, unless nobody called for longer than usual.
            let usual = (baseline.to - baseline.from) / before.len() as f64;
            return Within::After(if place == 0 && since <= (5.0 * usual).max(1.0) { 0.0 } else { since });
        }
    }
    Within::Never
}
