//! How many attempts the callers of an edge make of one logical request, by phase, and how they pause between them.
//!
//! Every attempt counts, whoever answered it. An attempt belongs to the phase in which its head came, a logical request to the
//! phase of its first attempt. An edge on which nothing tells requests apart has no figure.

use super::attempts::Attempts;
use super::series::{median, quantile};
use super::{Amplified, PhaseSpan, Traffic};
use crate::model::Phase;
use std::collections::BTreeMap;

/// At least so many gaps, or nothing is said of them.
const GAPS: usize = 8;
/// Gaps whose middle half is spread by more than this share of their median are jittered.
const SPREAD: f64 = 0.12;
/// And by more than this, in seconds: a machine's own unrest is no jitter.
const UNREST: f64 = 0.004;
/// A pause this much shorter than asked still honours `Retry-After`, in seconds: clocks and rounding.
const HONOUR_SLACK: f64 = 0.02;
/// At most so many gaps between attempts are told.
const GAPS_TOLD: usize = 10;

/// Attempts of `edge` in `phase` for each logical request of it, or of the edge `per`; `None`: there were none.
///
/// A logical request belongs to the phase of its first attempt.
#[must_use]
pub fn amplification(traffic: &Traffic, edge: usize, phase: Phase, per: Option<usize>) -> Option<f64> {
    let span = traffic.phase(phase)?;
    let begun = |edge: usize, place: usize| {
        traffic
            .edges
            .get(edge)
            .and_then(|edge| edge.exchanges.get(place))
            .is_some_and(|passed| span.holds(passed.began))
    };
    let attempts = Attempts::of(traffic, edge);
    let tried =
        attempts.of.iter().enumerate().filter(|(place, it)| it.is_some() && begun(edge, *place)).count();
    let logical = |of: usize, attempts: &Attempts| {
        attempts.logical.iter().filter(|logical| begun(of, logical.first)).count()
    };
    let logical = match per {
        Some(other) if other != edge => logical(other, &Attempts::of(traffic, other)),
        _ => logical(edge, &attempts),
    };
    (logical > 0).then(|| tried as f64 / logical as f64)
}

/// Every HTTP edge in every phase in which it had traffic.
pub(super) fn of_all(traffic: &Traffic, attempts: &[Attempts]) -> Vec<Amplified> {
    let idle = [PhaseSpan { phase: Phase::Idle, from: f64::NEG_INFINITY, to: f64::INFINITY }];
    let phases = if traffic.phases.is_empty() { &idle[..] } else { &traffic.phases };
    let mut all = Vec::new();
    for (edge, attempts) in attempts.iter().enumerate() {
        let mut told: Vec<Phase> = Vec::new();
        for span in phases {
            if !told.contains(&span.phase) {
                told.push(span.phase);
                all.extend(of_phase(traffic, edge, attempts, *span));
            }
        }
    }
    all
}

fn of_phase(traffic: &Traffic, edge: usize, attempts: &Attempts, span: PhaseSpan) -> Option<Amplified> {
    let edge = traffic.edges.get(edge)?;
    let begun = |place: usize| edge.exchanges.get(place).filter(|passed| span.holds(passed.began));
    let mut tried = 0;
    let mut gaps: Vec<Vec<f64>> = Vec::new();
    let (mut asked, mut honoured) = (0u64, 0u64);
    for (place, attempt) in attempts.of.iter().enumerate() {
        let (Some(attempt), Some(passed)) = (attempt, begun(place)) else { continue };
        tried += 1;
        let Some(before) = attempt.before.and_then(|before| edge.exchanges.get(before)) else { continue };
        let gap = passed.began - before.ended();
        if gap < 0.0 {
            // It did not wait for the attempt before: no pause to be measured.
            continue;
        }
        let index = attempt.nth.saturating_sub(1) as usize;
        if index < GAPS_TOLD {
            if gaps.len() <= index {
                gaps.resize(index + 1, Vec::new());
            }
            if let Some(gaps) = gaps.get_mut(index) {
                gaps.push(gap);
            }
        }
        if let Some(wait) = before.retry_after {
            asked += 1;
            honoured += u64::from(gap + HONOUR_SLACK >= f64::from(wait));
        }
    }
    let mut histogram: BTreeMap<u32, u64> = BTreeMap::new();
    for logical in attempts.logical.iter().filter(|logical| begun(logical.first).is_some()) {
        *histogram.entry(logical.attempts).or_default() += 1;
    }
    let logical: u64 = histogram.values().sum();
    let backoff: Vec<f64> = gaps
        .iter_mut()
        .take_while(|gaps| gaps.len() >= GAPS.min(3))
        .filter_map(|gaps| median(gaps))
        .collect();
    let jittered = gaps.first_mut().filter(|gaps| gaps.len() >= GAPS).and_then(|gaps| {
        let (low, middle, high) = (quantile(gaps, 0.25)?, quantile(gaps, 0.5)?, quantile(gaps, 0.75)?);
        Some(high - low > (SPREAD * middle).max(UNREST))
    });
    (tried > 0).then(|| Amplified {
        edge: edge.name.clone(),
        phase: span.phase.as_str(),
        attempts: tried,
        logical,
        amplification: (logical > 0).then(|| tried as f64 / logical as f64),
        histogram,
        backoff,
        jittered,
        retry_after_honoured: (asked > 0).then(|| honoured as f64 / asked as f64),
    })
}
