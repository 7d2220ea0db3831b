//! When calls of an edge ceased although requests came to its caller: what an open breaker looks like from outside.
//!
//! A request that was answered without a call was refused; so was one that waits although its call is due and nothing is under
//! way, and a further attempt that is overdue. So many in a row without a call must be no chance.

use super::calls::{View, sorted};
use super::retries::Pauses;
use crate::telemetry::{Ending, Passed};
use std::collections::{BTreeMap, HashSet};

/// Shorter silences are no open breaker.
const SHORTEST: f64 = 0.12;
/// What starts so soon after another call's end took its place.
const IN_PLACE: f64 = 0.006;
pub(super) const OUT_OF_ORDER: f64 = 0.002;

/// A time without starts although calls were due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// The place of the last start before it.
    pub(super) after: usize,
    pub(super) from: f64,
    pub(super) to: f64,
    /// When the first call was surely refused, and when the last was.
    pub(super) first: f64,
    pub(super) last: f64,
    /// Requests that came meanwhile.
    pub(super) came: usize,
    /// When the first was refused while nothing was under way.
    pub(super) idle: Option<f64>,
}

/// Starts of the edge: of all attempts, or of calls alone.
pub(super) struct Starts {
    pub(super) at: Vec<f64>,
    pub(super) chain: Vec<u32>,
    pub(super) place: Vec<u32>,
}

impl Starts {
    pub(super) fn of(view: &View<'_>, kept: impl Fn(u32) -> bool) -> Self {
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
pub(super) struct Demand<'a> {
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
    pub(super) fn of(view: &View<'a>) -> Self {
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

    pub(super) fn silences(&self, view: &View<'_>, starts: &Starts, retries: bool) -> Vec<Silence> {
        let mut found = Vec::new();
        for (after, from) in starts.at.iter().enumerate() {
            let to = starts.at.get(after + 1).copied().unwrap_or(view.traffic.end);
            if to - from < SHORTEST || view.stalled(*from, to) || view.restarted(*from, to) {
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
pub(super) fn most_attempts(view: &View<'_>) -> usize {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for chain in view.chains.iter().filter(|chain| chain.sure) {
        *counts.entry(chain.attempts.len()).or_default() += 1;
    }
    counts.iter().rev().find(|(_, count)| **count >= 3).map_or(1, |(attempts, _)| *attempts)
}
