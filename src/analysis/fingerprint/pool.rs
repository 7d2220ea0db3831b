//! How many calls a caller has under way at most: a plateau where another call starts as soon as one ends, while callers wait.
//!
//! The most in flight alone is no pool: a constant rate times a timeout looks the same. So three things must come together: the
//! level is held, each end on it is followed at once by the start of another call, and there are callers who wait.

use super::Claim;
use super::calls::{View, quantile, sorted};
use crate::model::Phase;

/// Levels held for less are glitches.
const HELD: f64 = 0.008;
/// Whoever waited starts this soon after an end.
const AT_ONCE: f64 = 0.006;
const OUT_OF_ORDER: f64 = 0.002;
/// A pool must have been full for so long.
const FULL: f64 = 1.0;
/// Fewer calls that followed at once say nothing.
const FEWEST: usize = 6;

/// A limit, and when it was reached while callers waited.
pub(super) struct Limit {
    pub(super) claim: Option<Claim<u32>>,
    pub(super) full: Vec<(f64, f64)>,
    pub(super) says: String,
}

/// The limit of calls under way.
pub(super) fn pool(view: &View<'_>) -> Limit {
    let silent = |why: String| Limit { claim: None, full: Vec::new(), says: why };
    if view.parents.is_empty() {
        return silent(
            "no pool told: nobody is seen to call the caller, so nobody can be seen to wait".into(),
        );
    }
    let waiting = Waiting::of(view);
    let calls: Vec<Span> = view
        .rows
        .iter()
        .enumerate()
        .map(|(place, passed)| Span {
            from: passed.began,
            to: passed.ended(),
            of: if view.telling { view.chain_of[place] } else { u32::MAX },
        })
        .collect();
    let mut calls = calls;
    calls.extend(view.edge.cut.iter().map(|passed| Span {
        from: passed.began,
        to: passed.ended(),
        of: u32::MAX,
    }));
    match plateau(view, calls, &waiting) {
        Ok(limit) => limit,
        Err((why, full)) => {
            // A place may be kept from the first attempt to the last.
            let whole: Vec<Span> = view
                .chains
                .iter()
                .enumerate()
                .filter_map(|(place, chain)| {
                    let (first, last) = (view.first(chain)?, view.last(chain)?);
                    Some(Span { from: first.began, to: last.ended(), of: place as u32 })
                })
                .collect();
            if whole.len() * 10 < view.rows.len() * 9 && view.telling {
                plateau(view, whole, &waiting).unwrap_or(Limit { claim: None, full, says: why })
            } else {
                Limit { claim: None, full, says: why }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Span {
    from: f64,
    to: f64,
    of: u32,
}

/// A change of the level: who started or ended.
#[derive(Clone, Copy)]
struct Step {
    at: f64,
    start: bool,
    of: u32,
    /// The level after it.
    level: u32,
}

fn steps(calls: &[Span]) -> Vec<Step> {
    let mut steps: Vec<Step> = calls
        .iter()
        .flat_map(|call| {
            [
                Step { at: call.from, start: true, of: call.of, level: 0 },
                Step { at: call.to, start: false, of: call.of, level: 0 },
            ]
        })
        .collect();
    steps.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.start.cmp(&b.start)));
    let mut level = 0u32;
    for step in &mut steps {
        level = if step.start { level + 1 } else { level.saturating_sub(1) };
        step.level = level;
    }
    steps
}

/// For how long each level was held in all, glitches left out.
fn held(steps: &[Step]) -> Vec<f64> {
    let most = steps.iter().map(|step| step.level).max().unwrap_or(0);
    let mut held = vec![0.0; most as usize + 1];
    for pair in steps.windows(2) {
        let long = pair[1].at - pair[0].at;
        if long >= HELD {
            held[pair[0].level as usize] += long;
        }
    }
    held
}

/// The stretches in which the level was held, dips that were filled at once included.
fn stretches(steps: &[Step], level: u32) -> Vec<(f64, f64)> {
    let mut found: Vec<(f64, f64)> = Vec::new();
    for pair in steps.windows(2) {
        if pair[0].level < level || pair[1].at - pair[0].at < HELD {
            continue;
        }
        match found.last_mut() {
            Some(last) if pair[0].at - last.1 <= 0.03 => last.1 = pair[1].at,
            _ => found.push((pair[0].at, pair[1].at)),
        }
    }
    found.retain(|(from, to)| to - from >= 0.1);
    found
}

fn plateau(view: &View<'_>, calls: Vec<Span>, waiting: &Waiting) -> Result<Limit, (String, Vec<(f64, f64)>)> {
    let steps = steps(&calls);
    let held = held(&steps);
    let most = held.iter().rposition(|time| *time >= HELD).unwrap_or(0);
    // The highest level that was held for long; above it there are glitches only.
    let Some(level) = held.iter().rposition(|time| *time >= 0.3 * FULL) else {
        return Err((
            format!("no pool seen: at most {most} calls under way, and that only for moments"),
            Vec::new(),
        ));
    };
    let above: f64 = held.iter().skip(level + 1).sum();
    let limit = level as u32;
    if limit == 0 || above > 0.03 * held[level] {
        return Err((
            format!("no pool seen: at most {most} calls under way, and no level that was kept"),
            Vec::new(),
        ));
    }
    let full: Vec<(f64, f64)> =
        stretches(&steps, limit).into_iter().filter(|(from, to)| !view.stalled(*from, *to)).collect();
    let time: f64 = full.iter().map(|(from, to)| to - from).sum();
    let waited: f64 = full.iter().map(|(from, to)| waiting.within(*from, *to)).sum();
    let told = |why: &str| {
        format!("no pool told: {limit} calls were under way for {time:.1} s, the most that were, but {why}")
    };
    if time < FULL {
        return Err((told("that is too short"), Vec::new()));
    }
    let seen = refills(&steps, limit, &full);
    if seen.filled < FEWEST || seen.filled * 100 < seen.ends * 85 || seen.followers * 100 < seen.starts * 85 {
        let why = format!("only {} of {} ends were followed at once by another call", seen.filled, seen.ends);
        return Err((told(&why), Vec::new()));
    }
    if waited < 0.6 * time {
        return Err((told("nobody was seen to wait"), full));
    }
    let rate = seen.starts as f64 / time;
    let chance = 1.0 - (-rate * (AT_ONCE + OUT_OF_ORDER)).exp();
    let (ends, filled) = (seen.ends as f64, seen.filled as f64);
    if filled < ends * chance + 3.0 * (ends * chance * (1.0 - chance)).sqrt() {
        return Err((told("calls start so often that this may be chance"), full));
    }
    let says = format!(
        "has at most {limit} calls under way: {:.1} s at {limit}, {} of {} ends followed within {:.0} ms by another call, \
         callers waiting for {:.0} % of that time",
        time,
        seen.filled,
        seen.ends,
        AT_ONCE * 1e3,
        100.0 * waited / time
    );
    let confidence = (filled / ends.max(1.0)).min(waited / time) * (1.0 - 1.0 / filled);
    Ok(Limit { claim: Some(Claim { value: limit, confidence }), full, says })
}

#[derive(Default)]
struct Refills {
    /// Ends on the plateau, and how many were followed at once.
    ends: usize,
    filled: usize,
    /// Starts on the plateau, and how many followed at once.
    starts: usize,
    followers: usize,
}

fn refills(steps: &[Step], limit: u32, full: &[(f64, f64)]) -> Refills {
    let mut seen = Refills::default();
    for (from, to) in full {
        // What is before its first moment brought it about, and its last end may find nobody waiting.
        let start = steps.partition_point(|step| step.at <= *from + 1e-9);
        let stop = steps.partition_point(|step| step.at < *to - 1e-9);
        let mut starts: Vec<(f64, u32)> = Vec::new();
        let mut ends: Vec<(f64, u32)> = Vec::new();
        for step in &steps[start..stop] {
            if step.start {
                starts.push((step.at, step.of));
            } else if step.level + 3 >= limit || ends.last().is_some_and(|(at, _)| step.at - at < HELD) {
                ends.push((step.at, step.of));
            }
        }
        let mut next = 0;
        for (at, of) in &ends {
            while starts.get(next).is_some_and(|(start, _)| *start < at - OUT_OF_ORDER) {
                next += 1;
            }
            if let Some((start, other)) = starts.get(next)
                && *start <= at + AT_ONCE
                && (*other != *of || *of == u32::MAX)
            {
                seen.filled += 1;
                next += 1;
            }
        }
        seen.ends += ends.len();
        seen.starts += starts.len();
        let mut next = 0;
        for (at, _) in &starts {
            while ends.get(next).is_some_and(|(end, _)| *end < at - AT_ONCE) {
                next += 1;
            }
            if ends.get(next).is_some_and(|(end, _)| *end <= at + OUT_OF_ORDER) {
                seen.followers += 1;
                next += 1;
            }
        }
    }
    seen
}

/// When somebody waited for a call to begin.
struct Waiting(Vec<(f64, f64)>);

impl Waiting {
    fn of(view: &View<'_>) -> Self {
        Self(united(if view.linked { by_ids(view) } else { by_counts(view) }))
    }

    /// For how long within this time.
    fn within(&self, from: f64, to: f64) -> f64 {
        let start = self.0.partition_point(|span| span.1 < from);
        self.0[start..]
            .iter()
            .take_while(|span| span.0 < to)
            .map(|span| (span.1.min(to) - span.0.max(from)).max(0.0))
            .sum()
    }
}

fn united(mut spans: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut united: Vec<(f64, f64)> = Vec::new();
    for span in spans {
        match united.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => united.push(span),
        }
    }
    united
}

/// From when a call was due, by the baseline, to when it began.
fn by_ids(view: &View<'_>) -> Vec<(f64, f64)> {
    let calm = view.calm();
    let lag = |chain: &super::calls::Chain| {
        let (first, parent) = (view.first(chain)?, view.parent(chain)?);
        Some((parent.began, first.began))
    };
    let usual = sorted(
        view.chains
            .iter()
            .filter(|chain| chain.sure)
            .filter_map(lag)
            .filter(|(_, began)| *began < calm)
            .map(|(from, to)| to - from)
            .collect(),
    );
    if usual.len() < 10 {
        return Vec::new();
    }
    let Some(late) = quantile(&usual, 0.95) else { return Vec::new() };
    let late = late + 0.005;
    let mut spans: Vec<(f64, f64)> = view
        .chains
        .iter()
        .filter_map(lag)
        .filter(|(from, to)| to - from > late)
        .map(|(from, to)| (from + late, to))
        .collect();
    // Those who waited in vain.
    let mut called = std::collections::HashSet::new();
    called.extend(view.chains.iter().filter_map(|chain| chain.parent));
    for parent in &view.parents {
        for (place, passed) in view.traffic.edges[*parent].exchanges.iter().enumerate() {
            if passed.took > late && !called.contains(&(*parent, place as u32)) {
                spans.push((passed.began + late, passed.ended()));
            }
        }
    }
    spans
}

/// Without ids: when more requests had come to the caller than calls had begun, beyond what the baseline knows.
fn by_counts(view: &View<'_>) -> Vec<(f64, f64)> {
    let calm = view.calm();
    let mut steps: Vec<(f64, i64)> = view
        .parents
        .iter()
        .flat_map(|parent| &view.traffic.edges[*parent].exchanges)
        .map(|passed| (passed.began, 1))
        .collect();
    let arrived = steps.iter().filter(|(at, _)| *at < calm).count();
    if view.chains.is_empty() {
        steps.extend(view.rows.iter().map(|passed| (passed.began, -1)));
    } else {
        steps.extend(view.chains.iter().filter_map(|chain| view.first(chain)).map(|first| (first.began, -1)));
    }
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let called = steps.iter().filter(|(at, step)| *at < calm && *step < 0).count();
    // One call for each request, or counting them against each other says nothing.
    if arrived < 20 || called * 100 < arrived * 95 || called * 100 > arrived * 105 {
        return Vec::new();
    }
    let (mut behind, mut usual) = (0i64, 0i64);
    let mut spans = Vec::new();
    for pair in steps.windows(2) {
        behind += pair[0].1;
        if pair[0].0 < calm {
            usual = usual.max(behind);
        } else if behind > usual + 1 {
            spans.push((pair[0].0, pair[1].0));
        }
    }
    spans
}

/// When the fault phase began, or the first fault.
impl View<'_> {
    pub(super) fn calm(&self) -> f64 {
        let fault = self.traffic.phase(Phase::Fault).map(|span| span.from);
        let armed = self.traffic.faults.iter().map(|span| span.from).reduce(f64::min);
        [fault, armed].into_iter().flatten().reduce(f64::min).unwrap_or(self.traffic.end)
    }
}
