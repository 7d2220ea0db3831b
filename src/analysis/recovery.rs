//! Whether each edge came back after heal, when, what surged over it, and what keeps ill the one that did not.
//!
//! Counted from the begin of the recovery phase: the end of heal, and of restore. Read backwards: an edge is back after the last
//! exchange of the last stretch in which it was outside its band. Of the last [`UNSAID`] seconds nothing can be said: what began
//! in them has not ended.

use super::attempts::Attempts;
use super::band::{Band, Mark};
use super::change::Watch;
use super::graph::Graph;
use super::series::{Stalls, cut};
use super::signs::{Sign, percent, seconds};
use super::{EdgeTraffic, Passed, Recovered, Recovery, Signal, Surge, Traffic};
use crate::model::Phase;

/// Of the last seconds of a run nothing can be said.
const UNSAID: f64 = 2.5;
/// A recovery phase that leaves less than this is too short.
const SHORT: f64 = 2.0;
/// Outside its band for less than this it is still back, in seconds.
const BRIEF: f64 = 0.25;
/// Shares of bad exchanges that are looked for.
const SHARES: [f64; 2] = [0.2, 0.8];
/// A second in which fewer were bad than this share is none of illness …
const TENTH: f64 = 0.15;
/// … and of these at most so many are looked through.
const SHOCKS: usize = 50;
/// It is back only if so many exchanges say so.
const LEAST_AFTER: usize = 3;
/// Attempts per logical request that are so many times the baseline's keep an edge ill.
const SUSTAINS: f64 = 1.3;
/// So does this share of callers that leave.
const LEAVES: f64 = 0.2;
/// A rate is a surge above so many times the highest of the baseline.
const SURGE: f64 = 1.3;

/// What is known of an edge.
pub(super) struct Known<'a> {
    pub(super) edge: &'a EdgeTraffic,
    pub(super) band: Option<&'a Band>,
    pub(super) sign: Option<&'a Sign>,
    pub(super) attempts: &'a Attempts,
}

/// Every edge, those that came back first, in the order in which they did.
pub(super) fn of_all(
    traffic: &Traffic,
    stalls: &Stalls,
    graph: &Graph,
    edges: &[Known<'_>],
) -> Vec<Recovery> {
    let Some(recovery) = traffic.phase(Phase::Recovery) else { return Vec::new() };
    let after = After { traffic, stalls, from: recovery.from, to: cut(traffic).min(recovery.to) - UNSAID };
    let states: Vec<_> = edges.iter().map(|known| after.state(known)).collect();
    let mut all: Vec<Recovery> = edges
        .iter()
        .zip(&states)
        .enumerate()
        .map(|(place, (known, (state, within)))| Recovery {
            edge: known.edge.name.clone(),
            state: *state,
            within: *within,
            surge: known.band.and_then(|band| after.surge(known.edge, band)),
            sustained_by: (*state == Recovered::Not)
                .then(|| {
                    let below = graph.below(place).into_iter().next().unwrap_or_default();
                    let below =
                        below.iter().filter_map(|other| Some((edges.get(*other)?, states.get(*other)?)));
                    let below: Vec<&Known<'_>> = below
                        .filter(|(_, (state, _))| *state == Recovered::Not)
                        .map(|(known, _)| known)
                        .collect();
                    after.sustained(known, &below)
                })
                .flatten(),
        })
        .collect();
    let rank = |state: Recovered| match state {
        Recovered::Recovered => 0,
        Recovered::Not => 1,
        Recovered::Unmeasured => 2,
    };
    let within = |it: &Recovery| it.within.unwrap_or(f64::INFINITY);
    all.sort_by(|a, b| rank(a.state).cmp(&rank(b.state)).then(within(a).total_cmp(&within(b))));
    all
}

struct After<'a> {
    traffic: &'a Traffic,
    stalls: &'a Stalls,
    from: f64,
    to: f64,
}

const UNMEASURED: (Recovered, Option<f64>) = (Recovered::Unmeasured, None);

impl After<'_> {
    fn state(&self, known: &Known<'_>) -> (Recovered, Option<f64>) {
        let (Some(band), Some(sign)) = (known.band, known.sign) else { return UNMEASURED };
        if self.to - self.from < SHORT {
            return UNMEASURED;
        }
        match sign.signal {
            Signal::Errors | Signal::Latency => self.illness(known.edge, band),
            Signal::Connections => self.gauges(known.edge, |gauge| gauge.connections),
            Signal::InFlight => self.gauges(known.edge, |gauge| gauge.in_flight),
            Signal::Rate => self.rate(known.edge, band),
        }
    }

    /// The state of an edge that was last outside its band at `last`, where what happens within `grain` is one thing.
    fn back(&self, last: Option<f64>, grain: f64) -> (Recovered, Option<f64>) {
        match last {
            None => (Recovered::Recovered, Some(0.0)),
            Some(last) if last < self.to - grain => (Recovered::Recovered, Some((last - self.from).max(0.0))),
            Some(_) => (Recovered::Not, None),
        }
    }

    fn illness(&self, edge: &EdgeTraffic, band: &Band) -> (Recovered, Option<f64>) {
        let Some(baseline) = self.traffic.phase(Phase::Baseline) else { return UNMEASURED };
        let after = self.backwards(edge, band, self.from - 5.0, self.to);
        let calm = self.backwards(edge, band, baseline.from, baseline.to);
        let usual = calm.iter().filter(|mark| mark.bad).count() as f64 / calm.len().max(1) as f64;
        let last = SHARES
            .into_iter()
            .filter_map(|share| {
                let watch = Watch::new(share, usual, calm.len(), &calm, after.len())?.for_at_least(BRIEF);
                last_ill(&watch, &after)
            })
            .max_by(f64::total_cmp);
        let since = last.unwrap_or(self.from).max(self.from);
        let well = after.iter().filter(|mark| !mark.bad && -mark.at > since).count();
        let grain = (5.0 / band.rate.max(1e-3)).clamp(0.5, 2.0);
        if well < LEAST_AFTER && last.is_none_or(|last| last < self.to - grain) {
            // Nobody called any more, or next to nobody.
            return if self.asked(edge) { (Recovered::Not, None) } else { UNMEASURED };
        }
        match self.back(last, grain) {
            // It came back in the seconds of which nothing can be said.
            (Recovered::Not, _) if self.turns(edge, band) => UNMEASURED,
            state => state,
        }
    }

    /// Whether what began last fared far better than what began just before.
    fn turns(&self, edge: &EdgeTraffic, band: &Band) -> bool {
        let bad = |from: f64, to: f64| {
            let marks = self.backwards(edge, band, from, to);
            let bad = marks.iter().filter(|mark| mark.bad).count();
            (marks.len() >= LEAST_AFTER).then(|| bad as f64 / marks.len() as f64)
        };
        let end = self.to + UNSAID;
        let (before, last) = (bad(self.to - 2.0, self.to), bad(end - 1.5, end));
        before.zip(last).is_some_and(|(before, last)| last < 0.5 * before)
    }

    /// Exchanges by when they began, the last first.
    fn backwards(&self, edge: &EdgeTraffic, band: &Band, from: f64, to: f64) -> Vec<Mark> {
        let cut = cut(self.traffic);
        let first = edge.exchanges.partition_point(|it| it.began < from);
        let last = edge.exchanges.partition_point(|it| it.began < to);
        let within = edge.exchanges.get(first..last.max(first)).unwrap_or_default();
        let mark = |(place, it): (usize, &Passed)| {
            let slow = it.timed && it.took > band.slow_at(it.began);
            let known = slow || it.ended() < cut - 0.25;
            let sound = known && !self.stalls.touch(it.began, it.ended());
            sound.then_some(Mark {
                at: -it.began,
                until: -it.began,
                bad: slow || it.failed,
                place: first + place,
            })
        };
        let mut marks: Vec<Mark> = within.iter().enumerate().filter_map(mark).collect();
        let slow =
            |it: &&Passed| it.timed && it.took > band.slow_at(it.began) && it.began >= from && it.began < to;
        marks.extend(edge.cut.iter().filter(slow).map(|it| Mark {
            at: -it.began,
            until: -it.began,
            bad: true,
            place: usize::MAX,
        }));
        marks.sort_by(|a, b| a.at.total_cmp(&b.at));
        marks
    }

    /// Whether the callers of an edge's caller still ask for something, as they did on the baseline.
    fn asked(&self, edge: &EdgeTraffic) -> bool {
        let into = self.traffic.edges.iter().filter(|other| other.to == edge.from && !other.tcp);
        into.flat_map(|other| &other.exchanges)
            .filter(|it| it.began >= self.from && it.began < self.to)
            .count()
            >= LEAST_AFTER
    }

    fn gauges(&self, edge: &EdgeTraffic, what: fn(&super::Gauge) -> u64) -> (Recovered, Option<f64>) {
        let Some(limit) = super::signs::piled_from(self.traffic, edge) else { return UNMEASURED };
        let after = edge.gauges.iter().filter(|it| it.t > self.from && it.t <= self.to + UNSAID);
        if after.clone().count() < LEAST_AFTER {
            return UNMEASURED;
        }
        // What stands open is known at once: nothing is unsaid of it.
        let last = after.filter(|it| what(it) as f64 > limit).map(|it| it.t).max_by(f64::total_cmp);
        match last {
            Some(last) if last > self.to + UNSAID - 0.6 => (Recovered::Not, None),
            last => (Recovered::Recovered, Some(last.map_or(0.0, |last| last - self.from))),
        }
    }

    fn rate(&self, edge: &EdgeTraffic, band: &Band) -> (Recovered, Option<f64>) {
        let Some(counts) = Counts::of(self.traffic, edge, band) else { return UNMEASURED };
        let last = counts
            .steps(self.from - counts.width, self.to)
            .filter(|at| {
                let count = counts.within(*at);
                count < 0.2 * counts.mean || count > 2.0 * counts.highest
            })
            .last();
        let last = last.map(|at| {
            // Ceased until its next start; multiplied until the end of what was counted.
            let next =
                counts.starts.get(counts.starts.partition_point(|start| *start < at + counts.width / 2.0));
            next.map_or(at + counts.width, |next| next.min(at + counts.width))
        });
        match self.back(last, counts.width) {
            (Recovered::Not, _) if !self.asked(edge) => UNMEASURED,
            state => state,
        }
    }

    fn surge(&self, edge: &EdgeTraffic, band: &Band) -> Option<Surge> {
        let counts = Counts::of(self.traffic, edge, band)?;
        let limit = (SURGE * counts.highest).max(counts.mean + 4.0 * counts.mean.sqrt());
        let (mut most, mut width) = (0.0f64, 0.0);
        for at in counts.steps(self.from, self.to + UNSAID) {
            let count = counts.within(at);
            if count > limit && !self.stalls.touch(at - 1.0, at + counts.width) {
                most = most.max(count);
                width += counts.width / 4.0;
            }
        }
        (most > 0.0).then(|| Surge { height: most / counts.mean, width })
    }

    fn sustained(&self, known: &Known<'_>, below: &[&Known<'_>]) -> Option<String> {
        let baseline = self.traffic.phase(Phase::Baseline)?;
        let late = (self.from + (self.to - self.from) / 2.0).max(self.to - 10.0);
        let tries = |from: f64, to: f64| {
            let begun = known.attempts.logical.iter().filter(|logical| {
                known.edge.exchanges.get(logical.first).is_some_and(|it| it.began >= from && it.began < to)
            });
            let (logical, attempts) = begun.fold((0u32, 0u32), |(n, sum), it| (n + 1, sum + it.attempts));
            (logical > 0).then(|| f64::from(attempts) / f64::from(logical))
        };
        if let (Some(now), Some(usual)) = (tries(late, self.to), tries(baseline.from, baseline.to))
            && now >= SUSTAINS * usual
        {
            return Some(format!("attempts per logical request are still {now:.1} (baseline {usual:.1})"));
        }
        if let Some(first) = below.first() {
            return Some(format!("`{}` below it is not back either", first.edge.name));
        }
        let first = known.edge.exchanges.partition_point(|it| it.began < late);
        let last = known.edge.exchanges.partition_point(|it| it.began < self.to);
        let tail = known.edge.exchanges.get(first..last.max(first))?;
        let left = tail.iter().filter(|it| it.left()).count() as f64 / tail.len().max(1) as f64;
        let zombie: f64 = tail.iter().filter_map(|it| it.zombie).sum();
        if left >= LEAVES && zombie > 0.0 {
            return Some(format!(
                "{} of its callers still leave before the answer, and `{}` works on for nobody: {} in the last {}",
                percent(left),
                known.edge.to,
                seconds(zombie),
                seconds(self.to - late)
            ));
        }
        let rate = tail.len() as f64 / (self.to - late).max(1e-3);
        let usual = known.band.map(|band| band.rate)?;
        if rate >= SUSTAINS * usual {
            return Some(format!("{rate:.0} requests a second still come (baseline {usual:.0})"));
        }
        if rate < 0.2 * usual {
            return Some(format!(
                "`{}` hardly calls it any more: {rate:.1} a second (baseline {usual:.1})",
                known.edge.from
            ));
        }
        (left >= LEAVES).then(|| format!("{} of its callers still leave before the answer", percent(left)))
    }
}

/// When the last stretch of illness ended, in marks that lie backwards: in its last second at least [`TENTH`] were bad.
fn last_ill(watch: &Watch, after: &[Mark]) -> Option<f64> {
    let mut from = 0;
    for _ in 0..SHOCKS {
        let rest = after.get(from..)?;
        let place = watch.rise(rest)?;
        let at = rest.get(place)?.at;
        let second: Vec<&Mark> = rest.iter().skip(place).take_while(|mark| mark.at < at + 1.0).collect();
        if second.iter().filter(|mark| mark.bad).count() as f64 >= TENTH * second.len() as f64 {
            return Some(-at);
        }
        from += place + second.len().max(1);
    }
    None
}

/// Starts counted over a second, or as long as chance needs to make little of it.
struct Counts {
    starts: Vec<f64>,
    width: f64,
    mean: f64,
    highest: f64,
}

impl Counts {
    fn of(traffic: &Traffic, edge: &EdgeTraffic, band: &Band) -> Option<Self> {
        let baseline = traffic.phase(Phase::Baseline)?;
        let width = (8.0 / band.rate.max(1e-6)).max(1.0);
        let starts = edge.exchanges.iter().map(|it| it.began).collect();
        let mut counts = Self { starts, width, mean: band.rate * width, highest: 0.0 };
        let highest = counts.steps(baseline.from, baseline.to).map(|at| counts.within(at));
        counts.highest = highest.max_by(f64::total_cmp)?;
        Some(counts)
    }

    fn within(&self, from: f64) -> f64 {
        let first = self.starts.partition_point(|at| *at < from);
        (self.starts.partition_point(|at| *at < from + self.width) - first) as f64
    }

    fn steps(&self, from: f64, to: f64) -> impl Iterator<Item = f64> {
        let (width, step) = (self.width, self.width / 4.0);
        let count = ((to - from - width) / step).floor().clamp(-1.0, 1e5);
        (0..(count + 1.0) as usize).map(move |n| from + n as f64 * step)
    }
}
