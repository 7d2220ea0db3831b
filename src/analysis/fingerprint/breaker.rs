//! The caller's circuit breaker: calls cease although requests come to it, and go on with a lone trial.
//!
//! Its threshold lies between the failures up to the last start and those up to the first call that did not come. Failures of
//! attempts and of whole calls are counted apart, and what explains every opening is claimed. Its open time is from the end of a
//! lone failed trial to the next start, where requests waited for it.

use super::Claim;
use super::calls::{View, quantile, sorted};
use super::retries::Pauses;
use super::timeout::millis;
use crate::analysis::{Breaker, Counted};
use crate::telemetry::{Ending, Passed};
use std::collections::{BTreeMap, HashSet};

/// Shorter silences are no open breaker.
const SHORTEST: f64 = 0.12;
/// When so many failures come together nobody can tell which one opened it.
const TOO_MANY: u32 = 3;
/// No breaker stays open for less.
const SOON: f64 = 0.45;
/// What starts so soon after another call's end took its place.
const IN_PLACE: f64 = 0.006;
const OUT_OF_ORDER: f64 = 0.002;

/// A breaker, when it was open, and what was seen.
pub(super) struct Found {
    pub(super) claim: Option<Claim<Breaker>>,
    pub(super) open: Vec<(f64, f64)>,
    pub(super) says: String,
}

/// A time without starts although calls were due.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// The place of the last start before it.
    after: usize,
    from: f64,
    to: f64,
    /// When the first call was surely refused, and when the last was.
    first: f64,
    last: f64,
    /// Requests that came meanwhile.
    came: usize,
    /// When the first was refused while nothing was under way.
    idle: Option<f64>,
}

/// The failures in a row after the last start, and up to the first refusal.
type Between = (u32, u32);

/// Failures in a row: one more than at the last start, up to the first refusal, and up to the first with nothing under way.
#[derive(Debug)]
struct Opening {
    attempts: (u32, u32, Option<u32>),
    calls: (u32, u32, Option<u32>),
}

/// Starts of the edge: of all attempts, or of calls alone.
struct Starts {
    at: Vec<f64>,
    chain: Vec<u32>,
    place: Vec<u32>,
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

impl Starts {
    fn of(view: &View<'_>, kept: impl Fn(u32) -> bool) -> Self {
        let mut starts = Self { at: Vec::new(), chain: Vec::new(), place: Vec::new() };
        for place in 0..view.rows.len() as u32 {
            if kept(place) {
                starts.at.push(view.row(place).began);
                starts.chain.push(view.chain_of[place as usize]);
                starts.place.push(place);
            }
        }
        starts
    }
}

/// Requests to the caller, and how many of them make a call.
struct Demand<'a> {
    requests: Vec<&'a Passed>,
    /// Of those, by their ends: which surely made no call, if ids tell.
    uncalled: Option<Vec<&'a Passed>>,
    /// So many in a row without a call are no chance.
    needed: usize,
    /// How long the caller works before it calls.
    work: f64,
    /// The latest end of what began up to each exchange.
    busy: Vec<f64>,
    /// Further attempts that were due, by the latest time, and did not come.
    due: Vec<f64>,
    /// Ends of exchanges.
    ends: Vec<f64>,
}

impl<'a> Demand<'a> {
    fn of(view: &View<'a>) -> Self {
        let mut requests: Vec<&Passed> =
            view.parents.iter().flat_map(|parent| &view.traffic.edges[*parent].exchanges).collect();
        requests.sort_by(|a, b| a.began.total_cmp(&b.began));
        let uncalled = view.linked.then(|| uncalled(view));
        let calm = view.calm();
        let came = requests.iter().filter(|request| request.began < calm).count();
        let called = if view.chains.is_empty() {
            view.rows.iter().filter(|passed| passed.began < calm).count()
        } else {
            view.chains
                .iter()
                .filter_map(|chain| view.first(chain))
                .filter(|first| first.began < calm)
                .count()
        };
        let share = if came < 10 { 0.5 } else { (called as f64 / came as f64).clamp(0.02, 0.9) };
        let ends = sorted(view.rows.iter().map(Passed::ended).collect());
        let mut latest = 0.0;
        let busy = view
            .rows
            .iter()
            .map(|passed| {
                latest = passed.ended().max(latest);
                latest
            })
            .collect();
        Self {
            requests,
            uncalled,
            needed: (0.001f64.ln() / (1.0 - share).ln()).ceil() as usize,
            busy,
            work: view.work_before(),
            due: overdue(view),
            ends,
        }
    }

    fn ends_within(&self, from: f64, to: f64) -> bool {
        self.ends.get(self.ends.partition_point(|end| *end < from)).is_some_and(|end| *end <= to)
    }

    fn silences(&self, view: &View<'_>, starts: &Starts, retries: bool) -> Vec<Silence> {
        let mut found = Vec::new();
        for (after, from) in starts.at.iter().enumerate() {
            let to = starts.at.get(after + 1).copied().unwrap_or(view.traffic.end);
            if to - from < SHORTEST || view.stalled(*from, to) {
                continue;
            }
            let start = self.requests.partition_point(|request| request.began <= from + 0.001);
            let (mut missed, mut came, mut idle) = (0, 0usize, None);
            let (mut first, mut last) = (f64::INFINITY, *from);
            for request in self.requests[start..].iter().take_while(|request| request.began < to) {
                came += 1;
                let before = view.rows.partition_point(|passed| passed.began <= request.began);
                let alone =
                    before.checked_sub(1).is_none_or(|place| self.busy[place] <= request.began + 0.001);
                let answered = request.ending == Ending::Complete && request.ended() < to - 0.0005;
                // One that waits has made no call when it was due.
                let refused = if answered { request.ended() } else { request.began + self.work };
                if !answered && (!alone || refused > to - 0.001) {
                    continue;
                }
                missed += 1;
                first = first.min(refused);
                last = request.began.max(last);
                if alone {
                    idle = Some(idle.map_or(refused, |idle: f64| idle.min(refused)));
                }
            }
            if let Some(uncalled) = &self.uncalled {
                // With ids, those who had come before count too.
                let start = uncalled.partition_point(|request| request.ended() <= from + 0.001);
                if let Some(request) = uncalled.get(start) {
                    first = first.min(request.ended());
                }
            }
            if retries {
                let start = self.due.partition_point(|due| due <= from);
                for due in self.due[start..].iter().take_while(|due| **due < to - 0.01) {
                    missed += 1;
                    first = due.min(first);
                }
            }
            // All workers of the caller may be stuck: then an end makes room for the next start.
            let freed = idle.is_none()
                && self.ends_within(to - IN_PLACE, to + OUT_OF_ORDER)
                && !self.ends_within(from + 0.02, to - 0.01);
            if missed >= self.needed && !freed {
                found.push(Silence { after, from: *from, to, first, last, came, idle });
            }
        }
        found
    }
}

/// Answered requests to the caller that made no call, by their ends.
fn uncalled<'a>(view: &View<'a>) -> Vec<&'a Passed> {
    let called: HashSet<(usize, u32)> = view.chains.iter().filter_map(|chain| chain.parent).collect();
    let mut found = Vec::new();
    for parent in &view.parents {
        for (place, passed) in view.traffic.edges[*parent].exchanges.iter().enumerate() {
            if passed.ending == Ending::Complete && !called.contains(&(*parent, place as u32)) {
                found.push(passed);
            }
        }
    }
    found.sort_by(|a, b| a.ended().total_cmp(&b.ended()));
    found
}

/// When further attempts were due at the latest that did not come.
fn overdue(view: &View<'_>) -> Vec<f64> {
    let full = most_attempts(view);
    let pauses = Pauses::of(view);
    let mut due: Vec<f64> = view
        .chains
        .iter()
        .filter(|chain| chain.sure && chain.attempts.len() < full)
        .filter_map(|chain| {
            let last = view.last(chain)?;
            let due = last.ended() + pauses.longest(chain.attempts.len())? + 0.005;
            (last.failed && view.whole(last) && !view.may_be_deserted(chain, last.ended(), due))
                .then_some(due)
        })
        .collect();
    // A retry that came late is missing too, until it came.
    due.extend(view.chains.iter().filter(|chain| chain.sure).flat_map(|chain| {
        chain.attempts.windows(2).enumerate().filter_map(|(place, pair)| {
            let due = view.row(pair[0]).ended() + pauses.longest(place + 1)? * 1.3 + 0.02;
            (view.row(pair[1]).began > due + 0.1).then_some(due)
        })
    }));
    due.sort_by(f64::total_cmp);
    due
}

/// How many attempts a call has that makes them all.
fn most_attempts(view: &View<'_>) -> usize {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for chain in view.chains.iter().filter(|chain| chain.sure) {
        *counts.entry(chain.attempts.len()).or_default() += 1;
    }
    counts.iter().rev().find(|(_, count)| **count >= 3).map_or(1, |(attempts, _)| *attempts)
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
            Ok(told) => (Some(told), ""),
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
            Claim { value: Breaker { failures, counts, open_for }, confidence }
        });
        Found { claim, open: self.open, says }
    }

    /// Between which numbers of failures it opens, and what is counted.
    fn threshold(&self, view: &View<'_>) -> Result<(Between, Option<Counted>), &'static str> {
        if self.openings.is_empty() {
            return Err("its opening was not seen");
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
            _ if self.around => return Err("no number explains every opening"),
            (Some(attempts), _) if !retried => (attempts, None),
            (Some(_), _) if view.merged => return Err("ids do not tell calls apart"),
            // Of calls with several attempts, so many are failures of whole calls rather, whose end was not seen.
            (Some(attempts), None) if attempts.1 > 40 => return Err("too many failures fall together"),
            (Some(attempts), None) => (attempts, Some(Counted::Attempts)),
            (None, Some(calls)) if retried && !view.merged => (calls, Some(Counted::Calls)),
            (Some(attempts), Some(calls)) if attempts == calls => (attempts, None),
            (Some(_), Some(_)) => return Err("failures of attempts and of whole calls explain it alike"),
            _ => return Err("no number explains every opening"),
        };
        // One opening alone must leave no choice.
        let seen_once = self.openings.len() == 1 && between.0 != between.1;
        if seen_once || between.1 - between.0 >= TOO_MANY {
            return Err("several failures fall together");
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
    let candidates: std::collections::BTreeSet<u32> =
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
