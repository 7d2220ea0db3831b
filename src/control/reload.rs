//! Another file in place of the one in force.

use super::descriptors::share_descriptors;
use super::plans::{publish, take_out};
use super::{Control, EdgeStatus, Entry, Owner, Reloaded, StartError, lock};
use crate::model::{Edge, FaultRule};
use crate::net::listen::Address;
use crate::proxy::EdgeShared;
use crate::units::Name;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

impl Control {
    /// Takes another file in place of the one in force: edges and faults that did not change stay as they are (also their ttl
    /// and ordinals), nothing that was healed by hand is armed again. The rules are asked for once the edges stand, so that their
    /// addresses can be filled in; whoever is asked must not call back.
    ///
    /// # Errors
    /// When an edge cannot be opened; then the old ones stay.
    pub fn reload(
        &self,
        edges: &[Edge],
        rules: impl FnOnce(&[EdgeStatus]) -> Vec<FaultRule>,
        life: impl Fn(&FaultRule) -> Option<Duration>,
    ) -> Result<Reloaded, StartError> {
        share_descriptors(edges)?;
        let mut done = Reloaded::default();
        let old: Vec<(Arc<EdgeShared>, Arc<Address>)> = lock(&self.state).edges.clone();
        let same = |a: &Edge, b: &Edge| {
            format!("{:?}", Edge { line: 0, ..a.clone() }) == format!("{:?}", Edge { line: 0, ..b.clone() })
        };
        let kept = |edge: &Edge| old.iter().find(|(known, _)| same(&known.config, edge));
        let mut fresh = Vec::new();
        for edge in edges.iter().filter(|edge| kept(edge).is_none()) {
            // the address is taken over, if it was ours: no moment without a listener
            let ours =
                old.iter().find(|(known, _)| known.config.listen == edge.listen && edge.listen.port() != 0);
            let by_name = old
                .iter()
                .find(|(known, _)| known.config.name == edge.name && known.config.listen == edge.listen);
            if let Err(error) = self.open(edge, by_name.or(ours).map(|(_, address)| address.clone())) {
                let mut state = lock(&self.state);
                for (edge, _) in state.edges.split_off(old.len()) {
                    if let Some(workers) = lock(&self.workers).as_ref() {
                        workers.close(&edge);
                    }
                }
                return Err(error);
            }
            done.opened.push(edge.name.to_string());
            fresh.push(edge.name.clone());
        }
        let mut state = lock(&self.state);
        let opened = state.edges.split_off(old.len());
        state.edges = edges
            .iter()
            .filter_map(|edge| {
                kept(edge)
                    .cloned()
                    .or_else(|| opened.iter().find(|(new, _)| new.config.name == edge.name).cloned())
            })
            .collect();
        let rules = rules(&state.edges());
        for (edge, _) in old.iter().filter(|(old, _)| !edges.iter().any(|edge| same(&old.config, edge))) {
            if let Some(workers) = lock(&self.workers).as_ref() {
                workers.close(edge);
            }
            // its open connections go on, and are healed and struck like those of its successor
            state.replaced.push(Arc::downgrade(edge));
            if !fresh.contains(&edge.config.name) {
                done.closed.push(edge.config.name.to_string());
            }
        }
        let names: Vec<Name> = edges.iter().map(|edge| edge.name.clone()).collect();
        let unchanged = |entry: &Entry| {
            rules.iter().any(|rule| {
                let on: Vec<_> = rule.edges.iter().filter_map(|place| names.get(*place).cloned()).collect();
                rule.armed && on == entry.edges && same_rule(rule, &entry.rule)
            })
        };
        let stays = |entry: &Entry| match entry.owner {
            Owner::File => unchanged(entry),
            Owner::Run | Owner::Hand => {
                entry.edges.is_empty() || entry.edges.iter().any(|edge| names.contains(edge))
            }
        };
        done.healed = state
            .entries
            .iter()
            .filter(|entry| !stays(entry))
            .map(|entry| entry.rule.name.to_string())
            .collect();
        let gone = take_out(&mut state, |entry| !stays(entry));
        state.undo_deeds(&gone);
        gone.iter().filter(|entry| entry.on).for_each(|entry| self.tell_healed(&entry.compiled, "reload"));
        let known = std::mem::replace(&mut state.known, rules.clone());
        state.replaced.retain(|edge| edge.strong_count() > 0);
        for rule in rules.iter().filter(|rule| rule.armed) {
            let same = known.iter().any(|known| same_rule(known, rule));
            let spared = state.halted
                || state.by_hand.contains(&rule.name)
                || (same && state.ended.contains(&rule.name));
            if spared || state.entries.iter().any(|entry| entry.rule.name == rule.name) {
                continue;
            }
            match self.arm_in(&mut state, rule.clone(), Owner::File, life(rule), 1.0) {
                Ok(()) => done.armed.push(rule.name.to_string()),
                Err(refusal) => tracing::warn!("fault `{}` is not armed: {refusal}", rule.name),
            }
        }
        let before = old.iter().map(|(edge, _)| edge.config.name.clone());
        let all: HashSet<Name> = names.iter().cloned().chain(before).collect();
        // the new ones take the place of the old ones in one step; then who was held by those is let go
        self.refresh(&mut state);
        gone.iter().filter_map(|entry| entry.live.as_ref()).for_each(|live| live.heal());
        self.stand_ready(&mut state, |_| true);
        publish(&state, &all);
        self.changed.notify_all();
        Ok(done)
    }
}

/// Whether two rules say the same, wherever they stand in their files.
fn same_rule(a: &FaultRule, b: &FaultRule) -> bool {
    let plain = |rule: &FaultRule| format!("{:?}", FaultRule { line: 0, edges: Vec::new(), ..rule.clone() });
    plain(a) == plain(b)
}
