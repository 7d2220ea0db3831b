//! Faults that a request may ask for by its header fields, on edges with `header_control`.
//!
//! Every fault that is known to such an edge, armed or not, stands ready; whoever was struck so is let go when the fault is
//! healed by hand or everything is halted, and while it is halted nothing can be asked for.

use super::plans::publish;
use super::{Control, State};
use crate::model::{FaultRule, When, Who};
use crate::plan::{Armed, Compiled, ENVOY};
use crate::units::Name;
use std::collections::HashSet;
use std::sync::Arc;

/// A fault that stands ready on an edge.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) edge: Name,
    pub(super) fault: Arc<Armed>,
}

impl Control {
    /// Brings what stands ready in line with what is known; those of which `gone` is true are not what they were.
    pub(super) fn stand_ready(&self, state: &mut State, gone: impl Fn(&Name) -> bool) {
        let edges: Vec<_> = state.edges.iter().map(|(edge, _)| edge.clone()).enumerate().collect();
        let open: Vec<_> = edges.into_iter().filter(|(_, edge)| edge.config.header_control).collect();
        if open.is_empty() && state.ready.is_empty() {
            return;
        }
        let halted = state.halted || state.stopped;
        let stays = |ready: &Ready| {
            !halted
                && !gone(ready.fault.name())
                && open.iter().any(|(_, edge)| edge.config.name == ready.edge)
        };
        let (stay, over): (Vec<_>, Vec<_>) = std::mem::take(&mut state.ready).into_iter().partition(stays);
        let mut ready = stay;
        let by_hand = state.entries.iter().map(|entry| &entry.rule);
        let by_hand = by_hand.filter(|rule| !state.known.iter().any(|known| known.name == rule.name));
        let headers = ENVOY.parse().ok().map(envoy);
        let mut fresh = Vec::new();
        for (place, edge) in open.iter().filter(|_| !halted) {
            let here = |rule: &&FaultRule| rule.edges.contains(place);
            let rules = state.known.iter().chain(by_hand.clone()).filter(here).chain(&headers);
            for rule in rules {
                let is_there =
                    |ready: &Ready| ready.edge == edge.config.name && *ready.fault.name() == rule.name;
                if ready.iter().chain(&fresh).any(is_there) {
                    continue;
                }
                let totals = state.totals.get(&rule.name).cloned().unwrap_or_default();
                let protocol = [edge.config.protocol];
                if let Ok(compiled) = Compiled::new(rule, self.seed, &protocol, 1.0, totals) {
                    let fault = Arc::new(Armed::new(Arc::new(compiled), self.now()));
                    fresh.push(Ready { edge: edge.config.name.clone(), fault });
                }
            }
        }
        ready.append(&mut fresh);
        state.ready = ready;
        over.iter().for_each(|ready| ready.fault.heal());
        let touched: HashSet<Name> = over
            .into_iter()
            .map(|ready| ready.edge)
            .chain(open.into_iter().map(|(_, edge)| edge.config.name.clone()))
            .collect();
        publish(state, &touched);
    }
}

/// The delays and answers that a request asks for by number.
fn envoy(name: Name) -> FaultRule {
    FaultRule {
        name,
        edges: Vec::new(),
        services: Vec::new(),
        who: Who::default(),
        when: When::default(),
        armed: false,
        ttl: None,
        optional: true,
        actions: Vec::new(),
        deeds: Vec::new(),
        line: 0,
    }
}
