//! Deeds on services: control says when, a supervisor carries them out.

use super::{Control, Entry, Refusal, State, lock};
use crate::model::{Deed, FaultRule, SinceMoment};
use crate::supervise::{Order, Pace, ServiceState, Supervisor};
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

    /// Whether every service that is started here has been ready.
    pub(super) fn have_been_ready(&self) -> bool {
        let status = self.supervisor.iter().flat_map(Supervisor::status);
        let mut ours = status.filter(|service| service.state != ServiceState::External);
        ours.all(|service| {
            self.moments
                .keys()
                .any(|(name, moment)| *moment == SinceMoment::Ready && name.as_str() == service.name.as_str())
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Owner;
    use crate::control::tests::{Stand, experiment, fault};
    use crate::model::{At, ProcessDeed, ProcessWhat, Schedule, Since, When};
    use tokio::sync::mpsc::UnboundedReceiver;

    fn api() -> Name {
        "api".parse().unwrap()
    }

    fn rule(when: When, times: Option<u32>) -> FaultRule {
        let what = ProcessWhat::Kill(nix::sys::signal::Signal::SIGKILL);
        FaultRule {
            edges: Vec::new(),
            services: vec![api()],
            actions: Vec::new(),
            deeds: vec![Deed::Process(ProcessDeed { what, down: None, times })],
            when,
            ..experiment(&fault("f", "respond = 503")).faults[0].clone()
        }
    }

    fn at(from: u64, lasts: Option<u64>) -> At {
        At { from: Duration::from_millis(from), lasts: lasts.map(Duration::from_millis) }
    }

    fn stand() -> (Stand, UnboundedReceiver<Order>) {
        let stand = Stand::of(&experiment(&fault("g", "respond = 503")));
        let (supervisor, orders) = Supervisor::handle(vec![api()]);
        stand.control.supervise(supervisor);
        (stand, orders)
    }

    /// The next orders, in a word each; each deed is carried out at once.
    fn told(orders: &mut UnboundedReceiver<Order>, count: usize) -> Vec<&'static str> {
        let word = |order| match order {
            Order::Apply { hit, services, pace, .. } => {
                assert_eq!(services, [api()]);
                hit();
                if pace.timeline { "again" } else { "apply" }
            }
            Order::Undo { .. } => "undo",
            other => panic!("{other:?}"),
        };
        (0..count).map(|_| word(orders.blocking_recv().unwrap())).collect()
    }

    #[test]
    fn deeds_come_and_go_with_the_clock_of_their_fault() {
        let (mut stand, mut orders) = stand();
        stand.control.arm(rule(When::default(), None), Owner::Run, None, 1.0).unwrap();
        assert_eq!(stand.next().1, "armed");
        assert_eq!(told(&mut orders, 1), ["apply"]);
        let status = stand.status("f");
        assert_eq!((status.matched, status.hits, status.active), (1, 1, true));
        assert_eq!((status.services, status.actions), (vec!["api".to_owned()], vec!["process".to_owned()]));
        stand.control.heal_all(None, "hand");
        assert_eq!(stand.next().1, "hand");
        assert_eq!(told(&mut orders, 1), ["undo"]);

        let times = When { at: vec![at(0, Some(20)), at(40, None), at(60, Some(10))], schedule: None };
        stand.control.arm(rule(times, None), Owner::Run, None, 1.0).unwrap();
        assert_eq!(told(&mut orders, 6), ["again", "undo", "again", "undo", "again", "undo"]);
        stand.control.halt();
        assert!(orders.try_recv().is_err(), "what is off is not taken back twice");
    }

    #[test]
    fn turns_repeat_a_deed_up_to_its_times() {
        let (stand, mut orders) = stand();
        let every = Some(Duration::from_millis(10));
        let when =
            |lasts| When { schedule: Some(Schedule { every, lasts, ..Schedule::default() }), at: vec![] };
        stand.control.arm(rule(when(None), Some(3)), Owner::Run, None, 1.0).unwrap();
        assert_eq!(told(&mut orders, 3), ["again", "again", "again"]);
        stand.control.heal("f", "hand").unwrap();
        assert_eq!(told(&mut orders, 1), ["undo"], "and nothing before it");

        let lasts = Some(Duration::from_millis(5));
        stand.control.arm(rule(when(lasts), Some(2)), Owner::Run, None, 1.0).unwrap();
        assert_eq!(told(&mut orders, 5), ["again", "undo", "again", "undo", "undo"]);
    }

    #[test]
    fn schedules_count_from_the_life_of_a_service() {
        let (mut stand, _orders) = stand();
        let since = Some(Since { service: api(), moment: SinceMoment::Start });
        let lasts = Some(Duration::from_millis(30));
        let schedule = Schedule { since, lasts, ..Schedule::default() };
        let edge = &experiment(&fault("f", "respond = 503")).faults[0];
        let rule = FaultRule { when: When { schedule: Some(schedule), at: vec![] }, ..edge.clone() };
        stand.control.arm(rule, Owner::Run, None, 1.0).unwrap();
        assert!(!stand.status("f").active, "it never started");
        stand.control.moment(&api(), SinceMoment::Ready);
        assert!(!stand.status("f").active, "that is another moment");
        for _ in 0..2 {
            stand.control.moment(&api(), SinceMoment::Start);
            assert_eq!((stand.next().1, stand.next().1), ("armed".to_owned(), "schedule".to_owned()));
        }
        // a start while it is on arms it anew
        stand.control.moment(&api(), SinceMoment::Start);
        stand.control.moment(&api(), SinceMoment::Start);
        let words: Vec<_> = (0..4).map(|_| stand.next().1).collect();
        assert_eq!(words, ["armed", "schedule", "armed", "schedule"]);
    }

    #[test]
    fn nobody_else_is_touched() {
        let (stand, _orders) = stand();
        let mut rule = rule(When::default(), None);
        rule.services = vec!["db".parse().unwrap()];
        let refusal = stand.control.arm(rule, Owner::Hand, None, 1.0).unwrap_err().to_string();
        assert!(refusal.contains("service `db`, which this Brownout does not know"), "{refusal}");
    }
}
