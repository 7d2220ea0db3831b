//! The turns that an illness takes on an edge after its onset: callers give up, it fails, a pool is full, calls cease.
//!
//! An onset says when an edge left its band, and by what it showed first; these say when it got worse in kind. Each is dated
//! from the exchanges alone, and only told of edges that are ill. Null over guess: a kind that the baseline knows is no turn.

use super::{EdgeTraffic, Findings, Fingerprint, PhaseSpan, Traffic, Turn, Turned};
use crate::model::Phase;
use crate::telemetry::Passed;

/// A kind is new if the baseline has less than this share of it ...
const KNOWN: f64 = 0.02;
/// ... among at least so many exchanges.
const BASELINE: usize = 8;
/// So many within [`TOGETHER`] seconds make a turn,
const MANY: usize = 3;
const TOGETHER: f64 = 2.0;
/// if they are at least this share of what ends meanwhile.
const SHARE: f64 = 0.2;
/// A level has to stay for so many looks of a quarter of a second.
const STAYS: usize = 4;
/// The shortest silence that is told, in seconds.
const SILENCE: f64 = 1.0;

/// All turns of the fault phase, the earliest first.
pub(super) fn of_all(traffic: &Traffic, findings: &Findings) -> Vec<Turn> {
    let (Some(baseline), Some(fault)) = (traffic.phase(Phase::Baseline), traffic.phase(Phase::Fault)) else {
        return Vec::new();
    };
    let ill = |edge: &&EdgeTraffic| findings.cascade.iter().any(|onset| onset.edge == edge.name);
    let mut turns: Vec<Turn> = Vec::new();
    for edge in traffic.edges.iter().filter(ill) {
        let caller = findings.fingerprints.iter().find(|caller| caller.edge == edge.name);
        let mut tell = |what, found: Option<(f64, String)>| {
            turns.extend(found.map(|(at, evidence)| Turn {
                edge: edge.name.clone(),
                at: (at - fault.from).max(0.0),
                what,
                evidence,
            }));
        };
        if !edge.tcp {
            tell(Turned::GivenUp, of_kind(edge, baseline, fault, "gave up", Passed::left));
        }
        let failed = |passed: &Passed| passed.failed && !passed.left();
        tell(Turned::Failing, of_kind(edge, baseline, fault, "failed", failed));
        tell(Turned::Full, caller.and_then(|caller| full(edge, caller, baseline, fault)));
        tell(Turned::Ceased, caller.and_then(|caller| ceased(edge, caller, fault)));
    }
    turns.sort_by(|a, b| a.at.total_cmp(&b.at));
    turns
}

fn within(t: f64, span: PhaseSpan) -> bool {
    span.from <= t && t < span.to
}

/// When exchanges began to end in a way that the baseline does not know.
fn of_kind(
    edge: &EdgeTraffic,
    baseline: PhaseSpan,
    fault: PhaseSpan,
    word: &str,
    is: impl Fn(&Passed) -> bool,
) -> Option<(f64, String)> {
    let ended = |span| edge.exchanges.iter().filter(move |passed| within(passed.ended(), span));
    let (all, known) = (ended(baseline).count(), ended(baseline).filter(|passed| is(passed)).count());
    if all < BASELINE || known as f64 > KNOWN * all as f64 {
        return None;
    }
    let mut ends: Vec<(f64, bool)> = ended(fault).map(|passed| (passed.ended(), is(passed))).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut last = 0;
    let mut these = 0;
    for (first, (at, of_it)) in ends.iter().enumerate() {
        // `last` and `these` run ahead: what ends within the next seconds, and what of it is of this kind
        while let Some((_, more)) = ends.get(last).filter(|(end, _)| *end <= at + TOGETHER) {
            these += usize::from(*more);
            last += 1;
        }
        if *of_it && these >= MANY && these as f64 >= SHARE * (last - first) as f64 {
            return Some((*at, format!("{these} of {} {word} within {TOGETHER} s", last - first)));
        }
        these -= usize::from(*of_it);
    }
    None
}

/// When as many were open as the caller ever has, for the first time.
fn full(
    edge: &EdgeTraffic,
    caller: &Fingerprint,
    baseline: PhaseSpan,
    fault: PhaseSpan,
) -> Option<(f64, String)> {
    let pool = u64::from(caller.pool?);
    let level = |gauge: &super::Gauge| if edge.tcp { gauge.connections } else { gauge.in_flight };
    if edge.gauges.iter().any(|gauge| within(gauge.t, baseline) && level(gauge) >= pool) {
        return None;
    }
    let looks: Vec<_> = edge.gauges.iter().filter(|gauge| within(gauge.t, fault)).collect();
    let stays = |looks: &&[&super::Gauge]| looks.iter().all(|gauge| level(gauge) >= pool);
    let first = looks.windows(STAYS).find(stays)?.first()?;
    let what = if edge.tcp { "connections" } else { "calls under way" };
    Some((first.t - 0.25, format!("{pool} {what}, and no more")))
}

/// When calls ceased for the first time, of a caller with a breaker.
fn ceased(edge: &EdgeTraffic, caller: &Fingerprint, fault: PhaseSpan) -> Option<(f64, String)> {
    let breaker = caller.breaker?;
    let least = breaker.open_for.map_or(SILENCE, |open| (open * 0.8).max(SILENCE.min(open)));
    let calls: Vec<&Passed> = edge.exchanges.iter().filter(|passed| within(passed.began, fault)).collect();
    for pair in calls.windows(2) {
        let [call, next] = pair else { continue };
        if next.began - call.began >= least {
            return Some((call.began, format!("no call for {:.1} s", next.began - call.began)));
        }
    }
    None
}
