//! What a caller answers its own caller when an edge fails: the share of its answers that were well all the same.

use super::calls::View;
use crate::telemetry::{Ending, Passed};
use std::collections::HashMap;

/// Fewer answers say nothing.
const FEWEST: usize = 10;

/// The share, and what was seen.
pub(super) fn fallback(view: &View<'_>) -> (Option<f64>, String) {
    if view.parents.is_empty() || view.edge.tcp {
        return (None, String::new());
    }
    if !view.linked {
        return (None, "no fallback told: ids do not say which answer a failed call led to".into());
    }
    // Of each request of the caller: whether its last call over this edge had failed.
    let mut failed: HashMap<(usize, u32), bool> = HashMap::new();
    for chain in view.chains.iter().filter(|chain| chain.sure) {
        if let (Some(parent), Some(last)) = (chain.parent, view.last(chain)) {
            failed.insert(parent, last.failed);
        }
    }
    let answered = |passed: &&Passed| passed.ending == Ending::Complete && passed.ended() < view.traffic.end;
    let answers: Vec<&Passed> = failed
        .iter()
        .filter(|(_, failed)| **failed)
        .filter_map(|((edge, place), _)| view.traffic.edges[*edge].exchanges.get(*place as usize))
        .filter(answered)
        .collect();
    if answers.len() < FEWEST {
        return (None, format!("no fallback told: only {} answers after a failed call", answers.len()));
    }
    let well = answers.iter().filter(|answer| !answer.failed).count();
    let share = well as f64 / answers.len() as f64;
    let says = if well == 0 {
        format!("has no fallback: none of {} answers after a failed call was well", answers.len())
    } else {
        format!("has a fallback: {well} of {} answers after a failed call were well", answers.len())
    };
    (Some(share), says)
}
