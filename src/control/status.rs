//! What is in force, as it is shown.

use super::{Control, EdgeStatus, Entry, FaultStatus, State, lock};
use crate::model::FaultRule;
use crate::units::Name;

impl Control {
    /// All faults: armed ones, and those of the file that are not.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultStatus> {
        let state = lock(&self.state);
        let now = self.now();
        let names = |rule: &FaultRule| {
            let edge = |place: &usize| state.edges.get(*place).map(|(edge, _)| edge.config.name.to_string());
            rule.edges.iter().filter_map(edge).collect()
        };
        let status = |rule: &FaultRule, entry: Option<&Entry>| {
            let (matched, selected, hits) =
                state.totals.get(&rule.name).map(|totals| totals.counts()).unwrap_or_default();
            FaultStatus {
                name: rule.name.to_string(),
                edges: entry
                    .map_or_else(|| names(rule), |entry| entry.edges.iter().map(Name::to_string).collect()),
                services: rule.services.iter().map(Name::to_string).collect(),
                owner: entry.map_or("none", |entry| entry.owner.as_str()).to_owned(),
                armed: entry.is_some(),
                active: entry.is_some_and(|entry| entry.on),
                actions: rule
                    .actions
                    .iter()
                    .map(|action| action.as_apply().action())
                    .chain(rule.deeds.iter().map(crate::model::Deed::action))
                    .map(str::to_owned)
                    .collect(),
                matched,
                selected,
                hits,
                ends_in: entry
                    .and_then(|entry| entry.ends)
                    .map(|ends| ends.saturating_sub(now).as_secs_f64()),
            }
        };
        let entry_of = |rule: &FaultRule| state.entries.iter().find(|entry| entry.rule.name == rule.name);
        let known = state.known.iter().map(|rule| status(rule, entry_of(rule)));
        let others =
            state.entries.iter().filter(|entry| !state.known.iter().any(|rule| rule.name == entry.rule.name));
        known.chain(others.map(|entry| status(&entry.rule, Some(entry)))).collect()
    }

    /// All edges.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeStatus> {
        lock(&self.state).edges()
    }
}

impl State {
    pub(super) fn edges(&self) -> Vec<EdgeStatus> {
        self.edges
            .iter()
            .map(|(edge, address)| EdgeStatus {
                id: edge.id.0,
                name: edge.config.name.to_string(),
                listen: address.at(),
                protocol: edge.config.protocol,
                upstreams: edge.config.upstreams.iter().map(crate::model::Upstream::authority).collect(),
                from: edge.config.from.clone(),
                to: edge.config.to.clone(),
            })
            .collect()
    }
}
