//! Deeds on services: control says when, a supervisor carries them out.

use super::{Control, Entry, Refusal, State, lock};
use crate::model::{Deed, FaultRule, SinceMoment};
use crate::supervise::{Order, Pace, Supervisor};
use crate::units::Name;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What control knows of services.
#[derive(Debug, Default)]
pub(super) struct Services {
    supervisor: Option<Supervisor>,
    /// When each moment came last, and how often it came.
    moments: HashMap<(Name, SinceMoment), (Duration, u64)>,
}

/// What an entry has done to services.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The turn of its schedule that was carried out last.
    pub(super) turn: u64,
    /// How often it was carried out since it was armed.
    times: u32,
}

impl Control {
    /// Names whoever carries out deeds on services.
    pub fn supervise(&self, supervisor: Supervisor) {
        lock(&self.state).services.supervisor = Some(supervisor);
    }

    /// A service started, or is ready: schedules since that moment count from now.
    pub fn moment(&self, service: &Name, moment: SinceMoment) {
        let now = self.now();
        let mut state = lock(&self.state);
        let (at, count) = state.services.moments.entry((service.clone(), moment)).or_default();
        *at = now;
        *count += 1;
        self.refresh(&mut state);
        self.changed.notify_all();
    }
}

impl Services {
    /// Refuses deeds on services that nobody supervises here.
    pub(super) fn may(&self, rule: &FaultRule) -> Result<(), Refusal> {
        let known = self.supervisor.as_ref().map(Supervisor::services).unwrap_or_default();
        match rule.services.iter().find(|service| !known.contains(service)) {
            Some(service) => Err(Refusal::Invalid(format!(
                "fault `{}` is about service `{service}`, which this Brownout does not know: it needs a `[[service]]` in the file",
                rule.name
            ))),
            None => Ok(()),
        }
    }

    /// When the schedule of a rule counts from, and how often that moment came; `None`: it never came.
    pub(super) fn counts_from(&self, entry: &Entry) -> Option<(Duration, u64)> {
        match entry.rule.when.schedule.as_ref().and_then(|schedule| schedule.since.as_ref()) {
            None => Some((entry.since, 0)),
            Some(since) => self.moments.get(&(since.service.clone(), since.moment)).copied(),
        }
    }

    /// Carries the deeds of an entry out, for the first time or for another turn.
    pub(super) fn apply(&self, entry: &mut Entry) {
        let Some(supervisor) = self.supervisor.as_ref().filter(|_| !entry.rule.deeds.is_empty()) else {
            return;
        };
        let when = &entry.rule.when;
        let schedule = when.schedule.as_ref();
        let timeline =
            !when.at.is_empty() || schedule.is_some_and(|s| s.every.is_some() || s.since.is_some());
        if timeline && entry.done.times >= times(&entry.rule.deeds) {
            return;
        }
        entry.done.times = entry.done.times.saturating_add(1);
        let compiled = Arc::clone(&entry.compiled);
        for _ in &entry.rule.services {
            compiled.totals.chosen();
        }
        supervisor.tell(Order::Apply {
            fault: entry.rule.name.clone(),
            services: entry.rule.services.clone(),
            deeds: entry.rule.deeds.clone().into(),
            pace: Pace { scale: entry.scale, timeline },
            hit: Arc::new(move || compiled.totals.hit()),
        });
    }

    /// Takes them back.
    pub(super) fn undo(&self, rule: &FaultRule) {
        if let Some(supervisor) = self.supervisor.as_ref().filter(|_| !rule.deeds.is_empty()) {
            supervisor.tell(Order::Undo { fault: rule.name.clone() });
        }
    }
}

impl State {
    /// Takes the deeds of these entries back.
    pub(super) fn undo_deeds<'e>(&self, gone: impl IntoIterator<Item = &'e Entry>) {
        for entry in gone.into_iter().filter(|entry| entry.on) {
            self.services.undo(&entry.rule);
        }
    }
}

/// How often deeds may be carried out by a timeline: the fewest that one of them allows.
fn times(deeds: &[Deed]) -> u32 {
    let times = deeds.iter().filter_map(|deed| match deed {
        Deed::Process(process) => process.times,
        Deed::Env(_) | Deed::Hook(_) => None,
    });
    times.min().unwrap_or(u32::MAX)
}
