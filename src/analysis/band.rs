//! What is usual on an edge: its band, read from the baseline; and each later exchange held against it.
//!
//! An exchange gives at most one mark of each kind: that it is slow, at the moment at which its age passed the band, whether it
//! had ended or not; that it failed, at its end; that it was well, at its end. So what hangs is seen while it hangs. What a stall
//! of our own touches is no sample, nor the failure of what the end of the run cut.

use super::series::{Stalls, cut, quantile};
use super::{EdgeTraffic, Passed, PhaseSpan, Traffic};
use crate::model::Phase;

/// Fewer exchanges on the baseline say nothing of what is usual.
pub(super) const LEAST: usize = 8;
/// With fewer than this the slowest of the baseline stands in for the slowest twentieth.
const FEW: usize = 40;
/// An exchange is slow if it takes longer than so many times the baseline's 95th percentile …
const SLOWER: f64 = 1.5;
/// … and this, in seconds.
const UNREST: f64 = 0.01;
/// What fails so soon before the cut was cut, in seconds.
const CUT: f64 = 0.25;

/// A larger share of failures on the baseline is no band.
const HOPELESS: f64 = 0.4;
/// A baseline whose last third fails by so much more than its first, or takes so much longer, is no steady state.
const UNSTEADY_SHARE: f64 = 0.1;
const UNSTEADY: f64 = 2.0;
const UNSTEADY_BY: f64 = 0.02;
/// Durations that grow by more than this over the baseline are expected to go on growing …
const DRIFTS: f64 = 1.15;
const DRIFTS_BY: f64 = 0.002;
/// … but not by more than so many times.
const MOST_DRIFT: f64 = 3.0;
/// So many durations make a third of a baseline comparable.
const LEAST_THIRD: usize = 20;

/// What is usual on an edge.
#[derive(Clone, Debug)]
pub(super) struct Band {
    /// Exchanges on the baseline.
    pub(super) samples: usize,
    /// Of those whose duration counts: the median, and the age from which one is slow.
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) slow: f64,
    /// Shares of the baseline that failed, and that were slow.
    pub(super) failing: f64,
    pub(super) slowing: f64,
    /// Starts per second.
    pub(super) rate: f64,
    /// By how much what is slow grows each second after `calm_until`, because it grew so on the baseline.
    drift: f64,
    calm_until: f64,
}

impl Band {
    /// The band of an edge; else why there is none.
    pub(super) fn of(traffic: &Traffic, edge: &EdgeTraffic, stalls: &Stalls) -> Result<Self, String> {
        let Some(span) = traffic.phase(Phase::Baseline) else {
            return Err("there was no baseline to hold it against".into());
        };
        let begun = edge.exchanges.iter().filter(|passed| span.holds(passed.began));
        let rate = begun.clone().count() as f64 / (span.to - span.from).max(1e-3);
        let calm: Vec<&Passed> = begun
            .filter(|passed| passed.ended() <= span.to && !stalls.touch(passed.began, passed.ended()))
            .collect();
        if calm.len() < LEAST {
            return Err(match calm.len() {
                0 => "it had no traffic on the baseline".into(),
                1 => "it had 1 exchange on the baseline: too few to know what is usual".into(),
                n => format!("it had {n} exchanges on the baseline: too few to know what is usual"),
            });
        }
        let mut took: Vec<f64> = calm.iter().filter(|it| it.timed).map(|it| it.took).collect();
        let timed = took.len();
        let high = if timed < FEW { 1.0 } else { 0.95 };
        let p50 = quantile(&mut took, 0.5);
        let (p50, p95) = match (p50, quantile(&mut took, high)) {
            (Some(p50), Some(high)) if timed >= LEAST => (p50, high),
            _ => (f64::INFINITY, f64::INFINITY),
        };
        let drift = steady(&calm, span)?;
        let slow = SLOWER * p95 + UNREST;
        let share = |n: usize, of: usize| if of == 0 { 0.0 } else { n as f64 / of as f64 };
        Ok(Self {
            samples: calm.len(),
            p50,
            p95,
            slow,
            failing: share(calm.iter().filter(|it| it.failed).count(), calm.len()),
            slowing: share(calm.iter().filter(|it| it.timed && it.took > slow).count(), timed),
            rate,
            drift,
            calm_until: span.to,
        })
    }

    /// The age from which an exchange that began at this moment is slow.
    pub(super) fn slow_at(&self, began: f64) -> f64 {
        let grown = self.slow + self.drift * (began - self.calm_until).max(0.0);
        grown.min(MOST_DRIFT * self.slow)
    }
}

/// By how much durations grew each second of the baseline; an error if it was no steady state.
fn steady(calm: &[&Passed], span: PhaseSpan) -> Result<f64, String> {
    let third = (span.to - span.from) / 3.0;
    let part = |n: usize| {
        let from = span.from + third * n as f64;
        let within = move |passed: &&&Passed| passed.began >= from && passed.began < from + third;
        calm.iter().copied().filter(move |passed| within(&passed))
    };
    let failing = |n: usize| {
        let (all, failed) =
            part(n).fold((0u32, 0u32), |(all, failed), it| (all + 1, failed + u32::from(it.failed)));
        (f64::from(failed) / f64::from(all.max(1)), f64::from(all))
    };
    let share = calm.iter().filter(|it| it.failed).count() as f64 / calm.len().max(1) as f64;
    if share > HOPELESS {
        return Err(format!("{:.0} % of its exchanges failed on the baseline already", share * 100.0));
    }
    let ((first, n), (last, m)) = (failing(0), failing(2));
    let chance = (share * (1.0 - share) * (1.0 / n.max(1.0) + 1.0 / m.max(1.0))).sqrt();
    if last - first > UNSTEADY_SHARE.max(6.0 * chance) {
        return Err(format!(
            "its baseline was no steady state: {:.0} % failed in its first third, {:.0} % in its last",
            first * 100.0,
            last * 100.0
        ));
    }
    let medians: Vec<f64> = (0..3)
        .filter_map(|n| {
            let mut took: Vec<f64> = part(n).filter(|it| it.timed).map(|it| it.took).collect();
            if took.len() < LEAST_THIRD { None } else { quantile(&mut took, 0.5) }
        })
        .collect();
    let &[first, middle, last] = medians.as_slice() else { return Ok(0.0) };
    if last > UNSTEADY * first + UNSTEADY_BY {
        return Err(format!(
            "its baseline was no steady state: half took {first:.3} s in its first third, {last:.3} s in its last"
        ));
    }
    let grew = first < middle && middle < last && last > DRIFTS * first && last - first > DRIFTS_BY;
    Ok(if grew { (last - first) / (2.0 * third).max(1e-3) } else { 0.0 })
}

/// What an exchange said at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    /// When.
    pub(super) at: f64,
    /// Up to when it lasted.
    pub(super) until: f64,
    /// It was outside the band.
    pub(super) bad: bool,
    /// Place of the exchange.
    pub(super) place: usize,
}

/// The marks of an edge, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// Failed, or not.
    pub(super) errors: Vec<Mark>,
    /// Slow, or not.
    pub(super) latency: Vec<Mark>,
}

impl Marks {
    pub(super) fn of(traffic: &Traffic, edge: &EdgeTraffic, band: &Band, stalls: &Stalls) -> Self {
        let cut = cut(traffic);
        let mut marks = Self::default();
        for (place, passed) in edge.exchanges.iter().enumerate() {
            let ended = passed.ended();
            let limit = band.slow_at(passed.began);
            let slow = passed.timed && passed.took > limit;
            let late = passed.began + limit;
            if slow && late < cut && !stalls.touch(passed.began, late) {
                marks.latency.push(Mark { at: late, until: ended, bad: true, place });
            }
            if ended > cut || stalls.touch(passed.began, ended) || (passed.failed && ended > cut - CUT) {
                continue;
            }
            marks.errors.push(Mark { at: ended, until: ended, bad: passed.failed, place });
            if passed.timed && !slow && !passed.failed {
                marks.latency.push(Mark { at: ended, until: ended, bad: false, place });
            }
        }
        // What was cut off was under way so long at least; how it ended says nothing.
        for passed in &edge.cut {
            let late = passed.began + band.slow_at(passed.began);
            if passed.timed && passed.ended() > late && !stalls.touch(passed.began, late) {
                marks.latency.push(Mark { at: late, until: passed.ended(), bad: true, place: usize::MAX });
            }
        }
        marks.errors.sort_unstable_by(|a, b| a.at.total_cmp(&b.at));
        marks.latency.sort_unstable_by(|a, b| a.at.total_cmp(&b.at));
        marks
    }
}
