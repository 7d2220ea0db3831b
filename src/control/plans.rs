//! From what is armed to what is in force: entries taken out, and plans published.

use super::{Entry, Refusal, State};
use crate::model::{FaultRule, Way, way_back};
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
        let plan = Plan::new(on.filter_map(|entry| entry.live.clone()).collect());
        let ready = state.ready.iter().filter(|ready| ready.edge == edge.config.name);
        edge.slot.publish(plan.with_asked(ready.map(|ready| ready.fault.clone()).collect()));
    }
}

/// Takes entries out; what is in force stays so until it is published anew.
pub(super) fn take_out(state: &mut State, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let (gone, kept) = std::mem::take(&mut state.entries).into_iter().partition(which);
    state.entries = kept;
    gone
}

/// Refuses a fault that leads an edge back to itself, now that it is known where each listens.
pub(super) fn no_way_back(state: &State, rule: &FaultRule) -> Result<(), Refusal> {
    if rule.elsewhere().next().is_none() {
        return Ok(());
    }
    let mut ways: Vec<Way<'_>> = Vec::new();
    for (place, (edge, address)) in state.edges.iter().enumerate() {
        let led = state.entries.iter().filter(|entry| entry.edges.contains(&edge.config.name));
        let led = led.flat_map(|entry| entry.rule.elsewhere());
        let here = rule.elsewhere().filter(|_| rule.edges.contains(&place));
        let to = edge.config.upstreams.iter().chain(led).chain(here).collect();
        ways.push(Way { listen: address.at(), to });
    }
    let back = rule.edges.iter().find_map(|edge| way_back(*edge, rule.elsewhere(), &ways));
    match back.and_then(|back| state.edges.get(*back.first()?)) {
        None => Ok(()),
        Some((edge, address)) => Err(Refusal::Invalid(format!(
            "fault `{}` leads edge `{}` back to itself, at {}: name the address of another service",
            rule.name,
            edge.config.name,
            address.at()
        ))),
    }
}
