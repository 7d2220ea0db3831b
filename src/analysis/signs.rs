//! What an edge shows when it leaves its band: one sign an edge, the first that counts.
//!
//! Failures and durations say that it is ill. Starts that cease, multiply, or connections that pile up say that somebody beside it
//! is: they stand in where the edge itself shows no illness. Knows nothing of other edges.

use super::band::{Band, Mark, Marks};
use super::change::Watch;
use super::series::{Stalls, cut, median, quantile};
use super::{EdgeTraffic, Gauge, Passed, PhaseSpan, Signal, Traffic};
use crate::model::Phase;

/// A share of failures on top of the usual that is looked for; strong ones have the second.
const FAILING: [f64; 2] = [0.15, 0.8];
/// And of slow exchanges.
const SLOWING: [f64; 2] = [0.3, 0.8];
/// What an edge showed at its onset is read from so many seconds.
const SHOWN: f64 = 1.0;
/// A gap between starts is none that chance makes if so many were due in it …
const DUE: f64 = 16.0;
/// … and it is so many times the longest of the baseline, and so many seconds.
const LONGER: f64 = 3.0;
const SILENT: f64 = 1.5;
/// Rates are counted over so many seconds.
const WINDOW: f64 = 2.0;
/// A rate is high if it is so many times the highest of the baseline.
const HIGH: f64 = 2.0;
/// A gauge is high if it is so many times the highest of the baseline, and so many more.
const PILED: f64 = 1.5;
const PILED_MORE: f64 = 2.0;
/// For so many gauges in a row, a quarter of a second each.
const GAUGES: usize = 4;

/// How an edge left its band.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sign {
    pub(super) at: f64,
    pub(super) signal: Signal,
    pub(super) baseline: f64,
    pub(super) observed: f64,
    pub(super) evidence: String,
    /// Its caller left before anything was wrong: something beside or above this edge made it.
    pub(super) cut_short: bool,
}

impl Sign {
    /// It is ill itself; else its load has changed.
    pub(super) fn ill(&self) -> bool {
        matches!(self.signal, Signal::Errors | Signal::Latency) && !self.cut_short
    }
}

/// The stretch in which onsets are looked for: the fault phase, and the recovery phase if it follows at once.
pub(super) fn looked(traffic: &Traffic) -> Option<PhaseSpan> {
    let fault = traffic.phase(Phase::Fault)?;
    let end = cut(traffic);
    let follows = traffic.phase(Phase::Recovery).filter(|recovery| recovery.from - fault.to < 0.5);
    let to = follows.map_or(fault.to, |recovery| recovery.to).min(end);
    Some(PhaseSpan { phase: Phase::Fault, from: fault.from, to })
}

/// Failures or durations that left the band.
pub(super) fn illness(traffic: &Traffic, edge: &EdgeTraffic, band: &Band, marks: &Marks) -> Option<Sign> {
    let looked = looked(traffic)?;
    let baseline = traffic.phase(Phase::Baseline)?;
    let first = |marks: &[Mark], usual: f64, shares: [f64; 2]| {
        let calm = between(marks, baseline.from, baseline.to);
        let after = between(marks, looked.from, looked.to);
        let rises = shares.into_iter().filter_map(|share| {
            let watch = Watch::new(share, usual, calm.len(), calm, after.len())?;
            after.get(watch.rise(after)?).map(|mark| mark.at)
        });
        rises.min_by(f64::total_cmp)
    };
    let failing = first(&marks.errors, band.failing, FAILING);
    let slowing = band.slow.is_finite().then(|| first(&marks.latency, band.slowing, SLOWING)).flatten();
    let at = match (failing, slowing) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some(if failing == Some(at) {
        let shown = between(&marks.errors, at, at + SHOWN);
        let bad = shown.iter().filter(|mark| mark.bad).count();
        let share = bad as f64 / shown.len().max(1) as f64;
        let bads = shown.iter().filter(|mark| mark.bad);
        let bads: Vec<&Passed> = bads.filter_map(|mark| edge.exchanges.get(mark.place)).collect();
        Sign {
            at,
            signal: Signal::Errors,
            cut_short: cut_short(&bads, band),
            baseline: band.failing,
            observed: share,
            evidence: format!(
                "{bad} of the {} that ended within {SHOWN:.0} s failed; on the baseline {} of {}",
                shown.len(),
                percent(band.failing),
                band.samples
            ),
        }
    } else {
        let shown = between(&marks.latency, at, at + SHOWN);
        let bad = shown.iter().filter(|mark| mark.bad).count();
        let mut ages: Vec<f64> =
            shown.iter().filter_map(|mark| edge.exchanges.get(mark.place).map(|it| it.took)).collect();
        Sign {
            at,
            signal: Signal::Latency,
            cut_short: false,
            baseline: band.p50,
            observed: median(&mut ages).unwrap_or(band.slow),
            evidence: format!(
                "{bad} of {} were under way for longer than {} within {SHOWN:.0} s; on the baseline half took {}, and {} so long",
                shown.len(),
                seconds(band.slow),
                seconds(band.p50),
                percent(band.slowing)
            ),
        }
    })
}

/// Whether these failed because their caller left at ages at which they usually are under way: not at one age, as its own
/// timeout would have it, unless that is far too early.
fn cut_short(bads: &[&Passed], band: &Band) -> bool {
    let mut ages: Vec<f64> =
        bads.iter().filter(|it| it.left() && it.took <= band.p95).map(|it| it.took).collect();
    if 2 * ages.len() <= bads.len() {
        return false;
    }
    let spread =
        |ages: &mut [f64]| Some((quantile(ages, 0.25)?, quantile(ages, 0.5)?, quantile(ages, 0.75)?));
    spread(&mut ages).is_some_and(|(low, middle, high)| middle < 0.5 * band.p50 || high - low > 0.2 * middle)
}

/// What piled up, ceased or multiplied; looked for where there is no illness.
pub(super) fn load(traffic: &Traffic, edge: &EdgeTraffic, band: &Band, stalls: &Stalls) -> Option<Sign> {
    let piled = piled(traffic, edge, stalls);
    let ceased = ceased(traffic, edge, band, stalls);
    let other = match (piled, ceased) {
        (Some(a), Some(b)) => Some(if a.at <= b.at { a } else { b }),
        (a, b) => a.or(b),
    };
    other.or_else(|| multiplied(traffic, edge, band, stalls))
}

fn piled(traffic: &Traffic, edge: &EdgeTraffic, stalls: &Stalls) -> Option<Sign> {
    let looked = looked(traffic)?;
    // Of HTTP connections a pool may keep as many as it likes.
    let (signal, what): (_, fn(&Gauge) -> u64) = if edge.tcp {
        (Signal::Connections, |it| it.connections)
    } else {
        (Signal::InFlight, |it| it.in_flight)
    };
    let limit = piled_from(traffic, edge)?;
    let later: Vec<&Gauge> = edge
        .gauges
        .iter()
        .filter(|it| looked.from < it.t && it.t <= looked.to && !stalls.touch(it.t - WINDOW, it.t))
        .collect();
    let run = later.windows(GAUGES).find(|run| run.iter().all(|it| what(it) as f64 > limit))?;
    let at = (run.first()?.t - 0.125).max(looked.from);
    let observed = run.iter().map(|it| what(it)).max()? as f64;
    let usual = (limit - PILED_MORE) / PILED;
    let things = if edge.tcp { "connections" } else { "exchanges" };
    Some(Sign {
        at,
        signal,
        cut_short: false,
        baseline: usual,
        observed,
        evidence: format!("{observed} {things} at once; on the baseline at most {usual}"),
    })
}

/// From how many on what stands open on an edge is piled up.
pub(super) fn piled_from(traffic: &Traffic, edge: &EdgeTraffic) -> Option<f64> {
    let baseline = traffic.phase(Phase::Baseline)?;
    let calm = edge.gauges.iter().filter(|it| baseline.from < it.t && it.t <= baseline.to);
    let calm: Vec<u64> = calm.map(|it| if edge.tcp { it.connections } else { it.in_flight }).collect();
    (calm.len() >= LEAST_GAUGES).then_some(())?;
    Some(PILED * calm.into_iter().max()? as f64 + PILED_MORE)
}

/// Fewer gauges on the baseline say nothing.
const LEAST_GAUGES: usize = 8;

fn ceased(traffic: &Traffic, edge: &EdgeTraffic, band: &Band, stalls: &Stalls) -> Option<Sign> {
    let (baseline, looked) = (traffic.phase(Phase::Baseline)?, looked(traffic)?);
    let starts: Vec<f64> = edge.exchanges.iter().map(|it| it.began).collect();
    let from = starts.partition_point(|at| *at < baseline.from);
    let to = starts.partition_point(|at| *at < baseline.to);
    let calm = starts.get(from..to)?;
    let longest = calm.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    let least = SILENT.max(LONGER * longest).max(DUE / band.rate.max(1e-9));
    let mut last = calm.last().copied()?;
    let fault = starts.partition_point(|at| *at < looked.from);
    // What lies between baseline and fault phase, a restart of a service, is not judged.
    if looked.from - baseline.to > 0.5 {
        last = looked.from;
    }
    let ends = [looked.to];
    let later = starts.get(fault..)?.iter().take_while(|at| **at < looked.to).chain(&ends);
    for start in later {
        if start - last >= least && !stalls.touch(last, *start) {
            return Some(Sign {
                at: (last + 1.0 / band.rate).max(looked.from),
                signal: Signal::Rate,
                cut_short: false,
                baseline: band.rate,
                observed: 0.0,
                evidence: format!(
                    "nothing came for {:.1} s; on the baseline {:.1} a second, and no gap over {}",
                    start - last,
                    band.rate,
                    seconds(longest)
                ),
            });
        }
        last = *start;
    }
    None
}

fn multiplied(traffic: &Traffic, edge: &EdgeTraffic, band: &Band, stalls: &Stalls) -> Option<Sign> {
    let (baseline, looked) = (traffic.phase(Phase::Baseline)?, looked(traffic)?);
    let starts: Vec<f64> = edge.exchanges.iter().map(|it| it.began).collect();
    let within = |from: f64| {
        let first = starts.partition_point(|at| *at < from);
        starts.partition_point(|at| *at < from + WINDOW) - first
    };
    let steps = |from: f64, to: f64| {
        let count = ((to - from - WINDOW) / (WINDOW / 4.0)).floor();
        (0..=count.clamp(0.0, 1e5) as usize)
            .map(move |step| from + step as f64 * WINDOW / 4.0)
            .take_while(move |at| at + WINDOW <= to + 1e-9)
    };
    let highest = steps(baseline.from, baseline.to).map(within).max()? as f64;
    let mean = band.rate * WINDOW;
    let limit = (HIGH * highest).max(mean + 6.0 * mean.sqrt()).max(mean + 10.0);
    // What a stall held up comes after it all at once.
    let at = steps(looked.from, looked.to)
        .filter(|at| !stalls.touch(at - WINDOW, at + WINDOW))
        .find(|at| within(*at) as f64 > limit)?;
    let observed = within(at) as f64 / WINDOW;
    Some(Sign {
        at,
        signal: Signal::Rate,
        cut_short: false,
        baseline: band.rate,
        observed,
        evidence: format!(
            "{observed:.1} a second for {WINDOW:.0} s; on the baseline {:.1}, at most {:.1}",
            band.rate,
            highest / WINDOW
        ),
    })
}

/// The marks between two moments.
pub(super) fn between(marks: &[Mark], from: f64, to: f64) -> &[Mark] {
    let first = marks.partition_point(|mark| mark.at < from);
    let last = marks.partition_point(|mark| mark.at < to);
    marks.get(first..last.max(first)).unwrap_or_default()
}

/// A share, in words.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// A time, in words.
pub(super) fn seconds(time: f64) -> String {
    if time < 0.01 {
        format!("{:.1} ms", time * 1e3)
    } else if time < 1.0 {
        format!("{:.0} ms", time * 1e3)
    } else {
        format!("{time:.1} s")
    }
}
