//! The caller's circuit breaker: calls cease although requests come to it, and go on with a lone trial.
//!
//! Its threshold lies between the failures up to the last start and those up to the first call that did not come. Failures of
//! attempts and of whole calls are counted apart, and what explains every opening is claimed. Its open time is from the end of a
//! lone failed trial to the next start, where requests waited for it.

use super::Claim;
use super::calls::View;
use super::retries::Pauses;
use super::timeout::millis;
use crate::analysis::Breaker;
use crate::telemetry::{Ending, Passed};
use std::collections::BTreeMap;

/// Shorter silences are no open breaker.
const SHORTEST: f64 = 0.12;
/// When so many failures come together nobody can tell which one opened it.
const TOO_MANY: u32 = 3;
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
    missed: usize,
}

/// The failures in a row up to the last start, and up to the first refusal.
type Between = (u32, u32);

#[derive(Debug)]
struct Opening {
    attempts: Between,
    calls: Between,
}

/// Starts of the edge: of all attempts, or of calls alone.
struct Starts {
    at: Vec<f64>,
    chain: Vec<u32>,
    place: Vec<u32>,
}

pub(super) fn breaker(view: &View<'_>) -> Found {
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
    let seen = Read::of(view, &every, &silences);
    let firsts = Starts::of(view, |place| {
        let chain = view.chain_of.get(place as usize).and_then(|chain| view.chains.get(*chain as usize));
        chain.is_none_or(|chain| chain.attempts.first() == Some(&place))
    });
    // A breaker around the whole call lets its further attempts through.
    let around = view.telling && firsts.at.len() < every.at.len() && {
        let gaps = demand.silences(view, &firsts, false);
        let through: usize = gaps.iter().map(|gap| through(&every, gap)).sum();
        through >= 3 && through >= 2 * gaps.len().min(3) / 2 && !gaps.is_empty()
    };
    let seen = if around {
        let silences = demand.silences(view, &firsts, false);
        Read { around, ..Read::of(view, &firsts, &silences) }
    } else {
        seen
    };
    if seen.openings.is_empty() && seen.opens.is_empty() {
        return none("no circuit breaker seen: calls never ceased while callers waited");
    }
    seen.conclude(view)
}

/// Attempts that went out after the first refusal.
fn through(every: &Starts, gap: &Silence) -> usize {
    let start = every.at.partition_point(|at| *at <= gap.first + OUT_OF_ORDER);
    let stop = every.at.partition_point(|at| *at < gap.to - OUT_OF_ORDER);
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
    /// So many in a row without a call are no chance.
    needed: usize,
    /// The latest end of what began up to each exchange.
    busy: Vec<f64>,
    /// Further attempts that were due, by the latest time, and did not come.
    due: Vec<f64>,
}

impl<'a> Demand<'a> {
    fn of(view: &View<'a>) -> Self {
        let mut requests: Vec<&Passed> =
            view.parents.iter().flat_map(|parent| &view.traffic.edges[*parent].exchanges).collect();
        requests.sort_by(|a, b| a.began.total_cmp(&b.began));
        let calm = view.calm();
        let came = requests.iter().filter(|request| request.began < calm).count();
        let called = if view.chains.is_empty() {
            view.rows.iter().filter(|passed| passed.began < calm).count()
        } else {
            view.chains.iter().filter_map(|chain| view.first(chain)).filter(|first| first.began < calm).count()
        };
        let share = if came < 10 { 0.5 } else { (called as f64 / came as f64).clamp(0.02, 0.9) };
        let mut latest = 0.0;
        let busy = view
            .rows
            .iter()
            .map(|passed| {
                latest = passed.ended().max(latest);
                latest
            })
            .collect();
        Self { requests, needed: (0.001f64.ln() / (1.0 - share).ln()).ceil() as usize, busy, due: overdue(view) }
    }

    fn silences(&self, view: &View<'_>, starts: &Starts, retries: bool) -> Vec<Silence> {
        let mut found = Vec::new();
        for (after, from) in starts.at.iter().enumerate() {
            let to = starts.at.get(after + 1).copied().unwrap_or(view.traffic.end);
            if to - from < SHORTEST || view.stalled(*from, to) {
                continue;
            }
            let start = self.requests.partition_point(|request| request.began <= from + 0.001);
            let (mut missed, mut idle) = (0, 0);
            let (mut first, mut last) = (f64::INFINITY, *from);
            for request in self.requests[start..].iter().take_while(|request| request.began < to) {
                if request.left() || request.ending != Ending::Complete || request.ended() > to - 0.0005 {
                    continue;
                }
                missed += 1;
                first = request.ended().min(first);
                last = request.began.max(last);
                let before = view.rows.partition_point(|passed| passed.began <= request.began);
                if before.checked_sub(1).is_none_or(|place| self.busy[place] <= request.began + 0.001) {
                    idle += 1;
                }
            }
            if retries {
                let start = self.due.partition_point(|due| due <= from);
                for due in self.due[start..].iter().take_while(|due| **due < to - 0.01) {
                    missed += 1;
                    first = due.min(first);
                    let before = view.rows.partition_point(|passed| passed.began <= *due);
                    if before.checked_sub(1).is_none_or(|place| self.busy[place] <= *due) {
                        idle += 1;
                    }
                }
            }
            if missed >= self.needed && idle * 2 >= self.needed.min(4) {
                found.push(Silence { after, from: *from, to, first, last, missed });
            }
        }
        found
    }
}

/// When further attempts were due at the latest that did not come.
fn overdue(view: &View<'_>) -> Vec<f64> {
    let full = full(view);
    let pauses = Pauses::of(view);
    let mut due: Vec<f64> = view
        .chains
        .iter()
        .filter(|chain| chain.sure && chain.attempts.len() < full)
        .filter_map(|chain| {
            let last = view.last(chain)?;
            let due = last.ended() + pauses.longest(chain.attempts.len())? + 0.005;
            (last.failed && view.whole(last) && !view.may_be_deserted(chain, last.ended(), due)).then_some(due)
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
fn full(view: &View<'_>) -> usize {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for chain in view.chains.iter().filter(|chain| chain.sure) {
        *counts.entry(chain.attempts.len()).or_default() += 1;
    }
    counts.iter().rev().find(|(_, count)| **count >= 3).map_or(1, |(attempts, _)| *attempts)
}

/// What the silences say.
struct Read {
    openings: Vec<Opening>,
    /// From the end of a lone failed trial: no start until at least, a start at.
    opens: Vec<(f64, f64)>,
    open: Vec<(f64, f64)>,
    crowded: usize,
    around: bool,
}

impl Read {
    fn of(view: &View<'_>, starts: &Starts, silences: &[Silence]) -> Self {
        let mut read =
            Self { openings: Vec::new(), opens: Vec::new(), open: Vec::new(), crowded: 0, around: false };
        let tally = Tally::of(view);
        let mut before: Option<&Silence> = None;
        for silence in silences {
            let end = |silence: &Silence| starts.at.get(silence.after + 1).copied();
            // Starts since the silence before: a lone trial, or a time in which it was shut.
            let trial = before.and_then(|before| lone(view, starts, before.after + 1, silence.after));
            if let Some(over) = trial {
                if let Some(next) = end(silence)
                    && starts.chain[silence.after + 1] != starts.chain[silence.after]
                {
                    read.opens.push((silence.last.max(over) - over, next - over));
                }
                read.open.push((over, silence.to));
            } else if let Some(opening) = tally.opening(silence) {
                // After it there must be a trial, and it must be alone.
                if crowd(view, starts, silence.after + 1) {
                    read.crowded += 1;
                } else {
                    read.openings.push(opening);
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
        let silent = |why: String| Found { claim: None, open: self.open.clone(), says: why };
        if self.crowded > self.openings.len() {
            return silent("no circuit breaker told: calls ceased, but came back all at once".into());
        }
        let attempts = meet(self.openings.iter().map(|opening| opening.attempts));
        let calls = meet(self.openings.iter().map(|opening| opening.calls));
        let retried = full(view) > 1;
        let (between, counted) = match (attempts, calls) {
            (_, Some(calls)) if self.around => (calls, "calls with all their attempts"),
            _ if self.around => return silent(self.untold("no threshold explains all of them")),
            (Some(attempts), _) if !retried => (attempts, "calls"),
            (Some(attempts), None) => (attempts, "attempts"),
            (None, Some(calls)) if retried => (calls, "calls with all their attempts"),
            (Some(attempts), Some(calls)) if attempts == calls => (attempts, "calls"),
            (Some(_), Some(_)) => {
                return silent(self.untold("failures of attempts and of whole calls explain it alike"));
            }
            _ => return silent(self.untold("no threshold explains all of them")),
        };
        if between.1 - between.0 >= TOO_MANY {
            return silent(self.untold("several failures fall together"));
        }
        let failures = (between.0 + between.1) / 2;
        let open_for = self.open_for();
        let says = format!(
            "opens a circuit breaker after {failures} failed {counted} in a row: {} time{}, calls ceased while callers came{}",
            self.openings.len(),
            if self.openings.len() == 1 { "" } else { "s" },
            match open_for {
                Some(time) =>
                    format!("; open for {}: {} trials alone, each failed", millis(time), self.opens.len()),
                None => "; for how long was not seen".into(),
            }
        );
        let width = f64::from(between.1 - between.0);
        let confidence = (1.0 - 0.2 * width) * (1.0 - 0.3 / self.openings.len() as f64);
        Found { claim: Some(Claim { value: Breaker { failures, open_for }, confidence }), open: self.open, says }
    }

    fn untold(&self, why: &str) -> String {
        let time = self.open_for().map_or(String::new(), |time| format!(", for {} each time", millis(time)));
        format!(
            "has a circuit breaker: calls ceased {} times while callers came{time}; after how many failures is not told: {why}",
            self.open.len()
        )
    }

    fn open_for(&self) -> Option<f64> {
        let known: Vec<f64> = self
            .opens
            .iter()
            .filter(|(least, most)| most - least < 0.12 * most + 0.01)
            .map(|(_, most)| *most)
            .collect();
        let (least, most) = (
            known.iter().copied().reduce(f64::min)?,
            known.iter().copied().reduce(f64::max)?,
        );
        (most - least < 0.25 * most).then_some(least)
    }
}

/// What all have in common.
fn meet(all: impl Iterator<Item = Between>) -> Option<Between> {
    let both = all.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))?;
    (both.0 <= both.1 && both.1 > 0).then_some(both)
}

/// The end of what began from … to, if it was one call alone that failed.
fn lone(view: &View<'_>, starts: &Starts, from: usize, to: usize) -> Option<f64> {
    let alone = from == to
        || view.telling
            && to < from + 20
            && starts.chain[from..=to].iter().all(|chain| *chain == starts.chain[from]);
    let last = match view.chains.get(starts.chain[to] as usize) {
        Some(chain) if view.telling && starts.at.len() < view.rows.len() => view.last(chain)?,
        _ => view.row(starts.place[to]),
    };
    (alone && last.failed).then(|| last.ended())
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
        let full = full(view);
        let mut attempts: Vec<(f64, bool)> = Vec::new();
        let mut calls: Vec<(f64, bool)> = Vec::new();
        for (place, passed) in view.rows.iter().enumerate() {
            let chain = view.chains.get(view.chain_of[place] as usize);
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

    fn opening(&self, silence: &Silence) -> Option<Opening> {
        let count = |ends: &[(f64, u32)], at: f64| {
            let place = ends.partition_point(|(end, _)| *end <= at);
            place.checked_sub(1).map_or(0, |place| ends[place].1)
        };
        let between = |ends: &[(f64, u32)]| {
            (count(ends, silence.from - OUT_OF_ORDER) + 1, count(ends, silence.first + 0.001))
        };
        let opening = Opening { attempts: between(&self.attempts), calls: between(&self.calls) };
        (opening.attempts.1 >= 2).then_some(opening)
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
