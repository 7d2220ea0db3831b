//! Services and probes as metrics know them: a fold over their events as they are published.
//!
//! Series are named after services, variables and probes of the file; whatever is beyond [`MOST`] is left out. Values of
//! variables are never here.

use super::{Did, Event, Saw, StartReason};
use crate::units::Name;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// At most so many services, so many probes, and so many variables of all services.
pub(crate) const MOST: usize = 50;

/// What is known of services and probes.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) services: BTreeMap<Name, ServiceSeries>,
    pub(crate) probes: BTreeMap<Name, ProbeSeries>,
}

/// The numbers of a service.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceSeries {
    pub(crate) up: bool,
    /// Starts but the first, by their reason.
    pub(crate) restarts: [u64; Self::REASONS.len()],
    /// Whether the process that runs differs from the file in this variable.
    pub(crate) drift: BTreeMap<String, bool>,
}

impl ServiceSeries {
    /// Why a service is started again.
    pub(crate) const REASONS: [StartReason; 3] = [StartReason::Crash, StartReason::Fault, StartReason::Swap];
}

/// The numbers of a probe.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ProbeSeries {
    /// Whether its last answer was right; tolerated silence is none.
    pub(crate) right: Option<bool>,
    /// For how long answers were wrong, in seconds of real time, up to the last one.
    pub(crate) exposed: f64,
    /// They are wrong, and counted up to here.
    open: Option<Instant>,
}

impl Watched {
    /// Takes in what is published.
    pub(crate) fn take(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Service { service, did, .. } => self.lived(service, did),
            Event::Probe { probe, saw, .. }
                if self.probes.contains_key(probe) || self.probes.len() < MOST =>
            {
                self.probes.entry(probe.clone()).or_default().take(*saw, now);
            }
            _ => {}
        }
    }

    /// How many series there are.
    pub(crate) fn series(&self) -> usize {
        let services = self.services.len() * (1 + ServiceSeries::REASONS.len());
        services + self.variables() + self.probes.len() * 2
    }

    fn variables(&self) -> usize {
        self.services.values().map(|service| service.drift.len()).sum()
    }

    fn lived(&mut self, name: &Name, did: &Did) {
        if !self.services.contains_key(name) && self.services.len() >= MOST {
            return;
        }
        let mut room = MOST.saturating_sub(self.variables());
        let service = self.services.entry(name.clone()).or_default();
        match did {
            Did::Started { reason, env, .. } => {
                let place = ServiceSeries::REASONS.iter().position(|known| known == reason);
                if let Some(count) = place.and_then(|place| service.restarts.get_mut(place)) {
                    *count += 1;
                }
                service.drift.values_mut().for_each(|differs| *differs = false);
                for var in env {
                    if let Some(differs) = service.drift.get_mut(&var.name) {
                        *differs = var.changed;
                    } else if room > 0 {
                        room -= 1;
                        service.drift.insert(var.name.clone(), var.changed);
                    }
                }
            }
            Did::Ready { .. } => service.up = true,
            Did::Exited { .. } => {
                service.up = false;
                // Nothing runs that could differ.
                service.drift.values_mut().for_each(|differs| *differs = false);
            }
            Did::Paused
            | Did::Resumed
            | Did::NotReady { .. }
            | Did::NotStarted { .. }
            | Did::Log { .. }
            | Did::Unwritten { .. } => {}
        }
    }
}

impl ProbeSeries {
    fn take(&mut self, saw: Saw, now: Instant) {
        if let Some(counted) = self.open {
            self.exposed += now.saturating_duration_since(counted).as_secs_f64();
            self.open = Some(now);
        }
        match saw {
            Saw::Right => (self.right, self.open) = (Some(true), None),
            Saw::Wrong => {
                self.right = Some(false);
                self.open = Some(now);
            }
            Saw::Unreachable => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{EnvShown, ExitCause};
    use std::time::Duration;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn started(reason: StartReason, env: &[(&str, bool)]) -> Did {
        let shown = |&(name, changed): &(&str, bool)| EnvShown { name: name.into(), value: None, changed };
        Did::Started { pid: 1, reason, env: env.iter().map(shown).collect(), holds: vec![] }
    }

    #[test]
    fn drift_is_that_of_the_process_that_runs() {
        let mut watched = Watched::default();
        let exited = || Did::Exited { code: Some(1), signal: None, cause: ExitCause::Itself };
        let now = Instant::now();
        for (did, up, restarts, drift) in [
            (started(StartReason::First, &[]), false, [0, 0, 0], &[][..]),
            (Did::Ready { after: 1.0 }, true, [0, 0, 0], &[]),
            (exited(), false, [0, 0, 0], &[]),
            (
                started(StartReason::Crash, &[("MODE", true), ("HOME", false)]),
                false,
                [1, 0, 0],
                &[("HOME", false), ("MODE", true)],
            ),
            (Did::Ready { after: 1.0 }, true, [1, 0, 0], &[("HOME", false), ("MODE", true)]),
            (exited(), false, [1, 0, 0], &[("HOME", false), ("MODE", false)]),
            (started(StartReason::Swap, &[]), false, [1, 0, 1], &[("HOME", false), ("MODE", false)]),
        ] {
            watched.take(&Event::Service { service: name("api"), incarnation: 1, did }, now);
            let api = &watched.services[&name("api")];
            let seen: Vec<_> = api.drift.iter().map(|(name, differs)| (name.as_str(), *differs)).collect();
            assert_eq!((api.up, api.restarts, &seen[..]), (up, restarts, drift));
        }
        assert_eq!(watched.series(), 4 + 2);
    }

    #[test]
    fn exposure_is_counted_from_the_first_wrong_answer_to_the_next_right_one() {
        let mut watched = Watched::default();
        let began = Instant::now();
        for (second, saw, right, exposed) in [
            (0, Saw::Unreachable, None, 0.0),
            (1, Saw::Right, Some(true), 0.0),
            (3, Saw::Wrong, Some(false), 0.0),
            (4, Saw::Wrong, Some(false), 1.0),
            (6, Saw::Unreachable, Some(false), 3.0),
            (7, Saw::Right, Some(true), 4.0),
            (9, Saw::Right, Some(true), 4.0),
            (10, Saw::Wrong, Some(false), 4.0),
        ] {
            let probe = Event::Probe { probe: name("p"), saw, took: 0.0, text: None };
            watched.take(&probe, began + Duration::from_secs(second));
            let seen = &watched.probes[&name("p")];
            assert_eq!((seen.right, seen.exposed), (right, exposed), "at {second}");
        }
    }

    #[test]
    fn nothing_grows_without_end() {
        let mut watched = Watched::default();
        for n in 0..2 * MOST {
            let (probe, service) = (name(&format!("p{n}")), name(&format!("s{n}")));
            let variable = format!("V{n}");
            let did = started(StartReason::First, &[(&variable, true)]);
            watched.take(&Event::Probe { probe, saw: Saw::Right, took: 0.0, text: None }, Instant::now());
            watched.take(&Event::Service { service, incarnation: 1, did }, Instant::now());
        }
        assert_eq!(watched.series(), 4 * MOST + MOST + 2 * MOST);
    }
}
