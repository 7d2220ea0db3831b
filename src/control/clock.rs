//! The clocks of armed faults: schedules, times to live, ends of phases.

use super::plans::publish;
use super::{Control, Entry, Owner, State, lock};
use crate::plan::Armed;
use crate::plan::timeline::{self, Reading};
use crate::telemetry::Event;
use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

impl Control {
    /// Reads the clocks of all armed faults, switches what has to be switched, and tells when to look again.
    pub(super) fn refresh(&self, state: &mut State) -> Option<Duration> {
        let now = self.now();
        if state.entries.iter().any(|entry| entry.ends.is_some_and(|ends| ends <= now)) {
            let run = |entry: &Entry| entry.owner == Owner::Run && entry.ends.is_some_and(|ends| ends <= now);
            self.remove(state, "end", run);
            self.remove(state, "ttl", |entry| entry.ends.is_some_and(|ends| ends <= now));
        }
        let services = std::mem::take(&mut state.services);
        let mut touched = HashSet::new();
        let mut next: Option<Duration> = None;
        let mut later = |at: Duration| next = Some(next.map_or(at, |next| next.min(at)));
        let (mut armed, mut healed) = (Vec::new(), Vec::new());
        for entry in &mut state.entries {
            let (since, lives) = services.counts_from(entry).unwrap_or((Duration::MAX, 0));
            let reading = match now.checked_sub(since) {
                Some(elapsed) => timeline::read(&entry.rule.when, elapsed.div_f64(entry.scale)),
                None => Reading::OFF,
            };
            if let Some(at) = reading.next {
                later(since + at.mul_f64(entry.scale));
            }
            if let Some(ends) = entry.ends {
                later(ends);
            }
            let anew = entry.live.is_none() || reading.arming != entry.arming || lives != entry.lives;
            if reading.on && entry.on && !anew && reading.turn != entry.done.turn {
                entry.done.turn = reading.turn;
                services.apply(entry);
            }
            if reading.on == entry.on && !(reading.on && anew) {
                continue;
            }
            touched.extend(entry.edges.iter().cloned());
            if entry.on
                && let Some(live) = &entry.live
            {
                live.heal();
                healed.push(entry.compiled.clone());
                services.undo(&entry.rule);
            }
            if reading.on {
                entry.done.turn = reading.turn;
                match &entry.live {
                    Some(live) if !anew => live.resume(),
                    _ => entry.live = Some(Arc::new(Armed::new(entry.compiled.clone(), now))),
                }
                armed.push((
                    entry.rule.name.clone(),
                    entry.edges.clone(),
                    entry.rule.services.clone(),
                    entry.owner,
                ));
                services.apply(entry);
            }
            entry.lives = lives;
            entry.arming = reading.arming;
            entry.on = reading.on;
        }
        state.services = services;
        publish(state, &touched);
        for compiled in healed {
            self.tell_healed(&compiled, "schedule");
        }
        for (fault, edges, services, owner) in armed {
            self.telemetry.fault_active(&fault, true);
            let edges = state
                .edges
                .iter()
                .filter(|(edge, _)| edges.contains(&edge.config.name))
                .map(|(edge, _)| edge.id.0)
                .collect();
            self.telemetry.publish(Event::Armed { fault, edges, services, owner: owner.as_str().to_owned() });
        }
        next
    }
}

/// The clock of armed faults.
pub(super) fn keep(control: &Weak<Control>) {
    loop {
        let Some(control) = control.upgrade() else { return };
        let mut state = lock(&control.state);
        if state.stopped {
            return;
        }
        let next = control.refresh(&mut state);
        // looks at least now and then, so that a control that nobody has any more is let go
        let longest = Duration::from_secs(1);
        let wait = next.map_or(longest, |next| next.saturating_sub(control.now()).min(longest));
        let waited = control.changed.wait_timeout(state, wait);
        drop(waited);
    }
}
