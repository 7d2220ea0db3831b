//! The caller's circuit breaker: calls cease although requests come to it, and go on with a lone trial.
//!
//! Its threshold lies between the failures up to the last start and those up to the first call that did not come. Failures of
//! attempts and of whole calls are counted apart, and what explains every opening is claimed. Its open time is from the end of a
//! lone failed trial to the next start, where requests waited for it.

use super::Claim;
use super::calls::{View, quantile, sorted};
use super::silence::{Demand, OUT_OF_ORDER, Silence, Starts, most_attempts};
use super::timeout::millis;
use crate::analysis::{Breaker, Counted};
use std::collections::BTreeSet;

/// When so many failures come together nobody can tell which one opened it.
const TOO_MANY: u32 = 3;
/// What goes out so soon after the first refusal is no trial.
const SOON: f64 = 0.45;

/// A breaker, when it was open, and what was seen.
pub(super) struct Found {
    pub(super) claim: Option<Claim<Breaker>>,
    pub(super) open: Vec<(f64, f64)>,
    pub(super) says: String,
}

/// The failures in a row after the last start, and up to the first refusal.
type Between = (u32, u32);

/// Failures in a row: one more than at the last start, up to the first refusal, and up to the first with nothing under way.
#[derive(Debug)]
struct Opening {
    attempts: (u32, u32, Option<u32>),
    calls: (u32, u32, Option<u32>),
}

/// `full` are the times in which the caller's pool was full: what waited for it still starts after the opening.
pub(super) fn breaker(view: &View<'_>, full: &[(f64, f64)]) -> Found {
    let none = |says: &str| Found { claim: None, open: Vec::new(), says: says.into() };
    if view.parents.is_empty() {
        return none("no circuit breaker told: nobody is seen to call the caller");
    }
    if !view.rows.iter().any(|passed| passed.failed) {
        return none("no circuit breaker seen: no call failed");
    }
    let demand = Demand::of(view);
    let every = Starts::of(view, |_| true);
    let silences = demand.silences(view, &every, true);
    let seen = Read::of(view, full, &every, &silences);
    let firsts = Starts::of(view, |place| {
        let chain = view.chain_of.get(place as usize).and_then(|chain| view.chains.get(*chain as usize));
        chain.is_none_or(|chain| chain.attempts.first() == Some(&place))
    });
    // A breaker around the whole call lets its further attempts through.
    let around = view.telling && !view.merged && firsts.at.len() < every.at.len() && {
        let gaps = demand.silences(view, &firsts, false);
        let through: usize = gaps.iter().map(|gap| through(&every, gap)).sum();
        through >= 3 && through * 10 >= gaps.len() * 7
    };
    let seen = if around {
        let silences = demand.silences(view, &firsts, false);
        Read { around, ..Read::of(view, full, &firsts, &silences) }
    } else {
        seen
    };
    if seen.openings.is_empty() && seen.opens.is_empty() {
        let says = "no circuit breaker seen: calls never ceased while callers waited".into();
        return Found { claim: None, open: silent_times(&silences), says };
    }
    if !seen.idle {
        let says = "no circuit breaker told: calls ceased, but others were under way all the time".into();
        return Found { claim: None, open: silent_times(&silences), says };
    }
    seen.conclude(view)
}

fn silent_times(silences: &[Silence]) -> Vec<(f64, f64)> {
    silences.iter().map(|silence| (silence.from, silence.to)).collect()
}

/// Attempts that went out after the first refusal.
fn through(every: &Starts, gap: &Silence) -> usize {
    let start = every.at.partition_point(|at| *at <= gap.first + OUT_OF_ORDER);
    let stop = every.at.partition_point(|at| *at < (gap.first + SOON).min(gap.to - OUT_OF_ORDER));
    stop.saturating_sub(start)
}

/// What the silences say.
struct Read {
    openings: Vec<Opening>,
    /// From the end of a lone failed trial: no start until at least, a start at; and whether requests came so often that it
    /// cannot have been late.
    opens: Vec<(f64, f64, bool)>,
    open: Vec<(f64, f64)>,
    crowded: usize,
    /// Lone trials that failed.
    trials: usize,
    idle: bool,
    around: bool,
}

impl Read {
    fn of(view: &View<'_>, full: &[(f64, f64)], starts: &Starts, silences: &[Silence]) -> Self {
        let mut read = Self {
            openings: Vec::new(),
            opens: Vec::new(),
            open: Vec::new(),
            crowded: 0,
            trials: 0,
            idle: silences.iter().any(|silence| silence.idle.is_some()),
            around: false,
        };
        let tally = Tally::of(view);
        let mut before: Option<&Silence> = None;
        for silence in silences {
            let end = |silence: &Silence| starts.at.get(silence.after + 1).copied();
            // Starts since the silence before: a lone trial, or a time in which it was shut.
            let trial = before.and_then(|before| lone(view, starts, before.after + 1, silence.after));
            if let Some((_, false)) = trial {
                // It went well, and shut the breaker.
                before = None;
                continue;
            }
            if let Some((over, true)) = trial {
                read.trials += 1;
                if let Some(next) = end(silence)
                    && starts.chain[silence.after + 1] != starts.chain[silence.after]
                {
                    let dense = silence.came as f64 * 0.05 > 1.0;
                    read.opens.push((silence.last.max(over) - over, next - over, dense));
                }
                read.open.push((over, silence.to));
            } else if let Some(opening) = tally.opening(silence, starts.at.len() < view.rows.len()) {
                // After it there must be a trial, and it must be alone.
                if crowd(view, starts, silence.after + 1) {
                    read.crowded += 1;
                } else {
                    let drained = |(from, to): &(f64, f64)| *from < silence.from && silence.from < to + 0.1;
                    if !full.iter().any(drained) {
                        read.openings.push(opening);
                    }
                    read.open.push((silence.from, silence.to));
                }
            } else {
                before = None;
                continue;
            }
            before = Some(silence);
        }
        read
    }

    fn conclude(self, view: &View<'_>) -> Found {
        if self.crowded > self.open.len() {
            let says = "no circuit breaker told: calls ceased, but came back all at once".into();
            return Found { claim: None, open: self.open, says };
        }
        if self.trials == 0 {
            let says = "no circuit breaker told: calls ceased, but no lone trial followed".into();
            return Found { claim: None, open: self.open, says };
        }
        let open_for = self.open_for();
        let (told, why) = match self.threshold(view) {
            Ok(told) => (Some(told), String::new()),
            Err(why) => (None, why),
        };
        let failures = told.map(|(between, _)| (between.0 + between.1) / 2);
        let counts = told.and_then(|(_, counts)| counts);
        let times = self.open.len();
        let says = format!(
            "has a circuit breaker: calls ceased {times} time{} while callers came; {}; {}",
            if times == 1 { "" } else { "s" },
            match (failures, counts) {
                (Some(n), Some(Counted::Attempts)) => format!("it opens after {n} failed attempts in a row"),
                (Some(n), Some(Counted::Calls)) =>
                    format!("it opens after {n} failed calls in a row, each with all its attempts"),
                (Some(n), None) => format!("it opens after {n} failed calls in a row"),
                (None, _) => format!("after how many failures is not told: {why}"),
            },
            match open_for {
                Some(time) => format!(
                    "it stays open for {}: the pause after each of {} lone trials that failed",
                    millis(time),
                    self.opens.len()
                ),
                None => "for how long it stays open was not seen".into(),
            }
        );
        let claim = (failures.is_some() || open_for.is_some()).then(|| {
            let width = told.map_or(0.0, |(between, _)| f64::from(between.1 - between.0));
            let seen = (self.openings.len() + self.opens.len()).max(1) as f64;
            let confidence = (1.0 - 0.2 * width) * (1.0 - 0.3 / seen);
            // Of thresholds on systems with known truth one in ten was wrong: a queue behind the breaker hides its opening.
            let most = if failures.is_some() { 0.85 } else { 0.95 };
            Claim { value: Breaker { failures, counts, open_for }, confidence: confidence.min(most) }
        });
        Found { claim, open: self.open, says }
    }

    /// Between which numbers of failures it opens, and what is counted.
    fn threshold(&self, view: &View<'_>) -> Result<(Between, Option<Counted>), String> {
        if self.openings.is_empty() {
            return Err("its opening was not seen".into());
        }
        // Where calls also cease because all workers are stuck, only a refusal with nothing under way counts.
        let strict = self.crowded > 0;
        let of = |between: fn(&Opening) -> (u32, u32, Option<u32>)| {
            meet(self.openings.iter().map(between).filter_map(|(from, to, idle)| match idle {
                _ if !strict => Some((from, to)),
                Some(idle) => Some((from, idle)),
                None => None,
            }))
        };
        let attempts = of(|opening| opening.attempts);
        let calls = of(|opening| opening.calls).filter(|calls| calls.1 > 1);
        let retried = view.telling && most_attempts(view) > 1;
        let (between, counts) = match (attempts, calls) {
            (_, Some(calls)) if self.around => (calls, Some(Counted::Calls)),
            _ if self.around => return Err("no number explains every opening".into()),
            (Some(attempts), _) if !retried => (attempts, None),
            (Some(_), _) if view.merged => return Err("ids do not tell calls apart".into()),
            // Of calls with several attempts, so many are failures of whole calls rather, whose end was not seen.
            (Some(attempts), None) if attempts.1 > 40 => return Err("too many failures fall together".into()),
            (Some(attempts), None) => (attempts, Some(Counted::Attempts)),
            (None, Some(calls)) if retried && !view.merged => (calls, Some(Counted::Calls)),
            (Some(attempts), Some(calls)) if attempts == calls => (attempts, None),
            // Nobody sets a threshold of so many attempts: where as few whole calls explain it, they do.
            (Some(attempts), Some(calls)) if attempts.0 > 40 && calls.1 <= 20 => {
                (calls, Some(Counted::Calls))
            }
            (Some(_), Some(_)) => {
                return Err("failures of attempts and of whole calls explain it alike".into());
            }
            _ => return Err("no number explains every opening".into()),
        };
        // One opening alone must leave no choice but one: either is right but for one failure.
        let seen_once = self.openings.len() == 1 && between.1 - between.0 > 1;
        if seen_once || between.1 - between.0 >= TOO_MANY {
            let of = if counts == Some(Counted::Calls) { "whole calls" } else { "attempts" };
            return Err(format!("{} to {} failed {of} explain it", between.0, between.1));
        }
        Ok((between, counts))
    }

    fn open_for(&self) -> Option<f64> {
        let sure = |(least, most, _): &&(f64, f64, bool)| most - least < 0.12 * most + 0.01;
        let mut known: Vec<f64> = self.opens.iter().filter(sure).map(|open| open.1).collect();
        if known.is_empty() {
            let dense: Vec<f64> = self.opens.iter().filter(|open| open.2).map(|open| open.1).collect();
            let alike = match (quantile(&sorted(dense.clone()), 0.0), quantile(&sorted(dense.clone()), 0.75))
            {
                (Some(low), Some(high)) => high - low < 0.03 * low + 0.005,
                _ => false,
            };
            if dense.len() >= 3 && alike {
                known = dense;
            }
        }
        let known = sorted(known);
        let low = known.first().copied()?;
        // A few came late.
        let high = quantile(&known, 0.7)?;
        (high - low < 0.1 * high).then_some(low)
    }
}

/// What most have in common, and the others all but one failure.
fn meet(all: impl Iterator<Item = Between>) -> Option<Between> {
    let all: Vec<Between> = all.filter(|between| between.1 > 0).collect();
    let fits = |n: u32, slack: u32| {
        all.iter()
            .filter(|(from, to)| (*from).min(to + 1) <= n + slack && n <= (*to).max(*from) + slack)
            .count()
    };
    let exact = |n: u32| all.iter().filter(|(from, to)| *from <= n && n <= *to).count();
    let candidates: BTreeSet<u32> =
        all.iter().flat_map(|(from, to)| [*from, *to]).filter(|n| *n > 0).collect();
    let best = candidates.iter().map(|n| exact(*n)).max().filter(|best| *best > 0)?;
    let kept: Vec<u32> = candidates.into_iter().filter(|n| exact(*n) == best).collect();
    let (least, most) = (*kept.first()?, *kept.last()?);
    let middle = (least + most) / 2;
    (best * 10 >= all.len() * 6 && fits(middle, 1) == all.len()).then_some((least, most))
}

/// The end of what began from … to, if it was one call alone, and whether that failed.
fn lone(view: &View<'_>, starts: &Starts, from: usize, to: usize) -> Option<(f64, bool)> {
    let alone = from == to
        || view.telling
            && to < from + 20
            && starts.chain[from..=to].iter().all(|chain| *chain == starts.chain[from]);
    let last = match view.chains.get(starts.chain[to] as usize) {
        Some(chain) if view.telling && starts.at.len() < view.rows.len() => view.last(chain)?,
        _ => view.row(starts.place[to]),
    };
    alone.then(|| (last.ended(), last.failed))
}

/// Whether several calls began together after a silence, before the first of them was over.
fn crowd(view: &View<'_>, starts: &Starts, first: usize) -> bool {
    let (Some(place), Some(next)) = (starts.place.get(first), starts.at.get(first + 1)) else { return false };
    *next < view.row(*place).ended() - OUT_OF_ORDER
}

/// Ends of attempts and calls in their order, and how many had failed in a row.
struct Tally {
    attempts: Vec<(f64, u32)>,
    calls: Vec<(f64, u32)>,
}

impl Tally {
    fn of(view: &View<'_>) -> Self {
        let full = most_attempts(view);
        let mut attempts: Vec<(f64, bool)> = Vec::new();
        let mut calls: Vec<(f64, bool)> = Vec::new();
        for (place, passed) in view.rows.iter().enumerate() {
            let chain = view.chains.get(view.chain_of[place] as usize);
            // Who is given up himself does not count it.
            if view.cut_from_above_surely(place as u32) {
                continue;
            }
            attempts.push((passed.ended(), passed.failed));
            let last = chain.is_none_or(|chain| {
                chain.attempts.last() == Some(&(place as u32)) && chain.attempts.len() >= full
            });
            if !passed.failed || last {
                calls.push((passed.ended(), passed.failed));
            }
        }
        Self { attempts: in_a_row(attempts), calls: in_a_row(calls) }
    }

    fn opening(&self, silence: &Silence, around: bool) -> Option<Opening> {
        let count = |ends: &[(f64, u32)], at: f64| {
            let place = ends.partition_point(|(end, _)| *end <= at);
            place.checked_sub(1).map_or(0, |place| ends[place].1)
        };
        let between = |ends: &[(f64, u32)]| {
            (
                count(ends, silence.from - OUT_OF_ORDER) + 1,
                count(ends, silence.first + 0.001),
                silence.idle.map(|idle| count(ends, idle + 0.001)),
            )
        };
        let opening = Opening { attempts: between(&self.attempts), calls: between(&self.calls) };
        let failed = if around { opening.calls.1 } else { opening.attempts.1 };
        (failed >= 2).then_some(opening)
    }
}

fn in_a_row(mut ends: Vec<(f64, bool)>) -> Vec<(f64, u32)> {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut row = 0;
    ends.into_iter()
        .map(|(end, failed)| {
            row = if failed { row + 1 } else { 0 };
            (end, row)
        })
        .collect()
}
