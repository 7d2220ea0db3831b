//! From what is armed to what is in force: entries taken out, and plans published.

use super::{Entry, State};
use crate::plan::Plan;
use crate::units::Name;
use std::collections::HashSet;
use std::sync::Weak;

/// Publishes the plan of each of these edges anew: its faults in file order, those by hand behind them.
pub(super) fn publish(state: &State, touched: &HashSet<Name>) {
    let place = |entry: &Entry| {
        state.known.iter().position(|rule| rule.name == entry.rule.name).unwrap_or(usize::MAX)
    };
    let mut entries: Vec<&Entry> = state.entries.iter().filter(|entry| entry.on).collect();
    entries.sort_by_key(|entry| place(entry));
    let replaced = state.replaced.iter().filter_map(Weak::upgrade);
    let all = state.edges.iter().map(|(edge, _)| edge.clone()).chain(replaced);
    for edge in all.filter(|edge| touched.contains(&edge.config.name)) {
        let on = entries.iter().filter(|entry| entry.edges.contains(&edge.config.name));
        edge.slot.publish(Plan::new(on.filter_map(|entry| entry.live.clone()).collect()));
    }
}

/// Takes entries out; what is in force stays so until it is published anew.
pub(super) fn take_out(state: &mut State, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let (gone, kept) = std::mem::take(&mut state.entries).into_iter().partition(which);
    state.entries = kept;
    gone
}
